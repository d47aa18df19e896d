"""How numbers and names look on a board. Names come from plugins and files: nothing in them may act on a terminal."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mmbench.api.parts import Metric
from mmbench.board.stats.learning import many
from mmbench.board.stats.reference import LEVEL


def plain(text: object) -> str:
    """Text that a terminal only shows: control characters and invisible ones are written out."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in str(text))


def shown_json(text: str) -> str:
    """The same JSON, in which strings hold nothing that a terminal obeys: such characters are escaped."""
    if text.replace("\n", "").isprintable():
        return text
    return text.translate({ord(c): json.dumps(c)[1:-1] for c in set(text) if not c.isprintable() and c != "\n"})


SMALL = 0.0005
"""Below it three decimals show nothing."""


def score(value: float | None, *, among: float | None = None) -> str:
    """Three decimals without the zero before the point: .842, 1.000, 12.34.

    Something smaller is 2e-04, unless `among`, the largest figure that it stands beside, has decimals: then it is .000.
    """
    if value is None:
        return "–"
    if value != value or abs(value) == float("inf"):
        return str(value)
    if 0 < max(abs(value), among or 0.0) < SMALL:
        return f"{value:.0e}"
    text = f"{value:.3f}" if abs(value) < 10 else f"{value:.4g}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def signed(value: float | None, *, among: float = 1.0) -> str:
    """A difference with its sign, by default one among others of three decimals."""
    text = score(value, among=among)
    return text if value is None or text.startswith("-") else f"+{text}"


def with_interval(summary: dict[str, Any] | None, *, sign: bool = False) -> str:
    """.842 [.811 .870]"""
    if summary is None:
        return "–"
    show, among = signed if sign else score, largest(summary)
    if summary["low"] is None:
        return show(summary["mean"])
    low, high = (show(summary[end], among=among) for end in ("low", "high"))
    return f"{show(summary['mean'], among=among)} [{low} {high}]"


def largest(summary: Mapping[str, Any]) -> float:
    """The largest of a mean and the ends of its interval: it says how small figures beside it may be shown."""
    known = [abs(summary[key]) for key in ("mean", "low", "high") if isinstance(summary.get(key), int | float)]
    return max((value for value in known if value < float("inf")), default=0.0)


def shown(difference: Mapping[str, Any] | None) -> int:
    """1 where a difference is shown to be above 0, at 5% after its correction; -1 below; 0 where it is not shown.

    Colours, bold figures and the verdict follow this.
    """
    if difference is None or difference.get("corrected") is None or difference["corrected"] >= LEVEL:
        return 0
    return 1 if difference["mean"] > 0 else -1


def rated(rating: dict[str, Any] | None) -> str:
    """1042 [1001 1090]"""
    if rating is None:
        return "–"
    interval = "" if rating["low"] is None else f" [{rating['low']:.0f} {rating['high']:.0f}]"
    return f"{rating['value']:.0f}{interval}"


NAMED = 6


def told(found: dict[str, Any] | None) -> list[str]:
    """A critical-difference diagram in words."""
    if found is None:
        return []
    chance = "< .001" if found["friedman_p"] < 0.001 else score(found["friedman_p"])
    lines = [
        f"Friedman's test over {found['tasks']} tasks: p {chance}. Critical difference "
        f"{found['critical_difference']:.1f} (Nemenyi, {found['contenders']} contenders, 5%): closer average ranks "
        "can't be told apart. With 95% confidence the best over tasks like these is within "
        f"{found['from_best']:.1f} of the first (comparisons with the best)."
    ]
    if found["groups"] and len(found["groups"][0]) == found["contenders"]:
        return [*lines, "By that, none of them can."]
    for number, group in enumerate(found["groups"], start=1):
        few = group if len(group) <= NAMED else [*group[: NAMED - 2], f"{len(group) - NAMED + 1} more", group[-1]]
        lines.append(f"{number}. not told apart: {', '.join(map(plain, few))}")
    return lines


def count(value: float | None) -> str:
    """Three digits and a unit: 999, 12.3k, 4.5M."""
    if value is None:
        return "–"
    for unit in ("", "k", "M", "G", "T"):
        if abs(value) < 999.5 or unit == "T":
            break
        value /= 1000
    return f"{value:.0f}{unit}" if not unit or abs(value) >= 99.95 else f"{value:.1f}{unit}"


def quantity(value: float | None) -> str:
    """Three digits: 0.12, 1.23, 12.3, 123."""
    if value is None:
        return "–"
    decimals = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{decimals}f}"


def mebibytes(value: float | None) -> str:
    return "–" if value is None else quantity(value / 2**20)


def duration(seconds: float | None) -> str:
    """48s, 12m, 3.4h."""
    if seconds is None:
        return "–"
    if seconds < 99.5:
        return f"{seconds:.0f}s"
    return f"{seconds / 60:.0f}m" if seconds < 99.5 * 60 else f"{seconds / 3600:.1f}h"


def short(metric: str, metrics: Mapping[str, Metric]) -> str:
    """A metric's name as the head of a narrow column."""
    return plain(metrics[metric].short or metric if metric in metrics else metric)


def beside(rows: list[dict[str, Any]], metrics: Mapping[str, Metric]) -> list[str]:
    """The metrics to show beside the tuned one: those that want a column, and those whose plugin is not here."""
    names = dict.fromkeys(name for row in rows for name in row["metrics"] if name != row["metric"])
    places = {name: metrics[name].column if name in metrics else Metric.column for name in names}
    return sorted((name for name in names if places[name] is not None), key=lambda name: places[name] or 0)


REFERENCE = "reference"
"""Stands in place of the gain of the single modality that all gains are over."""


def gained(row: Mapping[str, Any]) -> str:
    """The gain with its interval; of a single modality, that it is one, or that it is the one to beat."""
    if row.get("reference"):
        return REFERENCE
    return (
        "single"
        if row["fusion_gain"] is None and row.get("kind") == "single"
        else with_interval(row["fusion_gain"], sign=True)
    )


def paying(row: Mapping[str, Any]) -> str:
    """From how many train rows on a fusion of a learning curve is shown to pay."""
    if row["kind"] != "fusion":
        return ""
    return "–" if row["pays_from"] is None else f"{row['pays_from']:,}"


def told_by_sizes(point: Mapping[str, Any]) -> int:
    """As `shown`, of a point of a learning curve: by the p that is corrected for its sizes too."""
    return shown({"mean": point["gain"], "corrected": point["over_sizes"]})


def better(direction: str) -> str:
    return "lower is better" if direction == "min" else "higher is better"


def warnings(rows: list[dict[str, Any]]) -> list[str]:
    """What to beware of in the data of one task: what any of its records says, each once."""
    return list(dict.fromkeys(f"data: {plain(text)}." for row in rows for text in row.get("warnings", ())))


MARKS = {
    "added later": ("†", "added later: it was not in the plan that the run began with."),
    "changed since": ("‡", "changed since the plan that the run began with: its code, space, data or libraries."),
}


def named(row: dict[str, Any]) -> str:
    """The contender's name, marked if it is not what was planned."""
    mark = MARKS.get(row.get("plan") or "")
    return plain(row["contender"]) + (f" {mark[0]}" if mark else "")


POLICY = (
    "Ranked are the contenders that were scored. One that failed, was skipped or is missing on a task has no rank "
    "there and no average rank: nothing is imputed, and no mean passes over a gap."
)


def gaps(rows: list[dict[str, Any]]) -> list[str]:
    """Which metrics have no score, no interval, or resamples that were left out, and why."""
    ran: dict[str, list[str]] = {}
    lacking: dict[tuple[str, str, str, str], list[str]] = {}
    for row in rows:
        for metric, summary in row["metrics"].items():
            if summary and (said := _gap(summary)):
                lacking.setdefault((row["task"], metric, *said), []).append(row["contender"])
        if row["status"] == "ok":
            ran.setdefault(row["task"], []).append(row["contender"])
    alike: dict[tuple[str, str, str, tuple[str, ...]], list[str]] = {}
    for (task, metric, what, why), contenders in lacking.items():
        alike.setdefault((task, what, why, tuple(contenders)), []).append(metric)
    lines = []
    for (task, what, why, those), metrics in alike.items():
        who = "" if set(those) == set(ran.get(task, ())) else f" for {_few(those)}"
        lines.append(plain(f"{task}: {what} of {_few(metrics)}{who}: {why.removesuffix('.')}."))
    return lines


def _few(names: Sequence[str]) -> str:
    many = len(names) > 2 * NAMED
    return ", ".join(names[: 2 * NAMED - 1] if many else names) + (
        f", {len(names) - 2 * NAMED + 1} more" if many else ""
    )


def _gap(summary: Mapping[str, Any]) -> tuple[str, str] | None:
    if summary["mean"] is None:
        return "no score (–)", summary.get("reason") or "no reason was given"
    if summary.get("reason"):
        return "no interval", summary["reason"]
    if left := summary.get("left_out"):
        return f"left out {left['resamples']} of {left['of']} resamples, which have no score,", left["reason"]
    return None


FEW_SEEDS = {
    1: "One refit seed: the intervals are over test items only; they don't say what another seed would give.",
    2: "Two refit seeds: intervals, p and ranks are rough; from three on they hold what they say.",
}


def notes(rows: list[dict[str, Any]]) -> list[str]:
    """What a reader must know to read the board, for one task or several."""
    text = [
        "[low high] is the 95% interval of the mean over seeds, for other seeds and other test items: resamples of the "
        "items, Student's t for the seeds; each stands for itself, corrected for nothing.",
        *_on_ranks(rows),
    ]
    seeds = [row["metrics"][row["metric"]]["n_seeds"] for row in rows if row["rank"] is not None]
    text += [FEW_SEEDS[count] for count in {min(seeds, default=0)} & FEW_SEEDS.keys()]
    against = list(dict.fromkeys(chosen(row) for row in rows if row.get("reference")))
    if any(row["fusion_gain"] for row in rows):
        text.append(
            f"gain: minus the best single modality ({REFERENCE}), chosen by its validation score, never by test: "
            f"{'; '.join(against)}. Positive is better. Coloured or bold: shown at 5%, whatever its interval says, "
            f"corrected over all that are compared with it ({_corrections(rows, 'fusion_gain') or 'no test'}); who "
            "loses is then also shown not to be the best of those that rank with the other."
        )
    if any(shown(row["tuning_gain"]) or shown(row["validation_gap"]) for row in rows):
        text.append("search, val-test: coloured or bold where shown at 5%, corrected by Holm over a task's contenders.")
    if many(rows):
        text.append(
            "All tasks: average rank is that of the mean scores among contenders with all tasks, as Friedman's test "
            "has it, equals sharing theirs; rating is Bradley-Terry's, 1000 on average, 400 points being odds of ten "
            "to one, its interval (from 5 tasks on) over draws of the tasks."
        )
    text += [
        f"{mark} {meaning}" for state, (mark, meaning) in MARKS.items() if any(r.get("plan") == state for r in rows)
    ]
    return [*text, *_far_seeds(rows), *_test_seen(rows), *gaps(rows), *policy(rows)]


def _far_seeds(rows: list[dict[str, Any]]) -> list[str]:
    """The seeds that lie far from their contender's others, as those that collapsed do."""
    return [
        f"{plain(row['contender'])}, {plain(row['task'])}: seed {far['seed']} ({score(far['score'])}) lies far from "
        f"its others ({score(far['others'][0])} to {score(far['others'][1])}), as where a training collapses; "
        "more refit seeds tell how often it does."
        for row in rows
        if (far := row.get("far_seed"))
    ]


def chosen(row: Mapping[str, Any]) -> str:
    """ "only text, .792 on validation, .110 ahead of only image"."""
    found = row["reference"]
    ahead = f", {score(found['margin'])} ahead of {found['next']}" if found["next"] is not None else ""
    return plain(f"{row['contender']}, {score(found['valid'])} on validation{ahead}")


def _on_ranks(rows: list[dict[str, Any]]) -> list[str]:
    """What the ranks say, where anything was tested."""
    corrections = _corrections(rows, "best")
    if not corrections:
        return []
    return [
        "Rank 1: the best can't be told from these. With 95% confidence the one that is best on other items and with "
        f"other seeds is among them (paired on the same items; {corrections}). Below, the same is asked of those that "
        "are left. One whose score is very unsure may so rank above one that scores more."
    ]


def _corrections(rows: list[dict[str, Any]], name: str) -> str:
    """What such tests of each task are corrected for: "max-t, 14 rivals"."""
    found = dict.fromkeys((row.get(name) or {}).get("correction") for row in rows)
    return "; ".join(text for text in found if text)


def policy(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is done with contenders that have no rank, if there are any."""
    return [POLICY] if any(row["rank"] is None for row in rows) else []


def _test_seen(rows: list[dict[str, Any]]) -> list[str]:
    """How often test was scored, and whether its labels were hidden from the processes that tuned."""
    ranked = [row for row in rows if row["status"] == "ok"]
    seen = [row["spent"].get("test_accesses") or 0 for row in ranked]
    text = []
    if any(seen):
        text.append(f"test: scored {sum(seen)} times, once by each refit, at most {max(seen)} times a contender.")
    states = [str(row["sandbox"]) for row in ranked if row.get("sandbox")]
    open_ = sorted({plain(state.removeprefix("none: ")) for state in states if state.startswith("none")})
    if open_:
        text.append(f"Test labels were not hidden from the processes that tuned: {'; '.join(open_)}.")
    elif states:
        text.append("Test labels were hidden from the processes that tuned (Landlock).")
    return text
