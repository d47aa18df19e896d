"""`mmbench reproduce`: a recorded cell trained again on this machine, and how far its scores drift."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmbench.cli import options, terminal
from mmbench.errors import MMBenchError

if TYPE_CHECKING:
    from mmbench.cli.live import Meter
    from mmbench.engine.events import Event
    from mmbench.reproduce import Drift, Reproduction


def reproduce(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's name, or its folder.")],
    cell: Annotated[
        list[str] | None,
        typer.Option(metavar="CELL", help="TASK/CONTENDER, or a cell's key. Repeatable.", show_default=False),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every cell that has scores.")] = False,
    seed: Annotated[
        int | None, typer.Option(metavar="K", min=0, help="Only the refit of this seed number.", show_default=False)
    ] = None,
    form: Annotated[options.Form, typer.Option("--format", metavar="table|json", help="How to print.")] = (
        options.Form.table
    ),
    device: options.Device = "auto",
    results: options.Results = Path("results"),
    plugin: options.Plugins = None,
    quiet: options.Quiet = False,
) -> None:
    """Train recorded cells again here, without a search, and compare the scores.

    The recorded parameters and seeds, this machine's data, code and libraries; what differs from then is
    named. Without --cell or --all: the cheapest cell of each task. Nothing is written into the run. Exit code
    0: the tuned metric lies within the recorded 95% interval everywhere; 1: it does not, or a training failed.

    \b
    Examples:
      mmbench reproduce starter
      mmbench reproduce results/published/starter --cell emoji_group/concat
      mmbench reproduce starter --cell emoji_group/concat --seed 0
    """
    from mmbench import plugins, session
    from mmbench import reproduce as again
    from mmbench.api.carrier import cache_folder
    from mmbench.cli.live import Meter

    if cell and every:
        raise MMBenchError("give --cell or --all, not both")
    found = session.find_run(run, results)
    records = again.choose(found.data, cell or (), every=every)
    if not records:
        raise MMBenchError(f"{found.folder} has no cell with scores to reproduce")
    done = []
    with Meter(quiet=quiet or form is options.Form.json) as meter:
        for one in again.reproduce(
            found.data,
            plugins.load(plugin or ()),
            records,
            cache=cache_folder(),
            device=session.pick_device(device),
            seed=seed,
            on_event=lambda event: _progress(event, meter),
        ):
            done.append(one)
    if form is options.Form.json:
        terminal.show_json({"run": found.folder.name, "cells": [one.json() for one in done]})
    else:
        for one in done:
            _show(one)
    if not all(one.reproduced for one in done):
        raise typer.Exit(1)


def _progress(event: "Event", meter: "Meter") -> None:
    from mmbench.engine.events import Progress

    if isinstance(event, Progress):
        meter(event.label, event.done, event.total)


def _show(one: "Reproduction") -> None:
    seeds = ", ".join(map(str, one.seeds))
    title = f"{one.record.task}/{one.record.contender}, seed{'s' if len(one.seeds) > 1 else ''} {seeds}"
    terminal.show(terminal.one_line(f"{title}: {_verdict(one)}"))
    for difference in one.differences:
        terminal.show(f"  differs: {terminal.one_line(difference)}")
    if one.drifts:
        columns = ("metric", "recorded", "95% interval", "again", "drift", "within")
        lines = [_line(drift) for drift in one.drifts]
        terminal.show(terminal.table(columns, lines, right=("recorded", "again", "drift")))
    terminal.show("")


def _verdict(one: "Reproduction") -> str:
    if one.failure is not None:
        return f"failed: {one.failure}"
    if one.identical:
        return "the same predictions, bit for bit"
    return "within the interval" if one.reproduced else "not within the interval"


def _line(drift: "Drift") -> list[str]:
    interval = "–" if drift.low is None else f"{drift.low:.4f} to {drift.high:.4f}"
    within = {True: "yes", False: "no", None: "–"}[drift.within]
    return [drift.metric, f"{drift.recorded:.4f}", interval, f"{drift.again:.4f}", f"{drift.drift:+.2g}", within]
