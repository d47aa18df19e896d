"""What processes are started with: environment, module path, folders, signals. `local` starts each within `starting`.

A worker imports libraries from where they are installed, never from the folder that the user happens to stand in:
what lies there, `random.py` say, was not asked for.
"""

import errno
import multiprocessing
import multiprocessing.process
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType

from mmbench.api.files import remedy
from mmbench.errors import MMBenchError

WORKER = {
    # Arithmetic on one thread each: the cores belong to the other workers.
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    # glibc gives large blocks back to the system at once; each step of a convolution would fault its pages in again.
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
    # A part that goes through a set meets its members in one order in every process and every run.
    "PYTHONHASHSEED": "0",
    # `python -c`, as which multiprocessing starts its processes, would import from the current folder first.
    "PYTHONSAFEPATH": "1",
}
"""What a worker's environment says from its first moment on."""

FILES = 32
"""How many files a process must be able to have open, to start even one."""
SOCKET = 107
"""Bytes in the path of a socket at most, by the system's own structure (Linux; the others have a few less)."""
NAMES = len("/pymp-12345678/listener-12345678")
"""Bytes that multiprocessing adds to the folder for temporary files."""
SHORT = ("/tmp", "/var/tmp", "/dev/shm")

HELD = "/proc/self/fd/"

_sockets: list[int] = []
"""The descriptor of the server's socket, if there is one."""
_one = threading.RLock()
"""What is changed here belongs to the whole process: two runs in two threads take turns."""


@contextmanager
def starting() -> Iterator[None]:
    """Processes that start meanwhile are workers, or the server that these are forked from.

    Raises MMBenchError if this process can have none.
    """
    if sys.platform != "win32":
        import resource

        if (
            0 <= resource.getrlimit(resource.RLIMIT_NOFILE)[0] < FILES
        ):  # else it fails halfway, and the server says so, too
            raise MMBenchError(f"no worker can be started{remedy(OSError(errno.EMFILE, ''))}")
    if multiprocessing.current_process().daemon:
        raise MMBenchError("a daemonic process can't start workers: start it with daemon=False")
    with _one, ExitStack() as changes:
        for change in (_environment, _place, _path, _nameless, _undisturbed):
            changes.enter_context(change())
        try:
            yield
            _withdraw()
        except ConnectionError:  # the server was killed this very moment
            raise
        except OSError as error:
            said = f"no worker can be started: {error.strerror or error}{remedy(error)}"
            raise MMBenchError(f"{said} (`mmbench doctor` looks for what is amiss)") from error


def _withdraw() -> None:
    """Take the socket of the server that workers are forked from out of the file system. It starts whatever it is asked
    for, in a process that is confined by nothing: a confined one must not reach it. We do so by a descriptor that we
    hold, which nobody can use who can't look into this process. Python has no name for the socket that is meant for
    others; where it is called otherwise it stays where it is."""
    server = getattr(sys.modules.get("multiprocessing.forkserver"), "_forkserver", None)
    address = getattr(server, "_forkserver_address", None)
    if sys.platform != "linux" or not isinstance(address, str) or not address.startswith("/"):
        return
    if not address.startswith(HELD):
        held = os.open(address, os.O_PATH | os.O_CLOEXEC)
        Path(address).unlink()
        server._forkserver_address = f"{HELD}{held}"  # type: ignore[union-attr]
        while _sockets:  # of servers that are gone
            os.close(_sockets.pop())
        _sockets.append(held)


def environ(cache: Path) -> dict[str, str]:
    """The environment as the caller has it, for the jobs. Where nobody knows of a home, libraries get one in `cache`,
    as they would make a folder named "~", and a user's name, for which some ask."""
    with _one:
        found = dict(os.environ)
    if os.path.expanduser("~") == "~":  # noqa: PTH111  Path.home() raises
        found = {"USER": f"uid-{os.getuid()}", **found, "HOME": str(cache / "home")}
    return found


def place_for_sockets() -> str:
    """The folder for temporary files, or another if its name is too long for a socket. Raises MMBenchError."""
    try:
        usual = tempfile.gettempdir()
    except FileNotFoundError as error:
        raise MMBenchError("no folder for temporary files can be written: set TMPDIR to one that can") from error
    if len(os.fsencode(usual)) + NAMES <= SOCKET or sys.platform == "win32":
        return usual
    for place in SHORT:
        if Path(place).is_dir() and os.access(place, os.W_OK | os.X_OK):
            return place
    most = SOCKET - NAMES
    raise MMBenchError(f"TMPDIR is too long for a socket, more than {most} bytes: set it to a shorter folder")


@contextmanager
def _environment() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in WORKER}
    os.environ.update(WORKER)
    try:
        yield
    finally:
        _restore(before)


def _restore(before: Mapping[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextmanager
def _place() -> Iterator[None]:
    """They stand where we stand now, not where we stood when multiprocessing was imported."""
    before, place = tempfile.tempdir, multiprocessing.process.ORIGINAL_DIR  # type: ignore[attr-defined]
    tempfile.tempdir = place_for_sockets()
    try:
        multiprocessing.process.ORIGINAL_DIR = os.getcwd()  # type: ignore[attr-defined]  # noqa: PTH109
    except OSError as error:
        tempfile.tempdir = before
        raise MMBenchError("the current folder is gone: cd to one that is there") from error
    try:
        yield
    finally:
        tempfile.tempdir = before
        multiprocessing.process.ORIGINAL_DIR = place  # type: ignore[attr-defined]


@contextmanager
def _path() -> Iterator[None]:
    """The folder of the user's script, or the current one of a notebook, comes last: its modules can be had by name, as
    plugins are, but hide no library."""
    before = sys.path[:]
    own = {place for place in before if _is_own(place)}
    sys.path[:] = [*(place for place in before if place not in own), *(place for place in before if place in own)]
    try:
        yield
    finally:
        sys.path[:] = before


def _is_own(place: str) -> bool:
    script = getattr(sys.modules["__main__"], "__file__", None)
    folders = {os.getcwd(), *([str(Path(script).absolute().parent)] if script else [])}  # noqa: PTH109
    return place == "" or str(Path(place).absolute()) in folders


@contextmanager
def _nameless() -> Iterator[None]:
    """They don't run the main script again, as multiprocessing would have them: a worker needs nothing from it, and a
    user's script needs no guard."""
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
