"""The executor of this machine: a fresh process for each job, forked from a server that has torch loaded already.

A job that dies (killed, out of memory) or hangs takes nothing with it but itself; its end says which and how.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from mmbench.api.executor import End, Ending, Executor, Handle, Request, Seat, Work, exited
from mmbench.engine import cores
from mmbench.engine.executors.seats import environ_of, gpu_count, seats
from mmbench.engine.executors.starting import starting
from mmbench.engine.executors.wire import Frames, GarbledError, read
from mmbench.errors import MMBenchError
from mmbench.hookspecs import hookimpl

PRELOAD = [
    "torch",
    "numpy",
    "optuna",
    "mmbench.engine.executors.worker",
    "mmbench.engine.jobs.search",
    "mmbench.engine.jobs.evaluate",
    "mmbench.engine.jobs.measure",
    "mmbench.engine.executors.loaded",
]
STARTS = 5  # how often a process is tried to be started
PATIENCE = 5.0  # seconds that a process may take to end after its last word
SERVER_GONE = 255  # the exit code that multiprocessing makes up when the server, which would know it, is gone


@dataclass(eq=False)
class Running:
    """A job in its process."""

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
        self._seats = seats(request.device, request.workers, cores=cores.usable(), gpus=gpus)
        self._environ = dict(request.environ)
        self._running: list[Running] = []
        method = "forkserver" if sys.platform == "linux" else "spawn"
        self._context: Any = multiprocessing.get_context(method)
        if method == "forkserver":
            from multiprocessing import forkserver  # not there on every system

            self._context.set_forkserver_preload([*PRELOAD, *request.libraries])
            with starting():
                forkserver.ensure_running()

    @property
    def seats(self) -> tuple[Seat, ...]:
        return self._seats

    def start(self, work: Work, seat: Seat) -> Running:
        """Start a job in a fresh process. Raises MMBenchError if the machine lets no process start."""
        from mmbench.engine.executors.worker import main  # not with the catalog, which every command loads

        for attempt in range(STARTS):
            with starting():
                ours, theirs = self._context.Pipe(duplex=False)
            arguments = (work, environ_of(seat, self._environ), theirs)
            process = self._context.Process(target=main, args=arguments, daemon=True)
            try:
                with starting():  # it may have to start the server again
                    process.start()
            except (EOFError, ConnectionError):  # the server was killed this very moment
                ours.close()
                if attempt == STARTS - 1:
                    said = "the server that workers are forked from ends at once, as where memory or processes are few"
                    raise MMBenchError(f"no worker can be started: {said}; type: mmbench doctor") from None
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
