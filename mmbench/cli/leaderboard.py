"""`mmbench leaderboard`: the rows of a run, for eyes, for papers and for programs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mmbench.cli import options, terminal
from mmbench.errors import MMBenchError


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
    form: Annotated[Form, typer.Option("--format", help="How to print.")] = Form.table,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to a file.", show_default=False)
    ] = None,
    by: Annotated[By, typer.Option(help="One table a task, or one a metric.")] = By.task,
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

    found = session.find_run(run, results)
    rows = found.rows(plugins.load(plugin or ()))
    text = getattr(report, form)(rows)
    if output is None:
        terminal.show(text)
        return
    try:
        output.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
    except OSError as error:
        raise MMBenchError(f"can't write {output}: {error.strerror}") from error
