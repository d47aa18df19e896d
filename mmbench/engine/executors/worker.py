"""What one worker process does: one job, told over a pipe, a message for each thing that happened.

`perform` does a job in whatever process it is called; `main` is a process's entry.
"""

import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias

from mmbench.api.files import disk_full, open_streams
from mmbench.api.record import Refit, Trial
from mmbench.engine.space import Cell
from mmbench.errors import DataError, MMBenchError

if sys.platform == "linux":
    import fcntl


@dataclass(frozen=True)
class LoadData:
    """Fetch and build a dataset."""

    dataset: str
    fingerprint: str


@dataclass(frozen=True, eq=False)
class Prepare:
    """Compute one modality's features by one encoder's default preparation."""

    cell: Cell
    modality: str
    encoder: str


@dataclass(frozen=True, eq=False)
class Assist:
    """Take part in the long preparation that another process is at."""

    cell: Cell
    modality: str
    encoder: str


@dataclass(frozen=True, eq=False)
class Search:
    """Search a cell and refit; what is in the history is not done again. A scout only tries the first batch, unless the
    rest is short."""

    cell: Cell
    scout: bool = False
    trials: Sequence[Trial] = ()
    refits: Sequence[Refit] = ()


@dataclass(frozen=True, eq=False)
class Measure:
    """Measure what a configuration costs. Runs alone."""

    cell: Cell
    params: Mapping[str, Any]


Job: TypeAlias = LoadData | Prepare | Assist | Search | Measure
Send: TypeAlias = Callable[..., None]
"""send(kind, *content): "progress", "read", "units", "begin", "trial", "paused", "refit", "cost", "failed", "done"."""
SHORT = 2.0
"""Seconds of a search for which another process would not pay."""


@dataclass(frozen=True)
class Setting:
    """What a worker process is told once: where things are and which plugins to load."""

    cache: Path
    device: str
    plugins: tuple[str, ...]
    environ: Mapping[str, str]
    """The parent's environment now; the server that workers are forked from may be older."""
    hidden: tuple[Path, ...] = ()
    """Folders with the truth of test, beside those of the cache: what runs have stored."""
    sources: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """The code that the run was planned with, as `sources.held` has it."""


def perform(job: Job, setting: Setting, send: Send) -> None:
    """Do `job`, and tell of it through `send`."""
    from mmbench import plugins, sources
    from mmbench.api.progress import listen
    from mmbench.engine.data.report import lines
    from mmbench.engine.data.tables import Table, examine, materialise, where

    catalog = plugins.load(setting.plugins)
    sources.hold(setting.sources)
    with listen(lambda label, done, total: send("progress", label, done, total)):
        if isinstance(job, LoadData):
            dataset = catalog.datasets[job.dataset]
            new = Table(dataset, where(dataset, setting.cache, job.fingerprint)).report is None
            found = examine(materialise(dataset, setting.cache, known=job.fingerprint))
            if new:
                send("read", dataset.name, tuple(lines(found)))
            return
        from mmbench.engine.jobs.workspace import Workspace

        workspace = Workspace(job.cell, catalog, setting.cache, setting.device)
        if isinstance(job, Prepare):
            workspace.prepare_default(job.modality, job.encoder, begun=lambda units: send("units", units))
        elif isinstance(job, Assist):
            workspace.assist(job.modality, job.encoder)
        elif isinstance(job, Measure):
            from mmbench.engine.jobs.measure import measure

            send("cost", measure(workspace, job.params))
        else:
            _search(job, workspace, send)


def _search(job: Search, workspace: Any, send: Send) -> None:
    from mmbench.engine.jobs.evaluate import refits, schedule
    from mmbench.engine.jobs.search import search, trials_of

    size = trials_of(workspace)

    def enough(trials: Sequence[Trial]) -> bool:
        left = size - len(trials)
        return job.scout and left * sum(trial.seconds for trial in trials) > SHORT * len(trials)

    trials = search(
        workspace,
        job.trials,
        begin=lambda trials: send("begin", trials, len(trials)),
        finished=lambda trial: send("trial", trial),
        enough=enough,
    )
    if enough(trials):
        send("paused")
        return
    results = refits(
        workspace,
        schedule(job.cell, trials, workspace.catalog),
        done={(r.role, r.seed) for r in job.refits},
        begin=lambda count: send("begin", [], count),
    )
    for result, predictions in results:
        send("refit", result, predictions)


def _confine(job: Job, setting: Setting) -> None:
    """Before any code of a plugin: only a job that loads data may read the truth of test, and what it is made from."""
    if not isinstance(job, LoadData):
        from mmbench.engine.executors import sandbox

        cache = setting.cache
        sandbox.confine([cache / "truth", cache / "carriers", *setting.hidden], own=cache)


def main(job: Job, setting: Setting, connection: Connection) -> None:
    """The entry of a worker process: one job, then the end."""
    open_streams()
    _belong_to_parent()
    os.environ.clear()
    os.environ.update(setting.environ)
    gc.freeze()  # what the server has loaded lives on; looking through it again and again would only copy its pages
    import torch
    from tqdm import tqdm  # type: ignore[import-untyped]

    torch.set_num_threads(1)
    tqdm.set_lock(threading.RLock())  # its own is a semaphore, of which Python complains where a process is killed

    def send(kind: str, *content: Any) -> None:
        try:
            connection.send((kind, *content))
        except BrokenPipeError:  # the parent is gone: nobody is left to work for
            os._exit(1)

    try:
        _confine(job, setting)
        perform(job, setting, send)
        send("done")
    except MMBenchError as error:
        send("failed", _plain(error), None)
    except Exception as error:
        text = " ".join(str(error).split())
        if disk_full(error):
            send("failed", DataError(f"{setting.cache} is on a full disk: {text}; free some space and run again"), None)
        else:
            send("failed", MMBenchError(f"{type(error).__name__}: {text}"), traceback.format_exc())
    connection.close()
    if threading.active_count() > 1:  # a part has left threads behind, which might never end
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _belong_to_parent() -> None:
    """Signals to stop are the parent's to handle, as they go to the whole terminal or the whole job of a cluster; what
    a part prints goes where messages go, for stdout is the leaderboard's; and where the parent dies, so does this."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
    with suppress(OSError):  # started without a stderr
        os.dup2(2, 1)
    parent = parent_process()
    if parent is None:
        return
    if sys.platform == "linux":
        # When the parent's end of this pipe is closed the kernel kills us, whatever code is at work.
        sentinel = parent.sentinel
        fcntl.fcntl(sentinel, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(sentinel, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(sentinel, fcntl.F_SETFL, fcntl.fcntl(sentinel, fcntl.F_GETFL) | os.O_ASYNC)
        if not parent.is_alive():
            os._exit(1)
    else:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def _plain(error: MMBenchError) -> MMBenchError:
    """The error, in a form that the parent can read, who may not know a part's own classes."""
    return error if type(error).__module__ == MMBenchError.__module__ else MMBenchError(str(error))
