"""`mmbench run`: search, refit and score every cell of a suite, live, then print the leaderboard."""

import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmbench.cli import options, stopping, terminal

if TYPE_CHECKING:
    from mmbench.session import Run, Session


def run(
    context: typer.Context,
    suite: options.SuiteName,
    task: options.Tasks = None,
    contender: options.Contenders = None,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, max=1024, help="Worker processes; one for each core if absent.", show_default=False
        ),
    ] = None,
    trials: options.Trials = None,
    limit: options.Limit = None,
    seed: options.Seed = None,
    results: options.Results = Path("results"),
    name: options.Name = None,
    fresh: options.Fresh = False,
    device: options.Device = "auto",
    held: Annotated[
        Path | None,
        typer.Option(
            "--plan",
            metavar="FILE",
            help="Hold a new run to this registration, which `plan --register` wrote.",
            show_default=False,
        ),
    ] = None,
    plugin: options.Plugins = None,
    quiet: options.Quiet = False,
) -> None:
    """Search and score a suite's contenders, then rank them.

    Every contender gets the same budget on every task. The same command again goes on where it
    stopped, and does nothing twice.

    \b
    Examples:
      mmbench run starter
      mmbench run starter --task emoji_group --contender gated --contender concat
      mmbench run starter --plugin my_fusion.py --contender mine --contender concat
      mmbench run suites/mine.toml --trials 50 --workers 8
    """
    from mmbench import session

    opened = session.open_run(
        suite,
        plugins=plugin or (),
        tasks=task or (),
        contenders=contender or (),
        trials=trials,
        limit=limit,
        seed=seed,
        results=results,
        name=name,
        fresh=fresh,
        device=device,
        registered=held,
    )
    done = _execute(opened, workers=workers, quiet=quiet, again=_again(context.obj or [suite]))
    _conclude(done, opened)


def _again(arguments: Sequence[str]) -> str:
    """What to type to go on: the same command, without --fresh, which would begin anew."""
    return shlex.join(["mmbench", *(word for word in arguments if word != "--fresh")])


def _execute(opened: "Session", *, workers: int | None, quiet: bool, again: str) -> "Run":
    from mmbench.cli.live import display

    cells = opened.plan.cells
    watch = display(cells, opened.done, title=f"{opened.suite.name} → {opened.folder}", quiet=quiet)
    try:
        with watch:
            if opened.note:
                watch.say(opened.note)
            return opened.execute(workers=workers, on_event=watch)
    except KeyboardInterrupt as error:
        done = watch.state.before + watch.state.finished
        told = f"{stopping.cause(error)}{done} of {len(cells)} cells are done and stored"
        with suppress(OSError):  # the terminal may be what is gone
            terminal.warn(f"{told}; the same command goes on from here: {again}", level="stopped")
        raise typer.Exit(stopping.exit_code(error)) from None


def _conclude(done: "Run", opened: "Session") -> None:
    from mmbench.board.trust import seal
    from mmbench.cli.commands.leaderboard import Form, write_boards

    write_boards(terminal.console(), done.boards(opened.catalog), form=Form.table, run=done.folder.name)
    failed = done.failed
    if failed:
        terminal.show("", f"{len(failed)} failed:")
        terminal.show(*(f"  {terminal.one_line(f'{r.task}, {r.contender}: {r.status}: {r.reason}')}" for r in failed))
        terminal.show("they are not tried again: change what failed, or begin anew with --fresh")
    folder = shlex.quote(str(done.folder))
    sealed = f", seal {name}" if (name := seal.name(done.folder)) else ""
    terminal.show("", f"stored in {folder}{sealed}; next:", f"  mmbench leaderboard {folder} --format markdown")
    if failed:
        raise typer.Exit(1)
