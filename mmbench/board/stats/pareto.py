"""Score against a cost: which contenders of a task no other beats in both, for `leaderboard --by pareto` and the site.

A contender is on the front if none has at least its score for at most its cost, and is better in one of them. The front
is that of the means; whether neighbours on it differ in score is for their ranks to say.
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
    "flops": ("cost", "flops", "FLOPs a row"),
    "memory": ("cost", "peak_memory_bytes", "bytes at the peak"),
    "device_memory": ("cost", "device_memory_bytes", "bytes on the device"),
    "search": ("spent", "seconds", "seconds of search and refits"),
}
"""{name: (where in a row, under which key, what it counts)}; less is better in all of them."""


@dataclass(frozen=True)
class Point:
    """A contender's mean score and cost, and whether it is on the front."""

    row: Row
    score: float
    cost: float
    front: bool


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
        on_front = front([(sign(direction) * score, value) for _, score, value in known])
        points = [Point(row, score, value, on) for (row, score, value), on in zip(known, on_front, strict=True)]
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


def front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """For each (score, cost) whether it is on the front; more score is better, less cost is."""
    found = [False] * len(points)
    best, best_cost = float("-inf"), float("inf")
    for place in sorted(range(len(points)), key=lambda i: (points[i][1], -points[i][0])):
        score, cost = points[place]
        found[place] = score > best or (score == best and cost == best_cost)
        if score > best:
            best, best_cost = score, cost
    return found
