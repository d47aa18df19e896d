"""`mmbench leaderboard`: the rows of one run or several, for eyes, for papers and for programs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from mmbench.api.parts.scores import sign
from mmbench.board.stats import pareto
from mmbench.cli import options, terminal
from mmbench.errors import MMBenchError

if TYPE_CHECKING:
    from rich.console import Console

    from mmbench.board.gate.boards import Board
    from mmbench.session import Run
    from mmbench.store.reading import RunData

Table: TypeAlias = tuple[str, list[str], list[list[str]]]
"""Its title, its columns, its cells."""


class Form(StrEnum):
    """How the leaderboard is printed."""

    table = "table"
    markdown = "markdown"
    csv = "csv"
    json = "json"
    latex = "latex"


class By(StrEnum):
    """What the tables are made of."""

    task = "task"
    metric = "metric"
    pareto = "pareto"


class Cost(StrEnum):
    """What the score is held against: the names of `pareto.COSTS`."""

    latency = "latency"
    parameters = "parameters"
    size = "size"
    flops = "flops"
    memory = "memory"
    device_memory = "device_memory"
    search = "search"


def leaderboard(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="A run's name, or its folder; or several.")],
    form: Annotated[Form, typer.Option("--format", metavar="|".join(Form), help="How to print.")] = Form.table,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to a file.", show_default=False)
    ] = None,
    by: Annotated[
        By, typer.Option(metavar="|".join(By), help="A table a task, one a metric, or the score against a cost.")
    ] = By.task,
    cost: Annotated[
        Cost, typer.Option(metavar="|".join(Cost), help="With --by pareto: the cost that the score is held against.")
    ] = Cost.latency,
    separate: Annotated[
        bool, typer.Option("--separate", help="A board each for runs that can't be compared, instead of an error.")
    ] = False,
    best: Annotated[
        bool,
        typer.Option("--best", help="Write what the searches chose as a suite, parameters fixed, for others to run."),
    ] = False,
    results: options.Results = Path("results"),
    plugin: options.Plugins = None,
) -> None:
    """Rank the contenders of a run, or of several under the same conditions.

    Runs share a board only with the same terms, data and protocol; costs are compared only where they were
    measured on the same device. Otherwise it says what differs.

    \b
    Examples:
      mmbench leaderboard starter
      mmbench leaderboard starter --by metric
      mmbench leaderboard starter --by pareto --cost parameters
      mmbench leaderboard starter results/elsewhere --separate
      mmbench leaderboard starter --format markdown -o leaderboard.md
      mmbench leaderboard results/starter --format json
      mmbench leaderboard starter --best -o winners.toml
    """
    from mmbench import plugins, rescoring
    from mmbench.board.gate import conditions

    if by is not By.task and form not in (Form.table, Form.markdown):
        raise MMBenchError(f"--by {by} is for the formats table and markdown: csv and json hold all figures")
    found = find_runs(runs, results)
    data = [run.data for run in found]
    if best:
        if len(data) > 1 or form is not Form.table or by is not By.task:
            raise MMBenchError("--best writes the suite of one run, in TOML: leave out --format, --by and other runs")
        _write_best(data[0], output)
        return
    if not separate:
        conditions.check(data)
    boards = rescoring.boards(data, plugins.load(plugin or ()))
    if len(boards) > 1:
        terminal.warn(f"not all rows can be compared: {len(boards)} boards, whose titles say what differs")
    with _target(output) as console:
        if by is By.task:
            write_boards(console, boards, form=form, run=" + ".join(conditions.names(data).values()))
        else:
            known = {name: way for run in data for record in run.records for name, way in record.directions.items()}
            make = partial(by_metric, directions=known) if by is By.metric else _by_cost(cost)
            _write_tables(console, boards, make, form=form)


def _write_best(run: "RunData", output: Path | None) -> None:
    from mmbench.board import winners
    from mmbench.store import suitefile

    suite = winners.winners(run)
    if folded := winners.left_out(run):
        terminal.warn(f"each fold and train size has a winner of its own: without {', '.join(folded)}")
    with _target(output) as console:
        terminal.write(console, suitefile.write(suite).rstrip("\n"))


def find_runs(runs: Sequence[str], results: Path) -> "list[Run]":
    """The runs of those names or folders, each once. Raises StoreError if there is none."""
    from mmbench import session

    found = {run.folder.resolve(): run for run in (session.find_run(name, results) for name in runs)}
    return list(found.values())


def write_boards(console: "Console", boards: "Sequence[Board]", *, form: Form, run: str) -> None:
    """Print boards one below the other, each with its notes."""
    from mmbench.board import report

    if form is not Form.table:
        text = leaderboard_text(boards, form=form, run=run)
        terminal.write(console, terminal.readable_json(console, text) if form is Form.json else text)
        return
    for board in boards:
        terminal.write(console, *_heading(board, form), *report.table(board.rows, console.width, board.metrics))
        terminal.write(console, *_notes(board, form))


def leaderboard_text(boards: "Sequence[Board]", *, form: Form, run: str) -> str:
    """The boards in any format but table; csv and json hold the rows of all, with their board."""
    from mmbench.board import report

    rows = [row for board in boards for row in board.rows]
    if form is Form.json:
        notes = list(dict.fromkeys(note for board in boards for note in board.notes))
        return report.json(rows, run=run, notes=notes).rstrip("\n")
    if form is Form.csv:
        return report.csv(rows).rstrip("\n")
    blocks = []
    for board in boards:
        drawn = report.latex(board.rows) if form is Form.latex else report.markdown(board.rows, board.metrics)
        blocks += [*_heading(board, form), drawn, *_notes(board, form)]
    return "\n\n".join(block.strip("\n") for block in blocks if block)


def _heading(board: "Board", form: Form) -> list[str]:
    from mmbench.board import report
    from mmbench.board.figures import plain

    if not board.title:
        return []
    if form is Form.latex:
        return [rf"\paragraph{{{report.escape_latex(board.title)}}}"]
    return [f"# {report.escape(board.title)}"] if form is Form.markdown else [plain(board.title), ""]


def _notes(board: "Board", form: Form) -> list[str]:
    from mmbench.board import report
    from mmbench.board.figures import plain

    if form is Form.latex:
        return [rf"{{\footnotesize {report.escape_latex(note)}\par}}" for note in board.notes]
    escape = report.escape if form is Form.markdown else plain
    return [escape(note) for note in board.notes]


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


def _write_tables(
    console: "Console",
    boards: "Sequence[Board]",
    make: Callable[[Sequence[Mapping[str, Any]]], Iterator[Table]],
    *,
    form: Form,
) -> None:
    from mmbench.board.figures import gaps, plain, policy
    from mmbench.board.report import escape

    shown = escape if form is Form.markdown else plain
    for board in boards:
        terminal.write(console, *_heading(board, form))
        for table in make(board.rows):
            terminal.write(console, *_draw(table, form=form))
        terminal.write(console, *map(shown, [*gaps(board.rows), *policy(board.rows)]), *_notes(board, form))


def by_metric(rows: Sequence[Mapping[str, Any]], directions: Mapping[str, str]) -> Iterator[Table]:
    """A table for each metric; a line a contender, a column a task, means and intervals. What has no score says why.

    directions: {metric: "max" or "min"}
    """
    from mmbench.board.figures import better

    for metric in dict.fromkeys(name for row in rows for name in row["metrics"]):
        tasks = list(dict.fromkeys(row["task"] for row in rows if metric in row["metrics"]))
        own = {(row["contender"], row["task"]): row for row in rows if row["task"] in tasks}
        contenders = dict.fromkeys(contender for contender, _ in own)
        cells = [
            [contender, *(_score(own.get((contender, task)), metric) for task in tasks)] for contender in contenders
        ]
        known = f", {better(directions[metric])}" if metric in directions else ""
        yield f"{metric}{known}", ["contender", *tasks], cells


def _score(row: Mapping[str, Any] | None, metric: str) -> str:
    from mmbench.board.figures import with_interval

    if row is None:
        return ""
    return with_interval(row["metrics"].get(metric)) if row["status"] == "ok" else row["status"]


def _by_cost(cost: Cost) -> Callable[[Sequence[Mapping[str, Any]]], Iterator[Table]]:
    """Score against a cost: a table for each task, the cheapest first; a star marks the front."""
    from mmbench.board.figures import count, quantity, score, with_interval

    def tables(rows: Sequence[Mapping[str, Any]]) -> Iterator[Table]:
        for task in pareto.tradeoffs(rows, cost):
            cells = [
                [
                    "*" if point.front else "",
                    point.row["contender"],
                    f"{count(point.cost) if point.cost >= 1000 else quantity(point.cost)}{_noise(point)}",
                    with_interval(point.row["metrics"][task.metric]),
                ]
                for point in task.points
            ]
            cells += [["", contender, "–", "–"] for contender in task.left_out]
            best = max if sign(task.direction) > 0 else min
            ends = f", {score(best(p.score for p in task.points))} at best" if task.points else ""
            title = f"{task.task}: {task.metric}{ends}, against {pareto.COSTS[cost][2]}; * none is better in both"
            yield title, ["front", "contender", cost.value, task.metric], cells

    return tables


def _noise(point: pareto.Point) -> str:
    return f" ± {point.noise / point.cost:.0%}" if point.noise and point.cost else ""


def _draw(table: Table, *, form: Form) -> Sequence[object]:
    title, columns, cells = table
    if form is Form.table:
        return [title, "", terminal.table(columns, cells, right=[c for c in columns[1:] if c != "contender"]), ""]
    from mmbench.board.report import escape, markdown_cell

    lines = [[markdown_cell(cell) for cell in line] for line in (columns, *cells)]
    lines.insert(1, ["---"] * len(columns))
    return [f"## {escape(title)}", "", *(f"| {' | '.join(line)} |" for line in lines), ""]
