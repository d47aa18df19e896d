"""A run folder as it is read: its suite, its records, what is stored of each cell, predictions and targets.

Reading takes no lock: a writer may be at work meanwhile, whose last row is perhaps not there yet. `store` has the
writer, and hands these names on.
"""

import hashlib
import os
import re
from abc import abstractmethod
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from mmbench.api.record import History, Record, Refit, unpack
from mmbench.api.suite import Suite
from mmbench.errors import StoreError, SuiteError
from mmbench.store import rows, suitefile
from mmbench.store.chain import Lines, open_file, scan

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

SUITE, TRIALS, RECORDS, PREDICTIONS = "suite.toml", "trials.jsonl", "records.jsonl", "predictions"
WEIGHTS = "weights"
PREDICTION_FILE = re.compile(r"[a-z0-9][a-z0-9 _.@#-]*\.safetensors")
EAGER = 1_000  # so many records are decoded at once, 12 kB each; of more, each when it is asked for


def runs_around(folder: Path) -> tuple[Path, ...]:
    """The run folder, those beside it, and those one level below: all of it tells of test."""
    results = folder.absolute().parent
    beside = (path.parent for depth in ("*", "*/*") for path in results.glob(f"{depth}/{SUITE}"))
    return (folder.absolute(), *beside)


@dataclass(frozen=True)
class RunData:
    """What a leaderboard is made of."""

    suite: Suite
    records: Sequence[Record]
    """The last one of each (task, contender), in the order in which they were written. Very many are decoded one by
    one as they are asked for, so that a run of a million does not have to fit into memory."""
    path: Path
    targets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """{task: {"file", "sha256"}} of the test split's targets."""

    @property
    def cells(self) -> Sequence[tuple[str, str]]:
        """The (task, contender) of each record; none is decoded for it."""
        if isinstance(self.records, Lazy):
            return self.records.cells
        return [(record.task, record.contender) for record in self.records]

    @property
    def tasks(self) -> Collection[str]:
        """The tasks that have a record."""
        return self._places.keys()

    def of(self, task: str) -> list[Record]:
        """The records of one task."""
        return [self.records[place] for place in self._places.get(task, ())]

    def predictions(self, refit: Refit) -> "dict[str, Array]":
        """As `load_predictions`, of a refit of this run."""
        return load_predictions(self.path, refit)

    def truth(self, task: str) -> "Array":
        """As `load_run_targets`."""
        return load_run_targets(self, task)

    def behind(self, record: Record) -> Sequence[Record]:
        """The records as they are stored that one of this run's was made from: the record itself."""
        return (record,)

    def part(self, places: Iterable[int], *, called: Callable[[str], str] = str) -> "RunData":
        """The run with the records in these places only, their contenders named by `called`; none is decoded for it."""
        return replace(self, records=Part(self, places, called))

    @cached_property
    def _places(self) -> "dict[str, array[int]]":
        places: dict[str, array[int]] = {}
        for place, (task, _) in enumerate(self.cells):
            places.setdefault(task, array("q")).append(place)
        return places


class Lazy(Sequence[Record]):
    """Records of which each is made when it is asked for, by `at`."""

    cells: Sequence[tuple[str, str]]
    """The (task, contender) of each."""

    @abstractmethod
    def at(self, place: int) -> Record: ...

    @overload
    def __getitem__(self, place: int) -> Record: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Record]: ...
    def __getitem__(self, place: int | slice) -> Record | Sequence[Record]:
        if isinstance(place, slice):
            return [self[index] for index in range(*place.indices(len(self)))]
        return self.at(place)


class Records(Lazy):
    """Records that stay in their file; each is read and decoded when it is asked for."""

    def __init__(self, path: Path, said: rows.Said, latest: rows.Latest) -> None:
        self._lines, self._said = Lines(path), said
        order = sorted(range(len(latest.cells)), key=latest.starts.__getitem__)
        self.cells = [latest.cells[place] for place in order]
        self._starts = array("q", (latest.starts[place] for place in order))

    def __len__(self) -> int:
        return len(self._starts)

    def at(self, place: int) -> Record:
        return self._lines.read(self._starts[place], self._said.record)


class Part(Lazy):
    """Some records of a run, perhaps under other names; each is made when it is asked for."""

    def __init__(self, run: RunData, places: Iterable[int], called: Callable[[str], str]) -> None:
        self._of, self._places, self._called = run.records, array("q", places), called
        cells = run.cells
        self.cells = [(cells[place][0], called(cells[place][1])) for place in self._places]

    def __len__(self) -> int:
        return len(self._places)

    def at(self, place: int) -> Record:
        record = self._of[self._places[place]]
        name = self._called(record.contender)
        return record if name == record.contender else replace(record, contender=name)


class Histories(Mapping[str, History]):
    """What a run has stored of each cell, by the cell's key; read each time that it is asked for. Kept is only where
    the rows lie, 8 bytes for each, so that a run with very many trials can resume in little memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._starts: dict[str, dict[str, array[int]]] = {}

    def see(self, kind: str, raw: bytes, offset: int) -> None:
        """A row of the file, which begins there."""
        if kind in ("trial", "refit"):
            cell = rows.cell_of(raw)
            if cell not in self._starts:
                self._starts[cell] = {"trial": array("q"), "refit": array("q")}
            self._starts[cell][kind].append(offset)

    def __getitem__(self, cell: str) -> History:
        """Raises StoreError if one of the rows is no good."""
        starts, lines = self._starts[cell], Lines(self._path)
        trials = [lines.read(start, rows.trial) for start in starts["trial"]]
        refits = [lines.read(start, rows.refit) for start in starts["refit"]]
        return History(sorted(trials, key=lambda trial: trial.number), refits)

    def begun(self, cells: Collection[str]) -> dict[str, float]:
        """Of those cells that have a trial: the seconds of the first one stored."""
        lines, firsts = (
            Lines(self._path),
            {cell: self._starts[cell]["trial"][:1] for cell in cells if cell in self._starts},
        )
        return {cell: lines.read(first[0], rows.trial).seconds for cell, first in firsts.items() if first}

    def counts(self) -> dict[str, tuple[int, int]]:
        """{cell: how many trials and how many refits are stored}."""
        return {cell: (len(starts["trial"]), len(starts["refit"])) for cell, starts in self._starts.items()}

    def __contains__(self, cell: object) -> bool:
        return cell in self._starts

    def __iter__(self) -> Iterator[str]:
        return iter(self._starts)

    def __len__(self) -> int:
        return len(self._starts)


def no_link(folder: Path) -> Path:
    """The path, unless it is a symbolic link. Raises StoreError if it is."""
    if folder.is_symlink():
        raise StoreError(f"{folder} is a symbolic link, which could lead out of the results folder")
    return folder


def suite_of(folder: Path) -> Suite | None:
    """The suite of a run folder; None if there is none. Raises StoreError if it can't be read."""
    path = no_link(folder / SUITE)
    if not path.exists():
        return None
    try:
        return suitefile.read(path)
    except SuiteError as error:
        raise StoreError(f"the run folder is damaged: {error}") from error


def read_run(folder: Path) -> RunData:
    """Read a run's suite and records, without a lock. Raises StoreError if it is no run folder, or damaged."""
    suite = suite_of(folder)
    if suite is None:
        raise StoreError(f"{folder} is no run folder: it has no {SUITE}")
    latest = rows.Latest()
    targets: dict[str, Mapping[str, str]] = {}
    said = rows.Said()

    def visit(kind: str, raw: bytes, offset: int) -> None:
        if kind == "record":
            latest.see(raw, offset)
        elif kind == "targets":
            row = rows.targets(raw)
            targets[row.task] = {"file": row.file, "sha256": row.sha256}
        elif kind == "said":
            said.hear(raw)

    path = folder / RECORDS
    scan(path, visit)
    records: Sequence[Record] = ()
    if latest.cells:
        lazy = Records(path, said, latest)
        records = tuple(lazy) if len(lazy) <= EAGER else lazy
    return RunData(suite=suite, records=records, path=folder, targets=targets)


def superseded(folder: Path, cells: Collection[str]) -> list[Record]:
    """Of these cells the records that a later one of the same task and contender has taken the place of, as where code
    was changed and changed back. Raises StoreError if the records are damaged."""
    said, found, last = rows.Said(), dict[str, Record](), dict[tuple[str, str], str]()

    def visit(kind: str, raw: bytes, offset: int) -> None:
        if kind == "said":
            said.hear(raw)
        elif kind == "record":
            cell, task, contender = rows.record_key(raw)
            last[task, contender] = cell
            if cell in cells:
                found[cell] = said.record(raw)

    scan(folder / RECORDS, visit)
    return [record for cell, record in found.items() if last[record.task, record.contender] != cell]


def finished(folder: Path) -> frozenset[str]:
    """The keys of the cells that have a record. Raises StoreError if the records are damaged."""
    cells = set()

    def visit(kind: str, raw: bytes, offset: int) -> None:
        if kind == "record":
            cells.add(rows.cell_of(raw))

    scan(folder / RECORDS, visit)
    return frozenset(cells)


def history(folder: Path) -> Histories:
    """What the run holds of each cell that has trials or refits, without a lock. Raises StoreError if it is damaged."""
    found = Histories(folder / TRIALS)
    scan(folder / TRIALS, found.see)
    return found


def load_predictions(folder: Path, refit: Refit) -> "dict[str, Array]":
    """A refit's stored predictions on test. Raises StoreError if there are none, or if they were altered."""
    if refit.predictions is None:
        raise StoreError(f"{folder}: cell {refit.cell}, seed {refit.seed} has no stored predictions")
    return _load_arrays(folder, refit.predictions)


def load_weights(folder: Path, refit: Refit) -> bytes | None:
    """The content of the safetensors file with a refit's weights; None if they were not kept or are gone. Raises
    StoreError if they were altered."""
    if refit.weights is None or not (no_link(folder / WEIGHTS) / refit.weights.get("file", "")).is_file():
        return None
    return _load_file(folder, WEIGHTS, refit.weights)


def load_targets(folder: Path, task: str) -> "Array":
    """The stored targets of a task's test split. Raises StoreError if there are none, or if they were altered."""
    return load_run_targets(read_run(folder), task)


def load_run_targets(run: RunData, task: str) -> "Array":
    """As `load_targets`, of a run that has been read."""
    if task not in run.targets:
        raise StoreError(f"{run.path}: no targets are stored for task {task!r}")
    arrays = _load_arrays(run.path, run.targets[task])
    if "target" not in arrays:
        raise StoreError(f"{run.path}: the targets of task {task!r} have no array 'target'")
    return arrays["target"]


def _load_arrays(folder: Path, stored: Mapping[str, str]) -> "dict[str, Array]":
    from safetensors import SafetensorError
    from safetensors.numpy import load

    content = _load_file(folder, PREDICTIONS, stored)
    path = folder / PREDICTIONS / stored["file"]
    try:
        arrays: dict[str, Array] = load(content)
    except (SafetensorError, KeyError, ValueError) as error:
        raise StoreError(f"{path} is no safetensors file: {error}") from error
    try:
        arrays = unpack(arrays)
    except ValueError as error:
        raise StoreError(f"{path}: {error}") from error
    for found in arrays.values():  # no metric can change them, nor needs to count again what it counted before
        found.flags.writeable = False
        whole: Any = found.base
        if hasattr(whole, "flags"):
            whole.flags.writeable = False
    return arrays


def _load_file(folder: Path, kind: str, stored: Mapping[str, str]) -> bytes:
    name = stored.get("file", "")
    if not PREDICTION_FILE.fullmatch(name):
        raise StoreError(f"{folder}: {name[:100]!r} is no name of a file of {kind}")
    path = no_link(folder / kind) / name
    try:
        with open_file(path, os.O_RDONLY) as file:
            size = os.fstat(file.fileno()).st_size
            if size > _memory() / 2:
                raise MemoryError
            content: bytes = file.read()
    except OSError as error:
        raise StoreError(f"{path} can't be read: {error.strerror}") from error
    except MemoryError as error:
        raise StoreError(f"{path} has {size:,} bytes, more than this machine's memory can hold") from error
    if hashlib.sha256(content).hexdigest() != stored.get("sha256"):
        raise StoreError(f"{path} was altered: its checksum is not the stored one")
    return content


def _memory() -> float:
    """Bytes of the machine's memory; no bound where it does not say."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return float("inf")
