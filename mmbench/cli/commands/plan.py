"""`mmbench plan` and `mmbench prepare`: what a run would do, and fetching what it needs, before anything is trained."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from mmbench.cli import options, terminal


def plan(
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

    One row a cell: to do, done, or skipped and why; its trials; the trainings that makes at most, refits
    included; how many parameters are searched. The plan's hash names all of it in one word.

    \b
    Examples:
      mmbench plan starter
      mmbench plan starter --task emoji_group --trials 50
      mmbench plan starter --register registration.json
    """
    from mmbench import session
    from mmbench.board.trust import registration

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
        device=device,
    )
    if opened.note:
        terminal.show(opened.note)
    rows = session.estimate(opened)
    numbers = ("trials", "trainings", "parameters")
    columns = ("task", "contender", "status", *numbers)
    cells = [[str(row[column]) for column in columns] for row in rows]
    terminal.show(terminal.table(columns, cells, right=numbers), "")
    for ready, meaning in ((True, "in the cache"), (False, "to be fetched and built")):
        named = [dataset for dataset, here in session.data_ready(opened).items() if here is ready]
        if named:
            terminal.show(f"{meaning}: {', '.join(named)}")
    to_do = [row["trainings"] for row in rows if row["status"] == "to do"]
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
    from mmbench import session
    from mmbench.cli.live import Meter

    with Meter(quiet=quiet) as meter:
        ready = session.prepare(target, plugins=plugin or (), on_progress=meter)
    terminal.show(terminal.table(("ready", "where"), [[what, str(where)] for what, where in ready]))
