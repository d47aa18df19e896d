"""What a board says in sentences: how many fusions are shown to beat the best tuned single modality, among which
contenders the best is, which of these is the cheapest, and what tuning brought against what fusing brought.

A function of the leaderboard's rows, so that whoever has its JSON can compute it again. What is a fusion and what is
not is each row's `kind`, which `entries.kind` reads from the record; what is shown is decided by the corrected p of the
row, as its rank and its colour are. The report's formats and the site show it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from math import exp, log
from statistics import median
from typing import Any, TypeAlias

from mmbench.board import derived
from mmbench.board.figures import quantity, score, shown, signed, with_interval
from mmbench.board.stats.across import across, told_apart
from mmbench.board.stats.learning import largest, many
from mmbench.board.stats.pareto import cheapest
from mmbench.board.stats.reference import LEVEL

Row: TypeAlias = dict[str, Any]
COST = "latency_ms_p50"
"""What the cheapest is the cheapest in: all contenders have it, also those that train no parameters."""
SURE = f"{1 - LEVEL:.0%} confidence"
KINDS = {
    "fusion": "a fusion",
    "single": "a single modality",
    "baseline": "a baseline",
    "derived": "a derived contender",
}


@dataclass(frozen=True)
class Counts:
    """Fusions by what the test against the best single modality shows."""

    better: int = 0
    not_told_apart: int = 0
    worse: int = 0
    untested: int = 0
    unscored: int = 0
    """Failed, skipped or missing, or without a score in the tuned metric."""

    @property
    def scored(self) -> int:
        return self.better + self.not_told_apart + self.worse + self.untested


@dataclass(frozen=True)
class Median:
    """The median of a difference over some fusions, and for how many of them it is shown to be above 0."""

    median: float
    of: int
    shown: int


@dataclass(frozen=True)
class Verdict:
    """What one task says, in figures and in sentences; None where it does not say it."""

    task: str
    metric: str
    reference: Row | None
    """{"contender", "mean", "valid", "next", "margin"}: the single modality that validation chose."""
    fusions: Counts
    best: Row | None
    """The best score: {"contender", "kind", "mean", "low", "high", "not_told_apart": how many others may be the best,
    "confidence": how sure it is that the best is among all of these, "among": their names}"""
    cheapest: Row | None
    """{"contender", "kind", "cost", "value"}: of those that share the first rank, the best included."""
    tuning: Median | None
    fusing: Median | None
    sentences: Sequence[str] = field(default=())


def verdicts(rows: Sequence[Row]) -> dict[str, Any]:
    """{"tasks": a verdict for each board and task, "overall": one of all, None for a single task or several boards}"""
    by_task: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        by_task.setdefault((row.get("board") or "", row["task"]), []).append(row)
    tasks = [{**({"board": board} if board else {}), **asdict(verdict(own))} for (board, _), own in by_task.items()]
    boards = {board for board, _ in by_task}
    return {"tasks": tasks, "overall": overall(rows) if many(rows) and len(boards) == 1 else None}


def verdict(rows: Sequence[Row]) -> Verdict:
    """What the rows of one task say."""
    ranked = [row for row in rows if row["rank"] is not None]
    reference = next((row for row in ranked if row.get("reference")), None)
    fusions = [row for row in rows if row["kind"] == "fusion"]
    found = Verdict(
        task=rows[0]["task"],
        metric=rows[0]["metric"],
        reference=_reference(reference),
        fusions=_counts(fusions),
        best=_best(ranked),
        cheapest=_cheapest([row for row in ranked if row["rank"] == 1]),
        tuning=_median(fusions, "tuning_gain"),
        fusing=_median(fusions, "fusion_gain"),
    )
    seeds = min((row["metrics"][row["metric"]]["n_seeds"] for row in ranked), default=0)
    said = [*_on_fusing(found, fusions), *_on_the_reference(found), *_on_the_best(found, ranked), *_on_tuning(found)]
    return Verdict(**{**vars(found), "sentences": (*said, *derived.sentences(rows), *_on_seeds(seeds))})


def _reference(row: Row | None) -> Row | None:
    if row is None:
        return None
    return {"contender": row["contender"], "mean": row["metrics"][row["metric"]]["mean"], **row["reference"]}


def _counts(fusions: Sequence[Row]) -> Counts:
    gains = [row["fusion_gain"] for row in fusions if row["rank"] is not None]
    tested = [gain for gain in gains if gain and gain["corrected"] is not None]
    signs = [shown(gain) for gain in tested]
    return Counts(
        better=signs.count(1),
        not_told_apart=signs.count(0),
        worse=signs.count(-1),
        untested=len(gains) - len(tested),
        unscored=len(fusions) - len(gains),
    )


def _best(ranked: Sequence[Row]) -> Row | None:
    if not ranked:
        return None
    row, summary = ranked[0], ranked[0]["metrics"][ranked[0]["metric"]]
    among = [other["contender"] for other in ranked if other["rank"] == row["rank"]]
    own = {name: summary[name] for name in ("mean", "low", "high")} | _set(among, tested=bool(row.get("best")))
    return {"contender": row["contender"], "kind": row["kind"], **own}


def _set(among: Sequence[str], *, tested: bool = True) -> Row:
    return {"not_told_apart": len(among) - 1, "confidence": 1 - LEVEL if tested else None, "among": among}


def _cheapest(rows: Sequence[Row]) -> Row | None:
    row = cheapest(rows, COST)  # of equal ones the first, which scores most
    return (
        None
        if row is None
        else {"contender": row["contender"], "kind": row["kind"], "cost": COST, "value": row["cost"][COST]}
    )


def _median(fusions: Sequence[Row], name: str) -> Median | None:
    gains = [row[name] for row in fusions if row["rank"] is not None and row[name]]
    if not gains:
        return None
    return Median(median(gain["mean"] for gain in gains), len(gains), sum(shown(gain) > 0 for gain in gains))


def _on_fusing(found: Verdict, fusions: Sequence[Row]) -> list[str]:
    """How many fusions are shown to beat the reference, how many not, how many lose."""
    counts, reference = found.fusions, found.reference
    if not counts.scored:
        return [
            f"None of {_many(counts.unscored, 'fusion')} has a score." if counts.unscored else "There is no fusion."
        ]
    if reference is None:
        return [
            f"No single modality has a score, so nothing can be said of what fusing brings to "
            f"{_many(counts.scored, 'fusion')}."
        ]
    single = f"the best tuned single modality, {_called(reference)} ({found.metric} {score(reference['mean'])})"
    if counts.untested == counts.scored:
        ahead = sum(row["rank"] is not None and row["fusion_gain"]["mean"] > 0 for row in fusions)
        return [
            f"Nothing was tested: {ahead} of {_many(counts.scored, 'fusion')} {_verb(ahead, 'has', 'have')} a better "
            f"mean than {single}, which shows nothing without its predictions and its metric."
        ]
    corrected = next(
        row["fusion_gain"]["correction"] for row in fusions if (row["fusion_gain"] or {}).get("correction")
    )
    return [f"{_shown(counts, single)} (paired tests at 5%; {corrected}){_unscored(counts.unscored)}."]


def _shown(counts: Counts, single: str) -> str:
    if counts.scored == 1:
        how = (
            "is shown to beat"
            if counts.better
            else "is shown to lose to"
            if counts.worse
            else "can't be told apart from"
        )
        return f"The only fusion {how} {single}"
    if counts.not_told_apart == counts.scored:
        return f"None of {counts.scored} fusions is shown to beat {single}: none can be told apart from it"
    every = "Both" if counts.scored == 2 else f"All {counts.scored}"
    some = f"{every} fusions" if counts.better == counts.scored else None
    some = some or f"{counts.better or 'None'} of {counts.scored} fusions"
    parts = [f"{some} {_verb(max(1, counts.better), 'is', 'are')} shown to beat {single}"]
    if counts.worse:
        parts.append(f"{counts.worse} {_verb(counts.worse, 'is', 'are')} shown to lose to it")
    if counts.not_told_apart:
        parts.append(f"{counts.not_told_apart} can't be told apart from it")
    if counts.untested:
        parts.append(f"{counts.untested} could not be tested")
    return _joined(parts)


def _on_the_reference(found: Verdict) -> list[str]:
    """By what margin validation chose the single modality."""
    reference = found.reference
    if reference is None or not found.fusions.scored:
        return []
    if reference["next"] is None:
        return [f"{_called(reference)} is the only single modality that has a score."]
    valid, margin = score(reference["valid"]), reference["margin"]
    who, other = _called(reference), _quoted(reference["next"])
    if not margin:
        return [
            f"Validation did not choose between {who} and {other} ({valid} both): the first by name is the one to beat."
        ]
    return [f"{who} was chosen by validation ({valid}), {score(margin)} ahead of {other}."]


def _on_the_best(found: Verdict, ranked: Sequence[Row]) -> list[str]:
    best = found.best
    if best is None:
        return ["No contender has a score."]
    who = f"{_called(best)} ({with_interval(best)}{_kind(best)})"
    if len(ranked) == 1:
        return [f"{who} is the only contender with a score."]
    if best["low"] is None:
        return [f"{who} has the best mean; without an interval nothing says that it is the best."]
    ties = best["not_told_apart"]
    if not ties:
        return [f"{who} is the best, with {SURE}; the next is {_called(ranked[1])}."]
    others = _quoted(best["among"][1]) if ties == 1 else f"one of {ties} others"
    return [f"{who} has the best score; with {SURE} the best is it or {others}{_on_cost(found, ties)}."]


def _on_cost(found: Verdict, ties: int) -> str:
    cheapest, best = found.cheapest, found.best
    if cheapest is None or best is None:
        return ""
    what = f"{quantity(cheapest['value'])} ms a row"
    if cheapest["contender"] == best["contender"]:
        return f", {'which is not' if ties == 1 else 'none of them'} cheaper ({what})"
    if ties == 1:
        return f", which is cheaper ({what})"
    return f", the cheapest of them {_called(cheapest)} ({what}{_kind(cheapest)})"


def _on_tuning(found: Verdict) -> list[str]:
    """What tuning brought against what the method brought, both to the same fusions."""
    tuning, fusing, reference = found.tuning, found.fusing, found.reference
    said = [f"tuning brought {_brought(tuning)}"] if tuning else []
    said += [f"fusing brought {_brought(fusing)} over the tuned {_called(reference)}"] if fusing and reference else []
    if not said:
        return []
    of = (tuning or fusing or Median(0, 0, 0)).of
    return [f"{'In the median of ' + _many(of, 'fusion') + ', ' if of > 1 else ''}{' and '.join(said)}."]


def _brought(found: Median) -> str:
    how = f"shown for {found.shown or 'none'}" if found.of > 1 else "shown" if found.shown else "not shown"
    return f"{signed(found.median)} ({how})"


def _on_seeds(seeds: int) -> list[str]:
    if seeds == 1:
        return ["With one refit seed this speaks of other test items only, not of other trainings."]
    return ["With two refit seeds these tests are rough."] if seeds == 2 else []


def overall(rows: Sequence[Row]) -> dict[str, Any]:
    """What all tasks of a board say together: {"fusions", "tasks", "won", "best", "cheapest", "tuning", "fusing",
    "sentences"}."""
    rows = largest(rows)
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    found = [verdict([row for row in rows if row["task"] == task]) for task in tasks]
    compared = [own for own in found if own.reference and own.fusions.scored > own.fusions.untested]
    counts = Counts(*(sum(getattr(own.fusions, name) for own in compared) for name in Counts.__annotations__))
    won = [own.task for own in compared if own.fusions.better]
    alike = len({own.metric for own in found}) == 1  # a median over unlike metrics would mean nothing
    fusions = [row for row in rows if row["kind"] == "fusion"] if alike else []
    best, cheapest = _best_of_all(rows)
    tuning, fusing = _median(fusions, "tuning_gain"), _median(fusions, "fusion_gain")
    said = [*_on_tasks(counts, won, compared, found), *_on_the_best_of_all(best, cheapest)]
    if tuning and fusing:
        said.append(
            f"In the median of the {tuning.of} fusions on all tasks, tuning brought {_brought(tuning)} and fusing "
            f"{_brought(fusing)} over the best tuned single modality."
        )
    return {
        "tasks": len(tasks),
        "compared": len(compared),
        "won": won,
        "fusions": asdict(counts),
        "best": best,
        "cheapest": cheapest,
        "tuning": asdict(tuning) if tuning else None,
        "fusing": asdict(fusing) if fusing else None,
        "sentences": said,
    }


def _on_tasks(counts: Counts, won: Sequence[str], compared: Sequence[Verdict], found: Sequence[Verdict]) -> list[str]:
    if not compared:
        return [f"On none of {len(found)} tasks could a fusion be tested against a single modality."]
    beat, of = "shown to beat the best tuned single modality", _many(len(compared), "task")
    if len(compared) == 1:
        where = f"On {_quoted(compared[0].task)}, the only task where this was tested"
        first = f"{where}, {'a' if won else 'no'} fusion is {beat}"
    elif won:
        where = f" ({', '.join(map(_quoted, won))})" if len(won) < len(compared) else ""
        first = f"On {len(won)} of {of} a fusion is {beat}{where}"
    else:
        first = f"On none of {of} is a fusion {beat}"
    left, tested = len(found) - len(compared), counts.scored - counts.untested
    said = (
        f"{first}: of {_many(tested, 'comparison')} {counts.better} {_verb(counts.better, 'shows', 'show')} a gain, "
        f"{counts.worse} a loss, and {counts.not_told_apart} neither (corrected within each task)"
    )
    return [f"{said}; {_many(left, 'task')} had no such test." if left else f"{said}."]


def _best_of_all(rows: Sequence[Row]) -> tuple[Row | None, Row | None]:
    """The best average rank, and the cheapest of those that the best over all tasks can't be told from."""
    whole, apart = [row for row in across(rows) if row["average_rank"] is not None], told_apart(rows)
    if not whole or apart is None:
        return None, None
    first, group = whole[0]["contender"], apart["best"]
    kinds = {row["contender"]: row["kind"] for row in rows}
    best = {
        "contender": first,
        "kind": kinds[first],
        "average_rank": whole[0]["average_rank"],
        **_set(group),
    }
    latencies = {
        name: [row["cost"].get(COST) for row in rows if row["contender"] == name and row["rank"] is not None]
        for name in group
    }
    means = {
        name: exp(sum(map(log, own)) / len(own))
        for name, own in latencies.items()
        if own and all(value is not None and value > 0 for value in own)
    }
    if not means:
        return best, None
    cheapest = min(means, key=lambda name: means[name])
    return best, {"contender": cheapest, "kind": kinds[cheapest], "cost": COST, "value": means[cheapest]}


def _on_the_best_of_all(best: Row | None, cheapest: Row | None) -> list[str]:
    if best is None:
        return []
    ties = best["not_told_apart"]
    said = f"{_called(best)} has the best average rank ({best['average_rank']:.1f}{_kind(best)})"
    if not ties:
        return [f"{said}, and is the best over tasks like these with {SURE}."]
    others = _quoted(best["among"][1]) if ties == 1 else f"one of {ties} others"
    said += f"; with {SURE} the best over tasks like these is it or {others}"
    if cheapest is None:
        return [f"{said}."]
    what = f"{quantity(cheapest['value'])} ms a row, the geometric mean over tasks"
    if cheapest["contender"] == best["contender"]:
        return [f"{said}, {'which is not' if ties == 1 else 'none of them'} cheaper ({what})."]
    if ties == 1:
        return [f"{said}, which is cheaper ({what})."]
    return [f"{said}, the cheapest of them {_called(cheapest)} ({what}{_kind(cheapest)})."]


def _called(found: Row) -> str:
    return _quoted(found["contender"])


def _quoted(name: str) -> str:
    """A name of several words in quotation marks, so that none reads as a part of the sentence."""
    return f'"{name}"' if " " in name else name


def _kind(found: Row) -> str:
    return f"; {KINDS[found['kind']]}" if found["kind"] in KINDS and found["kind"] != "fusion" else ""


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _verb(count: int, one: str, more: str) -> str:
    return one if count == 1 else more


def _unscored(count: int) -> str:
    return f"; {count} more {_verb(count, 'has', 'have')} no score" if count else ""


def _joined(parts: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last
