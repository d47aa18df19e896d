"""What the first page shows of each board: rows with their figures as text and as plots, ready for the template."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from markupsafe import Markup

from mmbench.api.parts.scores import sign
from mmbench.board import figures
from mmbench.board.gate.boards import Board
from mmbench.board.site import drawing
from mmbench.board.site.drawing import Mark, Scale, finite
from mmbench.board.site.names import anchor, file_name
from mmbench.board.stats import pareto
from mmbench.board.stats.across import across, told_apart
from mmbench.board.stats.learning import curves, largest, many
from mmbench.board.verdict import overall, verdict

Row: TypeAlias = dict[str, Any]
View: TypeAlias = dict[str, Any]
"""What a template is given: text, numbers, Markup, and lists and dictionaries of them."""
PLOTTED = ("latency", "parameters")
"""The costs that the score is plotted against."""


def cell_page(board: Board, row: Row) -> str:
    """Where the page of a row lies."""
    return "cells/" + file_name(board.title, row["task"], row["contender"], suffix=".html")


def board_view(board: Board) -> View:
    """A board for the template: its tasks, and how contenders stand across them."""
    tasks = list(dict.fromkeys(row["task"] for row in board.rows))
    views = [_task(board, [row for row in board.rows if row["task"] == task]) for task in tasks]
    notes = [*figures.notes(board.rows), *board.notes] if board.rows else list(board.notes)
    return {
        "title": board.title,
        "id": anchor("board", board.title),
        "verdict": overall(board.rows)["sentences"] if many(board.rows) else [],
        "learning": [_learning(board, curve) for curve in curves(board.rows)],
        "tasks": views,
        "across": _across(board) if many(board.rows) else None,
        "notes": notes,
    }


def _task(board: Board, rows: Sequence[Row]) -> View:
    first = rows[0]
    ranked = [row for row in rows if row["rank"] is not None]
    scale = score_scale(ranked)
    gain_scale = _gain_scale(ranked)
    return {
        "name": first["task"],
        "id": anchor(board.title, first["task"]),
        "metric": first["metric"],
        "better": figures.better(first["direction"]),
        "verdict": verdict(rows).sentences,
        "falls": int(sign(first["direction"]) > 0),
        "test_rows": number(first["test_rows"]),
        "axis": drawing.axis(scale) if scale else "",
        "gain_axis": drawing.axis(gain_scale, sign=True) if gain_scale else "",
        "rows": [
            _ranked(board, row, scale, gain_scale, leads=place == 0 or ranked[place - 1]["rank"] != row["rank"])
            for place, row in enumerate(ranked)
        ],
        "others": [_other(board, row) for row in rows if row["rank"] is None],
        "plots": [plot for cost in PLOTTED if (plot := _plot(rows, cost))],
        "warnings": figures.warnings(list(rows)),
        "curves": [_curve(board, name, ranked) for name in dict.fromkeys(n for row in ranked for n in row["curves"])],
    }


def number(value: Any) -> float | None:
    """The value if it is a finite number: a record may hold anything where a figure is expected."""
    fine = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
    return value if fine else None


def tuned(row: Row) -> Mapping[str, Any] | None:
    """The summary of the tuned metric, if its mean is a number."""
    summary = row["metrics"].get(row["metric"])
    return summary if summary and finite(summary["mean"]) else None


def score_scale(rows: Sequence[Row]) -> Scale | None:
    """One scale for the scores of a task."""
    found = [summary for row in rows if (summary := tuned(row))]
    if not found:
        return None
    lows, highs = ([s[end] if finite(s[end]) else s["mean"] for s in found] for end in ("low", "high"))
    low, high = drawing.domain(lows, highs, higher=sign(rows[0]["direction"]) > 0)
    return Scale(low, high, drawing.EDGE, drawing.WIDE - drawing.EDGE)


def _gain_scale(rows: Sequence[Row]) -> Scale | None:
    gains = [row["fusion_gain"] for row in rows if row["fusion_gain"] and finite(row["fusion_gain"]["mean"])]
    if not gains:
        return None
    lows, highs = ([g[end] if finite(g[end]) else g["mean"] for g in gains] for end in ("low", "high"))
    low, high = drawing.domain([*lows, 0.0], [*highs, 0.0])
    return Scale(low, high, drawing.EDGE, drawing.WIDE - drawing.EDGE)


def _name(board: Board, row: Row) -> View:
    mark = figures.MARKS.get(row.get("plan") or "")
    href = None if row["status"] == "missing" else cell_page(board, row)
    return {"name": row["contender"], "href": href, "mark": mark[0] if mark else "", "why": mark[1] if mark else ""}


def _ranked(board: Board, row: Row, scale: Scale | None, gain_scale: Scale | None, *, leads: bool) -> View:
    summary, gain = tuned(row), row["fusion_gain"]
    gain = gain if gain and finite(gain["mean"]) else None
    cost = {key: number(value) for key, value in row["cost"].items()}
    return _name(board, row) | {
        "rank": row["rank"],
        "leads": leads,
        "single": row["kind"] == "single",
        "said": "to beat: the best on validation" if row["reference"] else "single modality",
        "reference": bool(row["reference"]),
        "score": figures.score(summary["mean"]) if summary else "–",
        "interval": interval(summary),
        "score_plot": whisker(summary, scale),
        "gain": figures.signed(gain["mean"], among=_among(gain)) if gain else "",
        "gain_interval": interval(gain, sign=True),
        "gain_plot": whisker(gain, gain_scale, zero=True),
        "default": figures.score((row["default"] or {}).get("mean")),
        "parameters": figures.count(cost.get("parameters")),
        "latency": figures.quantity(cost.get("latency_ms_p50")),
        "memory": figures.mebibytes(cost.get("peak_memory_bytes")),
        "spent": figures.duration(number(row["spent"]["seconds"])),
        "sort": {
            "score": (summary or {}).get("mean"),
            "gain": (gain or {}).get("mean"),
            "default": (row["default"] or {}).get("mean"),
            "parameters": cost.get("parameters"),
            "latency": cost.get("latency_ms_p50"),
            "memory": cost.get("peak_memory_bytes"),
            "spent": number(row["spent"]["seconds"]),
        },
    }


def interval(summary: Mapping[str, Any] | None, *, sign: bool = False) -> str:
    """ "[.811 .870]", or nothing."""
    if summary is None or not finite(summary.get("low"), summary.get("high")):
        return ""
    show, among = figures.signed if sign else figures.score, figures.largest(summary)
    return f"[{show(summary['low'], among=among)} {show(summary['high'], among=among)}]"


def _among(summary: Mapping[str, Any]) -> float:
    """What a difference stands beside: its interval; without one, figures of three decimals."""
    return 1.0 if summary.get("low") is None else figures.largest(summary)


def whisker(summary: Mapping[str, Any] | None, scale: Scale | None, *, zero: bool = False) -> Markup:
    if summary is None or scale is None:
        return Markup()
    shown = figures.shown(summary) if zero else 0
    return drawing.whisker(summary["mean"], summary["low"], summary["high"], scale, zero=zero, shown=shown)


def _other(board: Board, row: Row) -> View:
    status = "no score" if row["status"] == "ok" else row["status"]
    return _name(board, row) | {"status": status, "reason": row["reason"] or "no reason was given"}


def _plot(rows: Sequence[Row], cost: str) -> View | None:
    """A plot of score against a cost, where two or more contenders have both."""
    clean = [
        {**row, "cost": {k: number(v) for k, v in row["cost"].items()}, "spent": {"seconds": None}} for row in rows
    ]
    found = next(iter(pareto.tradeoffs(clean, cost)))
    if len(found.points) < 2:
        return None
    marks = [Mark(point.row["contender"], point.score, point.cost, point.front) for point in found.points]
    label = pareto.COSTS[cost][2]
    drawn = drawing.scatter(marks, metric=found.metric, cost=label, higher=sign(found.direction) > 0)
    unscored = {row["contender"] for row in rows if row["rank"] is None}
    return {"cost": cost, "svg": drawn, "left_out": [name for name in found.left_out if name not in unscored]}


def _curve(board: Board, name: str, rows: Sequence[Row]) -> View:
    """The scores on damaged inputs: a line a contender, a column a severity."""
    own = [row for row in rows if name in row["curves"]]
    severities = list(dict.fromkeys(point[0] for row in own for point in row["curves"][name]["points"]))
    lines = []
    for row in own:
        points = {point[0]: point[1] for point in row["curves"][name]["points"]}
        cells = [figures.score(points.get(severity)) for severity in severities]
        lines.append(_name(board, row) | {"cells": cells, "area": figures.score(row["curves"][name]["area"])})
    return {"name": name, "severities": [f"{severity:g}" for severity in severities], "rows": lines}


def _learning(board: Board, curve: Row) -> View:
    """The scores by the number of train rows: a plot of all contenders, and a table with intervals."""
    plotted = []
    for row in curve["contenders"]:
        points = [(point["size"], point["mean"]) for point in row["points"] if finite(point["mean"])]
        if points:
            ends = [(p["size"], p["low"], p["high"]) for p in row["points"] if finite(p["mean"], p["low"], p["high"])]
            plotted.append(drawing.Curve(row["contender"], points, ends, single=row["kind"] == "single"))
    scores = f"{curve['metric']} on test"
    rows = [
        {
            "name": row["contender"],
            "single": row["kind"] == "single",
            "pays": figures.paying(row),
            "cells": [
                {
                    "score": figures.score(point["mean"]),
                    "interval": interval(point),
                    "shown": {1: "more", -1: "less"}.get(figures.told_by_sizes(point), ""),
                }
                for point in row["points"]
            ],
        }
        for row in curve["contenders"]
    ]
    return {
        "name": curve["task"],
        "id": anchor(board.title, f"{curve['task']}, by train rows"),
        "metric": curve["metric"],
        "better": figures.better(curve["direction"]),
        "verdict": curve["sentences"],
        "sizes": [f"{size:,}" for size in curve["sizes"]],
        "rows": rows,
        "svg": drawing.learning(plotted, curve["sizes"], ylabel=scores) if plotted else "",
    }


def _across(board: Board) -> View:
    """How contenders stand over all tasks: those on every task by their average rank, the others by name."""
    tasks = list(dict.fromkeys(row["task"] for row in largest(board.rows)))
    summary, apart = across(board.rows), told_apart(board.rows)
    scale = _rating_scale([row["rating"] for row in summary if row["rating"]])
    whole = [row for row in summary if row["average_rank"] is not None]
    partial = [row for row in summary if row["average_rank"] is None]
    averages = [(row["contender"], row["average_rank"]) for row in whole]
    return {
        "tasks": tasks,
        "rating_axis": drawing.axis(scale) if scale else "",
        "rows": [_standing(row, scale) | {"cells": [f"{row['places'][task]:g}" for task in tasks]} for row in whole],
        "partial": [_standing(row, scale) | {"cells": _ranks(board, row["contender"], tasks)} for row in partial],
        "apart": figures.told(apart),
        "diagram": drawing.places(averages, apart["groups"], critical=apart["critical_difference"]) if apart else "",
    }


def _standing(row: Row, scale: Scale | None) -> View:
    rating, average = row["rating"], row["average_rank"]
    known = rating is not None and rating["low"] is not None
    return {
        "name": row["contender"],
        "average": "–" if average is None else f"{average:.1f}",
        "rating": "–" if rating is None else f"{rating['value']:.0f}",
        "interval": f"[{rating['low']:.0f} {rating['high']:.0f}]" if known else "",
        "plot": whisker({**rating, "mean": rating["value"]} if rating else None, scale),
    }


def _rating_scale(ratings: Sequence[Row]) -> Scale | None:
    if not ratings:
        return None
    lows, highs = ([r["value"] if r[end] is None else r[end] for r in ratings] for end in ("low", "high"))
    return Scale(*drawing.domain(lows, highs), drawing.EDGE, drawing.WIDE - drawing.EDGE)


def _ranks(board: Board, contender: str, tasks: Sequence[str]) -> list[str]:
    """The rank on each task, or why there is none."""
    rows = {row["task"]: row for row in board.rows if row["contender"] == contender}
    return ["–" if task not in rows else _rank(rows[task]) for task in tasks]


def _rank(row: Row) -> str:
    return "–" if row["status"] == "ok" and row["rank"] is None else str(row["rank"] or row["status"])
