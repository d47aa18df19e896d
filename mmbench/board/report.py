"""A leaderboard's rows in the formats people ask for: terminal, Markdown, CSV, JSON, LaTeX. `rank` makes the rows."""

import csv as csv_format
import io
import json as json_format
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

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
    shown_json,
    told,
    told_by_sizes,
    warnings,
    with_interval,
)
from mmbench.board.stats.across import across, told_apart
from mmbench.board.stats.learning import curves, many
from mmbench.board.verdict import overall, verdict, verdicts

if TYPE_CHECKING:
    from rich.console import RenderableType

Row: TypeAlias = dict[str, Any]
Metrics: TypeAlias = Mapping[str, Metric]
"""The parts, which say what a board shows of them; one that is not there is shown."""
NONE: Metrics = MappingProxyType({})


def table(rows: Sequence[Row], console_width: int, metrics: Metrics = NONE) -> "list[RenderableType]":
    """What to print on a terminal of that many columns."""
    from mmbench.board.tables import tables

    return tables(rows, console_width, metrics)


def json(rows: Sequence[Row], *, run: str = "", notes: Sequence[str] = ()) -> str:
    """{"run": ..., "verdict": ..., "rows": [...]}, "notes" if there are any, "learning_curves" of tasks with train
    sizes, and "all_tasks" for one board of several tasks.

    What was not measured, or is not finite, is null.
    """
    content: Row = {"run": run, **({"notes": list(notes)} if notes else {})}
    content |= {**({"verdict": verdicts(rows)} if rows else {}), "rows": list(rows)}
    if learned := curves(rows):
        content["learning_curves"] = learned
    if many(rows) and len({row.get("board") for row in rows}) == 1:
        content["all_tasks"] = {"contenders": across(rows), "told_apart": told_apart(rows)}
    return _indented(shown_json(_strict(content))) + "\n"


def _indented(text: str) -> str:
    """The same JSON over several lines; by itself, json takes ten times as long for it."""
    import msgspec

    try:
        return msgspec.json.format(text, indent=2)
    except msgspec.DecodeError:  # half a surrogate pair
        return shown_json(json_format.dumps(json_format.loads(text), indent=2, ensure_ascii=False))


def _strict(content: Any) -> str:
    try:
        return json_format.dumps(content, ensure_ascii=False, allow_nan=False, default=dict)
    except ValueError:
        return json_format.dumps(finite(content), ensure_ascii=False, allow_nan=False)


def finite(value: Any) -> Any:
    """The same with null for what JSON has no number for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return value


def csv(rows: Sequence[Row]) -> str:
    """One line a row, all figures in full; nested names are joined by dots: metrics.accuracy.low."""
    flat = [_flat(row) for row in rows]
    names = columns(name for row in flat for name in row)
    out = io.StringIO()
    writer = csv_format.writer(out, lineterminator="\n")
    writer.writerow([_cell(name) for name in names])
    writer.writerows([[_cell(row.get(name)) for name in names] for row in flat])
    return out.getvalue()


def columns(names: Iterable[str]) -> list[str]:
    """Each name once; none that is only the head of others, as `fusion_gain` is where a row has no fusion_gain.mean."""
    found = list(dict.fromkeys(names))
    heads = {name.rpartition(".")[0] for name in found}
    return [name for name in found if name not in heads]


def _flat(value: Mapping[str, Any], prefix: str = "") -> Row:
    found: Row = {}
    for key, entry in value.items():
        if isinstance(entry, Mapping):
            found |= _flat(entry, f"{prefix}{key}.")
        elif isinstance(entry, list | tuple):
            found[prefix + key] = "; ".join(" ".join(map(str, e)) if isinstance(e, list) else str(e) for e in entry)
        else:
            found[prefix + key] = entry
    return found


def _cell(value: Any) -> Any:
    """Text in which a spreadsheet finds no formula."""
    if not isinstance(value, str):
        return value
    text = plain(value)
    return f"'{text}" if text.lstrip().startswith(tuple("=+-@＝＋－＠")) else text


def markdown(rows: Sequence[Row], metrics: Metrics = NONE) -> str:
    """The verdict over all tasks, then for each a heading, its own and a table, then average ranks and notes."""
    several = many(rows)
    blocks = [f"## Verdict\n\n{_said(overall(rows)['sentences'])}"] if several else []
    blocks += map(_learning, curves(rows))
    blocks += [_task(task, own, metrics) for task, own in _by_task(rows).items()]
    if several:
        blocks.append(_across(rows))
    if rows:
        blocks.append("\n\n".join(escape(note) for note in notes(list(rows))))
    return "\n\n".join(blocks) + "\n"


def _said(sentences: Sequence[str]) -> str:
    return escape(" ".join(sentences))


def _by_task(rows: Sequence[Row]) -> dict[str, list[Row]]:
    return {task: [row for row in rows if row["task"] == task] for task in dict.fromkeys(row["task"] for row in rows)}


def escape(text: object) -> str:
    """Text in which Markdown finds no mark-up; low_rank stays as it is, as _ within a word is no mark-up."""
    marked = re.sub(r"([\\`*|<>\[\]~&#])", r"\\\1", plain(text))
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", marked)


def _task(task: str, rows: list[Row], metrics: Metrics) -> str:
    metric, others = rows[0]["metric"], beside(rows, metrics)
    heads = ["rank", "contender", metric, "fusion gain", "default", "search gain", "validation - test"]
    heads += [short(name, metrics) for name in others]
    heads += ["parameters", "latency p50, ms", "rows/s", "peak memory, MiB", "trials", "spent"]
    lines = [f"## {escape(task)}", "", _said(verdict(rows).sentences), ""]
    lines += [f"{escape(metric)}, {better(rows[0]['direction'])}.", "", *_head(heads)]
    for row in rows:
        if row["status"] != "ok":
            said = f"{row['status']}: {row['reason'] or 'no reason was given'}"
            lines.append(_line(["–", named(row), said, *[""] * (len(heads) - 3)]))
            continue
        cost, spent = row["cost"], row["spent"]
        cells = [row["rank"] or "–", named(row), with_interval(row["metrics"].get(metric))]
        cells += [_gain(row), score((row["default"] or {}).get("mean"))]
        cells += [_difference(row[name]) for name in ("tuning_gain", "validation_gap")]
        cells += [score(row["metrics"].get(name, {}).get("mean")) for name in others]
        cells += [count(cost["parameters"]), quantity(cost["latency_ms_p50"]), count(cost["throughput"])]
        cells += [mebibytes(cost["peak_memory_bytes"]), spent["trials"] or "–", duration(spent["seconds"])]
        lines.append(_line(cells))
    for name in dict.fromkeys(name for row in rows for name in row["curves"]):
        lines += ["", *_curve(name, [row for row in rows if name in row["curves"]])]
    for warning in warnings(rows):
        lines += ["", f"**!** {escape(warning)}"]
    return "\n".join(lines)


def _curve(name: str, rows: list[Row]) -> list[str]:
    severities = [f"{severity:g}" for severity, _ in rows[0]["curves"][name]["points"]]
    lines = [f"{escape(name)}, by severity:", "", *_head(["contender", *severities, "area"])]
    for row in rows:
        curve = row["curves"][name]
        lines.append(_line([row["contender"], *(score(value) for _, value in curve["points"]), score(curve["area"])]))
    return lines


def _learning(curve: Row) -> str:
    """A line a contender, a column a train size; bold where the gain is shown."""
    lines = [f"## {escape(curve['task'])} by train rows", "", _said(curve["sentences"]), ""]
    lines += [f"{escape(curve['metric'])}, {better(curve['direction'])}.", ""]
    lines += _head(["contender", *(f"{size:,}" for size in curve["sizes"]), "pays from"])
    lines += [_line(_learned(row)) for row in curve["contenders"]]
    return "\n".join(lines)


def _learned(row: Row) -> list[str]:
    scores = [(with_interval(point), told_by_sizes(point)) for point in row["points"]]
    return [row["contender"], *(Bold(text) if sure else text for text, sure in scores), paying(row)]


def _across(rows: Sequence[Row]) -> str:
    lines = ["## All tasks", "", *_head(["average rank", "contender", "rating", "not on"])]
    lines += [_line(_standing(row)) for row in across(rows)]
    return "\n".join([*lines, *(f"\n{escape(line)}" for line in told(told_apart(rows)))])


def _standing(row: Row) -> list[str]:
    """A contender over all tasks: average rank, name, rating, and the tasks it lacks."""
    average = "–" if row["average_rank"] is None else f"{row['average_rank']:.1f}"
    return [average, row["contender"], rated(row["rating"]), ", ".join(row["missing"])]


def _head(names: Sequence[str]) -> list[str]:
    return [_line(names), "|" + " --- |" * len(names)]


def _line(cells: Sequence[object]) -> str:
    return "| " + " | ".join(map(markdown_cell, cells)) + " |"


class Bold(str):
    """A figure, perhaps with its interval, that stands out in bold, as its test shows it."""


def _difference(found: Row | None) -> str:
    text = with_interval(found, sign=True)
    return Bold(text) if shown(found) else text


def _gain(row: Row) -> str:
    return _difference(row["fusion_gain"]) if row["fusion_gain"] else gained(row)


INTERVAL = re.compile(r"\S+ \[\S+ \S+\]")
NO_BREAK = "&nbsp;"


def markdown_cell(cell: object) -> str:
    """A cell of a Markdown table; a figure stays on one line with its interval."""
    text = escape(cell)
    text = text.replace(" ", NO_BREAK) if INTERVAL.fullmatch(str(cell)) else text
    return re.sub(r"^[^&\s]+", r"**\g<0>**", text) if isinstance(cell, Bold) else text


LATEX = {char: f"\\{char}" for char in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "–": "--",
}


def latex(rows: Sequence[Row]) -> str:
    """The verdicts as text, a table for each task and one of all, for the packages booktabs and array, and the notes.

    TeX finds no command in any cell; a table is no wider than a page of LaTeX's own article has room for.
    Contenders without a score stand below the rest with their reason.
    """
    several = many(rows)
    blocks = [_latex_said("Verdict", overall(rows)["sentences"])] if several else []
    for curve in curves(rows):
        blocks += [_latex_said(f"{curve['task']} by train rows", curve["sentences"]), _latex_learning(curve)]
    for task, own in _by_task(rows).items():
        blocks += [_latex_said(task, verdict(own).sentences), _latex_task(task, own)]
    if several:
        blocks.append(_latex_across(rows))
    if rows:
        blocks.append("\n\n".join(rf"{{\footnotesize {escape_latex(note)}\par}}" for note in notes(list(rows))))
    return "\n\n".join(blocks) + "\n"


def _latex_said(what: str, sentences: Sequence[str]) -> str:
    return rf"\paragraph{{{escape_latex(what)}}} {escape_latex(' '.join(sentences))}"


def escape_latex(text: object) -> str:
    return "".join(LATEX.get(char, char) for char in plain(text))


def _latex_task(task: str, rows: list[Row]) -> str:
    metric = rows[0]["metric"]
    heads = ["", "contender", metric, "fusion gain", "default", "params", "ms"]
    title = escape_latex(f"{task}: {metric}, {better(rows[0]['direction'])}")
    lines = [*_latex_head(title), rf"\begin{{tabular}}{{@{{}}r{_latex_text(0.2)}llrrr@{{}}}}"]
    lines += [r"\toprule", _latex_line(heads), r"\midrule"]
    for row in rows:
        if row["status"] != "ok":
            said = escape_latex(f"{row['status']}: {row['reason'] or 'no reason was given'}")
            line = f"-- & {_latex_broken(named(row))} & "
            lines.append(rf"{line}\multicolumn{{5}}{{p{{0.55\linewidth}}}}{{{said}}} \\")
            continue
        cells = [row["rank"] or "–", named(row), with_interval(row["metrics"].get(metric))]
        cells += [_gain(row), score((row["default"] or {}).get("mean"))]
        cells += [count(row["cost"]["parameters"]), quantity(row["cost"]["latency_ms_p50"])]
        lines.append(_latex_line(cells))
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par {{\footnotesize {escape_latex(warning)}\par}}" for warning in warnings(rows)]
    return "\n".join([*lines, r"\end{table*}"])


def _latex_learning(curve: Row) -> str:
    title = escape_latex(f"{curve['task']}: {curve['metric']} by train rows, {better(curve['direction'])}")
    sizes = [f"{size:,}" for size in curve["sizes"]]
    lines = [*_latex_head(title), rf"\begin{{tabular}}{{@{{}}{_latex_text(0.2)}{'l' * len(sizes)}r@{{}}}}"]
    lines += [r"\toprule", _latex_line(["contender", *sizes, "pays from"]), r"\midrule"]
    lines += [_latex_line(_learned(row)) for row in curve["contenders"]]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table*}"])


def _latex_across(rows: Sequence[Row]) -> str:
    lines = [*_latex_head("All tasks"), rf"\begin{{tabular}}{{@{{}}r{_latex_text(0.3)}l{_latex_text(0.3)}@{{}}}}"]
    lines += [r"\toprule", _latex_line(["average rank", "contender", "rating", "not on"]), r"\midrule"]
    lines += [_latex_line(_standing(row)) for row in across(rows)]
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par {{\footnotesize {escape_latex(line)}\par}}" for line in told(told_apart(rows))]
    return "\n".join([*lines, r"\end{table*}"])


def _latex_head(title: str) -> list[str]:
    """A float over all columns of the page, so that in two columns of text none lies on its neighbour."""
    return [r"\begin{table*}", rf"\caption{{{title}}}", r"\centering\footnotesize", r"\setlength{\tabcolsep}{2.5pt}"]


def _latex_text(share: float) -> str:
    """A column of text that is broken into lines: a long name makes no table wider than the page."""
    return rf">{{\raggedright\arraybackslash}}p{{{share:g}\linewidth}}"


def _latex_broken(text: object) -> str:
    """Text that may be broken after each underscore, as TeX by itself breaks names at hyphens only."""
    return escape_latex(text).replace(r"\_", r"\_\allowbreak{}")


def _latex_line(cells: Sequence[object]) -> str:
    """A line of the table; a number's hyphen is a minus."""
    texts = [re.sub(r"(?<![\w-])-(?=[.\d])", "$-$", _latex_broken(cell)) for cell in cells]
    bold = [
        re.sub(r"^\S+", r"\\textbf{\g<0>}", text) if isinstance(cell, Bold) else text
        for cell, text in zip(cells, texts, strict=True)
    ]
    return " & ".join(bold) + r" \\"
