"""`mmbench compare`: a paired test of two contenders of a run, task by task."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmbench.cli import options, terminal

if TYPE_CHECKING:
    from mmbench.api.parts import Metric
    from mmbench.board.compare import Comparison

COLUMNS = ("task", "metric", "A", "B", "A - B", "p", "better")


class Form(StrEnum):
    """How the comparison is printed."""

    table = "table"
    markdown = "markdown"
    json = "json"


def compare(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's name, or its folder.")],
    first: Annotated[str, typer.Argument(metavar="A", help="A contender of the run.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    task: options.Tasks = None,
    metric: Annotated[
        str | None, typer.Option(metavar="NAME", help="Another metric than the tuned one.", show_default=False)
    ] = None,
    form: Annotated[Form, typer.Option("--format", metavar="|".join(Form), help="How to print.")] = Form.table,
    results: options.Results = Path("results"),
    plugin: options.Plugins = None,
) -> None:
    """Test whether two contenders differ, on the same test items.

    The difference is A minus B, with its 95% interval over seeds and items. Which one is better is decided with
    the leaderboard's ranks: by p corrected over all pairs of the task's contenders, or over all that are compared
    with the best single modality, if that is A or B. For labels it also says on how many items which was right.

    \b
    Examples:
      mmbench compare starter gated concat
      mmbench compare starter auto "only text" --task emoji_group
      mmbench compare starter gated concat --metric f1 --format json
    """
    from mmbench import plugins, session
    from mmbench.board import compare as comparing
    from mmbench.board.report import escape, finite, markdown_cell
    from mmbench.rescoring import judges, rescored

    data = session.find_run(run, results).data
    catalog = plugins.load(plugin or ())
    metrics = judges(catalog)
    data, notes = rescored(data, catalog, metrics)
    for note in notes:
        terminal.warn(note)
    found = comparing.compare(data, metrics, first=first, second=second, tasks=task or (), metric=metric)
    if form is Form.json:
        terminal.show_json(
            {"run": data.path.resolve().name, "a": first, "b": second, "tasks": finite([*map(asdict, found)])}
        )
        return
    title = f"A: {first}, B: {second}"
    if form is Form.table:
        _show_table(found, title, {first: "A", second: "B"}, metrics)
        terminal.show(*map(terminal.one_line, _notes(found)))
        return
    lines = [[markdown_cell(cell) for cell in line] for line in (COLUMNS, *map(_cells, found))]
    lines.insert(1, ["---"] * len(COLUMNS))
    terminal.show(f"## {escape(title)}", "", *(f"| {' | '.join(line)} |" for line in lines), "")
    terminal.show("\n\n".join(map(escape, _notes(found))))


def _show_table(
    found: "Sequence[Comparison]", title: str, letters: Mapping[str, str], metrics: "Mapping[str, Metric]"
) -> None:
    """A table that has room in 80 columns: A and B stand for the names, and one metric of all tasks is in the title."""
    from mmbench.board.figures import short

    measured = dict.fromkeys(c.metric for c in found)
    one = len(measured) == 1
    rows = [[c.task, short(c.metric, metrics), *_cells(c)[2:]] for c in found]
    rows = [
        [*row[:-1], row[-1] if c.reason else letters.get(c.better or "", "neither")]
        for row, c in zip(rows, found, strict=True)
    ]
    keep = [place for place, column in enumerate(COLUMNS) if not (one and column == "metric")]
    terminal.show(terminal.one_line(f"{title}; {', '.join(measured)}" if one else title), "")
    columns = [COLUMNS[place] for place in keep]
    cells = [[row[place] for place in keep] for row in rows]
    terminal.show(terminal.table(columns, cells, right=COLUMNS[2:-1], whole=columns[1:]), "")


def _cells(comparison: "Comparison") -> list[str]:
    from mmbench.board.figures import plain, score, with_interval

    name = [plain(comparison.task), plain(comparison.metric)]
    if comparison.reason is not None:
        return [*name, "–", "–", "–", "–", "not compared"]
    apart = {"mean": comparison.difference, "low": comparison.low, "high": comparison.high}
    scores = [score(comparison.first), score(comparison.second), with_interval(apart, sign=True)]
    return [*name, *scores, _p(comparison.corrected), plain(comparison.better or "can't be told apart")]


def _p(value: float | None) -> str:
    return "–" if value is None else "<.001" if value < 0.001 else f"{value:.3f}".replace("0.", ".", 1)


def _notes(found: "Sequence[Comparison]") -> list[str]:
    compared = [comparison for comparison in found if comparison.reason is None]
    notes = [f"{c.task}: {c.reason}." for c in found if c.reason is not None]
    notes += [f"{c.task}: {_items(c.discordance, c.items)}" for c in compared if c.discordance]
    notes += [
        f"{c.task}: {c.metric} has no score for one of the two in {c.left_out} of {c.resamples} resamples, "
        "which are left out for both."
        for c in compared
        if c.left_out
    ]
    seeds = dict.fromkeys(c.seeds for c in compared)
    if seeds:
        corrected = "; ".join(dict.fromkeys(c.correction for c in compared if c.correction))
        text = "; ".join(f"A {', '.join(map(str, a))} and B {', '.join(map(str, b))}" for a, b in seeds)
        notes.append(
            f"Seeds: {text}. A - B is the difference of the means over them, in units of the metric, with its 95% "
            "interval over seeds and items together, the same items for both, of this pair alone. p is corrected "
            f"({corrected}), and with the ranks: who loses is shown not to be the best of those that rank with the "
            "other. better: at 5% after that."
        )
    return notes


def _items(counts: Mapping[str, float], items: int | None) -> str:
    """The four counts in words; they are whole where each has one seed."""
    both, first, second, neither = (f"{counts[key]:.1f}" for key in ("both", "first", "second", "neither"))
    return (
        f"of {items} items both were right on {both}, only A on {first}, only B on {second}, neither on {neither} "
        "(mean over all pairs of seeds)."
    )
