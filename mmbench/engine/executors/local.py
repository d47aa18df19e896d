"""The executor of this machine: a fresh process for each job, forked from a server that has torch loaded already.

A job that dies (killed, out of memory) or hangs takes nothing with it but itself; its end says which and how.
"""

import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from mmbench.api.executor import End, Ending, Executor, Handle, Request, Seat, Work
from mmbench.engine import cores
from mmbench.engine.executors.processes import METHOD, end_of, exit_code, start
from mmbench.engine.executors.seats import environ_of, gpu_count, seats
from mmbench.engine.executors.starting import starting
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
    "mmbench.engine.executors.loaded",
]


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
        self._context: Any = multiprocessing.get_context(METHOD)
        if METHOD == "forkserver":
            from multiprocessing import forkserver  # not there on every system

            self._context.set_forkserver_preload([*PRELOAD, *request.libraries])
            with starting():
                forkserver.ensure_running()

    @property
    def seats(self) -> tuple[Seat, ...]:
        return self._seats

    def start(self, work: Work, seat: Seat) -> Running:
        """Start a job in a fresh process. Raises MMBenchError if the machine lets no process start."""
        started = start(self._context, work, environ_of(seat, self._environ), what="no worker")
        self._running.append(Running(*started))
        return self._running[-1]

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
        code = exit_code(running.process)
        if code is None:
            running.garbled = running.garbled or "it closed the pipe of its messages, and went on"
            running.process.kill()
            running.process.join()
        running.connection.close()
        self._running.remove(running)
        if running.garbled is not None:
            return End(Ending.UNRULY, detail=running.garbled)
        return end_of(code or 0)


@hookimpl
def mmbench_executors() -> list[type[Executor]]:
    return [Local]
