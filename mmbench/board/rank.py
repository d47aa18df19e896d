"""From records to a leaderboard: a pure function of what the store holds.

`leaderboard` gives a plain row for each task and contender, as `--format json` prints them; `report` draws them.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

from mmbench.api.parts import Metric
from mmbench.api.record import Record, Refit
from mmbench.board.stats import resampling as stats
from mmbench.board.stats.moderated import moderated
from mmbench.errors import StoreError
from mmbench.store.reading import RunData, load_predictions, load_run_targets
from mmbench.trust.registration import standing

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

Row: TypeAlias = dict[str, Any]
FAR = 1e100
"""Beyond it a figure is no figure: sums and squares would not be finite."""
TEST = "test"
"""The name of the plain test predictions among a refit's arrays; others are of damaged inputs."""
GAP = "gap"
"""In place of a refit's role: validation minus test."""
COSTS = (
    "parameters",
    "flops",
    "latency_ms_p50",
    "latency_ms_p99",
    "throughput",
    "train_throughput",
    "peak_memory_bytes",
    "device_memory_bytes",
    "device",
)
HEADLINE = (
    *("accuracy", "balanced_accuracy", "precision", "recall", "f1", "log_loss"),
    *("micro_f1", "macro_f1", "map", "mae", "rmse", "r2", "spearman", "mrr", "median_rank"),
    *(f"recall@{k}{side}" for k in (1, 5, 10) for side in ("", "_forward", "_backward")),
)
"""Metrics that get an interval, beside the tuned one: more would make the board slow to draw."""


@dataclass
class Entry:
    """A record with what its predictions say."""

    record: Record
    run: RunData
    metrics: Mapping[str, Metric]
    truth: "Array | None"
    rows: stats.Resamples | None
    peers: "Sequence[Entry]" = ()
    """The task's entries, this one among them."""
    _alone: dict[tuple[str, str], stats.Draws | None] = field(default_factory=dict)
    _draws: dict[tuple[str, str], stats.Draws | None] = field(default_factory=dict)

    @property
    def direction(self) -> str:
        return self.record.directions.get(self.record.metric, "max")

    @property
    def sign(self) -> int:
        return 1 if self.direction == "max" else -1

    @property
    def single(self) -> bool:
        return len(self.record.modalities) == 1

    @property
    def score(self) -> float | None:
        """The tuned metric on test, mean over seeds."""
        return _mean(self.record.scores(self.record.metric))

    @property
    def valid(self) -> float | None:
        """The tuned metric on validation, mean over the refits."""
        return _mean([refit.valid for refit in self.refits("tuned") if refit.valid is not None])

    def refits(self, role: str) -> list[Refit]:
        return [refit for refit in self.record.refits if refit.role == role and refit.status == "ok"]

    @cached_property
    def predictions(self) -> "dict[str, list[Array]]":
        """{role: predictions of each seed}; none for a role if any of its seeds has none."""
        found: dict[str, list[Array]] = {}
        for role in ("tuned", "default"):
            refits = self.refits(role)
            if refits and all(refit.predictions for refit in refits):
                loaded = [load_predictions(self.run.path, refit) for refit in refits]
                found[role] = [arrays[TEST] for arrays in loaded if TEST in arrays]
        return found

    def draws(self, metric: str, role: str = "tuned") -> stats.Draws | None:
        """The score in resamples; None where predictions, targets or the metric's plugin are missing.

        How far seeds scatter is judged together with the task's other contenders, tuned and default ones.
        """
        if (metric, role) not in self._draws:
            together = ("tuned", "default") if metric == self.record.metric and role != GAP else (role,)
            kin = [(entry, own) for entry in self.peers or (self,) for own in together]
            found = moderated([entry.alone(metric, own) for entry, own in kin])
            for (entry, own), draws in zip(kin, found, strict=True):
                entry._draws[metric, own] = draws
        return self._draws[metric, role]

    def draw(self, metrics: Collection[str]) -> None:
        for metric in _metric_names(self.record):
            if metric in metrics:
                self.alone(metric)

    def alone(self, metric: str, role: str = "tuned") -> stats.Draws | None:
        """The same as `draws`, from this contender's seeds only."""
        if (metric, role) not in self._alone and self.record.status == "ok":
            self._alone[metric, role] = self._draw_gap(metric) if role == GAP else self._draw(metric, role)
        return self._alone.get((metric, role))

    def _draw_gap(self, metric: str) -> stats.Draws | None:
        """Validation minus test; None where a seed lacks either, or the number of validation rows is not known."""
        apart, draws = self.gaps(metric), self.draws(metric)
        rows = self.record.dataset.get("rows") or {}
        if draws is None or not rows.get("validation") or len(apart) != draws.seeds:
            return None
        return stats.gap(draws, apart, validation_items=rows["validation"])

    def gaps(self, metric: str) -> list[float]:
        """By how much validation was kinder than test, for each refit that has both."""
        refits = [r for r in self.refits("tuned") if r.valid is not None and metric in r.metrics]
        return [self.sign * ((r.valid or 0.0) - r.metrics[metric]) for r in refits]

    def _draw(self, metric: str, role: str) -> stats.Draws | None:
        predictions = self.predictions.get(role)
        if not predictions or self.truth is None or self.rows is None or metric not in self.metrics:
            return None
        where = f"{self.run.path}: task {self.record.task!r}, contender {self.record.contender!r}"
        if any(len(prediction) != len(self.truth) for prediction in predictions):
            raise StoreError(f"{where}: there are not as many predictions as targets")
        part, scores = self.metrics[metric], self.record.scores(metric, role)
        if len(scores) != len(predictions) or None in map(_figure, scores):
            return None
        try:
            return stats.draw(part, self.truth, predictions, self.rows, scores=scores)
        except (ValueError, IndexError) as error:
            raise StoreError(f"{where}: {metric} can't score the stored predictions: {error}") from error

    def summary(self, metric: str, role: str = "tuned", *, interval: bool = True) -> Row | None:
        scores = self.record.scores(metric, role)
        if not scores:
            return None
        draws = self.draws(metric, role) if interval else None
        low, high = draws.interval() if draws else (None, None)
        return {"mean": _mean(scores), "low": low, "high": high, "n_seeds": len(scores)}


def leaderboard(
    run: RunData | Sequence[RunData], metrics: Mapping[str, Metric], *, intervals: Collection[str] = HEADLINE
) -> list[Row]:
    """A row for each task and contender: the suite's tasks in order, best contender first.

    Several runs make one board only where `gate` puts them together: same conditions, no contender twice. Rows that
    did not end well have their status and reason, and no rank. `intervals` names the metrics that get one beside the
    tuned metric. What was not measured is None. Raises StoreError if stored predictions are damaged.
    """
    import numpy as np  # noqa: F401  the limit holds for libraries that are loaded
    from threadpoolctl import threadpool_limits

    # The matrices are small: a second thread gains little on an idle machine and costs much on a busy one.
    with threadpool_limits(1):
        return _leaderboard([run] if isinstance(run, RunData) else run, metrics, intervals)


def _leaderboard(runs: Sequence[RunData], metrics: Mapping[str, Metric], intervals: Collection[str]) -> list[Row]:
    rows: list[Row] = []
    standings = {run.path: standing(run) for run in runs}
    order = list(dict.fromkeys(task.name for run in runs for task in run.suite.tasks))
    tasks = {task for run in runs for task in run.tasks}
    for task in sorted(tasks, key=lambda t: (t not in order, _index(order, t), t)):
        found = entries(runs, metrics, task)
        for entry in found:  # before any metric is wanted of all: a prediction's metrics share work in turn
            entry.draw({entry.record.metric, *intervals})
        ranks = _ranks([entry for entry in found if entry.record.status == "ok" and entry.score is not None])
        reference = _best_single(found)
        found.sort(key=lambda entry: _place(entry, ranks))
        for entry in found:
            row = _row(entry, ranks.get(entry.record.contender), reference, intervals)
            rows.append({**row, "plan": standings[entry.run.path](entry.record)})
        found.clear()  # its entries know it, so that their predictions would wait for the garbage collector
    return rows


def entries(runs: Sequence[RunData], metrics: Mapping[str, Metric], task: str) -> list[Entry]:
    """The records of `task`, all with the same test targets, ready to be drawn and compared."""
    truth = next((load_run_targets(run, task) for run in runs if task in run.targets), None)
    rows = stats.item_rows(len(truth)) if truth is not None and len(truth) else None
    found = [Entry(record, run, metrics, truth, rows) for run in runs for record in run.of(task)]
    for entry in found:
        entry.peers = found
    return found


def _index(order: Sequence[str], name: str) -> int:
    return order.index(name) if name in order else len(order)


def _place(entry: Entry, ranks: Mapping[str, int]) -> tuple[float, float, str]:
    name = entry.record.contender
    return ranks.get(name, float("inf")), -entry.sign * (entry.score or 0.0), name


def _ranks(entries: Sequence[Entry]) -> dict[str, int]:
    """Ranks by the mean score; those that can't be told apart share one. Without predictions, equal means do."""
    by_name = {entry.record.contender: entry for entry in entries}
    depth = {name: -entry.sign * (entry.score or 0.0) for name, entry in by_name.items()}
    depth = {name: math.inf if math.isnan(below) else below for name, below in depth.items()}  # no number: the last
    names = sorted(by_name, key=lambda name: (depth[name], name))
    if all(entry.draws(entry.record.metric) is None for entry in entries):  # no need to look at every pair
        first = {depth[name]: place for place, name in reversed(list(enumerate(names, start=1)))}
        return {name: first[depth[name]] for name in names}

    def p_value(first: str, second: str) -> float:
        one, other = by_name[first], by_name[second]
        a, b = one.draws(one.record.metric), other.draws(other.record.metric)
        if a is None or b is None:
            return 1.0 if one.score == other.score else 0.0
        return stats.difference(a, b).p

    return stats.tied_ranks(names, p_value)


def _best_single(entries: Sequence[Entry]) -> Entry | None:
    """The single modality to beat, chosen by its score on validation, never on test."""
    singles = [e for e in entries if e.single and e.record.status == "ok" and e.valid is not None]
    return min(singles, key=lambda e: (-e.sign * (e.valid or 0.0), e.record.contender), default=None)


def _gain(entry: Entry, reference: Entry | None) -> Row | None:
    """The entry minus the best single modality, positive where it is better."""
    if reference is None or entry.single or entry.score is None or reference.score is None:
        return None
    metric = entry.record.metric
    ours, theirs = entry.draws(metric), reference.draws(metric)
    gain: Row = {"mean": entry.sign * (entry.score - reference.score), "low": None, "high": None, "p": None}
    if ours and theirs:
        found = stats.difference(ours, theirs, sign=entry.sign)
        gain |= {"low": found.low, "high": found.high, "p": found.p}
    return gain | {"against": reference.record.contender}


def _default(entry: Entry) -> Row | None:
    """The default configuration's score; it is not refitted where it is the one that won."""
    record = entry.record
    found = entry.summary(record.metric, "tuned" if _default_won(entry) else "default")
    return {"metric": record.metric, **found} if found else None


def _default_won(entry: Entry) -> bool:
    return not entry.refits("default") and dict(entry.record.params) == dict(entry.record.default_params)


def _tuning_gain(entry: Entry) -> Row | None:
    """The tuned configuration minus the default one, positive where it is better; 0 where the default one won."""
    gain: Row = {"mean": 0.0, "low": None, "high": None, "p": None}
    if _default_won(entry):
        return gain
    metric = entry.record.metric
    default = _mean(entry.record.scores(metric, "default"))
    if entry.score is None or default is None:
        return None
    ours, theirs = entry.draws(metric), entry.draws(metric, "default")
    if ours and theirs:
        return vars(stats.difference(ours, theirs, sign=entry.sign)).copy()
    return gain | {"mean": entry.sign * (entry.score - default)}


def _gap(entry: Entry) -> Row | None:
    """By how much validation, which chose, was kinder than test."""
    metric = entry.record.metric
    apart, draws = entry.gaps(metric), entry.draws(metric, GAP)
    if not apart:
        return None
    if draws is None:
        return {"mean": _mean(apart), "low": None, "high": None, "p": None}
    return vars(stats.against_0(draws)).copy()


def _curves(refits: Sequence[Refit]) -> Row:
    """Each damage's scores by severity, mean over seeds, and the area under them over the range of severities."""
    curves: Row = {}
    for name in sorted({name for refit in refits for name in refit.curves}):
        by_severity: dict[float, list[float]] = {}
        for refit in refits:
            for severity, score in refit.curves.get(name, ()):
                by_severity.setdefault(severity, []).append(score)
        points = [(severity, sum(scores) / len(scores)) for severity, scores in sorted(by_severity.items())]
        if points:
            curves[name] = {"points": [list(point) for point in points], "area": _area(points)}
    return curves


def _area(points: Sequence[tuple[float, float]]) -> float:
    """The mean height of the line through the points."""
    if len(points) < 2:
        return points[0][1]
    total = sum((right[0] - left[0]) * (left[1] + right[1]) / 2 for left, right in pairwise(points))
    return total / (points[-1][0] - points[0][0])


def _row(entry: Entry, rank: int | None, reference: Entry | None, intervals: Collection[str]) -> Row:
    record = entry.record
    fine = record.status == "ok"
    wanted = {record.metric, *intervals}
    throughput = _mean([r.train_throughput for r in entry.refits("tuned") if r.train_throughput is not None])
    cost = {**dict.fromkeys(COSTS), **record.cost}
    cost |= {name: _figure(cost[name]) for name in COSTS if name != "device"}
    if cost["train_throughput"] is None:
        cost["train_throughput"] = throughput
    return {
        "task": record.task,
        "contender": record.contender,
        "status": record.status,
        "reason": record.reason,
        "rank": rank,
        "metric": record.metric,
        "direction": entry.direction,
        "modalities": list(record.modalities),
        "test_rows": rows.get("test") if isinstance(rows := record.dataset.get("rows"), Mapping) else None,
        "valid": entry.valid,
        "metrics": {name: entry.summary(name, interval=name in wanted) for name in _metric_names(record)}
        if fine
        else {},
        "fusion_gain": _gain(entry, reference) if fine else None,
        "default": _default(entry) if fine else None,
        "tuning_gain": _tuning_gain(entry) if fine else None,
        "validation_gap": _gap(entry) if fine else None,
        "cost": cost,
        "spent": {"trials": None, "seconds": None, "test_accesses": None}
        | {name: _figure(value) for name, value in record.spent.items()},
        "sandbox": record.environment.get("sandbox"),
        "curves": _curves(entry.refits("tuned")) if fine else {},
        **({"warnings": list(warnings)} if (warnings := record.dataset.get("warnings")) else {}),
    }


def _figure(value: Any) -> Any:
    """The value if it is a number that one can reckon with, else None: a record may come from anyone."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if number and abs(value) < FAR else None


def _metric_names(record: Record) -> list[str]:
    """The tuned metric first, then as the refits have them."""
    names = dict.fromkeys([record.metric, *(name for refit in record.refits for name in refit.metrics)])
    return [name for name in names if record.scores(name)]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
