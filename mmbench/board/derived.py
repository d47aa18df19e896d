"""A derived contender beside the one whose trained models it took: what it lost, and what it saves."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from mmbench.board.entries import Entry
from mmbench.board.figures import shown, with_interval
from mmbench.board.stats import pareto
from mmbench.board.stats import resampling as stats
from mmbench.board.stats.family import Family

Row: TypeAlias = dict[str, Any]

SAVED = {
    "size": ("weight_bytes", "of the bytes"),
    "nonzero": ("nonzero", "of the weights that are not zero"),
    "latency": ("latency_ms_p50", "of the latency"),
}
"""{name: (the cost, in words)}"""


def against_parent(entry: Entry, entries: Sequence[Entry], tests: Family | None) -> Row | None:
    """The entry minus its parent, positive where it is better; None for what is not derived, or has no parent here.

    Seeds are paired: each of its models was made of the parent's of the same seed. `p` is that of this test alone;
    `corrected` is of the tests that make the ranks.
    """
    name = (entry.record.derived or {}).get("of")
    parent = next((other for other in entries if other.record.contender == name), None)
    if parent is None or entry.score is None or parent.score is None:
        return None
    metric = entry.record.metric
    found: Row = {"contender": name, "mean": entry.sign * (entry.score - parent.score)}
    found |= dict.fromkeys(("low", "high", "p", "corrected", "correction"))
    ours, theirs = entry.draws(metric), parent.draws(metric)
    if tests and ours and theirs:
        apart = stats.difference(ours, theirs, sign=entry.sign)
        pair = entry.record.contender, parent.record.contender
        found |= {"low": apart.low, "high": apart.high, "p": apart.p}
        found |= {"corrected": tests.p(*pair), "correction": tests.correction(*pair)}
    return found


def saved(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Row:
    """{what: its share of the parent's}, of a derived row, where both were measured under the same conditions. A time
    that lies no further from the parent's than their noise is 1.0: neither faster nor slower."""
    parent = next((other for other in rows if other["contender"] == row["parent"]["contender"]), None)
    found: Row = {}
    for name, (cost, _) in SAVED.items() if parent else ():
        own, whole = row["cost"].get(cost), (parent or {})["cost"].get(cost)
        if not (isinstance(own, int | float) and isinstance(whole, int | float) and whole > 0):
            continue
        noise = sum(pareto.noise(each, cost, rows) for each in (row, parent or {}))
        found[name] = 1.0 if noise and abs(own - whole) <= noise else own / whole
    return found


def sentences(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """One for each derived row of a task: its difference to the parent, and its share of the costs."""
    for row in rows:
        if not row.get("parent"):
            continue
        apart = row["parent"]
        said = "not told apart from" if not shown(apart) else "better than" if apart["mean"] > 0 else "worse than"
        shares = saved(row, rows)
        costs = ", ".join(_share(name, share) for name, share in shares.items())
        yield (
            f"{row['contender']}, made of {apart['contender']}: {with_interval(apart, sign=True)} against it, "
            f"{said} it{f'; {costs}' if costs else ''}."
        )


def _share(name: str, share: float) -> str:
    words = SAVED[name][1]
    if name == "latency" and share == 1.0:
        return "as fast"
    return f"{share:.2f} {words}"
