"""Recomputes every score of every refit from the stored predictions and targets. Used by `verify`."""

import hashlib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from mmbench.api.parts import Metric
from mmbench.api.parts.scores import curve_point, scored
from mmbench.api.record import Record, Refit
from mmbench.api.suite import CorruptionSpec, Suite, TaskSpec, fold_of, task_of
from mmbench.engine import identity
from mmbench.errors import StoreError
from mmbench.store.reading import PREDICTIONS, RunData, load_predictions, load_run_targets
from mmbench.trust.cells import NETWORK
from mmbench.trust.contents import Contents, place
from mmbench.trust.findings import Finding

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

TEST = "test"
CLOSE = 1e-9
"""Relative: a sum of many numbers may differ in its last digits on another processor. The seal holds every digit."""


@dataclass
class Examiner:
    """Goes through a run's refits; counts what it recomputed, and which metrics' code is not what it was."""

    contents: Contents
    suite: Suite
    metrics: Mapping[str, Metric]
    judges: Mapping[str, Metric]
    """The same, as they are asked: those of plugins in a process of their own."""
    recomputed: int = 0
    changed: dict[str, str] = field(default_factory=dict)
    """{metric: how its source has changed since}"""
    notes: list[str] = field(default_factory=list)
    _alike: "dict[str, dict[str, tuple[str, Record, Refit]]]" = field(default_factory=dict)
    """{task, all its folds together: {hash of predictions on test: whose they are}}, of networks"""
    _truths: "dict[str, Array | None]" = field(default_factory=dict)

    def check(self) -> Iterator[Finding]:
        yield from self._targets()
        tasks = {task.name: task for task in self.suite.tasks}
        for cell in self.contents.cells.values():
            for _, record in cell.records[:1]:
                self._note_source(record)
                for where, refit in cell.refits:
                    at = f"{where}, {place(record)}, {refit.role} seed {refit.seed}"
                    if (task := task_of(record.task)) in tasks:
                        yield from self._refit(at, record, refit, tasks[task])

    def strangers(self) -> list[str]:
        """Files among the predictions that no row speaks of."""
        named = {entry["file"] for _, entry in self.contents.targets.values()}
        for cell in self.contents.cells.values():
            named |= {refit.predictions["file"] for _, refit in cell.refits if refit.predictions}
        folder = self.contents.folder / PREDICTIONS
        return sorted({path.name for path in folder.glob("*")} - named) if folder.is_dir() else []

    def _note_source(self, record: Record) -> None:
        if not record.identity:
            return
        then_of = {record.metric: record.parts.get(f"metric.{record.metric}"), **identity.judged_by(record)}
        for name, then in then_of.items():
            if name not in self.metrics or then is None:
                continue
            if (now := identity.source(self.metrics[name]).hash) != then:
                self.changed[name] = f"its source has changed since (then {then}, now {now})"

    def _targets(self) -> Iterator[Finding]:
        stored = {task: entry for task, (_, entry) in self.contents.targets.items()}
        run = RunData(self.suite, (), self.contents.folder, stored)
        for task, (where, _) in self.contents.targets.items():
            self._truths[task] = None
            try:
                self._truths[task] = load_run_targets(run, task)
            except StoreError as error:
                yield Finding("targets", f"{where}, {task}", _within(self.contents.folder, error))
        for where, record in self.contents.latest().values():
            truth, rows = self._truths.get(record.task), (record.dataset.get("rows") or {}).get("test")
            if record.status == "ok" and record.task not in self._truths:
                yield Finding("targets", where, "records.jsonl names no targets of this task")
            elif truth is not None and rows is not None and len(truth) != rows:
                yield Finding("targets", where, f"says {rows} test rows; there are {len(truth)} targets")

    def _refit(self, where: str, record: Record, refit: Refit, task: TaskSpec) -> Iterator[Finding]:
        if refit.status != "ok":
            if refit.metrics or refit.unscored or refit.curves or refit.predictions:
                yield Finding("scores", where, f"ended as {refit.status}, but has scores")
            return
        try:
            predictions = load_predictions(self.contents.folder, refit)
        except StoreError as error:
            yield Finding("predictions", where, _within(self.contents.folder, error))
            return
        file, due = (refit.predictions or {})["file"], _file(refit)
        if file != due:
            yield Finding("predictions", where, f"names {file}, the predictions of another; its own are {due}")
        yield from self._same(where, record, refit, predictions.get(TEST))
        points = {
            curve_point(task.metric, severity, name)
            for name, curve in refit.curves.items()
            for severity, score in curve
            if score is None
        }
        names = {**refit.metrics, **refit.unscored}.keys() - points
        if names != set(record.directions):
            odd = ", ".join(sorted(names ^ set(record.directions)))
            yield Finding("scores", where, f"its metrics are not those that the record gives directions of: {odd}")
        for name in sorted(points - refit.unscored.keys() | (refit.metrics.keys() & refit.unscored.keys())):
            what = "has a score and a reason why not" if name in refit.metrics else "has no score, and no reason why"
            yield Finding("scores", where, f"{name} {what}")
        truth = self._truths.get(record.task)
        if truth is None:
            return
        stated_of = {**dict.fromkeys(refit.unscored.keys() - points), **refit.metrics}
        for name, stated in stated_of.items():
            direction = record.directions.get(name)
            yield from self._score(where, name, stated, truth, predictions.get(TEST), direction=direction)
        yield from self._curves(where, record, refit, task, truth, predictions)

    def _same(self, where: str, record: Record, refit: Refit, found: "Array | None") -> Iterator[Finding]:
        """Two trainings don't come to the same predictions in every digit, unless these are the same for all rows."""
        if found is None or found.dtype.kind != "f" or NETWORK not in refit.params or (found == found[:1]).all():
            return
        known = self._alike.setdefault(task_of(record.task), {})
        digest = hashlib.sha256(found.tobytes()).hexdigest()
        at, other, first = known.setdefault(digest, (where, record, refit))
        if at == where:
            return
        what = f"its predictions are, to the last digit, those of {place(other)}, {first.role} seed {first.seed}"
        if record.cell == other.cell and not record.derived and refit.seed != first.seed:
            yield Finding("predictions", where, f"{what}: one training was stored for two")
        elif record.task != other.task:
            folds = fold_of(record.task)[1] != fold_of(other.task)[1]
            why = "two folds have no row in common" if folds else "other train rows give other predictions"
            yield Finding("predictions", where, f"{what}: {why}")
        elif refit.params != first.params:
            self.notes.append(f"{where}: {what}")

    def _curves(
        self,
        where: str,
        record: Record,
        refit: Refit,
        task: TaskSpec,
        truth: "Array",
        predictions: "Mapping[str, Array]",
    ) -> Iterator[Finding]:
        specs = [spec for spec in task.corruptions if spec.modality in record.modalities and refit.role == "tuned"]
        due = {f"{spec.name} {spec.modality}": _arrays(spec) for spec in specs}
        for name in sorted(set(due) ^ set(refit.curves)):
            what = "is missing" if name in due else "is none that suite.toml asks for"
            yield Finding("scores", where, f"the curve {name!r} {what}")
        for name in set(due) & set(refit.curves):
            points = {float(severity): score for severity, score in refit.curves[name]}
            if list(points) != [float(severity) for severity in due[name]]:
                yield Finding("scores", where, f"the curve {name!r} has other severities than suite.toml")
                continue
            for severity, array in due[name].items():
                label = curve_point(task.metric, severity, name)
                prediction = predictions.get(array)
                yield from self._score(where, task.metric, points[float(severity)], truth, prediction, label=label)

    def _score(
        self,
        where: str,
        name: str,
        stated: float | None,
        truth: "Array",
        prediction: "Array | None",
        *,
        direction: str | None = None,
        label: str | None = None,
    ) -> Iterator[Finding]:
        label = label or name
        if name not in self.metrics:
            what = f"{label} can't be recomputed: no plugin here has the metric {name!r}; load it with --plugin"
            yield Finding("scores", where, what)
            return
        metric = self.metrics[name]
        if direction is not None and metric.direction != direction:
            yield Finding("scores", where, f"the record says {direction} is better for {label}; {metric.direction} is")
        if prediction is None:
            yield Finding("scores", where, f"{label}: its predictions are not in the file")
            return
        found = scored(self.judges[name], truth, prediction)
        since = f"; {self.changed[name]}" if name in self.changed else ""
        if isinstance(found, str):
            if stated is not None and math.isfinite(stated):
                yield Finding("scores", where, f"{label} is {stated!r}, but can't be recomputed: {found}{since}")
            else:
                self.recomputed += 1
            return
        self.recomputed += 1
        if stated is None or not math.isclose(found, stated, rel_tol=CLOSE, abs_tol=CLOSE):
            said = "said to have no score" if stated is None else repr(stated)
            what = f"{label} is {said}, but {found!r} by the stored predictions and targets{since}"
            yield Finding("scores", where, what)


def _arrays(spec: CorruptionSpec) -> dict[float, str]:
    """{severity: the name of its predictions among a refit's arrays}"""
    return {severity: f"{spec.name}/{spec.modality}/{severity:g}" for severity in spec.severities}


def _file(refit: Refit) -> str:
    """The file that a refit's predictions are stored in."""
    whole = re.fullmatch("[0-9a-f]{8,64}", refit.cell)
    key = refit.cell if whole else hashlib.sha256(refit.cell.encode()).hexdigest()[:32]
    return f"{key}.{refit.role}.{refit.seed}.safetensors"


def _within(folder: Path, error: StoreError) -> str:
    """The error, its file named from the run folder on."""
    return str(error).replace(f"{folder}/", "")
