"""Shared by all code that writes: locks, modes for a cache that several people use, streams that take every character,
and what to do about an error."""

import codecs
import errno
import io
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmbench.errors import DataError, told
from mmbench.sources import content_hash, file_hash

__all__ = ["content_hash", "file_hash"]  # which plugins may use too

if TYPE_CHECKING:
    from filelock import BaseFileLock

FULL = (errno.ENOSPC, errno.EDQUOT)
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
PLAIN = dict(zip("→←…–—−×±·✗†‡█│", "><.---x~*x+%#|", strict=True))
"""What is written for a character of our tables where the terminal, by its locale, has ASCII alone; of one column."""
TOO_MANY = (errno.EMFILE, errno.ENFILE)


def file_lock(path: Path, **options: Any) -> "BaseFileLock":
    """filelock's lock on `path`: the kernel's own, or an OSError. A file system that has none is refused (`remedy` says
    so), since a lock that outlives its process, or holds on this machine alone, would be no lock."""
    import inspect

    from filelock import FileLock

    if "fallback_to_soft" in inspect.signature(FileLock.__init__).parameters:  # since filelock 3.21
        options["fallback_to_soft"] = False
    return FileLock(path, **options)


def disk_full(error: BaseException) -> bool:
    """Whether this is the disk's fault: no space is left, or none of the user's share."""
    # safetensors has no number to ask for
    return getattr(error, "errno", None) in FULL or any(f"(os error {number})" in told(error) for number in FULL)


def no_thread(error: BaseException) -> bool:
    """Whether a thread could not be started: the user has too many already, and this is no part's fault."""
    return isinstance(error, RuntimeError) and "can't start new thread" in told(error)


def remedy(error: BaseException, elsewhere: str = "set MMBENCH_CACHE to a folder") -> str:
    """What to do about an error of a file, as the end of a message: "; free some space and run again", or nothing."""
    number = getattr(error, "errno", None)
    if disk_full(error):
        return "; free some space and run again"
    if number in NO_LOCKS:
        return f"; its file system has no locks for files: {elsewhere} on another disk"
    if number in REFUSED:
        return f"; {elsewhere} that you may write to"
    if number == errno.EAGAIN or no_thread(error):
        return "; too many processes or threads of yours run: raise `ulimit -u`, or give fewer --workers"
    if number in TOO_MANY:
        return "; too few files may be open at once: type `ulimit -n 1024` and run again"
    return ""


def share(folder: Path) -> None:
    """Give the files and folders below `folder` its own mode, as libraries write theirs for their owner alone."""
    mode = folder.stat().st_mode & 0o777
    for path in folder.rglob("*"):
        path.chmod(mode if path.is_dir() else mode & 0o666)


def check_readable(*places: Path) -> None:
    """Raise DataError if something in these places can't be read, as in a cache that another user has filled."""
    for place in places:
        try:
            walk = os.walk(place, onerror=_raise) if place.is_dir() else ()
            found = [place, *(Path(at) / name for at, _, names in walk for name in names)]
            closed = next((path for path in found if not _may_read(path)), None)
        except OSError as error:
            closed = Path(error.filename)
        if closed:
            raise DataError(
                f"{closed} can't be read, as it is {_owner(closed)}'s: have them type `chmod -R a+rX` on the cache, "
                "or set MMBENCH_CACHE to a folder of your own"
            )


def _may_read(path: Path) -> bool:
    """By the rights that opening it would have, which are not always those of the user who began the process."""
    return os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids)


def open_streams() -> None:
    """Have stdin, stdout and stderr, though closed ones lead nowhere, and let both outputs take every character.

    For a process that is ours. A file opened later would get the number of a closed one, and what is printed.
    """
    codecs.register_error("mmbench", _plain)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            os.set_inheritable(nowhere, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False, encoding="utf-8"))  # noqa: SIM115
        stream = getattr(sys, name)
        if number and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="mmbench")


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(PLAIN.get(c) or json.dumps(c)[1:-1] for c in text), error.end


def _raise(error: OSError) -> None:
    raise error


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except (KeyError, OSError, NotImplementedError):
        return "another user"
