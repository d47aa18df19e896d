"""The space of a cell: every part's declared parameters under their full names, and the engine's own.

A configuration is a flat dict: {"fusion": "gated", "fusion.gated.dropout": 0.1, "encoder.image": "cnn",
"encoder.image.cnn.width": 64, "model.width": 128, "train.lr": 0.002}. Used by plan, search and model.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from mmbench.api.data import Task
from mmbench.api.parts import Part
from mmbench.api.space import Choice, Float, Parameter, Space, active
from mmbench.api.suite import Budget, CorruptionSpec
from mmbench.plugins import Catalog

MODEL_SPACE: Space = {
    "width": Choice((32, 64, 128, 256), default=128),
    "dropout": Float(0.0, 0.6, default=0.2),
}
TRAIN_SPACE: Space = {
    "lr": Float(3e-4, 1e-2, log=True, default=2e-3),
    "weight_decay": Float(1e-5, 0.3, log=True, default=1e-2),
    "batch_size": Choice((32, 64, 128, 256), default=128),
}
Choose: TypeAlias = Callable[[str, Parameter], Any]


@dataclass(frozen=True)
class Cell:
    """One task and one contender: the unit of search, of resuming and of distribution."""

    key: str
    """A hash of all that its result depends on."""
    task: Task
    contender: str
    fusions: tuple[str, ...]
    encoders: Mapping[str, tuple[str, ...]]
    objectives: tuple[str, ...]
    fixed: Mapping[str, Any]
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
    """{"fusion.gated": {file: hash of what counts of it}}; where the files lie is no part of the key."""
    space_hash: str
    fingerprint: str
    """Of what its data set's rows are made from."""


def configure(cell: Cell, catalog: Catalog, choose: Choose) -> dict[str, Any]:
    """Walk the cell's space and let `choose(name, parameter)` decide each value that is open. The one place that
    knows which parameter depends on which."""
    chosen: dict[str, Any] = {}

    def pick(name: str, parameter: Parameter) -> Any:
        if name in cell.fixed:
            chosen[name] = cell.fixed[name]
        elif isinstance(parameter, Choice) and len(parameter.options) == 1:
            chosen[name] = parameter.options[0]
        elif parameter.stage == "prepare" and not cell.budget.tune_preparation:
            chosen[name] = parameter.default
        else:
            chosen[name] = choose(name, parameter)
        return chosen[name]

    def descend(prefix: str, space: Space, stage: str | None = None) -> None:
        local: dict[str, Any] = {}
        for name, parameter in space.items():
            if stage in (None, parameter.stage) and active(parameter, local):
                local[name] = pick(f"{prefix}.{name}", parameter)

    fusion = pick("fusion", Choice(cell.fusions, default=_first(cell.fusions, "concat")))
    trained = catalog.fusions[fusion].level != "estimator"
    descend(f"fusion.{fusion}", catalog.fusions[fusion].space)
    for modality, names in cell.encoders.items():
        encoder = pick(f"encoder.{modality}", Choice(names, default=names[0]))
        descend(f"encoder.{modality}.{encoder}", catalog.encoders[encoder].space, None if trained else "prepare")
    if trained:
        if cell.objectives:
            objective = pick("objective", Choice(cell.objectives, default=cell.objectives[0]))
            descend(f"objective.{objective}", catalog.objectives[objective].space)
        if catalog.fusions[fusion].level == "feature":
            descend("model", MODEL_SPACE)
        descend("train", TRAIN_SPACE)
    return chosen


def default_params(cell: Cell, catalog: Catalog) -> dict[str, Any]:
    """The default configuration: trial 0."""
    return configure(cell, catalog, lambda name, parameter: parameter.default)


def open_params(cell: Cell, catalog: Catalog) -> set[str]:
    """The names of what is left to tune; of parameters that depend on others, those of each fusion's default."""
    asked: set[str] = set()

    def choose(name: str, parameter: Parameter) -> Any:
        asked.add(name)
        return parameter.default

    for fusion in cell.fusions:
        configure(replace(cell, fusions=(fusion,)), catalog, choose)
    return asked | ({"fusion"} if len(cell.fusions) > 1 and "fusion" not in cell.fixed else set())


def part_params(params: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The parameters of one part, by their own names: those below `prefix.`"""
    start = prefix + "."
    return {name.removeprefix(start): value for name, value in params.items() if name.startswith(start)}


def encoder_code(cell: Cell, encoder: str) -> tuple[str, Mapping[str, str]]:
    """What stored features of an encoder depend on beside the data and its parameters: its code, and libraries."""
    name = f"encoder.{encoder}"
    return cell.parts[name], {**cell.libraries["engine"], **cell.libraries[name]}


def derive_seed(*parts: object) -> int:
    """A seed that depends on all of `parts` and on nothing else."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "big") >> 1


def full_space(cell: Cell, catalog: Catalog) -> dict[str, Parameter]:
    """Every parameter that may be open in the cell, by full name, whatever the others are."""
    space: dict[str, Parameter] = {"fusion": Choice(cell.fusions, default=_first(cell.fusions, "concat"))}
    for modality, names in cell.encoders.items():
        space[f"encoder.{modality}"] = Choice(names, default=names[0])
    if cell.objectives:
        space["objective"] = Choice(cell.objectives, default=cell.objectives[0])
    for prefix, part in _parts(cell, catalog):
        space |= {f"{prefix}.{name}": parameter for name, parameter in part.space.items()}
    for prefix, own in (("model", MODEL_SPACE), ("train", TRAIN_SPACE)):
        space |= {f"{prefix}.{name}": parameter for name, parameter in own.items()}
    return space


def is_structural(space: Mapping[str, Parameter], name: str) -> bool:
    """Whether configurations that differ in this parameter of `full_space` can't train in one program."""
    return name not in space or space[name].structural or space[name].stage == "prepare"


def _parts(cell: Cell, catalog: Catalog) -> Iterator[tuple[str, Part]]:
    for fusion in cell.fusions:
        yield f"fusion.{fusion}", catalog.fusions[fusion]
    for modality, names in cell.encoders.items():
        for name in names:
            yield f"encoder.{modality}.{name}", catalog.encoders[name]
    for objective in cell.objectives:
        yield f"objective.{objective}", catalog.objectives[objective]


def _first(names: Sequence[str], preferred: str) -> str:
    return preferred if preferred in names else names[0]
