"""`mmbench publish`: a static site of one run or several; `--check` holds what is published against the runs."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmbench.cli import options, terminal
from mmbench.cli.commands.leaderboard import Form, find_runs, leaderboard_text

if TYPE_CHECKING:
    from mmbench.api.record import Trial
    from mmbench.board.gate.boards import Board
    from mmbench.plugins import Catalog
    from mmbench.session import Run

TABLES = {"leaderboard.md": Form.markdown, "leaderboard.csv": Form.csv, "leaderboard.json": Form.json}
TABLES |= {"leaderboard.tex": Form.latex}
"""The tables that someone may have put beside a run's records, and the format of each."""


def publish(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="A run's name, or its folder; or several.")],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="The site's folder.")] = Path("site"),
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 if the site, or a run's table, is out of date.")
    ] = False,
    separate: Annotated[
        bool, typer.Option("--separate", help="A board each for runs that can't be compared, instead of an error.")
    ] = False,
    results: options.Results = Path("results"),
    plugin: options.Plugins = None,
) -> None:
    """Write a static site of the leaderboard: boards, plots, and a page for each contender on each task.

    It needs no server, no script and nothing from elsewhere; the same runs give the same bytes. An earlier
    site in DIR is replaced as a whole; a folder that is anything else is left alone.

    \b
    Examples:
      mmbench publish starter
      mmbench publish starter --to docs/starter
      mmbench publish lab-a lab-b --separate
      mmbench publish starter --check
    """
    from mmbench import plugins, rescoring
    from mmbench.board.gate import conditions
    from mmbench.board.site import folder, render

    catalog = plugins.load(plugin or ())
    found = find_runs(runs, results)
    data = [run.data for run in found]
    if not separate:
        conditions.check(data)
    boards = rescoring.boards(data, catalog)
    name = " + ".join(conditions.names(data).values())
    place = Path(os.path.abspath(to))  # noqa: PTH100  resolve() would follow a link
    made = render.files(boards, run=name, trials=_trials(found), seals=_seals(found), sources=_sources(catalog))
    if check:
        _check(folder.differences(made, place), found, catalog)
        return
    folder.write(made, place)
    terminal.show(
        f"{len(made)} files, {terminal.size(sum(map(len, made.values())))}, in {to}: open {to / 'index.html'}"
    )


def _trials(runs: "Sequence[Run]") -> dict[Path, dict[str, "list[Trial]"]]:
    """{run folder: {cell: its trials}}"""
    from mmbench.store import reading

    return {
        run.data.path: {cell: history.trials for cell, history in reading.history(run.folder).items()} for run in runs
    }


def _seals(runs: "Sequence[Run]") -> dict[str, bytes]:
    """{"starter/seal.json": content}: each run's seal and signature, where it has them."""
    from mmbench.board.gate import conditions
    from mmbench.board.site import folder
    from mmbench.trust.seal import SEAL
    from mmbench.trust.signature import SIGNATURE

    called = conditions.names([run.data for run in runs])
    found = {}
    for run in runs:
        for name in (SEAL, SIGNATURE):
            content = folder.read(run.folder / name)
            if content is not None:
                found[f"{called[run.data.path]}/{name}"] = content
    return found


def _sources(catalog: "Catalog") -> Mapping[str, str]:
    """{"fusion.gated": where it was published}, of every part that says so."""
    return {
        f"{part.role}.{name}": str(part.source)
        for shelf in catalog.shelves().values()
        for name, part in shelf.items()
        if part.source
    }


def _check(differences: list[str], runs: "Sequence[Run]", catalog: "Catalog") -> None:
    differences = differences + [str(path) for run in runs for path in _stale(run, run.boards(catalog))]
    if differences:
        terminal.show(*(terminal.one_line(line) for line in differences))
        raise typer.Exit(1)
    terminal.show("up to date")


def _stale(run: "Run", boards: "Sequence[Board]") -> list[str]:
    """The tables in the run's folder that are not what `mmbench leaderboard RUN --format ... -o` would write now."""
    from mmbench.board.site import folder

    found = []
    for name, form in TABLES.items():
        there = folder.read(run.folder / name)
        text = leaderboard_text(boards, form=form, run=run.folder.resolve().name)
        if there is not None and there != f"{text}\n".encode("utf-8", "backslashreplace"):
            found.append(f"changed: {run.folder / name}")
    return found
