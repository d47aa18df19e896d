"""From records to a leaderboard: a pure function of what the store holds.

`leaderboard` gives a plain row for each task and contender, as `--format json` prints them; `report` draws them.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

from mmbench.api.parts import Metric
from mmbench.api.parts.scores import sign
from mmbench.api.record import Refit
from mmbench.api.suite import on_board
from mmbench.board.derived import against_parent
from mmbench.board.entries import GAP, Entry, entries, figure, mean, metric_names
from mmbench.board.folds import LACKING
from mmbench.board.stats import resampling as stats
from mmbench.board.stats.family import Family, holm
from mmbench.board.stats.moderated import far_seed
from mmbench.store.reading import RunData
from mmbench.trust.registration import standing

Row: TypeAlias = dict[str, Any]
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

UNTESTED: Row = dict.fromkeys(("low", "high", "p", "corrected", "correction"))
"""What a difference has instead where it can't be tested."""


def leaderboard(
    run: RunData | Sequence[RunData], metrics: Mapping[str, Metric], *, intervals: Collection[str] | None = None
) -> list[Row]:
    """A row for each task and contender: the suite's tasks in order, best contender first.

    Several runs make one board only where `gate` puts them together: same conditions, no contender twice. Rows that
    did not end well have their status and reason, and no rank; nor has one whose tuned metric has no score, which stays
    "ok" with the reason. `intervals` names the metrics that get one beside the tuned metric, by default those that
    say so (`Metric.interval`). What was not measured is None. Raises StoreError if stored predictions are damaged.
    """
    import numpy as np  # noqa: F401  the limit holds for libraries that are loaded
    from threadpoolctl import threadpool_limits

    # The matrices are small: a second thread gains little on an idle machine and costs much on a busy one.
    if intervals is None:
        intervals = [name for name, metric in metrics.items() if metric.interval]
    with threadpool_limits(1):
        return _leaderboard([run] if isinstance(run, RunData) else run, metrics, intervals)


def _leaderboard(runs: Sequence[RunData], metrics: Mapping[str, Metric], intervals: Collection[str]) -> list[Row]:
    rows: list[Row] = []
    standings = {run.path: standing(run) for run in runs}
    order = list(dict.fromkeys(name for run in runs for task in run.suite.tasks for name in on_board(task)))
    tasks = {task for run in runs for task in run.tasks}
    for task in sorted(tasks, key=lambda t: (t not in order, _index(order, t), t)):
        found = entries(runs, metrics, task)
        for entry in found:  # before any metric is wanted of all: a prediction's metrics share work in turn
            entry.draw({entry.record.metric, *intervals})
        scored = [entry for entry in found if entry.record.status == "ok" and entry.score is not None]
        singles = reference_first(found)
        tests = family(scored, found[0].record.metric, singles) if _tested(scored) else None
        ranks = tests.ranks() if tests else _ranks_of_means(scored)
        found.sort(key=lambda entry: _place(entry, ranks))
        own = []
        for entry in found:
            row = _row(entry, found, ranks.get(entry.record.contender), singles, tests, intervals)
            own.append({**row, "plan": standings[entry.run.path](entry.record)})
        for name in ("tuning_gain", "validation_gap"):
            _correct(own, name)
        rows += own
        found.clear()  # its entries know it, so that their predictions would wait for the garbage collector
    return rows


def _index(order: Sequence[str], name: str) -> int:
    return order.index(name) if name in order else len(order)


def _place(entry: Entry, ranks: Mapping[str, int]) -> tuple[float, float, str]:
    name = entry.record.contender
    return ranks.get(name, float("inf")), -entry.sign * (entry.score or 0.0), name


def _tested(entries: Sequence[Entry]) -> bool:
    """Whether anything is known of any contender but its mean."""
    return any(entry.unsure(entry.record.metric) or entry.draws(entry.record.metric) for entry in entries)


def family(entries: Sequence[Entry], metric: str, singles: Sequence[Entry]) -> Family:
    """The tests of a task's contenders by one metric, the best first; each has a mean. Of `singles` the first is the
    reference, and its rivals are all that saw more than one modality.

    Without predictions of both, unequal means are taken to differ, so that they don't share a rank.
    """
    by_name = {entry.record.contender: entry for entry in entries}
    mean_of = {name: entry.mean(metric) or 0.0 for name, entry in by_name.items()}
    better = sign(entries[0].record.directions.get(metric, "max")) if entries else 1
    names = sorted(by_name, key=lambda name: (-better * mean_of[name], name))
    unsure = {name for name, entry in by_name.items() if entry.unsure(metric)}

    def p_value(first: str, second: str) -> float:
        if {first, second} & unsure:
            return 1.0  # nothing is known of one of them, so nothing tells them apart
        a, b = by_name[first].draws(metric), by_name[second].draws(metric)
        if a is None or b is None:
            return 1.0 if mean_of[first] == mean_of[second] else 0.0
        return stats.difference(a, b).p

    drawn = [by_name[name].draws(metric) for name in names]
    return Family(
        names,
        p_value,
        covariance=stats.covariance(drawn) if any(drawn) else None,
        reference=singles[0].record.contender if singles else None,
        rivals=[name for name, entry in by_name.items() if not entry.single],
    )


def _ranks_of_means(entries: Sequence[Entry]) -> dict[str, int]:
    """Without any predictions equal means share a rank."""
    depth = {entry.record.contender: -entry.sign * (entry.score or 0.0) for entry in entries}
    names = sorted(depth, key=lambda name: (depth[name], name))
    first = {depth[name]: place for place, name in reversed(list(enumerate(names, start=1)))}
    return {name: first[depth[name]] for name in names}


def _correct(rows: Sequence[Row], name: str) -> None:
    """Add the p of a difference that each contender has of its own, corrected for all contenders that were tested."""
    tested = [row[name] for row in rows if row[name] and row[name]["p"] is not None]
    adjusted = holm([found["p"] for found in tested])
    for found, p in zip(tested, adjusted, strict=True):
        found |= {"corrected": p, "correction": f"Holm, {len(tested)} contender{'s' * (len(tested) > 1)}"}


def reference_first(entries: Sequence[Entry]) -> list[Entry]:
    """The single modalities, the one to beat first: it is chosen by its score on validation, never on test. What is
    derived from one was not tuned as the others were."""
    singles = [e for e in entries if e.kind == "single" and e.record.status == "ok" and e.valid is not None]
    return sorted(singles, key=lambda e: (-e.sign * (e.valid or 0.0), e.record.contender))


def _reference(entry: Entry, singles: Sequence[Entry]) -> Row | None:
    """Of the single modality to beat: its score on validation, and by how much it was ahead of the next there."""
    if not singles or entry is not singles[0]:
        return None
    second = singles[1] if len(singles) > 1 else None
    margin = entry.sign * ((entry.valid or 0.0) - (second.valid or 0.0)) if second else None
    return {"valid": entry.valid, "next": second.record.contender if second else None, "margin": margin}


def _gain(entry: Entry, reference: Entry | None, tests: Family | None) -> Row | None:
    """The entry minus the best single modality, positive where it is better.

    `p` is that of this test alone; `corrected` is of the tests that also make the ranks.
    """
    if reference is None or entry.single or entry.score is None or reference.score is None:
        return None
    metric = entry.record.metric
    ours, theirs = entry.draws(metric), reference.draws(metric)
    gain: Row = {"mean": entry.sign * (entry.score - reference.score), **UNTESTED}
    if tests and ours and theirs:
        found = stats.difference(ours, theirs, sign=entry.sign)
        pair = entry.record.contender, reference.record.contender
        gain |= {"low": found.low, "high": found.high, "p": found.p}
        gain |= {"corrected": tests.p(*pair), "correction": tests.correction(*pair)}
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
    gain: Row = {"mean": 0.0, **UNTESTED}
    if _default_won(entry):
        return gain
    metric = entry.record.metric
    default = entry.mean(metric, "default")
    if entry.score is None or default is None:
        return None
    ours, theirs = entry.draws(metric), entry.draws(metric, "default")
    if ours and theirs:
        return {**UNTESTED, **vars(stats.difference(ours, theirs, sign=entry.sign))}
    return gain | {"mean": entry.sign * (entry.score - default)}


def _gap(entry: Entry) -> Row | None:
    """By how much validation, which chose, was kinder than test."""
    metric = entry.record.metric
    apart, draws = entry.gaps(metric), entry.draws(metric, GAP)
    if not apart:
        return None
    if draws is None:
        return {"mean": mean(apart), **UNTESTED}
    return {**UNTESTED, **vars(stats.against_0(draws))}


def _curves(refits: Sequence[Refit]) -> Row:
    """Each damage's scores by severity, mean over seeds, and the area under them over the range of severities.

    None for a severity at which a seed has no score, and for the area then.
    """
    curves: Row = {}
    for name in sorted({name for refit in refits for name in refit.curves}):
        by_severity: dict[float, list[float | None]] = {}
        for refit in refits:
            for severity, score in refit.curves.get(name, ()):
                by_severity.setdefault(severity, []).append(score)
        means = {severity: _whole_mean(scores) for severity, scores in sorted(by_severity.items())}
        if means:
            points = [(severity, score) for severity, score in means.items() if score is not None]
            area = _area(points) if len(points) == len(means) else None
            curves[name] = {"points": [list(point) for point in means.items()], "area": area}
    return curves


def _whole_mean(scores: Sequence[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return mean(known) if len(known) == len(scores) else None


def _area(points: Sequence[tuple[float, float]]) -> float:
    """The mean height of the line through the points."""
    if len(points) < 2:
        return points[0][1]
    total = sum((right[0] - left[0]) * (left[1] + right[1]) / 2 for left, right in pairwise(points))
    return total / (points[-1][0] - points[0][0])


def _why_unranked(entry: Entry) -> str | None:
    why = entry.unscored(entry.record.metric)
    return f"no {entry.record.metric}: {why}" if why else None


def _far_seed(entry: Entry) -> Row | None:
    """{"seed", "score", "others": [lowest, highest]} of a seed that lies far from the contender's others."""
    metric = entry.record.metric
    own, refits = entry.alone(metric), [r for r in entry.refits("tuned") if metric in r.metrics]
    if own is None or len(refits) != own.seeds:
        return None
    scores = [refit.metrics[metric] for refit in refits]
    place = far_seed(scores, own, [peer.alone(metric) for peer in entry.peers if peer is not entry])
    if place is None:
        return None
    others = sorted(scores[:place] + scores[place + 1 :])
    return {"seed": refits[place].seed, "score": scores[place], "others": [others[0], others[-1]]}


def _row(
    entry: Entry,
    found: Sequence[Entry],
    rank: int | None,
    singles: Sequence[Entry],
    tests: Family | None,
    intervals: Collection[str],
) -> Row:
    record = entry.record
    fine = record.status == "ok"
    wanted = {record.metric, *intervals}
    throughput = mean([r.train_throughput for r in entry.refits("tuned") if r.train_throughput is not None])
    cost = {**dict.fromkeys(COSTS), **record.cost}
    cost |= {name: figure(cost[name]) for name in COSTS if name != "device"}
    if cost["train_throughput"] is None:
        cost["train_throughput"] = throughput
    return {
        "task": record.task,
        "contender": record.contender,
        "status": "missing" if LACKING in record.dataset else record.status,
        "reason": record.reason or (_why_unranked(entry) if fine else None),
        "rank": rank,
        "best": {"p": tests.best(record.contender), "correction": tests.of_best} if tests and rank else None,
        "metric": record.metric,
        "direction": entry.direction,
        "kind": entry.kind,
        "modalities": list(record.modalities),
        "test_rows": rows.get("test") if isinstance(rows := record.dataset.get("rows"), Mapping) else None,
        "valid": entry.valid,
        "reference": _reference(entry, singles) if fine else None,
        "metrics": {name: entry.summary(name, interval=name in wanted) for name in metric_names(record)}
        if fine
        else {},
        "fusion_gain": _gain(entry, singles[0] if singles else None, tests) if fine else None,
        **({"parent": against_parent(entry, found, tests)} if fine and record.derived else {}),
        "default": _default(entry) if fine else None,
        "tuning_gain": _tuning_gain(entry) if fine else None,
        "validation_gap": _gap(entry) if fine else None,
        "cost": cost,
        "spent": {"trials": None, "seconds": None, "test_accesses": None}
        | {name: figure(value) for name, value in record.spent.items()},
        "sandbox": record.environment.get("sandbox"),
        "curves": _curves(entry.refits("tuned")) if fine else {},
        **({"far_seed": far} if fine and (far := _far_seed(entry)) else {}),
        **({"warnings": list(warnings)} if (warnings := record.dataset.get("warnings")) else {}),
    }
