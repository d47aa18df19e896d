"""Datasets on disk: loaded once by their plugin, kept under the cache by fingerprint, read by split.

The rows hold what contenders may see; the labels are in separate files, those of test outside the dataset's
folder, where processes that tune are kept from reading it (`executors.sandbox`). What the rows hold is counted when
they are made (`intake`, `report`).
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmbench.api.data import SPLITS
from mmbench.api.files import check_readable, disk_full, file_lock, remedy, share
from mmbench.api.media import is_colour
from mmbench.api.parts import Dataset
from mmbench.api.record import pack, unpack
from mmbench.engine.data import intake, report, view
from mmbench.engine.data.column import Column
from mmbench.engine.data.view import View
from mmbench.engine.identity import fingerprint
from mmbench.engine.space import Fold
from mmbench.errors import DataError, MMBenchError, blamed

if TYPE_CHECKING:
    import numpy as np
    from datasets import DatasetDict

REPORT, TAKEN_IN, PARTS = "report.json", "taken-in", "parts.npy"


@dataclass(frozen=True)
class Table:
    """A dataset as it lies in the cache, seen as a `View` says: `limit` keeps that many rows of each split, evenly
    spread; in a `fold` the splits are those of the fold."""

    dataset: Dataset
    folder: Path
    limit: int | None = None
    fold: Fold | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """{"rows": {split: n}, "classes": names or null}"""
        facts: dict[str, Any] = json.loads((self.folder / "facts.json").read_text())
        if self.fold:
            facts["rows"] = {split: len(self._places[split]) for split in SPLITS}
        facts["rows"] = {split: len(self.rows(split, n)) for split, n in facts["rows"].items()}
        return facts

    @property
    def report(self) -> report.Report | None:
        """What the whole data set holds, see `report`; None if it was made by an older mmbench and not read since."""
        try:
            found: report.Report = json.loads((self.folder / REPORT).read_text())
        except FileNotFoundError:
            return None
        return found

    def warnings(self, modalities: Sequence[str]) -> list[str]:
        """What the report warns of that concerns some modalities; nothing without a report."""
        found = report.warnings(self.report or {"warnings": []}, modalities)
        if found and self.fold:
            found.append("these are counts of the data set's own splits, whose rows are joined and cut into folds")
        if found and self.limit is not None:
            found.append(
                f"these are counts of the whole data set, of which at most {self.limit:,} rows a split are used"
            )
        return found

    def rows(self, split: str, n: int) -> "np.ndarray[Any, Any]":
        """Which of the split's n rows are used, in order."""
        import numpy as np

        if self.limit is None or self.limit >= n:
            return np.arange(n)
        return np.linspace(0, n - 1, self.limit).astype(int)

    def targets(self, split: str) -> "np.ndarray[Any, Any]":
        """The truth, as the target's own type says."""
        from safetensors.numpy import load_file

        target = unpack(load_file(self._targets_file(split)))["target"]
        rows = self.rows(split, len(target))
        return self.dataset.target.some(target, rows)

    def values(self, split: str, modality: str, first: int | None = None) -> Column:
        """One column's raw values (the first few), as `mmbench.api.data` lists them by kind; a missing one is None."""
        from datasets import concatenate_datasets, load_from_disk

        names = SPLITS if self.fold else (split,)
        tables = [load_from_disk(str(self.folder / "rows" / name), keep_in_memory=False) for name in names]
        column = concatenate_datasets([table.select_columns([modality]) for table in tables]).with_format("arrow")
        if self.fold:
            rows = self._places[split]
            rows = rows[self.rows(split, len(rows))][:first]
        else:
            rows = self.rows(split, len(column))[:first]
        return Column(column, self.dataset.columns[modality], rows, background=self.dataset.background)

    @cached_property
    def _places(self) -> "dict[str, np.ndarray[Any, Any]]":
        """{split: its rows among those of all splits joined}, in a fold."""
        import numpy as np

        assert self.fold is not None
        return view.places(np.load(fold_folder(self.folder, self.fold) / PARTS), self.fold)

    def _targets_file(self, split: str) -> Path:
        if self.fold and split == "test":
            return fold_folder(self.folder, self.fold).with_name(f"{self.fold.number}-test.safetensors")
        if self.fold:
            return fold_folder(self.folder, self.fold) / f"targets-{split}.safetensors"
        return truth_file(self.folder) if split == "test" else _open_targets(self.folder, split)


def where(dataset: Dataset, cache: Path, known: str | None = None) -> Path:
    """The folder in which `dataset` is kept, whether it is there yet or not. `known`: its fingerprint, if it is."""
    return _folder(cache, dataset.name, known or fingerprint(dataset))


def _folder(cache: Path, name: str, mark: str) -> Path:
    return cache / "tables" / f"{name}-{mark}"


def truth_folder(cache: Path) -> Path:
    """Where the truth of every test split lies."""
    return cache / "truth"


def truth_file(folder: Path) -> Path:
    """That of the dataset kept in `folder`."""
    return truth_folder(folder.parents[1]) / f"{folder.name}.safetensors"


def fold_folder(folder: Path, fold: Fold) -> Path:
    """Where the parts of the rows lie, and the targets of train and validation in that fold. As they hold other folds'
    truth of test, and that of the data set's own test split, only who works at that fold may read them."""
    return folds_folder(folder, fold.of) / str(fold.number)


def folds_folder(folder: Path, folds: int) -> Path:
    return truth_folder(folder.parents[1]) / f"{folder.name}.folds-{folds}"


def _open_targets(folder: Path, split: str) -> Path:
    return folder / f"targets-{split}.safetensors"


def shown(seen: View, cache: Path) -> list[Path]:
    """What a worker at this view may read of the tables and of the truth: the rows, and the targets of its own train
    and validation. No other table: its train rows may be test here."""
    folder = _folder(cache, seen.dataset, seen.fingerprint)
    if seen.fold is None:
        return [folder]
    closed = [_open_targets(folder, split) for split in SPLITS[:2]]
    return [fold_folder(folder, seen.fold), *(path for path in sorted(folder.glob("*")) if path not in closed)]


def planned(seen: View, dataset: Dataset, cache: Path) -> Table:
    """The table of a view, whether it is there yet or not."""
    return Table(dataset, where(dataset, cache, seen.fingerprint), seen.limit, seen.fold)


def viewed(seen: View, dataset: Dataset, cache: Path) -> Table:
    """As `materialise`, seen as the view says."""
    table = materialise(dataset, cache, known=seen.fingerprint)
    if seen.fold and not folds_folder(table.folder, seen.fold.of).exists():
        cut(table, seen.fold.of)
    return planned(seen, dataset, cache)


def is_ready(dataset: Dataset, cache: Path) -> bool:
    return _is_ready(where(dataset, cache))


def _is_ready(folder: Path) -> bool:
    try:
        return (folder / "facts.json").exists() and truth_file(folder).exists()
    except PermissionError:
        check_readable(folder, truth_folder(folder.parents[1]))
        raise


def materialise(dataset: Dataset, cache: Path, limit: int | None = None, known: str | None = None) -> Table:
    """Load `dataset` into the cache unless it is there. Two processes at once load it once.

    `known` is the fingerprint that it had when the run was planned: who may not read its files can't make one. Raises
    DataError if it has another one now.
    """
    folder = where(dataset, cache, known)
    if _is_ready(folder):
        check_readable(folder, truth_file(folder))
    else:
        if known and known != fingerprint(dataset):
            raise DataError(f"dataset {dataset.name!r} has changed since this run began; run again")
        if (folder / "facts.json").exists() and not truth_file(folder).exists():
            shutil.rmtree(folder, ignore_errors=True)  # without its truth it is no use
        with building(folder) as draft:
            if draft:
                _build(dataset, cache, draft, folder)
    return Table(dataset, folder, limit)


def cut(table: Table, folds: int) -> None:
    """Cut the rows of all splits into folds, unless that is done, and store what each fold's workers may know.

    Raises DataError if there are too few rows, or groups, for so many.
    """
    import numpy as np
    from safetensors.numpy import load_file, save_file

    whole = replace(table, limit=None, fold=None)
    dataset, target = table.dataset, table.dataset.target
    with building(folds_folder(table.folder, folds)) as draft:
        if not draft:
            return
        truth = np.concatenate([whole.targets(split) for split in SPLITS])
        groups = load_file(groups_file(table.folder))["group"] if dataset.groups else None
        parts = view.deal(dataset.name, folds, view.strata(target, truth, whole.facts["classes"]), groups)
        for number in range(1, folds + 1):
            own = draft / str(number)
            own.mkdir()
            np.save(own / PARTS, parts)
            for split, rows in view.places(parts, Fold(number, folds)).items():
                file = own.with_name(f"{number}-test.safetensors") if split == "test" else _open_targets(own, split)
                save_file(pack({"target": target.some(truth, rows)}), file)


def groups_file(folder: Path) -> Path:
    """Which rows belong together, where the data set says so."""
    return truth_folder(folder.parents[1]) / f"{folder.name}.groups.safetensors"


def examine(table: Table) -> report.Report:
    """The table's report, made now if an older mmbench has left none. Raises DataError if a value can't be read.

    It counts the classes of test, so that workers who tune can't make one.
    """
    from datasets import disable_progress_bars, load_from_disk

    if (found := table.report) is not None:
        return found
    disable_progress_bars()
    whole, seen = replace(table, limit=None), {}
    for name in SPLITS:
        split = load_from_disk(str(table.folder / "rows" / name), keep_in_memory=False)
        seen[name] = {m: intake.look(table.dataset, name, split, m) for m in table.dataset.columns}
        intake.refuse(table.dataset, name, seen[name])
    made = report.make(table.dataset, whole.facts, seen, {name: whole.targets(name) for name in SPLITS})
    try:
        draft = table.folder / f"{REPORT}.{os.getpid()}.draft"
        draft.write_text(json.dumps(made))
        draft.chmod(table.folder.stat().st_mode & 0o666)
        draft.replace(table.folder / REPORT)
    except OSError as error:  # a cache that others own
        said = f"this report can't be kept beside the data ({error.strerror}): boards will lack its warnings"
        made["warnings"].append({"modality": None, "text": said})
    return made


def _build(dataset: Dataset, cache: Path, draft: Path, folder: Path) -> None:
    """Fill the draft of what will lie in `folder`, and store the truth of test elsewhere."""
    import numpy as np
    from datasets import disable_progress_bars
    from safetensors.numpy import save_file

    from mmbench.api import columns

    disable_progress_bars()
    if not is_colour(dataset.background):
        raise DataError(f'dataset {dataset.name!r}: background {dataset.background!r} is no colour: write "white", ...')
    splits = _load(dataset, cache)
    facts: dict[str, Any] = {"rows": {}}
    facts["classes"] = _classes(dataset, splits)
    seen, targets = {}, {}
    for name in SPLITS:
        split = splits[name]
        for modality in dataset.columns:
            if modality not in split.features:
                raise DataError(f"dataset {dataset.name!r}, split {name!r}: column {modality!r} is missing")
        kept, seen[name] = intake.take_in(dataset, name, split, draft / TAKEN_IN)
        kept.save_to_disk(str(draft / "rows" / name))  # none of the target's
        target = targets[name] = columns.targets(split, dataset.target)
        if target.dtype.kind == "f" and not np.isfinite(target).all():
            raise DataError(f"dataset {dataset.name!r}, split {name!r}: a target is missing or not finite")
        if name == "test":
            _put({"target": target}, truth_file(folder))
        else:
            save_file(pack({"target": target}), draft / f"targets-{name}.safetensors")
        facts["rows"][name] = len(split)
    if dataset.groups:
        _put({"group": _groups(dataset, splits)}, groups_file(folder))
    shutil.rmtree(draft / TAKEN_IN, ignore_errors=True)
    (draft / REPORT).write_text(json.dumps(report.make(dataset, facts, seen, targets)))
    (draft / "facts.json").write_text(json.dumps(facts))


def _load(dataset: Dataset, cache: Path) -> "DatasetDict":
    """The splits as the plugin gives them. What it raises becomes a DataError that names it."""
    try:
        splits = dataset.load(cache)
    except MMBenchError:
        raise
    except Exception as error:
        if disk_full(error):
            raise
        raise DataError(f"dataset {dataset.name!r}: load raises {blamed(error)}") from error
    found = sorted(splits) if isinstance(splits, Mapping) else type(splits).__name__
    if found != sorted(SPLITS):
        raise DataError(f"dataset {dataset.name!r} gives the splits {found}, not {sorted(SPLITS)}")
    return splits


def _classes(dataset: Dataset, splits: "DatasetDict") -> list[str] | None:
    """The names of the classes, if the target has any."""
    try:
        return dataset.target.names({name: splits[name].features for name in SPLITS})
    except DataError as error:
        raise DataError(f"dataset {dataset.name!r}: {error}") from None


def _groups(dataset: Dataset, splits: "DatasetDict") -> "np.ndarray[Any, Any]":
    """The group of each row of all splits joined, as a number."""
    import numpy as np

    name, numbers = str(dataset.groups), dict[str, int]()
    found: list[int] = []
    for split in SPLITS:
        if name not in splits[split].features:
            raise DataError(f"dataset {dataset.name!r}, split {split!r}: the column of groups {name!r} is missing")
        values = splits[split].select_columns([name])[name]
        if gone := [row for row, value in enumerate(values) if value is None]:
            raise DataError(f"dataset {dataset.name!r}, split {split!r}: row {gone[0]} has no group in {name!r}")
        found += [numbers.setdefault(repr(value), len(numbers)) for value in values]
    return np.array(found)


def _put(arrays: "Mapping[str, np.ndarray[Any, Any]]", file: Path) -> None:
    """Write a file of the truth, whole or not at all; the lock of its dataset is ours."""
    from safetensors.numpy import save_file

    file.parent.mkdir(exist_ok=True)
    draft = file.with_suffix(".draft")
    save_file(pack(arrays), draft)
    draft.chmod(file.parent.stat().st_mode & 0o666)
    sync(draft.parent, draft.name)
    draft.replace(file)


@contextmanager
def building(folder: Path) -> Iterator[Path | None]:
    """Make `folder` whole or not at all: yields a draft folder to fill, or None if another process was first.

    Raises DataError if it can't be written; what was half made is gone then, or swept by whoever builds it next.
    """
    from safetensors import SafetensorError

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(folder.with_name(f"{folder.name}.lock")):
            if folder.exists():
                yield None
                return
            for left in folder.parent.glob(f"{folder.name}.draft-*"):  # by a process that was killed: we have the lock
                shutil.rmtree(left, ignore_errors=True)
            draft = folder.with_name(f"{folder.name}.draft-{os.getpid()}")
            draft.mkdir()
            try:
                yield draft
                share(draft)
                sync(draft)
                draft.replace(folder)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        if isinstance(error, SafetensorError) and "I/O error" not in str(error):
            raise
        said = getattr(error, "strerror", None) or error
        raise DataError(f"can't make {folder}: {said}{remedy(error)}") from error


def sync(folder: Path, pattern: str = "*") -> None:
    """Wait until every file is on the disk: a folder in its place must be whole even after a loss of power."""
    for path in folder.rglob(pattern):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
