"""`mmbench run`, and what comes before it: `plan` shows what it would do, `prepare` fetches what it needs."""

import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmbench.cli import options, stopping, terminal
from mmbench.errors import StoreError

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
            metavar="N",
            min=1,
            max=1024,
            help="Worker processes; one for each usable core, or GPU, if absent.",
            show_default=False,
        ),
    ] = None,
    trials: options.Trials = None,
    limit: options.Limit = None,
    seed: options.Seed = None,
    results: options.Results = Path("results"),
    name: options.Name = None,
    fresh: options.Fresh = False,
    device: options.Device = "auto",
    executor: Annotated[
        str, typer.Option(metavar="NAME", help="What runs the workers: local, or one that a plugin brings.")
    ] = "local",
    held: Annotated[
        Path | None,
        typer.Option(
            "--plan",
            metavar="FILE",
            help="Start a new run with this registered plan, written by `plan --register`.",
            show_default=False,
        ),
    ] = None,
    keep_weights: Annotated[
        bool, typer.Option("--keep-weights", help="Store the winners' trained weights, as safetensors.")
    ] = False,
    plugin: options.Plugins = None,
    quiet: options.Quiet = False,
) -> None:
    """Search and score a suite's contenders, then rank them.

    Every contender gets the same budget on every task. The same command resumes a run that was
    stopped; nothing is computed twice.

    \b
    Examples:
      mmbench run starter
      mmbench run starter --task emoji_group --contender gated --contender concat
      mmbench run starter --plugin my_fusion.py --contender mine --contender concat
      mmbench run suites/mine.toml --trials 50 --workers 8
    """
    opened = _open(context)
    done = _execute(opened, workers=workers, quiet=quiet, again=_again(context.obj or [suite]))
    _conclude(done, opened)


def _open(context: typer.Context) -> "Session":
    """The session that a command's options ask for: those of `plan` and `run` mean the same."""
    from mmbench import session

    given = context.params
    return session.open_run(
        given["suite"],
        plugins=given["plugin"] or (),
        tasks=given["task"] or (),
        contenders=given["contender"] or (),
        trials=given["trials"],
        limit=given["limit"],
        seed=given["seed"],
        results=given["results"],
        name=given["name"],
        device=given["device"],
        executor=given.get("executor", "local"),
        fresh=given.get("fresh", False),
        registered=given.get("held"),
        keep_weights=given.get("keep_weights", False),
    )


def _again(arguments: Sequence[str]) -> str:
    """What to type to resume: the same command, without --fresh, which would start a new run."""
    return shlex.join(["mmbench", *(word for word in arguments if word != "--fresh")])


def _execute(opened: "Session", *, workers: int | None, quiet: bool, again: str) -> "Run":
    from mmbench.cli.live import display
    from mmbench.session import begun

    cells = opened.plan.cells
    watch = display(cells, opened.done, title=f"{opened.suite.name} → {opened.folder}", quiet=quiet)
    try:
        with watch:
            if opened.note:
                watch.say(opened.note)
            if not opened.fresh and any(map(sum, begun(opened).values())):
                watch.say(f"resumed: {_stored(opened)}")
            return opened.execute(workers=workers, on_event=watch)
    except KeyboardInterrupt as error:
        told = f"{stopping.cause(error)}{_stored(opened)}"
        with suppress(OSError):  # the terminal may be what is gone
            terminal.warn(f"{told}; resume with the same command: {again}", level="stopped")
        raise typer.Exit(stopping.exit_code(error)) from None


def _stored(opened: "Session") -> str:
    """What the run's folder holds of this plan, as it stands on the disk."""
    from mmbench.session import begun, said
    from mmbench.store import reading

    cells = opened.plan.cells
    try:
        done = len(reading.finished(opened.folder) & {cell.key for cell in cells})
        counts = list(begun(opened).values())
    except (StoreError, OSError):  # it has been taken away, say
        return f"{opened.folder} can't be read"
    trials, refits = (sum(numbers) for numbers in zip((0, 0), *counts, strict=True))
    rest = f", {said(trials, refits)} of the others" if trials or refits else ""
    return f"{done} of {len(cells)} cells are done and stored{rest}"


def _conclude(done: "Run", opened: "Session") -> None:
    from mmbench.cli.commands.leaderboard import Form, write_boards
    from mmbench.trust import seal

    write_boards(terminal.console(), done.boards(opened.catalog), form=Form.table, run=done.folder.name)
    failed = done.failed
    if failed:
        terminal.show("", f"{len(failed)} failed:")
        terminal.show(*(f"  {terminal.one_line(f'{r.task}, {r.contender}: {r.status}: {r.reason}')}" for r in failed))
        terminal.show("they are not tried again: change what failed, or start a new run with --fresh")
        checks = [shlex.join(["mmbench", "check", source, "--verbose"]) for source in opened.catalog.sources]
        terminal.show(*(f"  {check}" for check in checks))
    folder = shlex.quote(str(done.folder))
    sealed = f", seal {name}" if (name := seal.name(done.folder)) else ""
    terminal.show("", f"stored in {folder}{sealed}; next, a table to paste, or pages with plots:")
    terminal.show(f"  mmbench leaderboard {folder} --format markdown", f"  mmbench publish {folder}")
    if failed:
        raise typer.Exit(1)


def plan(
    context: typer.Context,
    suite: options.SuiteName,
    task: options.Tasks = None,
    contender: options.Contenders = None,
    trials: options.Trials = None,
    limit: options.Limit = None,
    seed: options.Seed = None,
    results: options.Results = Path("results"),
    name: options.Name = None,
    device: options.Device = "auto",
    register: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the plan to this file, to be published and given to `run --plan`.",
            show_default=False,
        ),
    ] = None,
    plugin: options.Plugins = None,
) -> None:
    """Show what `run` would do with the same options.

    One row a cell: to do, begun and what is stored, done, or skipped and why; its trials; the trainings that
    are left at most, refits included; how many parameters are searched. Of a cell that has a result and is to
    do again, what has changed since: a library, a file, the data, the suite. The plan's hash names all of it in
    one word.

    \b
    Examples:
      mmbench plan starter
      mmbench plan starter --task emoji_group --trials 50
      mmbench plan starter --register registration.json
    """
    from mmbench import preparing, session
    from mmbench.trust import registration

    opened = _open(context)
    if opened.note:
        terminal.show(opened.note)
    rows = session.estimate(opened)
    numbers = ("trials", "trainings", "parameters")
    columns = ("task", "contender", "status", *numbers)
    cells = [[str(row[column]) for column in columns] for row in rows]
    terminal.show(terminal.table(columns, cells, right=numbers), "")
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row["why"]:
            reasons.setdefault(row["why"], []).append(f"{row['task']}/{row['contender']}")
    for why, again in reasons.items():
        terminal.show(terminal.one_line(f"again, since {why}: {', '.join(again)}"))
    cached = preparing.data_ready(opened.plan, opened.catalog)
    for ready, meaning in ((True, "in the cache"), (False, "to be fetched and built")):
        named = [dataset for dataset, here in cached.items() if here is ready]
        if named:
            terminal.show(f"{meaning}: {', '.join(named)}")
    to_do = [row["trainings"] for row in rows if row["status"] == "to do" or row["status"].startswith("begun")]
    terminal.show(
        f"{len(to_do)} of {len(rows)} cells to do, at most {sum(to_do)} trainings, on {opened.plan.device}",
        f"plan {opened.plan.hash}",
        f"run folder {opened.folder}",
    )
    if register is not None:
        registration.save(register, replace(opened.registration(), made_before=True))
        terminal.show(f"registered in {register}: publish it, then `run` with the same options and --plan {register}")


def prepare(
    target: Annotated[str, typer.Argument(metavar="SUITE|DATASET", help="A suite, or one dataset by name.")],
    plugin: options.Plugins = None,
    quiet: options.Quiet = False,
) -> None:
    """Fetch and check the data and weights of a suite or dataset.

    Nothing is trained. Later runs then need no network.

    \b
    Examples:
      mmbench prepare starter
      mmbench prepare emoji_group
    """
    from mmbench import preparing
    from mmbench.cli.live import Meter

    with Meter(quiet=quiet) as meter:
        ready = preparing.prepare(target, plugins=plugin or (), on_progress=meter)
    terminal.show(terminal.table(("ready", "where"), [[what, str(where)] for what, where, _ in ready]))
    for what, _, holds in ready:
        if holds:
            terminal.show("", what, *(f"  {line}" for line in holds))
