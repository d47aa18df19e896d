"""Processes of this machine: a fresh one for each job, forked from a server that has torch loaded already.

A job that dies (killed, out of memory) or hangs takes nothing with it but itself; the pool says which and how.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from mmbench.engine.executors.starting import starting
from mmbench.engine.executors.worker import Job, Setting, main
from mmbench.errors import MMBenchError

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
CRASHES = {"SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSYS", "SIGTRAP"}


@dataclass(eq=False)
class Running:
    """A job at work in a process of its own."""

    job: Job
    process: BaseProcess
    connection: Connection
    heard: float = field(default_factory=time.monotonic)
    """When it last said something."""
    over: bool = False
    """Whether it said that it was done, or had failed."""
    hung: bool = False
    """Whether the pool had to kill it."""
    crashed: bool = False
    """Whether it ended by its own doing, as by a crash or an exit, and was not killed from outside."""


class Pool:
    """Up to `workers` jobs at once. Use as a context: leaving it ends every process."""

    def __init__(self, workers: int, setting: Setting, *, libraries: Sequence[str] = ()) -> None:
        """libraries: what more the server loads, so that no worker has to."""
        self.workers, self.setting = workers, setting
        method = "forkserver" if sys.platform == "linux" else "spawn"
        self._context: Any = multiprocessing.get_context(method)
        if method == "forkserver":
            from multiprocessing import forkserver  # not there on every system

            plugins = [entry.module for entry in entry_points(group="mmbench")]
            self._context.set_forkserver_preload([*PRELOAD, *libraries, *plugins])
            with starting():
                forkserver.ensure_running()
        self.running: list[Running] = []

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        for running in self.running:
            running.process.kill()
        for running in self.running:
            running.process.join()
            running.connection.close()
        self.running.clear()

    @property
    def free(self) -> int:
        return self.workers - len(self.running)

    def start(self, job: Job) -> None:
        """Begin `job` in a process of its own. Raises MMBenchError if the machine lets no process start."""
        for attempt in range(STARTS):
            with starting():
                ours, theirs = self._context.Pipe(duplex=False)
            process = self._context.Process(target=main, args=(job, self.setting, theirs), daemon=True)
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
                self.running.append(Running(job, process, ours))
                return
            finally:
                theirs.close()

    def kill(self, running: Running) -> None:
        """End a job that hangs; its end is told like any other."""
        running.hung = True
        running.process.kill()

    def messages(self, timeout: float) -> Iterator[tuple[Running, tuple[Any, ...]]]:
        """What jobs said within `timeout` seconds. The last of each is ("ended", how): None if it said that it was
        done, else what befell its process."""
        ready = wait([end for r in self.running for end in (r.connection, r.process.sentinel)], timeout)
        for running in [r for r in self.running if r.connection in ready or r.process.sentinel in ready]:
            try:
                # A part's own subprocess may keep the pipe open after the worker died: its sentinel tells.
                if running.connection not in ready and not running.connection.poll():
                    raise EOFError
                message = running.connection.recv()
            except (EOFError, OSError):  # the process is gone, perhaps in the middle of a word
                yield running, ("ended", self._end(running))
                continue
            running.heard = time.monotonic()
            running.over |= message[0] in ("done", "failed")
            yield running, message

    def _end(self, running: Running) -> str | None:
        running.process.join(PATIENCE)
        if running.process.exitcode is None:
            running.process.kill()
            running.process.join()
        code = running.process.exitcode
        if code == SERVER_GONE:
            with suppress(ProcessLookupError):
                os.kill(running.process.pid or 0, signal.SIGKILL)
        running.connection.close()
        self.running.remove(running)
        running.crashed = code != SERVER_GONE and _own_doing(code)
        return None if running.over else _how(code)


def _own_doing(code: int | None) -> bool:
    return code is not None and (code >= 0 or _signal(code) in CRASHES)


def _signal(code: int) -> str:
    try:
        return signal.Signals(-code).name
    except ValueError:  # a real-time signal
        return f"signal {-code}"


def _how(code: int | None) -> str:
    if code == SERVER_GONE:
        return "the server that workers are forked from was killed"
    if code is not None and code < 0:
        name = _signal(code)
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"the worker {'crashed by' if name in CRASHES else 'was killed by'} {name}{hint}"
    return f"the worker ended with exit code {code}"
