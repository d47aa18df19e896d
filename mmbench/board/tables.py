"""The leaderboard as a terminal shows it: a table for each task, as wide as the terminal allows.

Columns have an order of importance; where the terminal is narrow the least important are left out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, TypeAlias

from rich.box import SIMPLE
from rich.console import Group, JustifyMethod, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mmbench.api.parts import Metric
from mmbench.board.figures import (
    beside,
    better,
    count,
    duration,
    gained,
    mebibytes,
    named,
    notes,
    paying,
    plain,
    quantity,
    rated,
    score,
    short,
    shown,
    signed,
    told,
    told_by_sizes,
    warnings,
    with_interval,
)
from mmbench.board.stats.across import across, told_apart
from mmbench.board.stats.learning import curves, largest, many
from mmbench.board.verdict import overall, verdict

Row: TypeAlias = dict[str, Any]
LONG_NAME, SHORTEST_NAME = 24, 8
HALF_BAR = 4
FAR_BEHIND = 3
"""Times the median: gains beyond it don't set the scale of the bars."""


@dataclass(frozen=True)
class Column:
    """One column: its head, what stands in a row, and when to leave it out (the highest goes first; 0 stays)."""

    head: str
    cell: Callable[[Row], Text]
    sacrifice: int
    right: bool = True


def tables(rows: Sequence[Row], width: int, metrics: Mapping[str, Metric]) -> list[RenderableType]:
    """What the tasks say together, a verdict and a table for each task, then the average ranks, then the notes."""
    by_task: dict[str, list[Row]] = {}
    for row in rows:
        by_task.setdefault(row["task"], []).append(row)
    found: list[RenderableType] = []
    several = many(rows)
    if several:
        found += [Text("verdict", style="bold cyan"), *_said(overall(rows)["sentences"]), Text("")]
    found += [_learning(curve, width) for curve in curves(rows)]
    found += [_task(task, own, width, metrics) for task, own in by_task.items()]
    if several:
        found.append(_across(rows, list(dict.fromkeys(row["task"] for row in largest(rows))), width))
    if rows:
        found.append(Text("\n".join(notes(list(rows))), style="dim"))
    return found


def _task(task: str, rows: list[Row], width: int, metrics: Mapping[str, Metric]) -> RenderableType:
    ran = [row for row in rows if row["status"] == "ok"]
    parts: list[RenderableType] = [_title(task, rows[0]), *_said(verdict(rows).sentences), Text("")]
    if ran:
        parts.append(_grid(_columns(ran, metrics), ran, width))
    parts += [_failure(row) for row in rows if row["status"] != "ok"]
    parts += [_curve(name, ran, width) for name in dict.fromkeys(name for row in ran for name in row["curves"])]
    parts += [Text(f"! {warning}", style="yellow") for warning in warnings(rows)]
    return Group(*parts, Text(""))


def _said(sentences: Sequence[str]) -> list[RenderableType]:
    """Sentences one below the other, each broken between words."""
    return [Padding(Text(plain(sentence)), (0, 0, 0, 2), expand=False) for sentence in sentences]


def _title(task: str, row: Row) -> Text:
    items = f", {row['test_rows']:,} test rows" if row["test_rows"] else ""
    return Text.assemble(
        (plain(task), "bold cyan"), (f"  {plain(row['metric'])}, {better(row['direction'])}{items}", "dim")
    )


def _failure(row: Row) -> Text:
    skipped = row["status"] in ("skipped", "missing")
    text = Text.assemble("  ", ("– " if skipped else "✗ ", "" if skipped else "red"), named(row))
    return text.append(f"  {plain(row['status'])}: {plain(row['reason'] or 'no reason was given')}", style="dim")


def _columns(rows: list[Row], metrics: Mapping[str, Metric]) -> list[Column]:
    metric = rows[0]["metric"]
    columns = [
        Column("#", lambda row: Text(str(row["rank"] or "–")), 0),
        Column("contender", lambda row: Text(named(row), overflow="ellipsis"), 0, right=False),
        Column(short(metric, metrics), lambda row: Text(with_interval(row["metrics"].get(metric))), 0, right=False),
    ]
    if any(row["fusion_gain"] for row in rows):
        most = _longest([row["fusion_gain"]["mean"] for row in rows if row["fusion_gain"]])
        columns.append(Column("fusion gain", _gain, 0, right=False))
        columns.append(Column("", lambda row: _bar(row["fusion_gain"], most), 60))
    columns.append(Column("default", lambda row: Text(score((row["default"] or {}).get("mean"))), 5))
    for place, name in enumerate(beside(rows, metrics)):
        columns.append(Column(short(name, metrics), _metric(name), 20 + place))
    columns += [
        Column("params", lambda row: Text(count(row["cost"]["parameters"])), 10),
        Column("ms", lambda row: Text(quantity(row["cost"]["latency_ms_p50"])), 11),
        Column("rows/s", lambda row: Text(count(row["cost"]["throughput"])), 50),
        Column("MiB", lambda row: Text(mebibytes(row["cost"]["peak_memory_bytes"])), 51),
        Column("search", _sure("tuning_gain"), 53),
        Column("val-test", _sure("validation_gap", style="yellow"), 54),
        Column("trials", lambda row: Text(str(row["spent"]["trials"] or "–")), 52),
        Column("spent", lambda row: Text(duration(row["spent"]["seconds"])), 12),
    ]
    return columns


def _metric(name: str) -> Callable[[Row], Text]:
    return lambda row: Text(score(row["metrics"].get(name, {}).get("mean")))


def _sure(name: str, style: str = "") -> Callable[[Row], Text]:
    """A difference without its interval: coloured where its corrected test shows it."""

    def cell(row: Row) -> Text:
        found = row[name] or {"mean": None}
        return Text(signed(found["mean"]), style=(style or _colour(found)) if shown(found) else "")

    return cell


def _gain(row: Row) -> Text:
    """Green or red only where the tests that make the ranks show it."""
    gain = row["fusion_gain"]
    if gain is None:
        return Text(gained(row), style="" if row.get("reference") else "dim")
    return Text(with_interval(gain, sign=True), style=_colour(gain) if shown(gain) else "")


def _colour(gain: Row) -> str:
    return "green" if (gain["mean"] or 0) > 0 else "red"


def _longest(gains: Sequence[float]) -> float:
    """The gain that a whole bar stands for: the largest of those that lie together, so that a majority class, far
    behind the others, does not empty all their bars."""
    known = sorted(abs(gain) for gain in gains if isfinite(gain))
    return max((gain for gain in known if gain <= FAR_BEHIND * known[len(known) // 2]), default=0.0)


def _bar(gain: Row | None, most: float) -> Text:
    """A bar from the middle to either side; one that would be longer than there is room for ends in an arrow."""
    if gain is None:
        return Text("")
    share = abs(gain["mean"]) / most if most else 0.0
    length = min(HALF_BAR, round(HALF_BAR * share)) if isfinite(share) else 0
    bar = "█" * length
    if gain["mean"] > 0:
        left, right = "", f"{bar[:-1]}▸" if share > 1 else bar
    else:
        left, right = f"◂{bar[1:]}" if share > 1 else bar, ""
    return Text.assemble((left.rjust(HALF_BAR), "red"), ("│", "dim"), (right.ljust(HALF_BAR), "green"))


def _grid(columns: list[Column], rows: list[Row], width: int) -> Table:
    """The table as wide as it may be: long names are cut first, then columns left out, then names cut to the bone."""
    cells = [[column.cell(row) for row in rows] for column in columns]
    wide = [
        max([len(column.head), *(text.cell_len for text in texts)])
        for column, texts in zip(columns, cells, strict=True)
    ]
    name = next(i for i, column in enumerate(columns) if column.head == "contender")
    whole, wide[name] = wide[name], min(wide[name], LONG_NAME)
    keep = list(range(len(columns)))

    def spare() -> int:
        return width - sum(wide[i] + 1 for i in keep) + 1

    while spare() < 0 and any(columns[i].sacrifice for i in keep):
        keep.remove(max(keep, key=lambda i: columns[i].sacrifice))
    wide[name] = max(SHORTEST_NAME, min(whole, wide[name] + spare()))
    table = Table(box=SIMPLE, show_edge=False, pad_edge=False, padding=0, header_style="dim")
    for i in keep:
        justify: JustifyMethod = "right" if columns[i].right else "left"
        table.add_column(Text(columns[i].head), justify=justify, width=wide[i], no_wrap=True)
    for number, row in enumerate(rows):
        style = (
            "bold"
            if number == 0 and row["rank"] is not None
            else ""
            if row["rank"] == 1
            else "dim"
            if len(row["modalities"]) == 1 and not row.get("reference")
            else ""
        )
        table.add_row(*(cells[i][number] for i in keep), style=style)
    return table


def _learning(curve: Row, width: int) -> RenderableType:
    """The scores by the number of train rows, and from how many on each fusion pays."""
    title = f"  {plain(curve['metric'])} by train rows, {better(curve['direction'])}"
    columns = [Column("contender", lambda row: Text(plain(row["contender"]), overflow="ellipsis"), 0, right=False)]
    columns.append(Column("pays from", lambda row: Text(paying(row)), 0))
    for place, size in enumerate(curve["sizes"]):
        last = place == len(curve["sizes"]) - 1
        columns.append(Column(f"{size:,}", _with_rows(place), 0 if last else len(curve["sizes"]) - place, right=False))
    rows = [{**row, "rank": 0, "modalities": []} for row in curve["contenders"]]
    head = Text.assemble((plain(curve["task"]), "bold cyan"), (title, "dim"))
    return Group(head, *_said(curve["sentences"]), Text(""), _grid(columns, rows, width), Text(""))


def _with_rows(place: int) -> Callable[[Row], Text]:
    def cell(row: Row) -> Text:
        point = row["points"][place]
        return Text(with_interval(point), style=_colour({"mean": point["gain"]}) if told_by_sizes(point) else "")

    return cell


def _curve(name: str, rows: list[Row], width: int) -> RenderableType:
    """The scores on damaged inputs, by severity, and the area under them."""
    damaged = [row for row in rows if name in row["curves"]]
    points = [[severity, None] for severity, _ in damaged[0]["curves"][name]["points"]]
    columns = [Column("contender", lambda row: Text(plain(row["contender"]), overflow="ellipsis"), 0, right=False)]
    columns.append(Column("area", lambda row: Text(score(row["curves"][name]["area"])), 0))
    for place, (severity, _) in enumerate(points):
        last = place == len(points) - 1
        columns.append(Column(f"{severity:g}", _at(name, place), 0 if last else 1 + place))
    title = Text(f"\n{plain(name)}: the score as severity rises", style="dim")
    return Group(title, _grid(columns, damaged, width))


def _at(name: str, place: int) -> Callable[[Row], Text]:
    def cell(row: Row) -> Text:
        points = row["curves"][name]["points"]
        return Text(score(points[place][1]) if place < len(points) else "–")

    return cell


def _across(rows: Sequence[Row], tasks: list[str], width: int) -> RenderableType:
    summary = across(rows)
    whole = [{**row, "modalities": [], "rank": 0} for row in summary if not row["missing"]]
    columns = [
        Column("place", lambda row: Text(f"{row['average_rank']:.1f}"), 0),
        Column("contender", lambda row: Text(plain(row["contender"]), overflow="ellipsis"), 0, right=False),
        Column("rating", lambda row: Text(rated(row["rating"])), 1 + len(tasks), right=False),
        *(Column(plain(task), _place_on(task), 1 + number) for number, task in enumerate(tasks)),
    ]
    parts: list[RenderableType] = [Text.assemble(("all tasks", "bold cyan"), ("  average rank", "dim"))]
    if whole:
        parts.append(_grid(columns, whole, width))
    partial = [f"{plain(row['contender'])} {rated(row['rating'])}" for row in summary if row["missing"]]
    if partial:
        parts.append(Text(f"  not on all tasks, rated by those they have: {', '.join(partial)}", style="dim"))
    parts += [Text(f"  {line}", style="dim") for line in told(told_apart(rows))]
    return Group(*parts, Text(""))


def _place_on(task: str) -> Callable[[Row], Text]:
    return lambda row: Text(f"{row['places'][task]:g}")
