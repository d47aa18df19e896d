"""Does one job, in whatever process an executor calls it, and reports each thing that happens.

An `Assignment` is what an executor is given; `perform` does its job; `main` is the entry of a process that
`local` has started.
"""

import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from importlib.util import find_spec
from multiprocessing import current_process, parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias

from mmbench.api.executor import Send, Work
from mmbench.api.files import disk_full, no_thread, open_streams, remedy
from mmbench.api.record import Trial, pack
from mmbench.engine import clock
from mmbench.engine.executors.messages import (
    Array,
    CostMeasured,
    DataExamined,
    Done,
    Doubled,
    Failed,
    Message,
    Paused,
    Progressed,
    RefitEnded,
    RefitsBegun,
    Started,
    TrialEnded,
    TrialsBegun,
    UnitsCounted,
    encode,
)
from mmbench.engine.executors.wire import write
from mmbench.engine.jobs.job import Assist, Job, LoadData, Measure, Prepare, Search, bare, whole
from mmbench.errors import DataError, MMBenchError, told
from mmbench.plugins import Needed

if sys.platform == "linux":
    import fcntl


Tell: TypeAlias = Callable[[Message], None]
SHORT = 2.0
"""Seconds of a search for which another process would not pay."""


@dataclass(frozen=True)
class Setting:
    """What a worker is told once: where things are, which plugins its job needs, and which device is its own."""

    cache: Path
    device: str
    """As the machine numbers its devices: "cuda:1". The process sees no other GPU than this."""
    plugins: Needed
    hidden: tuple[Path, ...] = ()
    """Files and folders with test labels, beside those of the cache: what data sets read, and what runs have stored."""
    sources: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """The code that the run was planned with, as `sources.held` has it."""


@dataclass(frozen=True)
class Assignment:
    """A job with all that is needed to do it, in whatever process an executor calls it."""

    job: Job
    setting: Setting

    def __reduce__(self) -> tuple[type["Assignment"], tuple[Job, Setting]]:
        """A process that reads it has no plugin yet, and must not import one before it is confined."""
        return Assignment, (bare(self.job), self.setting)

    def __call__(self, send: Send) -> None:
        """Do the job; whatever goes wrong with it is told."""
        import torch
        from tqdm import tqdm  # type: ignore[import-untyped]

        torch.set_num_threads(1)
        tqdm.set_lock(threading.RLock())  # its own is a semaphore, of which Python complains where a process is killed
        tell = _Teller(send)
        tell(Started())
        try:
            _confine(self.job, self.setting)
            perform(self.job, self.setting, tell)
            tell(Done())
        except MMBenchError as error:
            tell(Failed(told(error), "data" if isinstance(error, DataError) else "job"))
        except Exception as error:
            if disk_full(error):
                place = f"{self.setting.cache} is on a full disk"
                tell(Failed(f"{place}: {told(error)}; free some space and run again", "data"))
            elif no_thread(error):
                tell(Failed(f"a worker can start no thread{remedy(error)}", "data"))
            else:
                tell(Failed(f"{type(error).__name__}: {told(error)} [{_origin(error)}]"))


class _Teller:
    """Sends messages in the worker's name, and in nobody else's: a part may have forked its process."""

    def __init__(self, send: Send) -> None:
        self.send, self.pid, self.process = send, os.getpid(), current_process()

    def __call__(self, message: Message) -> None:
        if os.getpid() == self.pid:
            self.send(encode(message))
        elif current_process() is self.process:  # a copy of the worker, and not a helper that a part has started
            self.send(encode(Doubled()))
            os._exit(1)


def perform(job: Job, setting: Setting, tell: Tell) -> None:
    """Do `job`, and tell of it."""
    from mmbench import sources
    from mmbench.api.progress import listen
    from mmbench.engine.data.folders import where
    from mmbench.engine.data.report import lines
    from mmbench.engine.data.tables import Table, cut, examine, materialise

    catalog = setting.plugins.load()
    sources.hold(setting.sources)
    job = whole(job, catalog)
    with listen(lambda label, done, total: tell(Progressed(str(label), int(done), int(total)))):
        if isinstance(job, LoadData):
            dataset = catalog.datasets[job.dataset]
            new = Table(dataset, where(dataset, setting.cache, job.fingerprint)).report is None
            table = materialise(dataset, setting.cache, known=job.fingerprint)
            found = examine(table)
            if job.folds:
                cut(table, job.folds)
            if new:
                tell(DataExamined(dataset.name, tuple(lines(found))))
            return
        from mmbench.engine.jobs.workspace import Workspace

        device = setting.device.partition(":")[0]  # the only one that there is here
        origin = job.origin if isinstance(job, Search | Measure) else None
        workspace = Workspace(job.cell, catalog, setting.cache, device, origin)
        if isinstance(job, Prepare):
            workspace.prepare_default(job.modality, job.encoder, begun=lambda units: tell(UnitsCounted(units)))
        elif isinstance(job, Assist):
            workspace.assist(job.modality, job.encoder)
        elif isinstance(job, Measure):
            from mmbench.engine.jobs.measure import measure

            tell(CostMeasured(measure(workspace, job.params)))
        else:
            clock.keep_looking()
            _search(job, workspace, tell)


def _search(job: Search, workspace: Any, tell: Tell) -> None:
    from mmbench.engine.jobs.evaluate import refits, schedule
    from mmbench.engine.jobs.search import search, trials_of

    size = trials_of(workspace)

    def enough(trials: Sequence[Trial]) -> bool:
        left = size - len(trials)
        return job.scout and left * sum(trial.seconds for trial in trials) > SHORT * len(trials)

    trials = search(
        workspace,
        job.trials,
        begin=lambda trials: tell(TrialsBegun(trials)),
        finished=lambda trial: tell(TrialEnded(trial)),
        enough=enough,
    )
    if enough(trials):
        tell(Paused())
        return
    results = refits(
        workspace,
        schedule(job.cell, trials, workspace.catalog, workspace.base),
        keep=job.keep,
        done={(r.role, r.seed) for r in job.refits},
        begin=lambda together: tell(RefitsBegun(together)),
    )
    for result, predictions, weights in results:
        tell(RefitEnded(result, {name: Array.of(array) for name, array in pack(predictions).items()}, weights))


def _confine(job: Job, setting: Setting) -> None:
    """Before any code of a plugin: only a job that loads data may read test labels, and what they are made from."""
    if not isinstance(job, LoadData):
        from mmbench.engine.data import folders
        from mmbench.engine.data.view import View
        from mmbench.engine.executors import sandbox

        cache, origin = setting.cache, None if isinstance(job, Prepare | Assist) else job.origin
        weights = [refit.weights for refit in origin.refits.values() if refit.weights] if origin else []
        shown = [*folders.shown(View.of(job.cell), cache), *weights, *_code(setting)]
        linked = [path for path in cache.glob("*") if path.is_symlink() and path.name not in sandbox.OPEN]
        sandbox.confine([cache, *linked, *setting.hidden], own=cache, shown=shown)


def _code(setting: Setting) -> list[Path]:
    """What is to be imported although it lies in the cache: Python's environment, packages that are installed from a
    checkout, files of `--plugin`, where somebody has put them there."""
    hidden = {path.resolve() for path in setting.hidden}
    cache = setting.cache.resolve()
    sources = (one for one in setting.sources if one.endswith(".py"))
    inside = [Path(place).resolve() for place in (sys.prefix, sys.base_prefix, *sources)]
    packages = _packages({"mmbench", *(setting.plugins.installed or ())})
    if setting.plugins.installed is None or any(cache in path.parents for path in packages):
        packages += _packages({entry.module for entry in entry_points(group="mmbench")})
    inside += [path for path in packages if not any(path in place.parents for place in hidden)]
    return [path for path in inside if cache in path.parents and hidden.isdisjoint((path, *path.parents))]


def _packages(modules: Iterable[str]) -> list[Path]:
    """Where the packages of these modules lie; none is imported for it."""
    found: list[Path] = []
    for name in {module.partition(".")[0] for module in modules}:
        with suppress(ImportError, ValueError):
            spec = find_spec(name)
            places = (spec.submodule_search_locations or [spec.origin or ""]) if spec else ()
            found += [Path(place).resolve() for place in places if place]
    return found


def main(work: Work, environ: Mapping[str, str], connection: Connection) -> None:
    """The entry of a process of this machine: one job, then the end."""
    open_streams()
    _belong_to_parent()
    _let_go()
    os.environ.clear()
    os.environ.update(environ)
    gc.freeze()  # what the server has loaded lives on; looking through it again and again would only copy its pages
    sending = threading.Lock()

    def send(content: bytes) -> None:
        try:
            with sending:
                write(connection, content)
        except BrokenPipeError:  # the parent is gone: nobody is left to work for
            os._exit(1)

    work(send)
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


def _let_go() -> None:
    """Close the pipes that multiprocessing gives to every process that it starts: on one of them a stray byte ends the
    server, and with it all the workers. Python has no name for them that is meant for others; where they are called
    otherwise they stay open."""
    if sys.platform != "linux":
        return
    from multiprocessing import forkserver, resource_tracker

    for owner, name in (
        (getattr(forkserver, "_forkserver", None), "_forkserver_alive_fd"),
        (getattr(resource_tracker, "_resource_tracker", None), "_fd"),
    ):
        number = getattr(owner, name, None)
        if isinstance(number, int):
            setattr(owner, name, None)
            os.close(number)


def _origin(error: BaseException) -> str:
    """Where an unexpected error arose: 'File "part.py", line 24, in build'."""
    frames = traceback.extract_tb(error.__traceback__, limit=-1)
    return ", ".join(f'File "{frame.filename}", line {frame.lineno}, in {frame.name}' for frame in frames)
