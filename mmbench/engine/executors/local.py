"""Processes of this machine: a fresh one for each job, forked from a server that has torch loaded already.

A job that dies (killed, out of memory) or hangs takes nothing with it but itself; the pool says which and how.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from mmbench.engine.worker import Job, Setting, main

PRELOAD = [
    "torch",
    "torch._dynamo",  # the first optimizer imports it, which would cost each process seconds
    "datasets",
    "numpy",
    "optuna",
    "sklearn.metrics",
    "sklearn.linear_model",
    "mmbench.engine.search",
    "mmbench.engine.evaluate",
    "mmbench.engine.measure",
]


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


class Pool:
    """Up to `workers` jobs at once. Use as a context: leaving it ends every process."""

    def __init__(self, workers: int, setting: Setting) -> None:
        self.workers, self.setting = workers, setting
        method = "forkserver" if sys.platform == "linux" else "spawn"
        self._context: Any = multiprocessing.get_context(method)
        if method == "forkserver":
            from multiprocessing import forkserver  # not there on every system

            plugins = [entry.module for entry in entry_points(group="mmbench")]
            self._context.set_forkserver_preload(PRELOAD + plugins)
            with _one_thread():
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
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(target=main, args=(job, self.setting, theirs), daemon=True)
        with _one_thread():
            process.start()
        theirs.close()
        self.running.append(Running(job, process, ours))

    def kill(self, running: Running) -> None:
        """End a job that hangs; its end is told like any other."""
        running.hung = True
        running.process.kill()

    def messages(self, timeout: float) -> Iterator[tuple[Running, tuple[Any, ...]]]:
        """What jobs said within `timeout` seconds. The last of each is ("ended", how): None if it said that it was
        done, else what befell its process."""
        ready = wait([r.connection for r in self.running], timeout)
        for running in [r for r in self.running if r.connection in ready]:
            try:
                message = running.connection.recv()
            except (EOFError, OSError):  # the process is gone, perhaps in the middle of a word
                yield running, ("ended", self._end(running))
                continue
            running.heard = time.monotonic()
            running.over |= message[0] in ("done", "failed")
            yield running, message

    def _end(self, running: Running) -> str | None:
        running.process.join()
        running.connection.close()
        self.running.remove(running)
        return None if running.over else _how(running.process.exitcode)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Processes that start meanwhile do arithmetic on one thread each: the cores belong to the other workers."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"the worker was killed by {name}{hint}"
    return f"the worker ended with exit code {code}"
