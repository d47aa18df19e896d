"""The jobs that a run is made of. Each runs in a fresh process; `executors.worker` does them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from mmbench.api.record import Refit, Trial
from mmbench.engine.data.view import View
from mmbench.engine.space import Cell


@dataclass(frozen=True)
class LoadData:
    """Fetch and build a dataset."""

    dataset: str
    fingerprint: str
    folds: int | None = None
    """Into how many its rows are cut."""


@dataclass(frozen=True, eq=False)
class Prepare:
    """Compute one modality's features by one encoder's default preparation."""

    cell: Cell
    modality: str
    encoder: str


@dataclass(frozen=True, eq=False)
class Assist:
    """Take part in the long preparation that another process is at."""

    cell: Cell
    modality: str
    encoder: str


@dataclass(frozen=True, eq=False)
class Search:
    """Search a cell and refit; what is in the history is not done again. A scout only tries the first batch, unless the
    rest is short."""

    cell: Cell
    scout: bool = False
    trials: Sequence[Trial] = ()
    refits: Sequence[Refit] = ()


@dataclass(frozen=True, eq=False)
class Measure:
    """Measure what a configuration costs. Runs alone."""

    cell: Cell
    params: Mapping[str, Any]


Job: TypeAlias = LoadData | Prepare | Assist | Search | Measure


def same(one: Prepare, other: Prepare | Assist) -> bool:
    """Whether both make the same features, though perhaps for two cells."""
    a, b = ((View.of(job.cell), job.modality, job.encoder) for job in (one, other))
    return a == b
