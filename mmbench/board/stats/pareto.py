"""Score against a cost: which contenders of a task no other beats in both, for `leaderboard --by pareto` and the site.

A contender is on the front if none has at least its score for at most its cost, and is better in one of them. Costs
that lie no further apart than their own noise count as equal. The front is that of the mean scores; whether neighbours
on it differ in score is for their ranks to say.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from mmbench.api.parts.scores import sign

Row: TypeAlias = Mapping[str, Any]

COSTS = {
    "latency": ("cost", "latency_ms_p50", "ms a row, median"),
    "parameters": ("cost", "parameters", "trained parameters"),
    "size": ("cost", "weight_bytes", "bytes of weights"),
    "flops": ("cost", "flops", "FLOPs a row"),
    "memory": ("cost", "peak_memory_bytes", "bytes at the peak"),
    "device_memory": ("cost", "device_memory_bytes", "bytes on the device"),
    "search": ("spent", "seconds", "seconds of search and refits"),
}
"""{name: (where in a row, under which key, what it counts)}; less is better in all of them."""
BETWEEN = 0.15
"""How far apart, as a share, the times of equal models lie in two processes of a quiet machine, three times of four:
each has its own place in memory, which rounds within one can't show. Measured: `python -m benchmarks costs`."""


@dataclass(frozen=True)
class Point:
    """A contender's mean score and cost, and whether it is on the front."""

    row: Row
    score: float
    cost: float
    front: bool
    noise: float = 0.0
    """By how much the cost of the same model may differ when it is measured again."""


@dataclass(frozen=True)
class Tradeoff:
    """A task's contenders by cost, the cheapest first, and those whose score or cost is not known."""

    task: str
    metric: str
    direction: str
    points: tuple[Point, ...]
    left_out: tuple[str, ...]


def tradeoffs(rows: Sequence[Row], cost: str) -> Iterator[Tradeoff]:
    """One for each task; `cost` is a name of COSTS."""
    place, key, _ = COSTS[cost]
    for task in dict.fromkeys(row["task"] for row in rows):
        own = [row for row in rows if row["task"] == task]
        metric, direction = own[0]["metric"], own[0]["direction"]
        found: list[tuple[Row, Any, Any]] = [(row, _score(row), (row.get(place) or {}).get(key)) for row in own]
        known = [(row, score, value) for row, score, value in found if _known(score) and _known(value)]
        unsure = [noise(row, key, rows) for row, _, _ in known]
        on_front = front([(sign(direction) * score, value) for _, score, value in known], unsure)
        points = [Point(*own, on, by) for own, on, by in zip(known, on_front, unsure, strict=True)]
        points.sort(key=lambda point: (point.cost, -point.score, point.row["contender"]))
        left_out = [row["contender"] for row, score, value in found if not (_known(score) and _known(value))]
        yield Tradeoff(task, metric, direction, tuple(points), tuple(left_out))


def _score(row: Row) -> Any:
    if row["rank"] is None:
        return None
    summary = row["metrics"].get(row["metric"])
    return summary["mean"] if summary else None


def _known(value: Any) -> bool:
    """Whether it is a finite number: a stranger's record may hold anything where a figure is expected."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def noise(row: Row, key: str, rows: Sequence[Row] = ()) -> float:
    """By how much a cost of this row may differ when the same model is measured again; 0 for what is counted.

    It is what lay between rounds, and by how much longer than beside others of `rows` the reference took beside it: a
    machine that was busy throughout is as slow in each round.
    """
    value, share = _in(row, key), _in(row, "spread", key)
    if value is None or share is None:
        return 0.0
    own = _in(row, "reference_ms", key)
    least = min((found for other in rows if (found := _in(other, "reference_ms", key))), default=None)
    busy = own / least - 1 if own and least and least > 0 else 0.0
    return max(share, busy, BETWEEN / 2) * abs(value)


def cheapest(rows: Sequence[Row], key: str) -> Row | None:
    """The first of the rows whose cost is as good as the least, by the noise of the calmer of the two; None if none has
    it. One that was measured in a storm is not cheap because nothing is known of it."""
    known = [(value, row) for row in rows if (value := _in(row, key)) is not None]
    if not known:
        return None
    least, one = min(known, key=lambda found: found[0])
    calm = noise(one, key, rows)
    near = (row for value, row in known if value <= least + 2 * min(noise(row, key, rows), calm))
    return next(near, one)  # one: where a stranger's figures have no sum


def _in(row: Row, *keys: str) -> float | None:
    """A number among the row's costs, if it is one."""
    found: Any = row.get("cost")
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if _known(found) else None


def front(points: Sequence[tuple[float, float]], noises: Sequence[float] | None = None) -> list[bool]:
    """For each (score, cost) whether it is on the front; more score is better, less cost is, by more than the noise of
    both."""
    unsure = noises or [0.0] * len(points)

    def beaten(i: int) -> bool:
        score, cost = points[i]
        for (other, price), own in zip(points, unsure, strict=True):
            apart = own + unsure[i]
            if (other >= score and price < cost - apart) or (other > score and price <= cost + apart):
                return True
        return False

    return [not beaten(i) for i in range(len(points))]
