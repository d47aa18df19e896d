"""The space of a cell: its slots, every part's declared parameters under their full names, and the engine's own.

A configuration is a flat dict: {"fusion": "gated", "fusion.gated.dropout": 0.1, "encoder.image": "cnn",
"encoder.image.cnn.width": 64, "model.width": 128, "train.lr": 0.002}. Used by plan, search and model.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from mmbench.api.data import Task
from mmbench.api.parts import Part
from mmbench.api.space import Choice, Float, Int, Parameter, Setting, Space, active, defaults, narrowed
from mmbench.api.suite import Budget, CorruptionSpec
from mmbench.plugins import Catalog

MODEL_SPACE: Space = {
    "width": Choice((32, 64, 128, 256), default=128),
    "dropout": Float(0.0, 0.6, default=0.2, within=(0.0, 1.0)),
}
TRAIN_SPACE: Space = {
    "batch_size": Choice((32, 64, 128, 256), default=128),
    "clip": Float(0.0, 10.0, default=0.0, structural=True, searched=False, within=(0.0, 1e6)),
    "accumulate": Int(1, 64, default=1, searched=False, within=(1, 1024)),
}
"""clip: the largest norm of all gradients together, 0 for any; accumulate: in how many pieces a batch is taken."""
LATER = frozenset({"train.clip", "train.accumulate"})
"""Not part of a space's hash where the suite does not name them: spaces of before have the hash they had."""
TRAIN = "train"
RULES = ("optimizer", "schedule")
"""Roles whose parts say how weights move; a configuration chooses them last."""
Choose: TypeAlias = Callable[[str, Parameter], Any]


@dataclass(frozen=True)
class Slot:
    """A place in every configuration of a cell that one of some parts fills."""

    path: str
    """"fusion", "encoder.image", "objective": the name under which the choice is stored."""
    role: str
    options: tuple[str, ...]
    """Names of parts; one of several joined by "+" stands for all of them at once."""
    default: str
    named: bool = True
    """Whether the suite chooses, so that the choice is stored. If not, the default fills it."""
    inside: str = ""
    """Where its part's parameters stand, if not below its own path and name."""

    def prefix(self, part: str) -> str:
        """What the full names of a part's parameters begin with."""
        return self.inside or f"{self.path}.{part}"

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of all parts that may fill it."""
        return tuple(dict.fromkeys(name for option in self.options for name in together(option)))


def together(option: str) -> list[str]:
    """The parts that one option of a slot stands for."""
    return option.split("+")


@dataclass(frozen=True)
class Fold:
    """One of the folds that a data set's rows are cut into: the one that is test."""

    number: int
    """From 1."""
    of: int
    by: Literal["time"] | None = None


@dataclass(frozen=True)
class Cell:
    """One task (or a fold or train size of it) and one contender: what is searched, resumed and distributed as one."""

    key: str
    """A hash of all that its result depends on."""
    task: Task
    contender: str
    slots: tuple[Slot, ...]
    """In the order in which they are chosen: the fusion first."""
    params: Mapping[str, Setting]
    """What the suite fixes, narrows or opens, by full name."""
    corruptions: tuple[CorruptionSpec, ...]
    budget: Budget
    seed: int
    limit: int | None
    direction: str
    give_up: float | None
    skip: str | None
    """Why it can't run; None if it can."""
    parts: Mapping[str, str]
    """{"fusion.gated": hash of its source}: every part it may use."""
    libraries: Mapping[str, Mapping[str, str]]
    """{"fusion.gated": {"torch": "2.13.0"}}: what each part imports of others, and "engine" the engine itself."""
    sources: Mapping[str, Mapping[str, str]]
    """{"fusion.gated": {file: hash of what counts of it}}; their folder is not part of the key."""
    space_hash: str
    fingerprint: str
    """Of what its data set's rows are made from."""
    fold: Fold | None = None
    """None: the data set's own splits."""
    size: int | None = None
    """How many train rows it learns from; None: all."""
    parent: "Cell | None" = None
    """The cell whose trained models it changes; None: it trains its own."""

    @property
    def own(self) -> tuple[Slot, ...]:
        """The slots that its own search fills: what is derived has the others as its parent's winner has them."""
        return self.slots[len(self.parent.slots) :] if self.parent else self.slots

    def options(self, role: str) -> tuple[str, ...]:
        """The parts of a role that it may use, of all slots."""
        return tuple(dict.fromkeys(name for slot in self.slots if slot.role == role for name in slot.parts))

    @property
    def encoders(self) -> Mapping[str, tuple[str, ...]]:
        """{modality: encoders to choose from}"""
        return {slot.path.partition(".")[2]: slot.options for slot in self.slots if slot.role == "encoder"}


def configure(cell: Cell, catalog: Catalog, choose: Choose) -> dict[str, Any]:
    """Walk the cell's space and let `choose(name, parameter)` decide each value that is open. The one place that
    knows which parameter depends on which. A parameter that nobody searches is left out: see `settings`."""
    space = full_space(cell, catalog)
    chosen: dict[str, Any] = {}

    def pick(name: str) -> Any:
        parameter = space[name]
        if isinstance(parameter, Choice) and len(parameter.options) == 1:
            chosen[name] = parameter.options[0]
        else:
            chosen[name] = choose(name, parameter) if parameter.searched else parameter.default
        return chosen[name]

    def descend(prefix: str, own: Space, stage: str | None = None) -> None:
        local: dict[str, Any] = {}
        for name, parameter in own.items():
            full = f"{prefix}.{name}"
            if stage in (None, parameter.stage) and active(parameter, local):
                closed = not parameter.searched and full not in cell.params
                local[name] = parameter.default if closed else pick(full)

    def fill(slot: Slot, stage: str | None = None) -> str:
        option = str(pick(slot.path)) if slot.named else slot.default
        for name in together(option):
            descend(slot.prefix(name), catalog.shelves()[f"{slot.role}s"][name].space, stage)
        return option

    if cell.parent:
        for slot in cell.own:
            fill(slot)
        return chosen
    first, *rest = cell.slots
    level = catalog.fusions[fill(first)].level
    trains = level != "estimator"
    for slot in rest:
        if slot.role == "encoder":
            fill(slot, None if trains else "prepare")  # what trains nothing needs its input prepared, and no more
        elif trains and slot.role not in RULES:
            fill(slot)
    if level == "feature":
        descend("model", MODEL_SPACE)
    if trains:
        for slot in (slot for slot in rest if slot.role in RULES):
            fill(slot)
        descend(TRAIN, TRAIN_SPACE)
    return chosen


def default_params(cell: Cell, catalog: Catalog) -> dict[str, Any]:
    """The default configuration: trial 0."""
    return configure(cell, catalog, lambda name, parameter: parameter.default)


def open_params(cell: Cell, catalog: Catalog) -> set[str]:
    """The names of what is left to tune; of parameters that depend on others, those of each option's default."""
    asked: set[str] = set()

    def choose(name: str, parameter: Parameter) -> Any:
        asked.add(name)
        return parameter.default

    space = full_space(cell, catalog)
    first = len(cell.slots) - len(cell.own)
    for place, slot in enumerate(cell.own, first):
        if not slot.named:
            continue
        choice = space[slot.path]
        options = tuple(map(str, choice.options)) if isinstance(choice, Choice) else ()
        for option in options:
            only = replace(slot, options=(option,), default=option)
            slots = (*cell.slots[:place], only, *cell.slots[place + 1 :])
            given = {name: setting for name, setting in cell.params.items() if name != slot.path}
            configure(replace(cell, slots=slots, params=given), catalog, choose)
            asked |= {slot.path} if len(options) > 1 else set()
    return asked


def part_params(params: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The stored parameters of one part, by their own names: those below `prefix.`"""
    start = prefix + "."
    return {name.removeprefix(start): value for name, value in params.items() if name.startswith(start)}


def settings(part: Part, params: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """What a part is built with: its stored parameters, and the defaults of those that nobody searches."""
    given = part_params(params, prefix)
    closed = {name: p for name, p in part.space.items() if not p.searched and name not in given}
    return given | {name: closed[name].default for name in closed if active(closed[name], given | defaults(closed))}


def encoder_code(cell: Cell, encoder: str) -> tuple[str, Mapping[str, str]]:
    """What stored features of an encoder depend on beside the data and its parameters: its code, and libraries."""
    name = f"encoder.{encoder}"
    return cell.parts[name], {**cell.libraries["engine"], **cell.libraries[name]}


def derive_seed(*parts: object) -> int:
    """A seed that depends on all of `parts` and on nothing else."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "big") >> 1


def refit_seed(cell: Cell, number: int) -> int:
    """The same for every contender of a task: a lucky one favours nobody."""
    return derive_seed(cell.seed, cell.task.name, "refit", number)


def full_space(cell: Cell, catalog: Catalog) -> dict[str, Parameter]:
    """Every parameter of the cell by full name, whatever the others are, as the suite has narrowed them."""
    space: dict[str, Parameter] = {
        slot.path: Choice(slot.options, default=slot.default) for slot in cell.own if slot.named
    }
    for prefix, own in _spaces(cell, catalog):
        space |= {f"{prefix}.{name}": _searched(parameter, cell.budget) for name, parameter in own.items()}
    return space | {n: narrowed(space[n], setting) for n, setting in cell.params.items() if n in space}


def _searched(parameter: Parameter, budget: Budget) -> Parameter:
    """Preparations are searched only where the suite says so: each new value prepares the whole data set again."""
    closed = parameter.stage == "prepare" and not budget.tune_preparation
    return replace(parameter, searched=False) if closed else parameter


def is_structural(space: Mapping[str, Parameter], name: str) -> bool:
    """Whether configurations that differ in this parameter of `full_space` can't train in one program."""
    return name not in space or space[name].structural or space[name].stage == "prepare"


def _spaces(cell: Cell, catalog: Catalog) -> Iterator[tuple[str, Space]]:
    shelves = catalog.shelves()
    for slot in cell.own:
        for name in slot.parts:
            yield slot.prefix(name), shelves[f"{slot.role}s"][name].space
    if cell.parent is None:
        yield from (("model", MODEL_SPACE), (TRAIN, TRAIN_SPACE))
