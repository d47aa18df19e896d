"""Reads a chained file as an examiner does: every line for itself, whatever stands around it, so that each thing that
is wrong is named. The store's own reader stops at the first. Used by `verify` and `seal`."""

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mmbench.errors import StoreError
from mmbench.store.chain import FIRST, LONGEST_ROW, each_line, open_file
from mmbench.trust.findings import Finding

_HEAD = re.compile(rb'\{"seq":(\d{1,15}),"kind":"([a-z_]{1,30})","row":')
_TAIL = re.compile(rb',"prev":"([0-9a-f]{64})","sha256":"([0-9a-f]{64})"\}\n\Z')
_TAIL_LENGTH = len(b',"prev":"') + 64 + len(b'","sha256":"') + 64 + len(b'"}\n')
_OWN_LENGTH = len(b',"sha256":"') + 64 + len(b'"}\n')


@dataclass(frozen=True)
class Line:
    """One row where it stands."""

    number: int
    """From 1, as editors count."""
    kind: str
    raw: bytes
    """The row's JSON."""


@dataclass
class Lines:
    """A chained file's rows, the checksum that each line ends with, and what is wrong with the chain itself."""

    name: str
    rows: list[Line] = field(default_factory=list)
    checksums: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def where(self, line: Line) -> str:
        return f"{self.name}, line {line.number}"

    def head(self) -> tuple[int, str]:
        """How many lines there are, and the checksum of the last one."""
        return len(self.checksums), self.checksums[-1] if self.checksums else FIRST


def read(path: Path) -> Lines:
    """Every line of the file; none if it isn't there. Raises StoreError if it can't be read."""
    found = Lines(path.name)
    try:
        with open_file(path, os.O_RDONLY) as file:
            previous = FIRST
            for number, line in enumerate(each_line(file, path), 1):
                previous = _take(found, number, line, previous)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise StoreError(f"{path} can't be read: {error.strerror}") from error
    return found


def _take(found: Lines, number: int, line: bytes, previous: str) -> str:
    """Note one line and what is wrong with it; gives the checksum that the next one must name."""
    where = f"{found.name}, line {number}"
    head, tail = _HEAD.match(line), _TAIL.search(line[-_TAIL_LENGTH:])
    if not head or not tail:
        torn = "is incomplete" if not line.endswith(b"\n") else "is no line that mmbench wrote"
        found.findings.append(Finding("chain", where, torn))
        found.checksums.append(hashlib.sha256(line).hexdigest())
        return found.checksums[-1]
    stated = tail[2].decode()
    if hashlib.sha256(line[:-_OWN_LENGTH]).hexdigest() != stated:
        found.findings.append(Finding("chain", where, "its checksum is wrong: the line was edited"))
    found.findings += _order(where, number, int(head[1]), tail[1].decode() == previous)
    found.rows.append(Line(number, head[2].decode(), line[head.end() : -_TAIL_LENGTH]))
    found.checksums.append(stated)
    return stated


def _order(where: str, number: int, sequence: int, follows: bool) -> Iterator[Finding]:
    if sequence != number - 1:
        what = f"it is row {sequence + 1} by its own word: rows were dropped, added or moved before it"
        yield Finding("chain", where, what)
    elif not follows:
        yield Finding("chain", where, "does not follow from the line before it, which was replaced or edited")


def head(path: Path) -> tuple[int, str]:
    """How many rows the file says it has, and the checksum of the last, from its end alone; nothing is checked."""
    last = _last_line(path)
    start, tail = _HEAD.match(last), _TAIL.search(last[-_TAIL_LENGTH:])
    if not last:
        return 0, FIRST
    if not start or not tail:
        raise StoreError(f"{path}: its last line is damaged; `mmbench verify` says more")
    return int(start[1]) + 1, tail[2].decode()


def _last_line(path: Path) -> bytes:
    block = 1 << 16
    try:
        with open_file(path, os.O_RDONLY) as file:
            end = file.seek(0, 2)
            tail = b""
            while end and tail.count(b"\n") < 2 and len(tail) < LONGEST_ROW:
                start = max(0, end - block)
                file.seek(start)
                tail, end, block = file.read(end - start) + tail, start, 2 * block
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise StoreError(f"{path} can't be read: {error.strerror}") from error
    lines = tail.splitlines(keepends=True)
    return lines[-1] if lines else b""
