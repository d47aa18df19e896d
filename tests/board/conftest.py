"""Small runs, stored as real ones are, for the tests of ranks and reports."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

from mmbench.api.parts import Metric
from mmbench.api.record import Record, Refit
from mmbench.api.suite import Budget, ContenderSpec, Suite, TaskSpec, size_of
from mmbench.store.reading import RunData, read_run
from mmbench.store.writing import Store

Array: TypeAlias = np.ndarray[Any, Any]
TRUTH = np.arange(200) % 4


class Accuracy(Metric):
    """How many rows get their own class as the most probable."""

    name = "accuracy"
    targets = ("label",)

    def score(self, truth: Array, prediction: Array) -> float:
        return float((prediction.argmax(1) == truth).mean())

    def resampled(self, truth: Array, prediction: Array, rows: Array) -> Array:
        return np.asarray((prediction.argmax(1) == truth)[rows].mean(1))


class Distance(Metric):
    """Mean distance of the own class's probability from 1."""

    name = "distance"
    targets = ("label",)
    direction = "min"

    def score(self, truth: Array, prediction: Array) -> float:
        return float(1 - prediction[np.arange(len(truth)), truth].mean())

    def resampled(self, truth: Array, prediction: Array, rows: Array) -> Array:
        return np.asarray(1 - prediction[np.arange(len(truth)), truth][rows].mean(1))


METRICS: dict[str, Metric] = {"accuracy": Accuracy(), "distance": Distance()}


def predicted(accuracy: float, seed: int) -> Array:
    """Probabilities whose decisions are right for that share of the rows."""
    draw = np.random.default_rng(seed)
    decided = np.where(draw.permutation(len(TRUTH)) < accuracy * len(TRUTH), TRUTH, (TRUTH + 1) % 4)
    return np.asarray(0.9 * np.eye(4)[decided] + 0.025)


def record(task: str, contender: str, **other: Any) -> Record:
    first = Record(
        cell=f"{task}/{contender}",
        suite={"name": "small", "version": 1, "hash": "x"},
        task=task,
        contender=contender,
        status="ok",
        reason=None,
        metric="accuracy",
        directions={"accuracy": "max", "distance": "min"},
        dataset={"name": task, "fingerprint": "x", "licence": "MIT", "rows": {"test": len(TRUTH)}},
        modalities={"image": "image", "text": "text"},
        params={"width": 64},
        default_params={"width": 32},
        space_hash="x",
        parts={},
        cost={"parameters": 12_345, "latency_ms_p50": 1.25, "throughput": 9_876.0, "peak_memory_bytes": 2**20},
        spent={"trials": 8, "failed": 0, "pruned": 1, "seconds": 75.0},
    )
    return replace(first, **other)


Cells: TypeAlias = Sequence[Mapping[str, Any]]
"""For each cell: task, contender, `tuned` and `default` accuracies, one a seed, `valid`, and fields of the record."""
Build: TypeAlias = Callable[..., RunData]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    def builder(cells: Cells, *, predictions: bool = True) -> RunData:
        names = list(dict.fromkeys(cell["task"] for cell in cells))
        sizes: dict[str, tuple[int, ...]] = {}
        for own, size in map(size_of, names):
            sizes[own] = (*sizes.get(own, ()), *([size] if size else []))
        tasks = tuple(TaskSpec(n, n, "accuracy", train_sizes=own) for n, own in sizes.items())
        suite = Suite("small", 1, Budget(), tasks, (ContenderSpec("concat"),))
        with Store.open(tmp_path / "results" / "small", suite) as store:
            for name in names if predictions else ():
                store.add_targets(name, TRUTH)
            for cell in cells:
                _add(store, dict(cell), predictions)
        return read_run(tmp_path / "results" / "small")

    return builder


def _add(store: Store, cell: dict[str, Any], predictions: bool) -> None:
    accuracies = {"tuned": cell.pop("tuned", ()), "default": cell.pop("default", ())}
    valid, curves, epochs = cell.pop("valid", 0.5), cell.pop("curves", {}), cell.pop("epochs", 1)
    made = record(**cell)
    refits = []
    for role, scores in accuracies.items():
        for seed, accuracy in enumerate(scores):
            arrays = predicted(accuracy, seed=100 * len(made.contender) + seed)
            refit = Refit(
                cell=made.cell,
                role="tuned" if role == "tuned" else "default",
                seed=seed,
                params={},
                status="ok",
                reason=None,
                valid=valid,
                metrics={name: metric.score(TRUTH, arrays) for name, metric in METRICS.items()},
                curves=curves,
                predictions=None,
                epochs=epochs,
                seconds=1.0,
                train_throughput=500.0,
            )
            refits.append(store.add_refit(refit, {"test": arrays} if predictions else None))
    store.add_record(replace(made, refits=refits))


IMAGE, TEXT = {"image": "image"}, {"text": "text"}
CELLS: list[dict[str, Any]] = [
    {"task": "b", "contender": "concat", "tuned": [0.6, 0.6]},
    {"task": "a", "contender": "majority", "tuned": [0.25, 0.25, 0.25], "default": [0.2, 0.2, 0.2], "epochs": 0},
    {"task": "a", "contender": "only text", "tuned": [0.60, 0.61, 0.59], "valid": 0.7, "modalities": TEXT},
    {"task": "a", "contender": "only image", "tuned": [0.65, 0.65, 0.66], "valid": 0.6, "modalities": IMAGE},
    {"task": "a", "contender": "gated", "tuned": [0.86, 0.84, 0.85], "default": [0.7, 0.7, 0.7]},
    {"task": "a", "contender": "concat", "tuned": [0.85, 0.85, 0.85]},
    {"task": "a", "contender": "broken", "status": "error", "reason": "loss became NaN"},
    {"task": "a", "contender": "mbt", "status": "skipped", "reason": "needs tokens"},
]


@pytest.fixture
def cells() -> list[dict[str, Any]]:
    return CELLS


@pytest.fixture
def metrics() -> dict[str, Metric]:
    return METRICS
