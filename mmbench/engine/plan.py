"""Turns a suite and a Catalog into cells; checks every name and gives every misfit its reason before anything runs.

Called by session and `mmbench plan`. Imports no torch.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from mmbench import sources
from mmbench.api.data import Task
from mmbench.api.parts import Part
from mmbench.api.space import Parameter, Setting, described, narrowed
from mmbench.api.suite import ContenderSpec, CorruptionSpec, Suite, TaskSpec, fold_name, on_board
from mmbench.engine import identity
from mmbench.engine.slots import answer, reading, slot_of, slots_of
from mmbench.engine.space import LATER, Cell, Fold, Slot, full_space, together
from mmbench.errors import SuiteError, unknown
from mmbench.plugins import Catalog


@dataclass(frozen=True)
class Plan:
    """What would run. `hash` is what a pre-registration names."""

    suite: Suite
    cells: tuple[Cell, ...]
    device: str
    hash: str
    files: tuple[Path, ...] = ()
    """Files of this machine that data sets read; they contain test labels."""
    sources: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """The code and files of the parts, as `sources.held` has them: workers stop if one changes."""


def make(
    suite: Suite,
    catalog: Catalog,
    *,
    tasks: Sequence[str] = (),
    contenders: Sequence[str] = (),
    device: str = "cpu",
) -> Plan:
    """Resolve `suite` against `catalog`; `tasks` and `contenders` choose among its own, a contender may also be the
    name of any fusion. Raises SuiteError for the first name or type that doesn't fit."""
    chosen_tasks = _select(suite.tasks, tasks, "task")
    every = [_task(spec, catalog) for spec in suite.tasks]  # all are checked, also those not chosen
    names = dict.fromkeys(task.dataset for spec, task in zip(suite.tasks, every, strict=True) if spec in chosen_tasks)
    marks = {name: identity.fingerprint(catalog.datasets[name]) for name in names}
    cells = resolve(suite, catalog, tasks=tasks, contenders=contenders, device=device, marks=marks)
    digest = identity.digest([cell.key for cell in cells])
    read = [Path(file) for name in marks for file in catalog.datasets[name].files()]
    files = tuple(place for file in read for place in sources.reached(file))
    held = sources.held({Path(file) for cell in cells for own in cell.sources.values() for file in own})
    return Plan(suite=suite, cells=cells, device=device, hash=digest, files=files, sources=held)


def resolve(
    suite: Suite,
    catalog: Catalog,
    *,
    tasks: Sequence[str] = (),
    contenders: Sequence[str] = (),
    device: str = "cpu",
    marks: Mapping[str, str],
) -> tuple[Cell, ...]:
    """The cells alone, as `make` has them. marks: {data set: its fingerprint}, of those that the tasks read."""
    cells: list[Cell] = []
    for spec in _select(suite.tasks, tasks, "task"):
        task = _task(spec, catalog)
        named = list(_contenders(suite, task, catalog, contenders))
        found = {
            contender.name: _cell(suite, spec, task, contender, catalog, device, marks[task.dataset])
            for contender in named
            if contender.of is None
        }
        seen = {name: list(_seen(cell, spec, device)) for name, cell in found.items()}
        own: list[Cell] = []
        for one in named:
            parents = seen[one.of or one.name]
            own += [_derived(spec, parent, one, catalog, device) for parent in parents] if one.of else parents
        _check_task_params(spec, own, catalog)
        cells += own
    return tuple(cells)


@contextmanager
def _said_of(where: str) -> Iterator[None]:
    """An unknown name says where in the suite it stands."""
    try:
        yield
    except SuiteError as error:
        raise SuiteError(f"{where}: {error}") from None


def _select(specs: tuple[TaskSpec, ...], names: Sequence[str], kind: str) -> tuple[TaskSpec, ...]:
    known = {spec.name for spec in specs}
    for name in names:
        if name not in known:
            raise SuiteError(unknown(kind, name, known))
    return tuple(spec for spec in specs if not names or spec.name in names)


def _task(spec: TaskSpec, catalog: Catalog) -> Task:
    where = f"task {spec.name!r}"
    with _said_of(where):
        dataset, metric = catalog.datasets[spec.dataset], catalog.metrics[spec.metric]
        catalog.heads[dataset.target.type]
        for name in (name for names in spec.encoders.values() for name in names):
            catalog.encoders[name]
        for corruption in spec.corruptions:
            catalog.corruptions[corruption.name]
    for modality in [*spec.encoders, *(spec.modalities or ()), *(c.modality for c in spec.corruptions)]:
        if modality not in dataset.columns:
            raise SuiteError(f"{where}: {unknown('modality', modality, dataset.columns)}")
    modalities = {m: kind for m, kind in dataset.columns.items() if spec.modalities is None or m in spec.modalities}
    for one in modalities:  # encoder.image.cnn: a choice for "image.cnn", or what is below the cnn of "image"?
        for other in modalities:
            if other.startswith(f"{one}.") and other.removeprefix(f"{one}.").partition(".")[0] in catalog.encoders:
                raise SuiteError(f"{where}: modality {other!r} is named like {one!r} and an encoder; rename its column")
    if dataset.target.type not in metric.targets:
        fitting = [m.name for m in catalog.metrics.values() if dataset.target.type in m.targets]
        raise SuiteError(
            f"{where}: metric {spec.metric!r} can't score a {dataset.target.type}; choose from {', '.join(fitting)}"
        )
    for modality, kind in modalities.items():
        for name in spec.encoders.get(modality, ()):
            if catalog.encoders[name].kind != kind:
                readers = [reader for reader, encoder in catalog.encoders.items() if encoder.kind == kind]
                raise SuiteError(
                    f"{where}: encoder {name!r} reads {catalog.encoders[name].kind}, but {modality!r} is {kind}; "
                    f"choose from {', '.join(readers) or 'none: install a plugin that has one'}"
                )
        if not spec.encoders.get(modality) and not reading(kind, catalog):
            raise SuiteError(f"{where}: no encoder reads {modality!r}, which is {kind}; install a plugin that has one")
    for corruption in spec.corruptions:
        if modalities.get(corruption.modality) not in catalog.corruptions[corruption.name].kinds:
            raise SuiteError(f"{where}: corruption {corruption.name!r} can't damage {corruption.modality!r}")
    if spec.folds and dataset.target.sides:
        raise SuiteError(f"{where}: a {dataset.target.type} can't have folds: rows are matched within one test split")
    if spec.by == "time" and not spec.folds:
        raise SuiteError(f'{where}: by = "time" needs folds, such as folds = 5')
    if spec.by == "time" and dataset.time is None:
        raise SuiteError(
            f'{where}: by = "time" needs a data set that says when its rows are from; {dataset.name!r} has no `time`'
        )
    task = Task(name=spec.name, dataset=spec.dataset, modalities=modalities, target=dataset.target, metric=spec.metric)
    missing = answer(metric, task)
    if missing:
        raise SuiteError(f"{where}: metric {spec.metric!r} {missing}")
    return task


def _contenders(suite: Suite, task: Task, catalog: Catalog, names: Sequence[str]) -> Iterator[ContenderSpec]:
    expanded: list[tuple[str, ContenderSpec]] = []
    for spec in suite.contenders:
        with _said_of(f"contender {spec.name!r}"):
            for name in spec.fusion or ():
                catalog.fusions[name]
            for name in (name for option in spec.objective for name in together(option)):
                catalog.objectives[name]
            for name in spec.optimizer:
                catalog.optimizers[name]
            for name in spec.schedule:
                catalog.schedules[name]
            for name in (name for option in spec.compressor for name in together(option)):
                catalog.compressors[name]
            for name in spec.tasks or ():
                _select(suite.tasks, [name], "task")
        if spec.each_modality:
            expanded += [(spec.name, replace(spec, name=f"{spec.name} {m}", only=(m,))) for m in task.modalities]
        else:
            expanded.append((spec.name, spec))
    _check_names(expanded)
    known = {name for group, spec in expanded for name in (group, spec.name)}
    for name in names:
        if name not in known and name not in catalog.fusions:
            raise SuiteError(unknown("contender", name, known | set(catalog.fusions)))
    here = [(group, spec) for group, spec in expanded if spec.tasks is None or task.name in spec.tasks]
    parents = _parents([spec for _, spec in expanded], [spec for _, spec in here], task)
    here = [(group, spec) for group, spec in here if spec.of is None or spec.name in parents]
    wanted = [spec.name for group, spec in here if not names or group in names or spec.name in names]
    wanted += [parents[name] for name in wanted if name in parents]  # what is derived needs its parent
    yield from (spec for _, spec in here if spec.name in wanted)
    yield from (ContenderSpec(name=name, fusion=(name,)) for name in names if name not in known)


def _check_names(expanded: Sequence[tuple[str, ContenderSpec]]) -> None:
    """No contender has the name of one that `each_modality` makes: one would hide the other."""
    groups: dict[str, str] = {}
    for group, spec in expanded:
        if (other := groups.setdefault(spec.name, group)) != group:
            named, made = (group, other) if spec.name == group else (other, group)
            raise SuiteError(
                f"contender {named!r}: {made!r}, with each_modality = true, makes one named {spec.name!r}; rename one"
            )


def _parents(every: Sequence[ContenderSpec], here: Sequence[ContenderSpec], task: Task) -> dict[str, str]:
    """{what is derived from another contender that runs on this task: that contender}"""
    known, present = {spec.name: spec for spec in every}, {spec.name for spec in here}
    found: dict[str, str] = {}
    for spec in here:
        if spec.of is None:
            continue
        where = f"contender {spec.name!r}: of"
        if spec.of not in known:
            raise SuiteError(f"{where}: {unknown('contender', spec.of, [n for n, s in known.items() if s.of is None])}")
        if known[spec.of].of is not None:
            raise SuiteError(
                f'{where}: {spec.of!r} is derived itself; write compressor = "a+b" for one after the other'
            )
        if spec.of in present:
            found[spec.name] = spec.of
        elif spec.tasks is not None:
            raise SuiteError(f"{where}: {spec.of!r} does not run on task {task.name!r}")
    return found


def _cell(
    suite: Suite,
    spec: TaskSpec,
    task: Task,
    contender: ContenderSpec,
    catalog: Catalog,
    device: str,
    mark: str,
) -> Cell:
    if contender.only is not None and not set(contender.only) <= set(task.modalities):
        missing = sorted(set(contender.only) - set(task.modalities))
        raise SuiteError(f"contender {contender.name!r}: {unknown('modality', missing[0], task.modalities)}")
    seen = {m: k for m, k in task.modalities.items() if contender.only is None or m in contender.only}
    task = replace(task, modalities=seen)
    slots, skip = slots_of(spec, task, contender, catalog)
    parts = _parts(task, slots, spec.corruptions, catalog)
    codes = {name: identity.source(part) for name, part in parts.items()}
    cell = Cell(
        key="",
        task=task,
        contender=contender.name,
        slots=slots,
        params={},
        corruptions=tuple(c for c in spec.corruptions if c.modality in seen),
        budget=suite.budget,
        seed=suite.seed,
        limit=suite.limit,
        direction=catalog.metrics[task.metric].direction,
        give_up=spec.give_up,
        skip=skip,
        parts={name: code.hash for name, code in codes.items()},
        libraries=identity.libraries(codes, seen.values()),
        sources={name: {str(file): own for file, own in code.files.items()} for name, code in codes.items()},
        space_hash="",
        fingerprint=mark,
    )
    return _narrowed(cell, spec, contender, catalog, device)


def _narrowed(cell: Cell, spec: TaskSpec, contender: ContenderSpec, catalog: Catalog, device: str) -> Cell:
    """The cell with what the suite fixes, narrows and opens, and with its key."""
    space = {} if cell.skip else full_space(cell, catalog)
    params = {name: setting for name, setting in spec.params.items() if name in space} | dict(contender.params)
    _check_params(f"task {spec.name!r}", spec.params, space, known=False)
    _check_params(f"contender {contender.name!r}", contender.params, space, known=cell.skip is None)
    cell = replace(cell, params=params)
    space = {} if cell.skip else full_space(cell, catalog)
    said = {name: described(space[name]) for name in space if name in params or name not in LATER}
    cell = replace(cell, space_hash=identity.digest(said))
    return replace(cell, key=identity.key(cell, device))


def _derived(spec: TaskSpec, parent: Cell, contender: ContenderSpec, catalog: Catalog, device: str) -> Cell:
    """The cell that changes the trained models of `parent`."""
    slot, reason = slot_of("compressor", "compressor", contender.compressor, parent.task, catalog)
    if all(catalog.fusions[name].level == "estimator" for name in parent.options("fusion")):
        reason = f"{parent.contender!r} trains no network"
    if parent.skip:
        reason = f"{parent.contender!r}, whose models it takes, is skipped: {parent.skip}"
    codes = {f"compressor.{name}": identity.source(catalog.compressors[name]) for name in slot.parts}
    cell = replace(
        parent,
        contender=contender.name,
        slots=(*parent.slots, slot),
        params={},
        skip=reason,
        parts={**parent.parts, **{name: code.hash for name, code in codes.items()}},
        libraries={**parent.libraries, **identity.libraries(codes, parent.task.modalities.values())},
        sources={**parent.sources, **{n: {str(file): own for file, own in c.files.items()} for n, c in codes.items()}},
        parent=parent,
    )
    return _narrowed(cell, spec, contender, catalog, device)


def _seen(cell: Cell, spec: TaskSpec, device: str) -> Iterator[Cell]:
    """The cell, or one for each train size and fold: its task bears their names, by which seeds, predictions and
    targets go."""
    folds = [Fold(number, spec.folds, spec.by) for number in range(1, (spec.folds or 0) + 1) if spec.folds]
    if not folds and not spec.train_sizes:
        yield cell
        return
    for name, size in zip(on_board(spec), spec.train_sizes or (None,), strict=True):
        for fold in folds or (None,):
            task = replace(cell.task, name=fold_name(name, fold.number) if fold else name)
            one = replace(cell, task=task, fold=fold, size=size)
            yield replace(one, key=identity.key(one, device))


def _check_params(where: str, params: Mapping[str, Setting], space: Mapping[str, Parameter], *, known: bool) -> None:
    for name, setting in params.items():
        if known and name not in space:
            raise SuiteError(f"{where}, params: {unknown('parameter', name, space)}")
        if name in space:
            try:
                narrowed(space[name], setting)
            except ValueError as error:
                raise SuiteError(f"{where}, params: {name} {error}") from error


def _check_task_params(spec: TaskSpec, cells: Sequence[Cell], catalog: Catalog) -> None:
    """A task's fixed parameter may be foreign to some contenders, but not to all."""
    spaces = [full_space(cell, catalog) for cell in cells if not cell.skip]
    known = {name for space in spaces for name in space}
    for name in spec.params:
        if spaces and name not in known:
            raise SuiteError(f"task {spec.name!r}, params: {unknown('parameter', name, known)}")


def _parts(
    task: Task, slots: Sequence[Slot], corruptions: Sequence[CorruptionSpec], catalog: Catalog
) -> dict[str, Part]:
    """{"fusion.gated": the part}: every part that a cell may use."""
    shelves = catalog.shelves()
    used: dict[str, Part] = {
        f"dataset.{task.dataset}": catalog.datasets[task.dataset],
        f"metric.{task.metric}": catalog.metrics[task.metric],
    }
    used |= {f"{slot.role}.{name}": shelves[f"{slot.role}s"][name] for slot in slots for name in slot.parts}
    return used | {f"corruption.{c.name}": catalog.corruptions[c.name] for c in corruptions}
