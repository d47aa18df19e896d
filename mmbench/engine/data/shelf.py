"""The feature store as a whole: what it holds, what is in use, and what is deleted beyond its limit.

Each folder of features says what it is in a `meta.json`. Beside it lies NAME.use: whoever uses the folder holds a
shared lock on that file, which dies with its process, and the file's time says when that was last. Only a folder that
nobody holds can go. `features` fills the store and calls `trim`; `mmbench cache` lists and cleans it.
"""

import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from weakref import finalize

from mmbench.api.files import REFUSED, file_lock, remedy
from mmbench.errors import MMBenchError

LIMIT = "MMBENCH_CACHE_LIMIT"
USUAL = 20 * 10**9
DRAFT = ".draft"
DAY = 86_400.0
META = "meta.json"
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


class Hold:
    """Says, for as long as this object or its process lives, that a folder of features is in use."""

    def __init__(self, folder: Path) -> None:
        try:
            finalize(self, os.close, _held(folder))
        except OSError as error:
            if error.errno not in REFUSED:  # else the cache is only to be read, and nobody here can delete from it
                said = f"can't write {folder}: {error.strerror}{remedy(error)}"
                raise MMBenchError(said) from error


def _held(folder: Path) -> int:
    """An open file that is locked as long as it is open."""
    path = _use(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(descriptor, exclusive=False)
            if path.stat().st_ino == os.fstat(descriptor).st_ino:
                os.utime(path)
                return descriptor
            os.close(descriptor)  # it was cleaned away while we waited
        except FileNotFoundError:
            os.close(descriptor)
        except BaseException:
            os.close(descriptor)
            raise


@dataclass(frozen=True)
class Entry:
    """One thing that the cache keeps."""

    kind: Literal["features", "dataset"]
    what: str
    """For people, such as "emoji_group: image by efficientnet_lite0"."""
    dataset: str | None
    encoder: str | None
    size: int
    """Bytes on disk."""
    used: float
    """When it was last used, in seconds since 1970."""
    folder: Path

    @property
    def complete(self) -> bool:
        return DRAFT not in self.folder.name


def entries(cache: Path) -> list[Entry]:
    """Features and datasets, the least recently used first. Raises nothing where there is no cache yet."""
    found = [_features(folder) for folder in _folders(cache / "features")]
    found += [_dataset(folder) for folder in _folders(cache / "tables")]
    return sorted(found, key=lambda entry: entry.used)


def remove(entry: Entry) -> bool:
    """Delete it, unless it is in use. Raises MMBenchError if it can't be deleted."""
    try:
        with (_alone if entry.kind == "features" else _unbuilt)(entry.folder) as free:
            if free and entry.folder.exists():
                aside = entry.folder.with_name(f"{entry.folder.name}.gone")
                entry.folder.replace(aside)  # at once for every reader, whatever happens while files are deleted
                shutil.rmtree(aside)
    except OSError as error:
        raise MMBenchError(f"can't delete {entry.folder}: {error.strerror}{remedy(error)}") from error
    return free


def trim(cache: Path) -> list[Entry]:
    """Delete the least recently used features until the store is within its limit, and drafts that nobody works on.

    Never what is in use, and never a dataset.
    """
    features = [entry for entry in entries(cache) if entry.kind == "features"]
    old = [entry for entry in features if not entry.complete and time.time() - entry.used > DAY]
    gone = [entry for entry in old if remove(entry)]
    left = [entry for entry in features if entry not in gone]
    total, most = sum(entry.size for entry in left), limit(cache, held=sum(entry.size for entry in left))
    for entry in left:
        if total <= most:
            break
        if remove(entry):
            gone.append(entry)
            total -= entry.size
    return gone


def limit(cache: Path, *, held: int = 0) -> int:
    """How many bytes of features are kept: MMBENCH_CACHE_LIMIT ("500 MB", "20GB"), else 20 GB, or half of what the
    disk has for them where that is less. Raises MMBenchError if the variable can't be read."""
    given = os.environ.get(LIMIT)
    if given is None:
        there = next(place for place in (cache, *cache.parents) if place.exists())
        return min(USUAL, (shutil.disk_usage(there).free + held) // 2)
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*", given, flags=re.IGNORECASE)
    if not found:
        raise MMBenchError(f"{LIMIT} can't be {given!r}: give a size such as 500MB or 20GB")
    return int(float(found[1]) * _UNITS[found[2].lower()])


def write_meta(folder: Path, meta: Mapping[str, Any]) -> None:
    (folder / META).write_text(json.dumps(meta))


def read_meta(folder: Path) -> dict[str, Any]:
    """What a folder says of itself; nothing if it says nothing, as an unfinished one."""
    try:
        meta = json.loads((folder / META).read_text())
    except (OSError, ValueError):
        return {}
    return meta if isinstance(meta, dict) else {}


def _folders(place: Path) -> Iterator[Path]:
    return (path for path in place.glob("*") if path.is_dir() and not path.is_symlink())


def _features(folder: Path) -> Entry:
    meta = read_meta(folder)
    what = meta.get("what", "unfinished" if DRAFT in folder.name else "of an earlier version")
    return Entry("features", what, meta.get("dataset"), meta.get("encoder"), _size(folder), _last_used(folder), folder)


def _dataset(folder: Path) -> Entry:
    name = folder.name.rpartition("-")[0] or folder.name
    facts = folder / "facts.json"
    used = (facts if facts.exists() else folder).stat().st_mtime
    return Entry("dataset", f"{name}: rows", name, None, _size(folder), used, folder)


def _last_used(folder: Path) -> float:
    use = _use(folder)
    return (use if use.exists() else folder).stat().st_mtime


def _size(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += (Path(place) / name).lstat().st_size
    return total


def _use(folder: Path) -> Path:
    """The file whose lock says that a folder, or the draft that will become it, is in use."""
    return folder.with_name(f"{_key(folder)}.use")


def _key(folder: Path) -> str:
    return re.sub(r"(\.\w+)?\.(draft|gone).*", "", folder.name)


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Whether nobody uses the folder; while this lasts nobody can begin to."""
    path = _use(folder)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        free = _lock(descriptor, exclusive=True)
        yield free
        if free:
            for rest in (path, folder.with_name(f"{_key(folder)}.lock")):
                rest.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


@contextmanager
def _unbuilt(folder: Path) -> Iterator[bool]:
    """Whether nobody builds the dataset just now. A reader keeps what is mapped into memory."""
    from filelock import Timeout

    try:
        with file_lock(folder.with_name(f"{folder.name}.lock"), timeout=0):
            yield True
    except Timeout:
        yield False


def _lock(descriptor: int, *, exclusive: bool) -> bool:
    """Lock a file until it is closed: shared, waiting for it, or exclusively, at once or not at all."""
    try:
        import fcntl
    except ImportError:  # Windows, which lets nobody delete files that are mapped into memory
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB if exclusive else fcntl.LOCK_SH)
    except BlockingIOError:
        return False
    return True
