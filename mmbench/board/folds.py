"""Joins the folds of a task: every row of the data set is test in one of them, so a contender has one row for all.

Each contender's predictions of all folds stand one after the other, those of one seed as one seed's, and are scored
anew against the joined targets. What was spent is summed, what was measured is the mean over folds. `gate` and
`compare` call it; what they then see is a run like any other.
"""

import hashlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from mmbench.api.parts import Metric
from mmbench.api.parts.scores import curve_point, scored
from mmbench.api.record import Record, Refit
from mmbench.api.suite import CorruptionSpec, TaskSpec, fold_name, fold_of, on_board
from mmbench.store.reading import Lazy, RunData

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

TEST = "test"
LACKING = "lacking"
"""Stands in a joined record's `dataset` where it can't be scored because folds have no record."""
Parts: TypeAlias = tuple[Refit, ...]


def joined(run: RunData, metrics: Mapping[str, Metric]) -> RunData:
    """The run with its folds joined; the run itself if its suite has none. Scores need the metrics' plugins."""
    tasks = {name: replace(task, name=name) for task in run.suite.tasks if task.folds for name in on_board(task)}
    if not tasks or isinstance(run, _JoinedRun):
        return run
    folds = _Folds(run, metrics, tasks)
    targets = {name: stored for name, stored in run.targets.items() if fold_of(name)[0] not in tasks}
    for name, task in tasks.items():
        own = [run.targets.get(fold, {}).get("sha256") for fold in _names(task)]
        if all(own):
            targets[name] = {"file": "", "sha256": hashlib.sha256("".join(map(str, own)).encode()).hexdigest()}
    return _JoinedRun(suite=run.suite, records=_Records(folds), path=run.path, targets=targets, folds=folds)


@dataclass(frozen=True)
class _JoinedRun(RunData):
    """A run as its board sees it."""

    folds: "_Folds | None" = field(default=None, compare=False)

    def predictions(self, refit: Refit) -> "dict[str, Array]":
        assert self.folds is not None
        return self.folds.predictions(refit)

    def truth(self, task: str) -> "Array":
        assert self.folds is not None
        return self.folds.truth(task)

    def behind(self, record: Record) -> Sequence[Record]:
        assert self.folds is not None
        return self.folds.behind.get(record.cell) or (record,)


class _Records(Lazy):
    """The records of a run, each made of those of its folds when it is first asked for."""

    def __init__(self, folds: "_Folds") -> None:
        self._folds = folds
        self.cells = list(folds.places)

    def __len__(self) -> int:
        return len(self.cells)

    def at(self, place: int) -> Record:
        return self._folds.record(self.cells[place])


class _Folds:
    """What a run stores of folds, and what is made of it."""

    def __init__(self, run: RunData, metrics: Mapping[str, Metric], tasks: Mapping[str, TaskSpec]) -> None:
        self.run, self.metrics, self.tasks = run, metrics, tasks
        self.places: dict[tuple[str, str], array[int]] = {}
        """Where the records of each task and contender stand in the run."""
        for place, (name, contender) in enumerate(run.cells):
            self.places.setdefault((fold_of(name)[0], contender), array("q")).append(place)
        self.behind: dict[str, tuple[Record, ...]] = {}
        """{cell of a joined record: the records it is made of}"""
        self._made: dict[tuple[str, str], Record] = {}
        self._parts: dict[tuple[str, str, int], Parts] = {}
        self._truths: dict[str, Array] = {}

    def record(self, cell: tuple[str, str]) -> Record:
        task, places = self.tasks.get(cell[0]), self.places[cell]
        if task is None:
            return self.run.records[places[-1]]
        if cell not in self._made:
            found = [self.run.records[place] for place in places]
            self._made[cell] = self._join(task, {record.task: record for record in found})
        return self._made[cell]

    def truth(self, task: str) -> "Array":
        if task not in self.tasks:
            return self.run.truth(task)
        if task not in self._truths:
            self._truths[task] = _concatenated([self.run.truth(name) for name in _names(self.tasks[task])])
        return self._truths[task]

    def predictions(self, refit: Refit) -> "dict[str, Array]":
        parts = self._parts.get((refit.cell, refit.role, refit.seed))
        if parts is None:
            return self.run.predictions(refit)
        loaded = [self.run.predictions(part) for part in parts]
        whole = [name for name in loaded[0] if all(name in arrays for arrays in loaded)]
        return {name: _concatenated([arrays[name] for arrays in loaded]) for name in whole}

    def _join(self, task: TaskSpec, found: Mapping[str, Record]) -> Record:
        folds = [found[name] for name in _names(task) if name in found]
        first = folds[0]
        key = hashlib.sha256("".join(record.cell for record in folds).encode()).hexdigest()[:20]
        self.behind[key] = tuple(folds)
        made = replace(
            first,
            cell=key,
            task=task.name,
            params=_agreed([record.params for record in folds]),
            refits=(),
            cost=_mean([record.cost for record in folds]),
            spent=_sum([record.spent for record in folds]),
            environment=_agreed([record.environment for record in folds]),
            dataset={**first.dataset, "rows": None},
        )
        if trouble := _trouble(task, found):
            return replace(made, **trouble)
        rows = [record.dataset.get("rows") or {} for record in folds]
        counts = {split: [own[split] for own in rows if split in own] for split in ("train", "validation", "test")}
        counts["train"] = [round(sum(counts["train"]) / max(1, len(counts["train"])))]
        made = replace(made, dataset={**made.dataset, "rows": {split: sum(own) for split, own in counts.items()}})
        return replace(made, refits=tuple(self._refits(task, made, folds)))

    def _refits(self, task: TaskSpec, made: Record, folds: Sequence[Record]) -> Iterable[Refit]:
        roles = ["tuned"]
        if any(refit.role == "default" for record in folds for refit in record.refits):
            roles.append("default")  # in a fold where the default one won, its tuned refits are those of the default
        for role in roles:
            own = [_of_role(record, role) for record in folds]
            for seed in sorted(set.intersection(*(set(refits) for refits in own))):
                yield self._refit(task, made, role, tuple(refits[seed] for refits in own))

    def _refit(self, task: TaskSpec, made: Record, role: Any, parts: Parts) -> Refit:
        speeds = [part.train_throughput for part in parts if part.train_throughput is not None]
        valid = [part.valid for part in parts if part.valid is not None]
        stored = all(part.predictions for part in parts)
        refit = replace(
            parts[0],
            cell=made.cell,
            role=role,
            params=made.params if role == "tuned" else made.default_params,
            valid=sum(valid) / len(valid) if len(valid) == len(parts) else None,
            metrics={},
            curves={},
            unscored={},
            epochs=sum(part.epochs for part in parts),
            seconds=sum(part.seconds for part in parts),
            train_throughput=sum(speeds) / len(speeds) if speeds else None,
            predictions=dict(parts[0].predictions or {}) if stored else None,
        )
        self._parts[refit.cell, role, refit.seed] = parts
        if not stored or any(name not in self.run.targets for name in _names(task)):
            gone = "the predictions or targets of some folds are not stored"
            return replace(refit, unscored=dict.fromkeys(made.directions, gone))
        return self._scored(task, made, refit)

    def _scored(self, task: TaskSpec, made: Record, refit: Refit) -> Refit:
        truth, predictions = self.truth(task.name), self.predictions(refit)
        found = {name: self._score(name, truth, predictions.get(TEST)) for name in made.directions}
        curves: dict[str, list[tuple[float, float | None]]] = {}
        for spec in task.corruptions if refit.role == "tuned" else ():
            if spec.modality not in made.modalities:
                continue
            for severity in spec.severities:
                curve = f"{spec.name} {spec.modality}"
                score = self._score(made.metric, truth, predictions.get(_damaged(spec, severity)))
                curves.setdefault(curve, []).append((severity, None if isinstance(score, str) else score))
                if isinstance(score, str):
                    found[curve_point(made.metric, severity, curve)] = score
        return replace(
            refit,
            metrics={name: score for name, score in found.items() if not isinstance(score, str)},
            unscored={name: score for name, score in found.items() if isinstance(score, str)},
            curves=curves,
        )

    def _score(self, name: str, truth: "Array", predictions: "Array | None") -> float | str:
        if name not in self.metrics:
            return "joined folds are scored anew, and no plugin here has the metric"
        if predictions is None:
            return "not all folds have these predictions"
        return scored(self.metrics[name], truth, predictions)


def _names(task: TaskSpec) -> list[str]:
    return [fold_name(task.name, number) for number in range(1, (task.folds or 0) + 1)]


def _damaged(spec: CorruptionSpec, severity: float) -> str:
    return f"{spec.name}/{spec.modality}/{severity:g}"


def _of_role(record: Record, role: str) -> dict[int, Refit]:
    """{seed: the refit that ended well} of a fold."""
    roles = {refit.role for refit in record.refits}
    own = "tuned" if role == "default" and role not in roles and record.params == record.default_params else role
    return {refit.seed: refit for refit in record.refits if refit.role == own and refit.status == "ok"}


def _trouble(task: TaskSpec, found: Mapping[str, Record]) -> dict[str, Any]:
    """Status and reason of a contender that has no joined score; nothing if it has one."""
    names, first = _names(task), next(iter(found.values()))
    ended = {name: found[name] for name in names if name in found and found[name].status != "ok"}
    if ended:
        name, record = next(iter(ended.items()))
        alike = len(ended) == len(names) and len({own.reason for own in ended.values()}) == 1
        reason = record.reason if alike else f"fold {fold_of(name)[1]} of {task.folds}: {record.reason}"
        return {"status": record.status, "reason": reason}
    lacking = [str(fold_of(name)[1]) for name in names if name not in found]
    dataset = {**first.dataset, "rows": None, LACKING: lacking}
    if lacking:
        folds = f"fold{'s' * (len(lacking) > 1)} {', '.join(lacking)} of {task.folds}"
        verb = "have" if len(lacking) > 1 else "has"
        reason = f"{folds} {verb} no record: not run, or not to the end"
        return {"status": "skipped", "reason": reason, "dataset": dataset}
    if len({_version(record) for record in found.values()}) > 1:
        reason = "its folds are of different versions of its code, data or protocol: run it again"
        return {"status": "skipped", "reason": reason, "dataset": dataset}
    return {}


def _version(record: Record) -> tuple[object, ...]:
    """What all folds of a contender must have in common."""
    protocol, data = record.environment.get("protocol"), record.dataset.get("fingerprint")
    return protocol, data, record.metric, record.space_hash, tuple(sorted(record.parts.items()))


def _agreed(tables: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all of them say alike."""
    return {name: value for name, value in tables[0].items() if all(t.get(name) == value for t in tables)}


def _mean(tables: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean of numbers; of anything else what all say alike."""
    found = _agreed(tables)
    for name, value in tables[0].items():
        values = [table.get(name) for table in tables]
        if all(isinstance(own, Mapping) for own in values):
            found[name] = _mean([own for own in values if isinstance(own, Mapping)])
        elif isinstance(value, int | float) and not isinstance(value, bool) and name not in found:
            numbers = [own for own in values if isinstance(own, int | float)]
            found[name] = sum(numbers) / len(numbers) if len(numbers) == len(values) else None
    return found


def _sum(tables: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The sum of numbers, over the tables that have them."""
    names = dict.fromkeys(name for table in tables for name in table)
    return {name: sum(value for table in tables if isinstance(value := table.get(name), int | float)) for name in names}


def _concatenated(arrays: "Sequence[Array]") -> "Array":
    import numpy as np

    found = np.concatenate(arrays)
    found.flags.writeable = False  # as what is loaded from a file: see `store.reading`
    return found
