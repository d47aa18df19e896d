"""The run folder: the one place where results are kept, and their only truth.

    suite.toml            what was asked
    environment.json      the machine and the libraries, as the last run found them
    trials.jsonl          Trial and Refit rows, appended as they come
    records.jsonl         Record rows, and the checksums of the targets
    predictions/          each refit's predictions on test, and each task's targets; safetensors, never pickles

One process writes, under a lock that dies with it; anyone may read meanwhile. The engine is given what
`history` finds, so that a run goes on where it stopped; the leaderboard is made of what `read_run` finds.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from mmbench.api.record import SCHEMA, Record, Refit, Trial, to_json
from mmbench.api.suite import Suite
from mmbench.board import suitefile
from mmbench.board.chain import Chain, open_file, scan, strict_json, write_file
from mmbench.errors import StoreError, SuiteError, unknown

if TYPE_CHECKING:
    import numpy as np
    from filelock import BaseFileLock
    from pydantic import TypeAdapter

    Array: TypeAlias = np.ndarray[Any, Any]

SUITE, TRIALS, RECORDS, PREDICTIONS = "suite.toml", "trials.jsonl", "records.jsonl", "predictions"
PREDICTION_FILE = re.compile(r"[a-z0-9][a-z0-9 _.-]*\.safetensors")


@dataclass
class History:
    """What a run has stored of one cell."""

    trials: list[Trial] = field(default_factory=list)
    """In the order of their numbers."""
    refits: list[Refit] = field(default_factory=list)
    """In the order in which they were stored."""
    record: Record | None = None

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self.record is not None


@dataclass(frozen=True)
class RunData:
    """What a leaderboard is made of."""

    suite: Suite
    records: tuple[Record, ...]
    """The last one of each (task, contender), in the order in which they were written."""
    path: Path
    targets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """{task: {"file", "sha256"}} of the test split's targets."""


class Store:
    """The one writer of a run folder; see `open`. A context manager, which lets go of the lock."""

    def __init__(self, folder: Path, suite: Suite, lock: "BaseFileLock"):
        self.folder, self.suite, self._lock = folder, suite, lock
        self._trials_seen: set[tuple[str, int]] = set()
        self._tested: set[tuple[str, str, int]] = set()
        self._targets: dict[str, Mapping[str, str]] = {}
        self._sweep()
        self._trials = Chain(folder / TRIALS, self._saw)
        try:
            self._records = Chain(folder / RECORDS, self._saw)
        except BaseException:
            self._trials.close()
            raise
        self.notes = [chain.note for chain in (self._trials, self._records) if chain.note]
        """What was repaired on opening, for the user to know."""

    @staticmethod
    def resolve(
        results: Path, suite: Suite, name: str | None = None, *, fresh: bool = False
    ) -> tuple[Path, str | None]:
        """The folder below `results` where `suite` runs or goes on, and a note to print if it isn't the usual one.

        Without `name` it is called after the suite; a suite that has changed gets a new folder. Raises StoreError
        if the folder `name` holds another suite; not if `fresh`, as it will then be moved aside.
        """
        problem = suitefile.name_problem(name or suite.name)
        if problem:
            raise StoreError(f"run: {problem}")
        folder = _no_link(results / (name or suite.name))
        wanted = suitefile.suite_hash(suite)
        stored = None if fresh else _suite_of(folder)
        if stored is None or suitefile.suite_hash(stored) == wanted:
            return folder, None
        if name:
            raise StoreError(f"{folder} holds another suite than this {suite.name!r}; give another --name, or --fresh")
        other = _no_link(results / f"{suite.name}-{wanted[:6]}")
        return other, f"suite {suite.name!r} has changed since {folder}, so this is another run: {other}"

    @classmethod
    def open(cls, folder: Path, suite: Suite, *, fresh: bool = False) -> Self:
        """Make or go on with the run folder, and keep all others from writing to it.

        `fresh` moves a folder that is there aside, to NAME.old-N. Raises StoreError if another process writes to
        it, if it holds another suite or is no run folder, if it is damaged, or if it can't be written.
        """
        _no_link(folder)
        try:
            if fresh and folder.exists():
                old = _locked(folder)
                try:
                    folder.rename(_aside(folder))
                finally:
                    old.release()
            folder.mkdir(parents=True, exist_ok=True)
            lock = _locked(folder)
        except OSError as error:
            raise StoreError(f"{folder} can't be written: {error.strerror}") from error
        try:
            _prepare(folder, suite)
            return cls(folder, suite, lock)
        except BaseException:
            lock.release()
            raise

    def _sweep(self) -> None:
        """Remove what a killed process left half written."""
        for place in (self.folder, self.folder / PREDICTIONS):
            for partial in place.glob(".*.tmp"):
                partial.unlink(missing_ok=True)

    def _saw(self, kind: str, row: dict[str, Any]) -> None:
        if kind == "trial":
            self._trials_seen.add((row["cell"], row["number"]))
        elif kind == "refit" and row["status"] == "ok":
            self._tested.add((row["cell"], row["role"], row["seed"]))
        elif kind == "targets":
            self._targets[row["task"]] = row

    def add_trial(self, trial: Trial) -> None:
        """Store a trial. Raises StoreError if the cell has one of that number: the budget is the same for all."""
        if (trial.cell, trial.number) in self._trials_seen:
            raise StoreError(f"{self.folder}: cell {trial.cell} has a trial {trial.number} already")
        self._trials.append("trial", to_json(trial))
        self._trials_seen.add((trial.cell, trial.number))

    def add_refit(self, refit: Refit, predictions: "Mapping[str, Array] | None" = None) -> Refit:
        """Store a refit and its predictions; gives it back with `predictions` naming their file and its sha256.

        Those of the plain test split stand under "test", in the form that metrics take; other keys are free. Raises
        StoreError if the cell was scored on test before with this role and seed: test is seen once.
        """
        key = (refit.cell, refit.role, refit.seed)
        if key in self._tested:
            raise StoreError(f"{self.folder}: cell {refit.cell} was scored on test before ({refit.role}, {refit.seed})")
        if predictions:
            name = f"{_file_key(refit.cell)}.{refit.role}.{int(refit.seed)}.safetensors"
            refit = replace(refit, predictions=self._write_arrays(name, predictions))
        self._trials.append("refit", to_json(refit))
        if refit.status == "ok":
            self._tested.add(key)
        return refit

    def add_targets(self, task: str, targets: "Array") -> None:
        """Store the targets of a task's test split, as metrics take them; the same again is nothing new."""
        if task not in (names := [spec.name for spec in self.suite.tasks]):
            raise StoreError(f"{self.folder}: {unknown('task', task, names)}")
        written = self._write_arrays(f"{task}.targets.safetensors", {"target": targets})
        row = {"task": task, **written}
        if self._targets.get(task) != row:
            self._records.append("targets", row)
            self._targets[task] = row

    def add_record(self, record: Record) -> None:
        """Store a cell's final word; the last record of a task and contender is the one that counts."""
        self._records.append("record", to_json(record))

    def set_environment(self, environment: Mapping[str, Any]) -> None:
        """Write environment.json, in place of an earlier one."""
        text = json.dumps(json.loads(strict_json(environment)), indent=2, sort_keys=True)
        write_file(self.folder / "environment.json", text.encode() + b"\n")

    def _write_arrays(self, name: str, arrays: "Mapping[str, Array]") -> dict[str, str]:
        import numpy as np
        from safetensors import SafetensorError
        from safetensors.numpy import save

        try:
            content = save({key: np.ascontiguousarray(array) for key, array in arrays.items()})
        except (SafetensorError, KeyError, AttributeError) as error:
            raise StoreError(f"{self.folder}: arrays for {name} can't be stored: {error}") from error
        folder = _no_link(self.folder / PREDICTIONS)
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise StoreError(f"{folder} can't be made: {error.strerror}") from error
        write_file(folder / name, content)
        return {"file": name, "sha256": hashlib.sha256(content).hexdigest()}

    def close(self) -> None:
        """Let go of the files and the lock."""
        self._trials.close()
        self._records.close()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _no_link(folder: Path) -> Path:
    if folder.is_symlink():
        raise StoreError(f"{folder} is a symbolic link, which could lead out of the results folder")
    return folder


def _file_key(cell: str) -> str:
    """The cell's key if it is a hash, else a hash of it: never a path."""
    return cell if re.fullmatch("[0-9a-f]{8,64}", cell) else hashlib.sha256(cell.encode()).hexdigest()[:32]


def _locked(folder: Path) -> "BaseFileLock":
    from filelock import FileLock, Timeout

    owner = _no_link(folder / ".owner")
    lock = FileLock(_no_link(folder / ".lock"), timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        holder = owner.read_text(errors="replace")[:20] if owner.is_file() else ""
        process = f" (process {holder})" if holder.isdigit() else ""
        raise StoreError(
            f"{folder} is in use by another run{process}; wait for it to end, or give another --name"
        ) from error
    try:
        owner.write_text(str(os.getpid()))
    except OSError:
        lock.release()
        raise
    return lock


def _aside(folder: Path) -> Path:
    number = 1
    while (place := folder.with_name(f"{folder.name}.old-{number}")).exists() or place.is_symlink():
        number += 1
    return place


def _prepare(folder: Path, suite: Suite) -> None:
    """Write the suite to a new folder; check that a folder that is there holds the same one."""
    stored = _suite_of(folder)
    if stored is None:
        if any(not path.name.startswith(".") for path in folder.iterdir()):
            raise StoreError(f"{folder} holds files but no {SUITE}, so it is no run folder; give another --name")
        write_file(folder / SUITE, suitefile.write(suite).encode())
    elif suitefile.suite_hash(stored) != suitefile.suite_hash(suite):
        raise StoreError(f"{folder} holds another suite than this {suite.name!r}; give another --name, or --fresh")


def _suite_of(folder: Path) -> Suite | None:
    path = _no_link(folder / SUITE)
    if not path.exists():
        return None
    try:
        return suitefile.read(path)
    except SuiteError as error:
        raise StoreError(f"the run folder is damaged: {error}") from error


def read_run(folder: Path) -> RunData:
    """Read a run's suite and records, without a lock. Raises StoreError if it is no run folder, or damaged."""
    suite = _suite_of(folder)
    if suite is None:
        raise StoreError(f"{folder} is no run folder: it has no {SUITE}")
    adapter = _adapter(Record)
    records: dict[tuple[str, str], Record] = {}
    targets: dict[str, Mapping[str, str]] = {}

    def visit(kind: str, row: dict[str, Any]) -> None:
        if kind == "record":
            record = _record(adapter, row)
            records.pop((record.task, record.contender), None)
            records[record.task, record.contender] = record
        elif kind == "targets":
            targets[row["task"]] = {"file": str(row["file"]), "sha256": str(row["sha256"])}

    scan(folder / RECORDS, visit)
    return RunData(suite=suite, records=tuple(records.values()), path=folder, targets=targets)


def history(folder: Path) -> dict[str, History]:
    """What the run holds of each cell, by the cell's key; without a lock. Raises StoreError if it is damaged."""
    cells: dict[str, History] = {}
    trials, refits, records = _adapter(Trial), _adapter(Refit), _adapter(Record)

    def visit(kind: str, row: dict[str, Any]) -> None:
        cell = cells.setdefault(row["cell"], History()) if kind in ("trial", "refit", "record") else History()
        if kind == "trial":
            cell.trials.append(trials.validate_python(row))
        elif kind == "refit":
            cell.refits.append(refits.validate_python(row))
        elif kind == "record":
            cell.record = _record(records, row)

    scan(folder / TRIALS, visit)
    scan(folder / RECORDS, visit)
    for cell in cells.values():
        cell.trials.sort(key=lambda trial: trial.number)
    return cells


def _adapter(kind: "type[Any]") -> "TypeAdapter[Any]":
    """Checks the types of a stored row, which a hand-made file may have wrong."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _record(adapter: "TypeAdapter[Any]", row: dict[str, Any]) -> Record:
    if row.get("schema", SCHEMA) > SCHEMA:
        raise ValueError("it was written by a newer mmbench")
    record: Record = adapter.validate_python(row)
    return record


def load_predictions(folder: Path, refit: Refit) -> "dict[str, Array]":
    """A refit's stored predictions on test. Raises StoreError if there are none, or if they were altered."""
    if refit.predictions is None:
        raise StoreError(f"{folder}: cell {refit.cell}, seed {refit.seed} has no stored predictions")
    return _load_arrays(folder, refit.predictions)


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

    name = stored.get("file", "")
    if not PREDICTION_FILE.fullmatch(name):
        raise StoreError(f"{folder}: {name[:100]!r} is no name of a file of predictions")
    path = _no_link(folder / PREDICTIONS) / name
    try:
        with open_file(path, os.O_RDONLY) as file:
            content = file.read()
    except OSError as error:
        raise StoreError(f"{path} can't be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != stored.get("sha256"):
        raise StoreError(f"{path} was altered: its checksum is not the stored one")
    try:
        arrays: dict[str, Array] = load(content)
    except (SafetensorError, KeyError, ValueError) as error:
        raise StoreError(f"{path} is no safetensors file: {error}") from error
    return arrays
