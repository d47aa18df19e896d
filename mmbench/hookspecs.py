"""The whole plugin contract on one page: what mmbench asks of every plugin.

A plugin is a module (or one .py file) that answers any of these hooks; each is called once, when the Catalog is
loaded. Register it with an entry point of the group "mmbench", or name it with `--plugin MODULE_OR_FILE`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from mmbench.api.executor import Executor
from mmbench.api.parts import Corruption, Dataset, Encoder, Fusion, Metric, Objective
from mmbench.api.parts.compressor import Compressor
from mmbench.api.parts.head import Head
from mmbench.api.parts.training import Optimizer, Schedule
from mmbench.api.record import Record, Trial
from mmbench.api.suite import Suite

if TYPE_CHECKING:
    import typer

PROJECT = "mmbench"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def mmbench_datasets() -> list[type[Dataset]]:  # type: ignore[empty-body]
    """Datasets: typed columns, a target, fixed splits."""


@hookspec
def mmbench_encoders() -> list[type[Encoder]]:  # type: ignore[empty-body]
    """Encoders: one modality to token features."""


@hookspec
def mmbench_fusions() -> list[type[Fusion]]:  # type: ignore[empty-body]
    """Fusions: several modalities' features to one vector or a decision."""


@hookspec
def mmbench_objectives() -> list[type[Objective]]:  # type: ignore[empty-body]
    """Objectives: the training signal beyond the task's loss."""


@hookspec
def mmbench_optimizers() -> list[type[Optimizer]]:  # type: ignore[empty-body]
    """Optimizers: how weights are updated from their gradients."""


@hookspec
def mmbench_schedules() -> list[type[Schedule]]:  # type: ignore[empty-body]
    """Schedules: the learning rate over a training."""


@hookspec
def mmbench_compressors() -> list[type[Compressor]]:  # type: ignore[empty-body]
    """Compressors: a trained model made smaller or faster."""


@hookspec
def mmbench_heads() -> list[type[Head]]:  # type: ignore[empty-body]
    """Heads: what a type of target means, from its labels to the loss and the predictions."""


@hookspec
def mmbench_metrics() -> list[type[Metric]]:  # type: ignore[empty-body]
    """Metrics: predictions against the labels."""


@hookspec
def mmbench_corruptions() -> list[type[Corruption]]:  # type: ignore[empty-body]
    """Corruptions: damaged values, by severity."""


@hookspec
def mmbench_executors() -> list[type[Executor]]:  # type: ignore[empty-body]
    """Executors: where jobs run, and how their messages come back."""


@hookspec(firstresult=True)
def mmbench_own_data(name: str, table: Mapping[str, Any], folder: Path) -> Dataset | None:
    """The data set that a suite's `[task.data]` describes; its paths are relative to `folder`. Reads no file yet."""


@hookspec(firstresult=True)
def mmbench_own_encoder(name: str, table: Mapping[str, Any], folder: Path) -> Encoder | None:
    """The encoder that a suite's `[encoder.NAME]` describes; its paths are relative to `folder`. Reads no weights."""


@hookspec(firstresult=True)
def mmbench_guess(name: str, source: Path, folder: Path) -> str | None:
    """The `[[task]]` of a suite in `folder` about the file or folder `source`, as TOML with comments."""


@hookspec
def mmbench_commands(app: "typer.Typer") -> None:
    """Add commands to `mmbench`."""


@hookspec
def mmbench_run_started(suite: Suite, folder: Path) -> None:
    """A run starts or resumes. Observers change nothing."""


@hookspec
def mmbench_trial_finished(cell: Any, trial: Trial) -> None:
    """A trial was stored."""


@hookspec
def mmbench_record_written(record: Record) -> None:
    """A record was stored."""
