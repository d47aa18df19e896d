"""What happens in a run, in order: `runner.run` yields these; session stores what must last, cli draws the rest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from mmbench.api.record import Record, Refit, Trial
from mmbench.engine.space import Cell

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Progress:
    """Work that is no trial moves on: a download, rendering, features, a training's epochs, a measurement."""

    label: str
    done: int
    total: int


@dataclass(frozen=True)
class DataRead:
    """A data set was read for the first time; `report` says in lines what it holds, and what to beware of."""

    dataset: str
    report: tuple[str, ...]


@dataclass(frozen=True)
class CellStarted:
    """A worker starts or resumes the search of a cell."""

    cell: Cell


@dataclass(frozen=True)
class CellPaused:
    """A cell's first trials are done; it continues when it is its turn."""

    cell: Cell


@dataclass(frozen=True)
class TrialFinished:
    cell: Cell
    trial: Trial


@dataclass(frozen=True)
class RefitFinished:
    """A refit was scored on test; whoever stores it fills `refit.predictions` and `refit.weights`."""

    cell: Cell
    refit: Refit
    predictions: "Mapping[str, np.ndarray[Any, Any]]"
    weights: bytes | None = None
    """A safetensors file, where they are to be kept."""


@dataclass(frozen=True)
class TargetsKnown:
    """The labels of a task's test split, in the order of its predictions. Known to the referee, not to workers."""

    task: str
    targets: "np.ndarray[Any, Any]"


@dataclass(frozen=True)
class CellFinished:
    """A cell is done; its refits are those that were stored."""

    cell: Cell
    record: Record


@dataclass(frozen=True)
class WorkerLost:
    """A worker process died from outside (killed, out of memory); its cell will be tried again."""

    cell: Cell
    reason: str


Event: TypeAlias = (
    Progress
    | DataRead
    | CellStarted
    | CellPaused
    | TrialFinished
    | RefitFinished
    | TargetsKnown
    | CellFinished
    | WorkerLost
)
