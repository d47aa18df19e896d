"""Hides test labels from the processes that tune: once confined, they can't open the files that hold them, nor change
what is stored or where it stands.

Linux has Landlock for this, since 5.13 (we need 5.19): a process gives up its rights, for good, and without
being root. What is left of the machine stays as it was: see `confine`. The worker calls it before any plugin's code
runs; `state` says for the record whether this machine can. What it does not hold against is in SECURITY.md.
"""

import ctypes
import os
import stat
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

from mmbench.errors import MMBenchError

SWITCH = "MMBENCH_SANDBOX"
"""Set to "off", workers are not confined; every record says so."""

# linux/landlock.h. The numbers of these calls are the same on every architecture.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
WANTS_VERSION = 1
PATH_BENEATH = 1
WRITE_FILE, READ_FILE, REFER, TRUNCATE = 1 << 1, 1 << 2, 1 << 13, 1 << 14
"""REFER: moving or linking a file to another folder, which would be a way around."""
PLACES = 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 12
"""Removing folders and files; making folders, files and links. Who may do that beside a hidden folder can give its
name to another, or another's name to it, and the next process is shown what it stands for."""
NO_NEW_PRIVILEGES = 38  # linux/prctl.h
OLDEST = 2  # the first version that can grant REFER: before, no file could be moved at all
TRUNCATES, SCOPES = 3, 6  # the versions that can refuse these
SIGNALS = 1 << 1  # to processes that are not confined with this one, or by it

HOME = "home"
OPEN = ("features", "scratch", "weights", HOME)
"""What every worker reads and writes in the cache; all else there is hidden, whoever wrote it."""
LIBRARIES, GPU = (".cache/huggingface", ".cache/torch"), (".nv", ".triton")
GPU_DRIVER = Path("/proc/driver/nvidia/version")


class _Ruleset(ctypes.Structure):
    _fields_ = [("handled", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32)]


def state() -> str:
    """What a record says: "landlock 7", or "none" and why."""
    trouble = _trouble()
    return f"none: {trouble}" if trouble else f"landlock {_version()}"


def confine(hidden: Iterable[Path], *, own: Path, shown: Iterable[Path] = ()) -> None:
    """From now on this process and its children can't read or change what is below `hidden`, nor put anything there,
    nor read the memory of other processes, nor end them (that since Linux 6.12). What is below `shown` they can read,
    wherever it lies, and the folders of the cache `own` that every worker needs they can also write to.

    Landlock can only allow, so all that stands beside a hidden folder, or beside one of the folders around it, is
    allowed. Hence the one side effect: nothing can be made or removed directly in one of those (such as the home
    folder, for a cache that lies there). So the folders that libraries keep there are made first, as are those of
    `own`; temporary files go there if the system's place for them is such a folder, or hidden.
    Does nothing where the machine has no Landlock, or where it is switched off.
    """
    if _trouble():
        return
    given = {path.resolve() for path in hidden}
    paths = {path for path in given if given.isdisjoint(path.parents)}  # one within another is hidden with it
    around = {folder for path in paths for folder in path.parents}
    _make_room(around, paths, own)
    rights = WRITE_FILE | READ_FILE | REFER | PLACES | TRUNCATE * (_version() >= TRUNCATES)
    scoped = SIGNALS * (_version() >= SCOPES)
    ruleset = _Ruleset(rights, 0, scoped)
    size = ctypes.sizeof(ruleset) if scoped else ctypes.sizeof(ctypes.c_uint64)  # older ones have no more fields
    rules = _call(CREATE_RULESET, ctypes.byref(ruleset), ctypes.c_size_t(size), 0)
    try:
        for folder in around:
            _allow_beside(folder, around | paths, rules, rights)
        for path, granted in (*((path, rights) for path in _open(own, paths)), *((path, READ_FILE) for path in shown)):
            with suppress(FileNotFoundError):  # who needs it will say so
                _allow(str(path.resolve()), rules, granted)
        if _libc().prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0):
            raise _error()
        _call(RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)


def _open(own: Path, hidden: set[Path]) -> list[Path]:
    """What every worker reads and writes in the cache. It may be a link, to another disk. Raises MMBenchError if one
    leads to what is hidden: somebody has put it there to be shown it."""
    found = [own / name for name in OPEN]
    for path in found:
        real, proper = path.resolve(), own.resolve() / path.name
        if real != proper and any(real in (place, *place.parents) or place in real.parents for place in hidden):
            raise MMBenchError(f"{path} is a link to {real}, which is hidden from workers: remove the link")
    return found


def _make_room(around: set[Path], hidden: set[Path], own: Path) -> None:
    for place in (own / name for name in OPEN):
        if place.name != HOME or os.environ.get("HOME") == str(place):
            place.mkdir(parents=True, exist_ok=True)
    for name in LIBRARIES + GPU * GPU_DRIVER.exists():
        with suppress(OSError, RuntimeError):  # a RuntimeError where nobody knows of a home
            if (place := Path.home() / name).parent in around:
                place.mkdir(exist_ok=True)
    place = Path(tempfile.gettempdir()).resolve()
    if place in around or not hidden.isdisjoint((place, *place.parents)):
        os.environ["TMPDIR"] = tempfile.tempdir = str(own / "scratch")


def _allow_beside(folder: Path, but: set[Path], rules: int, rights: int) -> None:
    """Allow all that `folder` holds, `but` those; of a folder that can't be listed, nothing."""
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            if Path(entry.path) not in but and not entry.is_symlink():  # what a link leads to is allowed where it lies
                with suppress(OSError):  # gone meanwhile
                    _allow(entry.path, rules, rights)


def _allow(path: str, rules: int, rights: int) -> None:
    place = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= READ_FILE | WRITE_FILE | TRUNCATE
        _call(ADD_RULE, rules, PATH_BENEATH, ctypes.byref(_Beneath(rights, place)), 0)
    finally:
        os.close(place)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: object) -> int:
    result: int = _libc().syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        raise _error()
    return result


def _error() -> OSError:
    return OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _version() -> int:
    """Landlock's version here; 0 if there is none."""
    if sys.platform != "linux":
        return 0
    try:
        return _call(CREATE_RULESET, None, ctypes.c_size_t(0), WANTS_VERSION)
    except OSError:
        return 0


def _trouble() -> str | None:
    """Why this process can't be confined; None if it can."""
    switch = os.environ.get(SWITCH, "")
    if switch == "off":
        return f"switched off by {SWITCH}"
    if switch not in ("", "on"):
        raise MMBenchError(f"{SWITCH} is {switch!r}: it can be on or off")
    if sys.platform != "linux":
        return f"{sys.platform} has no Landlock"
    return None if _version() >= OLDEST else "this kernel has no Landlock, or one before Linux 5.19"
