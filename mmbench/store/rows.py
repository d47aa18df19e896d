"""How trials, refits and records stand in a run's files: typed reading, and what is said once for many records.

A record's suite, data set, environment and the like are the same for most records of a run. Each stands once, as a row
{"id", "value"} of kind "said", and a record names it: {"$said": id}. What a refit shares with its record it names too:
{"$own": "params"}. Rows in which everything is spelt out, as older runs have them, read the same. Used by `store`.
"""

import hashlib
import re
from array import array
from collections.abc import Callable, Iterator, Mapping
from sys import intern
from typing import Any, Generic, TypeVar

import msgspec

from mmbench.api.record import SCHEMA, Record, Refit, Trial, to_json
from mmbench.store.chain import decode, strict_json

T = TypeVar("T")

NEWER = "it was written by a newer mmbench"
SHARED = ("suite", "directions", "dataset", "modalities", "budget", "environment", "identity")
REMEMBERED = 10_000
"""Beginnings of records that `Latest` knows again without parsing them."""
_OWN = {"tuned": "params", "default": "default_params"}
_KEY = re.compile(rb'\{"cell":"([^"\\]*)","suite":\{[^{}]*\},"task":"([^"\\]*)","contender":"([^"\\]*)",')
_CELL = re.compile(rb'\{"cell":"([^"\\]*)",')


class _Row(Generic[T]):
    """Reads rows of one type, strictly: a value of another type is a ValueError."""

    def __init__(self, kind: type[T]) -> None:
        self._kind, self._decoder = kind, msgspec.json.Decoder(kind)

    def __call__(self, raw: bytes) -> T:
        if b'"$float"' in raw:
            return msgspec.convert(decode(raw), self._kind)
        return self._decoder.decode(raw)


class TrialKey(msgspec.Struct):
    cell: str
    number: int


class RefitKey(msgspec.Struct):
    cell: str
    role: str
    seed: int
    status: str
    weights: dict[str, str] | None = None


class RecordKey(msgspec.Struct):
    cell: str
    task: str
    contender: str


class Targets(msgspec.Struct):
    """Where the labels of a task's test split are kept."""

    task: str
    file: str
    sha256: str


class _Said(msgspec.Struct):
    id: str
    value: dict[str, Any]


class _Version(msgspec.Struct):
    schema: int = SCHEMA


_trial: Callable[[bytes], Trial] = _Row(Trial)
refit: Callable[[bytes], Refit] = _Row(Refit)
trial_key: Callable[[bytes], TrialKey] = _Row(TrialKey)
refit_key: Callable[[bytes], RefitKey] = _Row(RefitKey)
targets: Callable[[bytes], Targets] = _Row(Targets)
_record, _said, _version = _Row(Record), _Row(_Said), _Row(_Version)
_record_key: Callable[[bytes], RecordKey] = _Row(RecordKey)


def trial(raw: bytes) -> Trial:
    """A trial. What its cell's others say in the same words is kept once: a resumed run has all of them in memory."""
    found = _trial(raw)
    _put(found, "cell", intern(found.cell))
    _put(found, "params", {intern(k): intern(v) if type(v) is str else v for k, v in found.params.items()})
    return found


def cell_of(raw: bytes) -> str:
    """The cell that a trial, a refit or a record belongs to; most rows need not be decoded for it."""
    found = _CELL.match(raw)
    return found[1].decode() if found else str(decode(raw)["cell"])


def record_key(raw: bytes) -> tuple[str, str, str]:
    """A record's cell, task and contender; most rows need not be decoded for it."""
    found = _KEY.match(raw)
    if found:
        return found[1].decode(), found[2].decode(), found[3].decode()
    key = _record_key(raw)
    return key.cell, key.task, key.contender


class Latest:
    """Where the last record of each task and contender stands; of the others nothing is kept."""

    def __init__(self) -> None:
        self.starts = array("q")
        self.cells: list[tuple[str, str]] = []
        """The (task, contender) of each, in the order in which their first records were written."""
        self._places: dict[str, dict[str, int]] = {}
        self._heads: dict[bytes, int] = {}

    def see(self, raw: bytes, offset: int) -> None:
        """A record's row, which begins there in its file."""
        head = raw[: raw.find(b',"status":') + 1]
        place = self._heads.get(head)
        if place is None:
            place = self._place(raw, head)
        self.starts[place] = offset

    def _place(self, raw: bytes, head: bytes) -> int:
        _, task, contender = record_key(raw)
        known = self._places.setdefault(intern(task), {})
        if contender not in known:
            known[intern(contender)] = len(self.cells)
            self.cells.append((intern(task), intern(contender)))
            self.starts.append(0)
        if len(self._heads) < REMEMBERED and _KEY.fullmatch(head):  # rows that begin alike are of the same cell
            self._heads[head] = known[contender]
        return known[contender]


def identity(value: Any) -> str:
    """What a value is called that is said once for many records."""
    return hashlib.sha256(strict_json(value).encode()).hexdigest()[:16]


class Said:
    """What the rows of kind "said" hold, by id; a writer's and a reader's memory of them."""

    def __init__(self) -> None:
        self._values: dict[str, Mapping[str, Any]] = {}

    def hear(self, raw: bytes) -> None:
        row = _said(raw)
        self._values[row.id] = row.value

    def shorten(self, record: Record) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The rows to store for `record`, (kind, row): what was not said before, then the record."""
        row = to_json(record)
        for name in SHARED:
            value = row[name]
            if not value:
                continue
            own = identity(value)
            if own not in self._values:
                yield "said", {"id": own, "value": value}
                self._values[own] = value
            row[name] = {"$said": own}
        for kept in row["refits"]:
            own = _OWN[kept["role"]]
            if kept["params"] and kept["params"] == row[own]:
                kept["params"] = {"$own": own}
        yield "record", row

    def record(self, raw: bytes) -> Record:
        """The record of a row, everything spelt out. Raises ValueError if it is none, or a newer mmbench's."""
        try:
            record = _record(raw)
        except ValueError as error:
            if _version(raw).schema > SCHEMA:  # a newer form may look like anything
                raise ValueError(NEWER) from error
            raise
        if record.schema > SCHEMA:
            raise ValueError(NEWER)
        for name in SHARED:
            if "$said" in (value := getattr(record, name)):
                _put(record, name, self._find(value))
        for refit in record.refits:
            if "$own" in refit.params:
                _put(refit, "params", getattr(record, _OWN[refit.role]))
        _check(record)
        return record

    def _find(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        name = value["$said"]
        if not isinstance(name, str) or name not in self._values:
            raise ValueError(f"it refers to {name!r}, which no earlier row says")
        return self._values[name]


def _check(record: Record) -> None:
    """The tables within a record's own, which its types leave open and every board reads."""
    split, libraries = record.dataset.get("rows"), record.environment.get("libraries")
    if not (split is None or (isinstance(split, Mapping) and all(type(rows) is int for rows in split.values()))):
        raise ValueError("dataset.rows is no table of whole numbers")
    warnings = record.dataset.get("warnings", ())
    if not (isinstance(warnings, list | tuple) and all(type(text) is str for text in warnings)):
        raise ValueError("dataset.warnings is no list of sentences")
    if not (libraries is None or isinstance(libraries, Mapping)):
        raise ValueError("environment.libraries is no table")


def _put(item: Record | Refit | Trial, name: str, value: Mapping[str, Any] | str) -> None:
    """Complete what was just decoded and nobody has seen yet; `replace` would take longer than all the decoding."""
    object.__setattr__(item, name, value)
