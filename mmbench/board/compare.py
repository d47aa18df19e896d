"""Compares two contenders of a run on the same test items: what `mmbench compare` shows.

For each task that both were scored on: the difference of the means over seeds, its 95% interval and p, as the
leaderboard has them (how far seeds scatter is judged with all contenders of the run). Who is better is decided with the
ranks: by p corrected over all pairs of the task's contenders, or over all that are compared with the best single
modality, if it is one of the two. Where the target is one label, also on how many items which of the two was right.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from mmbench.api.parts import Metric
from mmbench.api.parts.scores import sign
from mmbench.board.entries import Entry, entries
from mmbench.board.folds import joined
from mmbench.board.gate.conditions import conditions
from mmbench.board.rank import family, reference_first
from mmbench.board.stats import resampling as stats
from mmbench.board.stats.family import Family
from mmbench.board.stats.reference import LEVEL
from mmbench.errors import MMBenchError, unknown
from mmbench.store.reading import RunData

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Comparison:
    """A against B on one task. `reason` says why there is none, where there is none; all else is then None or empty."""

    task: str
    metric: str
    direction: str
    reason: str | None = None
    first: float | None = None
    second: float | None = None
    difference: float | None = None
    """A minus B in units of the metric; its interval alike."""
    low: float | None = None
    high: float | None = None
    p: float | None = None
    corrected: float | None = None
    """p, corrected over all pairs of the task's contenders, or over the rivals of the reference."""
    correction: str | None = None
    """By what, and for how many."""
    better: str | None = None
    """The one that is better at 5% after the correction; None if neither is."""
    seeds: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    items: int | None = None
    discordance: Mapping[str, float] | None = None
    """{"both", "first", "second", "neither"}: on how many items these were right, the mean over all pairs of seeds."""
    left_out: int = 0
    """In how many of the resamples of the items one of the two has no score; they are left out for both."""
    resamples: int | None = None


def compare(
    run: RunData,
    metrics: Mapping[str, Metric],
    *,
    first: str,
    second: str,
    tasks: Collection[str] = (),
    metric: str | None = None,
) -> list[Comparison]:
    """A comparison for each of `tasks` (by default all); by `metric`, or each task's tuned one.

    Raises MMBenchError for a name that the run does not have, for two times the same, and if no task has both.
    """
    run = joined(run, metrics)
    contenders = {record.contender for record in run.records}
    for name in (first, second):
        if name not in contenders:
            raise MMBenchError(f"{run.path}: {unknown('contender', name, contenders)}")
    if first == second:
        raise MMBenchError(f"{first!r} can't be compared with itself; name another contender")
    known = list(dict.fromkeys(record.task for record in run.records))
    for task in tasks:
        if task not in known:
            raise MMBenchError(f"{run.path}: {unknown('task', task, known)}")
    _check_metric(run, metric)
    chosen = [task for task in known if not tasks or task in tasks]
    return [_on(run, metrics, task, (first, second), metric) for task in chosen]


def _check_metric(run: RunData, metric: str | None) -> None:
    known = {name for record in run.records for refit in record.refits for name in refit.metrics}
    known |= {name for record in run.records for name in record.directions}
    if metric is not None and metric not in known:
        raise MMBenchError(f"{run.path}: {unknown('metric', metric, known)}")


def _on(
    run: RunData, metrics: Mapping[str, Metric], task: str, names: tuple[str, str], metric: str | None
) -> Comparison:
    by_name = {entry.record.contender: entry for entry in entries([run], metrics, task)}
    any_record = next(iter(by_name.values())).record
    metric = metric or any_record.metric
    empty = Comparison(task, metric, any_record.directions.get(metric, "max"))
    reason = next((f"{name}: {text}" for name in names if (text := _unfit(by_name.get(name), metric))), None)
    if reason is not None:
        return replace(empty, reason=reason)
    one, other = (by_name[name] for name in names)
    apart = conditions(one.record, run).apart(conditions(other.record, run))
    if apart:
        return replace(empty, reason=f"not run under the same conditions: {apart}")
    draws = one.draws(metric), other.draws(metric)
    if draws[0] is None or draws[1] is None:
        unsure = [f"{name}: {text}" for name in names if (text := by_name[name].unsure(metric))]
        gone = f"predictions or the plugin of {metric} are missing, so nothing can be resampled"
        return replace(empty, reason="; ".join(unsure) or gone)
    found, tests = stats.difference(draws[0], draws[1]), _family(by_name.values(), one, metric)
    corrected = tests.p(*names)
    ahead = sign(empty.direction) * found.mean > 0
    return replace(
        empty,
        first=draws[0].mean,
        second=draws[1].mean,
        difference=found.mean,
        low=found.low,
        high=found.high,
        p=found.p,
        corrected=corrected,
        correction=tests.correction(*names),
        better=names[0 if ahead else 1] if corrected < LEVEL and found.mean else None,
        seeds=(_seeds(one), _seeds(other)),
        items=None if one.truth is None else len(one.truth),
        discordance=_discordance(one, other),
        left_out=stats.left_out(draws[0], draws[1]),
        resamples=len(draws[0].values),
    )


def _unfit(entry: Entry | None, metric: str) -> str | None:
    """Why a contender has no score to compare."""
    if entry is None:
        return "it has no record on this task"
    if entry.record.status != "ok":
        return f"{entry.record.status}: {entry.record.reason or 'no reason was given'}"
    if why := entry.unscored(metric):
        return f"no {metric}: {why}"
    return None if entry.record.scores(metric) else f"it has no {metric}"


def _seeds(entry: Entry) -> tuple[int, ...]:
    return tuple(refit.seed for refit in entry.refits("tuned"))


def _family(every: Iterable[Entry], one: Entry, metric: str) -> Family:
    """The tests that rank the contenders which share a board with `one`."""
    own = conditions(one.record, one.run)
    alike = [entry for entry in every if not own.apart(conditions(entry.record, entry.run))]
    return family([entry for entry in alike if _unfit(entry, metric) is None], metric, reference_first(alike))


def _discordance(one: Entry, other: Entry) -> dict[str, float] | None:
    """Items by who was right; None where no metric says which ones are."""
    a, b = _right(one), _right(other)
    if a is None or b is None:
        return None
    both = float((a * b).sum())
    return {
        "both": both,
        "first": float(a.sum()) - both,
        "second": float(b.sum()) - both,
        "neither": float(((1 - a) * (1 - b)).sum()),
    }


def _right(entry: Entry) -> "Array | None":
    """For each item [N] the share of the seeds that are right."""
    import numpy as np

    predictions = entry.predictions.get("tuned")
    if not predictions or entry.truth is None:
        return None
    for metric in (entry.metrics[name] for name in entry.record.directions if name in entry.metrics):
        found = [metric.right(entry.truth, prediction) for prediction in predictions]
        right = [each for each in found if each is not None]
        if right:
            return np.asarray(np.mean(right, axis=0))
    return None
