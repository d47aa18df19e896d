"""Writes the run folder: the one place where results are kept.

    suite.toml            what was asked
    environment.json      the machine and the libraries, as the last run found them
    trials.jsonl          Trial and Refit rows, appended as they come
    records.jsonl         Record rows, what many of them share, and the checksums of the targets
    predictions/          each refit's predictions on test, and each task's targets; safetensors, never pickles
    weights/              the models of refits from which others are derived, or of all where that was asked for

One process writes, under a lock that dies with it; anyone may read meanwhile. The engine is given the store's
`history`, so that a run resumes where it stopped; the leaderboard is made of what `read_run` finds. No list of all
trials or superseded records is ever held: what is kept in memory grows with the cells, and by 8 bytes a trial.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from mmbench.api.files import file_lock, remedy
from mmbench.api.record import Record, Refit, Trial, pack, to_json
from mmbench.api.suite import Suite, task_of
from mmbench.errors import StoreError, unknown
from mmbench.store import rows, suitefile
from mmbench.store.chain import Chain, strict_json, write_file
from mmbench.store.names import name_problem
from mmbench.store.reading import PREDICTIONS, RECORDS, SUITE, TRIALS, WEIGHTS, Histories, no_link, suite_of

if TYPE_CHECKING:
    import numpy as np
    from filelock import BaseFileLock

    Array: TypeAlias = np.ndarray[Any, Any]


class Store:
    """The one writer of a run folder; see `open`. A context manager, which lets go of the lock."""

    def __init__(self, folder: Path, suite: Suite, lock: "BaseFileLock"):
        self.folder, self.suite, self._lock = folder, suite, lock
        self._trials_seen: dict[str, _Numbers] = {}
        self._tested: set[tuple[str, str, int]] = set()
        self._kept: dict[str, str] = {}
        """{file below weights/: its sha256}"""
        self._targets: dict[str, Mapping[str, str]] = {}
        self._said = rows.Said()
        self.history = Histories(folder / TRIALS)
        """What was stored of each cell when it was opened."""
        self._sweep()
        self._trials = Chain(folder / TRIALS, self._saw_trials)
        try:
            self._records = Chain(folder / RECORDS, self._saw_records)
        except BaseException:
            self._trials.close()
            raise
        self.notes = [chain.note for chain in (self._trials, self._records) if chain.note]
        """What was repaired on opening, for the user to know."""

    @staticmethod
    def resolve(
        results: Path, suite: Suite, name: str | None = None, *, fresh: bool = False
    ) -> tuple[Path, str | None]:
        """The folder below `results` where `suite` runs or resumes, and a note to print if it isn't the usual one.

        Without `name` it is called after the suite; a suite that has changed gets a new folder. Raises StoreError
        if the folder `name` holds another suite; not if `fresh`, as it will then be moved aside.
        """
        problem = name_problem(name or suite.name)
        if problem:
            raise StoreError(f"run: {problem}")
        folder = no_link(results / (name or suite.name))
        wanted = suitefile.suite_hash(suite)
        stored = None if fresh else suite_of(folder)
        if stored is None or suitefile.suite_hash(stored) == wanted:
            return folder, None
        if name:
            raise StoreError(f"{folder} holds another suite than this {suite.name!r}; give another --name, or --fresh")
        other = no_link(results / f"{suite.name}-{wanted[:6]}")
        return other, f"suite {suite.name!r} has changed since {folder}, so this is another run: {other}"

    @classmethod
    def open(cls, folder: Path, suite: Suite, *, fresh: bool = False) -> Self:
        """Make or resume the run folder, and keep all others from writing to it.

        `fresh` moves a folder that is there aside, to NAME.old-N. Raises StoreError if another process writes to
        it, if it holds another suite or is no run folder, if it is damaged, or if it can't be written.
        """
        no_link(folder)
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
            elsewhere = remedy(error, "name a folder with --results")
            raise StoreError(f"{folder} can't be written: {error.strerror}{elsewhere}") from error
        try:
            _prepare(folder, suite)
            return cls(folder, suite, lock)
        except BaseException:
            lock.release()
            raise

    def _sweep(self) -> None:
        """Remove what a killed process left half written."""
        for place in (self.folder, self.folder / PREDICTIONS, self.folder / WEIGHTS):
            for partial in place.glob(".*.tmp"):
                partial.unlink(missing_ok=True)

    def _saw_trials(self, kind: str, raw: bytes, offset: int) -> None:
        self.history.see(kind, raw, offset)
        if kind == "trial":
            trial = rows.trial_key(raw)
            self._trials_seen.setdefault(trial.cell, _Numbers()).add(trial.number)
        elif kind == "refit":
            refit = rows.refit_key(raw)
            if refit.status == "ok":
                self._tested.add((refit.cell, refit.role, refit.seed))
            if refit.weights:
                self._kept[refit.weights["file"]] = refit.weights["sha256"]

    def _saw_records(self, kind: str, raw: bytes, offset: int) -> None:
        if kind == "targets":
            targets = rows.targets(raw)
            self._targets[targets.task] = {"task": targets.task, "file": targets.file, "sha256": targets.sha256}
        elif kind == "said":
            self._said.hear(raw)

    def add_trial(self, trial: Trial) -> None:
        """Store a trial. Raises StoreError if the cell has one of that number: the budget is the same for all."""
        seen = self._trials_seen.setdefault(trial.cell, _Numbers())
        if trial.number in seen:
            raise StoreError(f"{self.folder}: cell {trial.cell} has a trial {trial.number} already")
        self._trials.append("trial", to_json(trial))
        seen.add(trial.number)

    def add_refit(
        self, refit: Refit, predictions: "Mapping[str, Array] | None" = None, weights: bytes | None = None
    ) -> Refit:
        """Store a refit, its predictions and, if they are given, its weights, a safetensors file; gives it back with
        the names of these files and their sha256.

        Those of the plain test split stand under "test", in the form that metrics take; other keys are free. Raises
        StoreError if the cell was scored on test before with this role and seed: test is seen once.
        """
        key = (refit.cell, refit.role, refit.seed)
        if key in self._tested:
            raise StoreError(f"{self.folder}: cell {refit.cell} was scored on test before ({refit.role}, {refit.seed})")
        name = f"{_file_key(refit.cell)}.{refit.role}.{int(refit.seed)}.safetensors"
        if predictions:
            refit = replace(refit, predictions=self._write_arrays(name, predictions))
        if weights is not None:
            refit = replace(refit, weights=self._write(WEIGHTS, name, weights))
        self._trials.append("refit", to_json(refit))
        if refit.weights:
            self._kept[refit.weights["file"]] = refit.weights["sha256"]
        if refit.status == "ok":
            self._tested.add(key)
        return refit

    def weights(self, cell: str, seed: int) -> Path | None:
        """The file with the weights of the winner's refit of that seed, if they were kept and are what was stored."""
        path = self.folder / WEIGHTS / f"{_file_key(cell)}.tuned.{seed}.safetensors"
        kept = self._kept.get(path.name)
        if kept is None or not path.is_file() or path.is_symlink():
            return None
        with path.open("rb") as file:
            return path.absolute() if hashlib.file_digest(file, "sha256").hexdigest() == kept else None

    def add_targets(self, task: str, targets: "Array") -> None:
        """Store the targets of a task's test split, as metrics take them; the same again is nothing new."""
        if task_of(task) not in (names := [spec.name for spec in self.suite.tasks]):
            raise StoreError(f"{self.folder}: {unknown('task', task, names)}")
        written = self._write_arrays(f"{task}.targets.safetensors", {"target": targets})
        row = {"task": task, **written}
        if self._targets.get(task) != row:
            self._records.append("targets", row)
            self._targets[task] = row

    def add_record(self, record: Record) -> None:
        """Store a cell's final word; the last record of a task and contender is the one that counts."""
        for kind, row in self._said.shorten(record):
            self._records.append(kind, row)

    def set_environment(self, environment: Mapping[str, Any]) -> None:
        """Write environment.json, in place of an earlier one."""
        text = json.dumps(json.loads(strict_json(environment)), indent=2, sort_keys=True)
        write_file(self.folder / "environment.json", text.encode() + b"\n")

    def _write_arrays(self, name: str, arrays: "Mapping[str, Array]") -> dict[str, str]:
        from safetensors import SafetensorError
        from safetensors.numpy import save

        try:
            content = save(pack(arrays))
        except (SafetensorError, KeyError, AttributeError, ValueError) as error:
            raise StoreError(f"{self.folder}: arrays for {name} can't be stored: {error}") from error
        return self._write(PREDICTIONS, name, content)

    def _write(self, kind: str, name: str, content: bytes) -> dict[str, str]:
        folder = no_link(self.folder / kind)
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


class _Numbers:
    """Whole numbers, in little memory where they come more or less in order from 0."""

    def __init__(self) -> None:
        self._below, self._others = 0, set[int]()

    def __contains__(self, number: int) -> bool:
        return 0 <= number < self._below or number in self._others

    def add(self, number: int) -> None:
        self._others.add(number)
        while self._below in self._others:
            self._others.remove(self._below)
            self._below += 1


def _file_key(cell: str) -> str:
    """The cell's key if it is a hash, else a hash of it: never a path."""
    return cell if re.fullmatch("[0-9a-f]{8,64}", cell) else hashlib.sha256(cell.encode()).hexdigest()[:32]


def _locked(folder: Path) -> "BaseFileLock":
    from filelock import Timeout

    owner, held = no_link(folder / ".owner"), no_link(folder / ".lock")
    for path in (owner, held):
        if path.exists() and not path.is_file():  # a pipe would keep us waiting for ever
            raise StoreError(f"{path} is no ordinary file")
    lock = file_lock(held, timeout=0, thread_local=False)
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
    stored = suite_of(folder)
    if stored is None:
        if any(not path.name.startswith(".") for path in folder.iterdir()):
            raise StoreError(f"{folder} holds files but no {SUITE}, so it is no run folder; give another --name")
        write_file(folder / SUITE, suitefile.write(suite).encode())
    elif suitefile.suite_hash(stored) != suitefile.suite_hash(suite):
        raise StoreError(f"{folder} holds another suite than this {suite.name!r}; give another --name, or --fresh")
