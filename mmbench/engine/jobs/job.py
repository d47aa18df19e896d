"""The jobs that a run is made of. Each runs in a fresh process; `executors.worker` does them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from mmbench.api.record import Refit, Trial
from mmbench.api.space import Params
from mmbench.engine.data.view import View
from mmbench.engine.space import Cell, Fold
from mmbench.plugins import Catalog


@dataclass(frozen=True)
class LoadData:
    """Fetch and build a dataset."""

    dataset: str
    fingerprint: str
    folds: Fold | None = None
    """The first of those that its rows are cut into."""


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


@dataclass(frozen=True)
class Trained:
    """A refit whose model a derived cell takes."""

    score: float
    """Its tuned metric on validation."""
    weights: Path | None
    """A safetensors file; None: they were not kept, so that the model is trained again."""


@dataclass(frozen=True)
class Origin:
    """The trained models that a derived cell changes."""

    params: Params
    """Those of the parent's winner."""
    refits: Mapping[int, Trained]
    """By seed number."""


@dataclass(frozen=True, eq=False)
class Search:
    """Search a cell and refit; what is in the history is not done again. A scout only tries the first batch, unless the
    rest is short."""

    cell: Cell
    scout: bool = False
    trials: Sequence[Trial] = ()
    refits: Sequence[Refit] = ()
    origin: Origin | None = None
    keep: bool = False
    """Whether the weights of its refits are sent, too."""


@dataclass(frozen=True, eq=False)
class Measure:
    """Measure what a configuration costs. Runs alone."""

    cell: Cell
    params: Mapping[str, Any]
    origin: Origin | None = None


Job: TypeAlias = LoadData | Prepare | Assist | Search | Measure


def same(one: Prepare, other: Prepare | Assist) -> bool:
    """Whether both make the same features, though perhaps for two cells."""
    a, b = ((View.of(job.cell), job.modality, job.encoder) for job in (one, other))
    return a == b


J = TypeVar("J", bound=Job)


def bare(job: J) -> J:
    """The job without what is of a plugin's own class, its target: so it can be read where no plugin is loaded yet."""
    return job if isinstance(job, LoadData) else replace(job, cell=_aimed(job.cell, lambda name: None))


def whole(job: J, catalog: Catalog) -> J:
    """A bare job with its target again, which is its data set's."""
    if isinstance(job, LoadData):
        return job
    return replace(job, cell=_aimed(job.cell, lambda name: catalog.datasets[name].target))


def _aimed(cell: Cell, target: Callable[[str], Any]) -> Cell:
    task = replace(cell.task, target=target(cell.task.dataset))
    return replace(cell, task=task, parent=cell.parent and _aimed(cell.parent, target))
