"""Starts a process for work of ours, and tells how one has ended. Used by `local`, and by the process that scores."""

import os
import signal
import sys
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from mmbench.api.executor import End, Ending, Work, exited
from mmbench.engine.executors.starting import starting
from mmbench.errors import MMBenchError

METHOD = "forkserver" if sys.platform == "linux" else "spawn"
TRIES = 5  # how often a process is tried to be started
PATIENCE = 5.0  # seconds that a process may take to end after its last word
SERVER_GONE = 255  # the exit code that multiprocessing makes up when the server, which would know it, is gone


def start(context: Any, work: Work, environ: dict[str, str], *, what: str) -> tuple[BaseProcess, Connection]:
    """A fresh process that does `work`, and the pipe on which it sends. Raises MMBenchError, which says that `what`
    can't be started, if the machine lets no process start."""
    from mmbench.engine.executors.worker import main  # not with the catalog, which every command loads

    for attempt in range(TRIES):
        with starting():
            ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=main, args=(work, environ, theirs), daemon=True)
        try:
            with starting():  # it may have to start the server again
                process.start()
        except (EOFError, ConnectionError):  # the server was killed this very moment
            ours.close()
            if attempt == TRIES - 1:
                said = "the server that workers are forked from ends at once, as where memory or processes are few"
                raise MMBenchError(f"{what} can be started: {said}; type: mmbench doctor") from None
            time.sleep(0.1)
        else:
            return process, ours
        finally:
            theirs.close()
    raise AssertionError("the last try returns or raises")


def exit_code(process: BaseProcess) -> int | None:
    """That of a process which should be over; None if it goes on."""
    process.join(PATIENCE)
    if process.exitcode == SERVER_GONE:
        with suppress(ProcessLookupError):
            os.kill(process.pid or 0, signal.SIGKILL)
    return process.exitcode


def end_of(code: int) -> End:
    if code == SERVER_GONE:
        return End(Ending.LOST, detail="the server that workers are forked from was killed")
    return exited(code)
