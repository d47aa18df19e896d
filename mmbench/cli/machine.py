"""What `mmbench doctor` checks of the machine, beside its folders and libraries: whether a run may do what it needs."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mmbench.cli import terminal
from mmbench.errors import MMBenchError

FILES = 64
"""How many files a run opens at once at most, and some more."""
MEMORY = 1_500_000_000  # bytes of addresses that a worker takes


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: how it is, and what to do if that isn't well."""

    what: str
    level: Literal["ok", "warning", "broken"]
    detail: str
    advice: str = ""


def cores() -> Iterator[Finding]:
    from mmbench.engine import cores

    usable = cores.usable()
    detail = f"{usable} to use, {os.cpu_count()} in all; so many workers by default"
    yield Finding("cores", "ok", detail)


def limits() -> Iterator[Finding]:
    """What `ulimit` says."""
    if sys.platform == "win32":
        return
    import resource

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    advice = f"type: ulimit -n {max(1024, FILES)}"
    if files != resource.RLIM_INFINITY and files < FILES:
        yield Finding("open files", "broken", f"at most {files} at once", advice)
    space, _ = resource.getrlimit(resource.RLIMIT_AS)
    if space != resource.RLIM_INFINITY and space < MEMORY:
        yield Finding("memory limit", "broken", f"{terminal.size(space)} a process", "type: ulimit -v unlimited")


def locks(what: str, folder: Path, elsewhere: str) -> Iterator[Finding]:
    """Whether the file system has locks; without them two runs could write to one place."""
    from mmbench.api.files import NO_LOCKS

    try:
        import fcntl
    except ImportError:  # Windows has others
        return
    with suppress(PermissionError):
        place = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(place, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in NO_LOCKS:
                detail = f"{folder}: its file system has no locks for files ({errno.errorcode[error.errno or 0]})"
                yield Finding(f"{what} locks", "broken", detail, f"{elsewhere} on another disk")
        finally:
            os.close(place)


def output() -> Iterator[Finding]:
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    if not encoding.lower().startswith("utf"):
        detail = f"{encoding}: characters that it lacks are escaped"
        yield Finding("output", "warning", detail, "type: export LC_ALL=C.UTF-8")


def workers() -> Iterator[Finding]:
    """Start a process just as a run does: folder for sockets, current folder, processes."""
    import multiprocessing

    from mmbench.engine.executors import starting

    try:
        place = starting.place_for_sockets()
        with starting.starting():
            process = multiprocessing.get_context("spawn").Process(target=os.getpid)
            process.start()
        process.join(30)
        if process.exitcode is None:
            process.kill()
    except MMBenchError as error:
        yield Finding("workers", "broken", str(error), "mend that")
        return
    if process.exitcode != 0:
        detail = f"a process that was started for a trial ended with {process.exitcode}"
        yield Finding("workers", "broken", detail, "look at what it printed above")
    else:
        yield Finding("workers", "ok", f"can be started; temporary files in {place}")


def sandbox() -> Iterator[Finding]:
    from mmbench.engine.executors import sandbox

    try:
        state = sandbox.state()
    except MMBenchError as error:
        yield Finding("sandbox", "broken", str(error), f"unset {sandbox.SWITCH}")
        return
    yield Finding("sandbox", "ok", state if state.startswith("landlock") else f"{state}; boards will say so")
