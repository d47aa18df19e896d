"""`mmbench leaderboard`: the rows of a run, for eyes, for papers and for programs."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmbench.cli import options, terminal
from mmbench.errors import MMBenchError

if TYPE_CHECKING:
    from rich.console import Console


class Form(StrEnum):
    """How the leaderboard is printed."""

    table = "table"
    markdown = "markdown"
    csv = "csv"
    json = "json"


class By(StrEnum):
    """What the tables are made of."""

    task = "task"
    metric = "metric"


def leaderboard(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's name, or its folder.")],
    form: Annotated[Form, typer.Option("--format", metavar="|".join(Form), help="How to print.")] = Form.table,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to a file.", show_default=False)
    ] = None,
    by: Annotated[By, typer.Option(metavar="|".join(By), help="One table a task, or one a metric.")] = By.task,
    results: options.Results = Path("results"),
    plugin: options.Plugins = None,
) -> None:
    """Rank the contenders of a run.

    \b
    Examples:
      mmbench leaderboard starter
      mmbench leaderboard starter --by metric
      mmbench leaderboard starter --format markdown -o leaderboard.md
      mmbench leaderboard results/starter --format json
    """
    from mmbench import plugins, session
    from mmbench.board import report

    if by is By.metric and form not in (Form.table, Form.markdown):
        raise MMBenchError("--by is for the formats table and markdown: csv and json hold all metrics")
    found = session.find_run(run, results)
    rows = found.rows(plugins.load(plugin or ()))
    with _target(output) as console:
        if by is By.metric:
            for title, columns, cells in by_metric(rows):
                terminal.write(console, *_draw(title, columns, cells, form=form))
        elif form is Form.table:
            terminal.write(console, *report.table(rows, console.width))
        elif form is Form.json:
            terminal.write(console, report.json(rows, run=found.folder.name).rstrip("\n"))
        else:
            terminal.write(console, (report.csv if form is Form.csv else report.markdown)(rows).rstrip("\n"))


@contextmanager
def _target(output: Path | None) -> "Iterator[Console]":
    """A console on stdout, or on the file that is asked for."""
    if output is None:
        yield terminal.console()
        return
    try:
        with output.open("w", encoding="utf-8") as file:
            yield terminal.console(file)
    except OSError as error:
        raise MMBenchError(f"can't write {output}: {error.strerror}") from error


def by_metric(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """A table for each metric: (title, columns, cells); a line a contender, a column a task, means and intervals."""
    directions = {row["metric"]: row["direction"] for row in rows}
    for metric in dict.fromkeys(name for row in rows for name in row["metrics"]):
        scored = {(row["contender"], row["task"]): row["metrics"][metric] for row in rows if metric in row["metrics"]}
        tasks = list(dict.fromkeys(task for _, task in scored))
        contenders = dict.fromkeys(contender for contender, _ in scored)
        cells = [[contender, *(_score(scored.get((contender, task))) for task in tasks)] for contender in contenders]
        better = {"max": ", higher is better", "min": ", lower is better"}.get(directions.get(metric, ""), "")
        yield f"{metric}{better}", ["contender", *tasks], cells


def _score(summary: dict[str, Any] | None) -> str:
    from mmbench.board.figures import with_interval

    return with_interval(summary) if summary else ""


def _draw(title: str, columns: list[str], cells: list[list[str]], *, form: Form) -> Sequence[object]:
    if form is Form.table:
        return [title, "", terminal.table(columns, cells, right=columns[1:]), ""]
    from mmbench.board.report import escape

    lines = [[escape(cell) for cell in line] for line in (columns, *cells)]
    lines.insert(1, ["---"] * len(columns))
    return [f"## {escape(title)}", "", *(f"| {' | '.join(line)} |" for line in lines), ""]
