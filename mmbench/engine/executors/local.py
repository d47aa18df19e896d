"""The executor of this machine: a fresh process for each job, forked from a server that has torch loaded already.

A job that dies (killed, out of memory) or hangs takes nothing with it but itself; its end says which and how.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any

from mmbench.api.executor import End, Ending, Executor, Handle, Request, Seat, Work, exited
from mmbench.engine.executors.seats import environ_of, gpu_count, seats, usable_cores
from mmbench.engine.executors.wire import Frames, GarbledError, read
from mmbench.hookspecs import hookimpl

PRELOAD = [
    "torch",
    "numpy",
    "optuna",
    "mmbench.engine.executors.worker",
    "mmbench.engine.jobs.search",
    "mmbench.engine.jobs.evaluate",
    "mmbench.engine.jobs.measure",
]
STARTS = 5  # how often a process is tried to be started
PATIENCE = 5.0  # seconds that a process may take to end after its last word
SERVER_GONE = 255  # the exit code that multiprocessing makes up when the server, which would know it, is gone

WORKER = {
    # Arithmetic on one thread each: the cores belong to the other workers.
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    # glibc gives large blocks back to the system at once, and each step of a convolution would fault its pages in anew.
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
    # A part that goes through a set meets its members in one order in every process and every run.
    "PYTHONHASHSEED": "0",
}
"""What a worker's environment says from its first moment on."""


@dataclass(eq=False)
class Running:
    """A job at work in a process of its own."""

    process: BaseProcess
    connection: Connection
    frames: Frames = field(default_factory=Frames)
    garbled: str | None = None
    """What it did to the pipe of its messages."""


class Local(Executor):
    """Processes of this machine, one for each core or each GPU."""

    name = "local"

    def __init__(self, request: Request) -> None:
        gpus = 0 if request.device == "cpu" else gpu_count()
        self._seats = seats(request.device, request.workers, cores=usable_cores(), gpus=gpus)
        self._environ = dict(request.environ)
        self._running: list[Running] = []
        method = "forkserver" if sys.platform == "linux" else "spawn"
        self._context: Any = multiprocessing.get_context(method)
        if method == "forkserver":
            from multiprocessing import forkserver  # not there on every system

            plugins = [entry.module for entry in entry_points(group="mmbench")]
            self._context.set_forkserver_preload([*PRELOAD, *request.libraries, *plugins])
            with _for_workers(), _undisturbed(), _nameless():
                forkserver.ensure_running()

    @property
    def seats(self) -> tuple[Seat, ...]:
        return self._seats

    def start(self, work: Work, seat: Seat) -> Running:
        """Begin a job in a process of its own. Raises OSError if the machine lets no process start."""
        from mmbench.engine.executors.worker import main  # not with the catalog, which every command loads

        for attempt in range(STARTS):
            ours, theirs = self._context.Pipe(duplex=False)
            arguments = (work, environ_of(seat, self._environ), theirs)
            process = self._context.Process(target=main, args=arguments, daemon=True)
            try:
                with _for_workers(), _undisturbed(), _nameless():  # it may have to start the server again
                    process.start()
            except (EOFError, ConnectionError):  # the server was killed this very moment
                ours.close()
                if attempt == STARTS - 1:
                    raise
                time.sleep(0.1)
            else:
                self._running.append(Running(process, ours))
                return self._running[-1]
            finally:
                theirs.close()
        raise AssertionError("the last try returns or raises")

    def messages(self, timeout: float) -> Iterator[tuple[Handle, bytes | End]]:
        ready = wait([end for r in self._running for end in (r.connection, r.process.sentinel)], timeout)
        for running in [r for r in self._running if r.connection in ready or r.process.sentinel in ready]:
            try:
                piece = read(running.connection)
                # A part's own subprocess may keep the pipe open after the worker died: its sentinel tells.
                if not piece and running.process.sentinel in ready:
                    raise EOFError
                for content in running.frames.feed(piece) if running.garbled is None else ():
                    yield running, content
            except GarbledError as error:
                running.garbled = f"it wrote what is no message where its messages go: {error}"
                running.process.kill()
            except (EOFError, OSError):  # the process is gone, perhaps in the middle of a word
                yield running, self._end(running)

    def kill(self, handle: Handle) -> None:
        if isinstance(handle, Running) and handle in self._running:
            handle.process.kill()

    def stop(self) -> None:
        for running in self._running:
            running.process.kill()
        for running in self._running:
            running.process.join()
            running.connection.close()
        self._running.clear()

    def _end(self, running: Running) -> End:
        running.process.join(PATIENCE)
        if running.process.exitcode is None:
            running.garbled = running.garbled or "it closed the pipe of its messages, and went on"
            running.process.kill()
            running.process.join()
        code = running.process.exitcode
        if code == SERVER_GONE:
            with suppress(ProcessLookupError):
                os.kill(running.process.pid or 0, signal.SIGKILL)
        running.connection.close()
        self._running.remove(running)
        if running.garbled is not None:
            return End(Ending.UNRULY, detail=running.garbled)
        if code == SERVER_GONE:
            return End(Ending.LOST, detail="the server that workers are forked from was killed")
        return exited(code or 0)


@hookimpl
def mmbench_executors() -> list[type[Executor]]:
    return [Local]


@contextmanager
def _for_workers() -> Iterator[None]:
    """Processes that start meanwhile have the environment of a worker."""
    before = {name: os.environ.get(name) for name in WORKER}
    os.environ.update(WORKER)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _nameless() -> Iterator[None]:
    """Processes that start meanwhile don't run the main script again, as multiprocessing would have them: a worker
    needs nothing from it, and a user's script needs no guard."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


@contextmanager
def _undisturbed() -> Iterator[None]:
    """The server is born deaf to Ctrl-C: it goes to the whole terminal, and is the parent's to handle."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
