"""What one worker process does: one job, told over a pipe, a message for each thing that happened.

`perform` does a job in whatever process it is called; `main` is a process's entry.
"""

import gc
import os
import signal
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias

from mmbench.api.record import Refit, Trial
from mmbench.engine.space import Cell
from mmbench.errors import MMBenchError


@dataclass(frozen=True)
class LoadData:
    """Fetch and build a dataset."""

    dataset: str


@dataclass(frozen=True, eq=False)
class Prepare:
    """Compute one modality's features by one encoder's default preparation."""

    cell: Cell
    modality: str
    encoder: str


@dataclass(frozen=True, eq=False)
class Search:
    """Search a cell and refit; what is in the history is not done again."""

    cell: Cell
    trials: Sequence[Trial] = ()
    refits: Sequence[Refit] = ()


@dataclass(frozen=True, eq=False)
class Measure:
    """Measure what a configuration costs. Runs alone."""

    cell: Cell
    params: Mapping[str, Any]


Job: TypeAlias = LoadData | Prepare | Search | Measure
Send: TypeAlias = Callable[..., None]
"""send(kind, *content): "progress", "begin", "trial", "refit", "cost", "failed", "done"."""


@dataclass(frozen=True)
class Setting:
    """What a worker process is told once: where things are and which plugins to load."""

    cache: Path
    device: str
    plugins: tuple[str, ...]
    environ: Mapping[str, str]
    """The parent's environment now; the server that workers are forked from may be older."""


def perform(job: Job, setting: Setting, send: Send) -> None:
    """Do `job`, and tell of it through `send`."""
    from mmbench import plugins
    from mmbench.api.progress import listen
    from mmbench.engine.data.tables import materialise

    catalog = plugins.load(setting.plugins)
    with listen(lambda label, done, total: send("progress", label, done, total)):
        if isinstance(job, LoadData):
            materialise(catalog.datasets[job.dataset], setting.cache)
            return
        from mmbench.engine.data.workspace import Workspace

        workspace = Workspace(job.cell, catalog, setting.cache, setting.device)
        if isinstance(job, Prepare):
            workspace.prepare_default(job.modality, job.encoder)
        elif isinstance(job, Measure):
            from mmbench.engine.measure import measure

            send("cost", measure(workspace, job.params))
        else:
            _search(job, workspace, send)


def _search(job: Search, workspace: Any, send: Send) -> None:
    from mmbench.engine.evaluate import refit, schedule
    from mmbench.engine.search import search

    trials = search(
        workspace,
        job.trials,
        begin=lambda number, params: send("begin", number, dict(params)),
        finished=lambda trial: send("trial", trial),
    )
    done = {(r.role, r.seed) for r in job.refits}
    for role, number, params in schedule(job.cell, trials, workspace.catalog):
        if (role, number) not in done:
            send("begin", None, dict(params))
            result, predictions = refit(workspace, role, number, params)
            send("refit", result, predictions)


def main(job: Job, setting: Setting, connection: Connection) -> None:
    """The entry of a worker process: one job, then the end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    os.environ.clear()
    os.environ.update(setting.environ)
    gc.freeze()  # what the server has loaded lives on; looking through it again and again would only copy its pages
    import torch

    torch.set_num_threads(1)

    def send(kind: str, *content: Any) -> None:
        try:
            connection.send((kind, *content))
        except BrokenPipeError:  # the parent is gone: nobody is left to work for
            os._exit(1)

    try:
        perform(job, setting, send)
        send("done")
    except MMBenchError as error:
        send("failed", error, None)
    except Exception as error:
        text = " ".join(str(error).split())
        send("failed", MMBenchError(f"{type(error).__name__}: {text}"), traceback.format_exc())
    finally:
        connection.close()
