"""An append-only file of JSON rows, one a line, each with its checksum and that of the line before it.

A line is {"seq": n, "kind": ..., "row": {...}, "prev": checksum of the line before, "sha256": checksum}, where the
checksum is the SHA-256 of the line's bytes up to `,"sha256"`. JSON is strict: a number that is not finite is
written as {"$float": "nan"}, "inf" or "-inf", and read back as that number. Used by `store`.

Every line's checksum and place in the chain are checked at each reading; its row is handed on as it stands, for the
reader to decode or to pass over: of a million rows most are of no interest any more.
"""

import gc
import hashlib
import json
import math
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, TypeAlias, TypeVar
from weakref import finalize

from mmbench.errors import StoreError

T = TypeVar("T")
Visit: TypeAlias = Callable[[str, bytes, int], None]
"""visit(kind, the row's JSON, where it begins in the file)"""

FIRST = "0" * 64
LONGEST_ROW, LARGEST_FILE = 2**26, 10**7
"""Bytes of a line of a chained file, and of a file that is read at once. What is larger nobody has written who wanted
it read: a hole in a file takes no room on a disk, and all of a reader's memory."""
_MARK = b',"sha256":"'
_TAIL = len(_MARK) + 64 + len(b'"}\n')
_PREV = len(b',"prev":"') + 64 + len(b'"') + _TAIL
_ROW = b'","row":'


@dataclass(frozen=True)
class End:
    """Where the sound lines end: bytes, lines, the checksum of the last one, and whether more bytes follow."""

    size: int = 0
    lines: int = 0
    checksum: str = FIRST
    torn: bool = False


def to_line(sequence: int, previous: str, kind: str, row: Mapping[str, Any]) -> tuple[bytes, str]:
    """The line and its checksum."""
    return signed(sequence, previous, kind, strict_json(row).encode())


def signed(sequence: int, previous: str, kind: str, raw: bytes) -> tuple[bytes, str]:
    """As `to_line`, of a row that is JSON already."""
    body = b'{"seq":%d,"kind":"%b","row":%b,"prev":"%b"' % (sequence, kind.encode(), raw, previous.encode())
    checksum = hashlib.sha256(body).hexdigest()
    return body + _MARK + checksum.encode() + b'"}\n', checksum


def strict_json(value: Any) -> str:
    """JSON text without NaN or Infinity; numpy's scalars and arrays are written as numbers and lists.

    Half a surrogate pair, which an error message may hold and no UTF-8 text can, becomes a question mark.
    """
    try:
        text = json.dumps(value, separators=(",", ":"), allow_nan=False, default=_plain)
    except ValueError:
        value = _tagged(value)
        text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    if "\\ud" in text:
        plain = json.dumps(value, separators=(",", ":"), allow_nan=False, default=_plain, ensure_ascii=False)
        text = plain.encode(errors="replace").decode()
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} can't be stored: {value!r}")


def _tagged(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(float(value))}
    if isinstance(value, Mapping):
        return {key: _tagged(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_tagged(entry) for entry in value]
    return value if value is None or isinstance(value, str | int) else _tagged(_plain(value))


def _untagged(value: dict[str, Any]) -> Any:
    number = value.get("$float")
    return float(number) if len(value) == 1 and isinstance(number, str) else value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_PLAIN = json.JSONDecoder(parse_constant=_refuse)
_TAGGED = json.JSONDecoder(parse_constant=_refuse, object_hook=_untagged)


def decode(raw: bytes) -> Any:
    """A row's JSON as Python has it, tagged numbers among it. Raises ValueError or RecursionError if it is none."""
    return (_TAGGED if b'"$float"' in raw else _PLAIN).decode(raw.decode())


def scan(path: Path, visit: Visit) -> End:
    """Call `visit(kind, raw, offset)` for each sound line of the file, in order; a file that isn't there has none.

    An incomplete or damaged last line is left out: a writer may be at work on it, or was killed there.
    Raises StoreError, with file and line, for any other damage, and where `visit` finds a row no good.
    """
    try:
        with open_file(path, os.O_RDONLY) as file, _no_collection():
            return _scan(file, path, visit)
    except FileNotFoundError:
        return End()
    except OSError as error:
        raise StoreError(f"{path} can't be read: {error.strerror}") from error


@contextmanager
def _no_collection() -> Iterator[None]:
    """Rows hold no cycles, and looking for some takes half the time of reading 100,000."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _scan(file: BinaryIO, path: Path, visit: Visit) -> End:
    size, checksum, count, sha256 = 0, FIRST, 0, hashlib.sha256
    for line in each_line(file, path):
        found = line[-67:-3].decode("latin-1")
        sound = line[-_TAIL:-67] == _MARK and line.endswith(b'"}\n')
        if not sound or sha256(line[:-_TAIL]).hexdigest() != found:
            if not line.endswith(b"\n") or not file.read(1):
                return End(size, count, checksum, torn=True)
            raise StoreError(f"{path}, line {count + 1}: is damaged: its checksum is wrong")
        head = b'{"seq":%d,"kind":"' % count
        if not line.startswith(head) or line[-_PREV:-_TAIL] != b',"prev":"' + checksum.encode() + b'"':
            raise StoreError(f"{path}, line {count + 1}: does not follow from the line before it")
        try:
            # Our fields stand at known places, so that the row is all that is ever parsed, and only if it is wanted.
            begin = line.index(_ROW, len(head))
            start = begin + len(_ROW)
            visit(line[len(head) : begin].decode(), line[start:-_PREV], size + start)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise StoreError(f"{path}, line {count + 1}: {no_row(error)}") from error
        size, checksum, count = size + len(line), found, count + 1
    return End(size, count, checksum)


def each_line(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """The lines of a file. Raises StoreError for one that is longer than any row."""
    number = 0
    while line := file.readline(LONGEST_ROW):
        number += 1
        if len(line) == LONGEST_ROW:
            raise StoreError(f"{path}, line {number}: is longer than any row")
        yield line


def no_row(error: Exception) -> str:
    """Why a row that is whole, by its checksum, is no good."""
    return f"is no row that mmbench wrote: {' '.join(str(error).split())[:200]}"


class Lines:
    """A file's rows, each read when it is asked for by where it begins, as `scan` told."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = open_file(path, os.O_RDONLY, buffer=2**13)  # what is asked for next may lie far away
        except OSError as error:
            raise StoreError(f"{path} can't be read: {error.strerror}") from error
        finalize(self, self._file.close)

    def read(self, offset: int, decode: Callable[[bytes], T]) -> T:
        """The row that begins there. Raises StoreError, with file and line, where `decode` finds it no good."""
        self._file.seek(offset)
        try:
            return decode(self._file.readline()[:-_PREV])
        except (ValueError, RecursionError) as error:
            raise StoreError(f"{self._path}, line {self._number(offset)}: {no_row(error)}") from error

    def _number(self, offset: int) -> int:
        """The number of the line; counted only when there is something to say about it."""
        self._file.seek(0)
        count = 1
        while block := self._file.read(min(offset, 2**20)):
            count, offset = count + block.count(b"\n"), offset - len(block)
        return count


def open_file(path: Path, flags: int, *, buffer: int = 2**18) -> BinaryIO:
    """Open without following a symbolic link, so that a run folder can't lead elsewhere; nor a pipe or a device, which
    would keep a reader waiting for ever. Who reads gets that large a buffer: lines are long, and with the usual 8 kB
    reading all of them took three times as long."""
    if path.is_symlink():
        raise StoreError(f"{path} is a symbolic link; a run folder holds its own files only")
    how = (getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
    descriptor = os.open(path, reduce(or_, how, flags), 0o644)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise StoreError(f"{path} is no ordinary file")
    if flags == os.O_RDONLY:
        return os.fdopen(descriptor, "rb", buffering=buffer)
    return os.fdopen(descriptor, "r+b", buffering=0)


def content_of(path: Path, most: int = LARGEST_FILE) -> bytes | None:
    """A small file's bytes, opened as `open_file` does; None if it isn't there. Raises StoreError if it can't be read,
    or has more than `most`."""
    try:
        with open_file(path, os.O_RDONLY) as file:
            content = file.read(most + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path} can't be read: {error.strerror}") from error
    if len(content) > most:
        raise StoreError(f"{path} is larger than {most:,} bytes, which none that mmbench wrote is")
    return content


class Chain:
    """The one writer of such a file. Opening it repairs a torn last line, whose bytes go to a `.torn` file."""

    def __init__(self, path: Path, visit: Visit):
        self.path = path
        end = scan(path, visit)
        self._size, self._lines, self._checksum = end.size, end.lines, end.checksum
        self._broken = False
        self.note: str | None = None
        try:
            _part(path)
            self._file = open_file(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
            try:
                sync_folder(path.parent)
                if end.torn:
                    self._repair()
            except BaseException:
                self._file.close()
                raise
        except OSError as error:
            raise StoreError(f"{path} can't be written: {error.strerror}") from error

    def _repair(self) -> None:
        self._file.seek(self._size)
        rest = self._file.read()
        aside = self.path.with_suffix(self.path.suffix + ".torn")
        with open_file(aside, os.O_RDWR | os.O_CREAT | os.O_APPEND) as file:
            file.write(rest + b"\n")
            os.fsync(file.fileno())
        self._file.truncate(self._size)
        os.fsync(self._file.fileno())
        self.note = f"{self.path.name}: the last line was incomplete, and is set aside in {aside.name}"

    def append(self, kind: str, row: Mapping[str, Any]) -> None:
        """Write one row and wait until it is on the disk. Raises StoreError, and leaves no part of it, if it can't."""
        if self._broken:
            raise StoreError(f"{self.path}: an earlier row could not be written; run the same command again")
        line, checksum = to_line(self._lines, self._checksum, kind, row)
        whole = (self._size + len(line), self._lines + 1, checksum)
        self._check_place()
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            self._take_back()
            raise StoreError(f"{self.path} can't be written: {error.strerror}; no earlier row is lost") from error
        except BaseException:  # told to stop, say: a row that is whole stays
            if os.fstat(self._file.fileno()).st_size == whole[0]:
                self._size, self._lines, self._checksum = whole
            else:
                self._take_back()
            raise
        self._size, self._lines, self._checksum = whole

    def _check_place(self) -> None:
        """Whoever removed, replaced or edited the file meanwhile would lose what is written to it from now on."""
        own = os.fstat(self._file.fileno())
        try:
            there = self.path.lstat()
        except OSError as error:
            raise StoreError(f"{self.path} was taken away while the run was writing to it: {error.strerror}") from error
        if not os.path.samestat(own, there) or own.st_size != self._size:
            raise StoreError(f"{self.path} was changed by somebody else while the run was writing to it")

    def _take_back(self) -> None:
        self._broken = True
        with suppress(OSError):  # the next opening repairs what can't be taken back now
            self._file.truncate(self._size)
            self._broken = False

    def close(self) -> None:
        self._file.close()


def _part(path: Path) -> None:
    """Make a file of its own of one that has several names, as a backup of hard links has: what is appended would be
    appended there, too."""
    if path.exists() and path.stat().st_nlink > 1:
        partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            shutil.copy2(path, partial)
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def write_file(path: Path, content: bytes) -> None:
    """Write a whole file so that it is either there, complete and on the disk, or not there at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open_file(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC) as file:
            rest = memoryview(content)
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise StoreError(f"{path} can't be written: {error.strerror}") from error
        raise


def sync_folder(folder: Path) -> None:
    """Make sure that the folder's list of names is on the disk, where the system has such a call."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
