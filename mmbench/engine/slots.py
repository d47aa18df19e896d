"""What is chosen in every configuration of a cell: a slot for each choice, with the options that fit the task."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mmbench.api.data import Task
from mmbench.api.parts import Fusion, Part
from mmbench.api.parts.head import Head
from mmbench.api.suite import ContenderSpec, TaskSpec
from mmbench.engine.space import TRAIN, Slot, together
from mmbench.errors import MMBenchError, PluginError, blamed
from mmbench.plugins import Catalog, Shelf


def slots_of(
    spec: TaskSpec, task: Task, contender: ContenderSpec, catalog: Catalog
) -> tuple[tuple[Slot, ...], str | None]:
    """What is to be chosen in every configuration, in order; and why nothing fits, if so."""
    trained = tuple(name for name, fusion in catalog.fusions.items() if fusion.level != "estimator")
    one = contender.fusion is None and len(task.modalities) == 1  # a single modality has nothing to fuse
    wanted = (_usual(trained, catalog.fusions),) if one else contender.fusion or trained
    found = [slot_of("fusion", "fusion", wanted, task, catalog)]
    for modality, kind in task.modalities.items():
        readers = spec.encoders.get(modality) or reading(kind, catalog)
        slot, reason = slot_of(f"encoder.{modality}", "encoder", readers, task, catalog)
        found.append((slot, reason and f"no encoder for {modality}: {reason}"))
    if contender.objective:
        found.append(slot_of("objective", "objective", contender.objective, task, catalog))
    head = task.target.type
    found.append((Slot("head", "head", (head,), head, named=False), None))
    for role, named in (("optimizer", contender.optimizer), ("schedule", contender.schedule)):
        usual = catalog.shelves()[f"{role}s"].usual.name
        slot, reason = slot_of(role, role, named or (usual,), task, catalog)
        found.append((slot if named else replace(slot, named=False, inside=TRAIN), reason))
    return tuple(slot for slot, _ in found), next((reason for _, reason in found if reason), None)


def slot_of(path: str, role: str, wanted: Sequence[str], task: Task, catalog: Catalog) -> tuple[Slot, str | None]:
    """A slot with the options that fit; if none does, with the first, and why."""
    shelf = catalog.shelves()[f"{role}s"]
    head = catalog.heads[task.target.type]
    reasons = {option: _misfit(option, shelf, task, head) for option in wanted}
    fitting = tuple(option for option, reason in reasons.items() if reason is None)
    told = None if fitting else _reason_text(reasons if role == "fusion" else dict(list(reasons.items())[:1]))
    if told and role == "objective":
        told = f"{wanted[0]}: {told}"
    options = fitting or tuple(wanted[:1])
    return Slot(path, role, options, default=_usual(options, shelf)), told


def _misfit(option: str, shelf: Shelf[Part], task: Task, head: Head) -> str | None:
    """Why an option does not fit the task."""
    parts = [shelf[name] for name in together(option)]
    reasons = [answer(head, task)] if shelf.role == "fusion" else []
    reasons += [head.misfit(part) for part in parts if isinstance(part, Fusion)]
    reasons += [answer(part, task) for part in parts]
    return next((reason for reason in reasons if reason), None)


def answer(part: Part, task: Task) -> str | None:
    """What a part says to whether it fits the task. Raises PluginError if it raises anything else."""
    try:
        return part.supports(task)
    except MMBenchError:
        raise
    except (Exception, SystemExit) as error:  # anyone's code
        said = f"supports raises {blamed(error)}"
        raise PluginError(f"{part.role} {part.name!r}, asked whether it fits task {task.name!r}: {said}") from error


def _usual(options: Sequence[str], shelf: Mapping[str, Part]) -> str:
    """The option that a search begins with: the one that is usual in its role, else the first."""
    return next((name for name in options if name in shelf and shelf[name].usual), options[0])


def reading(kind: str, catalog: Catalog) -> tuple[str, ...]:
    """The encoders of a modality for which the suite names none: those on request only where there is no other."""
    every = {name: encoder for name, encoder in catalog.encoders.items() if encoder.kind == kind}
    return tuple(name for name, encoder in every.items() if not encoder.on_request) or tuple(every)


def _reason_text(reasons: Mapping[str, str | None]) -> str:
    return "; ".join(f"{name}: {reason}" if len(reasons) > 1 else str(reason) for name, reason in reasons.items())
