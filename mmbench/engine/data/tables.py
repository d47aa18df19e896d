"""Datasets on disk: loaded once by their plugin, kept under the cache by fingerprint, read by split.

The rows hold what contenders may see; the labels are in separate files, those of test outside the dataset's
folder, where processes that tune are kept from reading it (`executors.sandbox`). What the rows hold is counted when
they are made (`intake`, `report`).
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmbench.api.data import SPLITS
from mmbench.api.files import check_readable, disk_full
from mmbench.api.media import is_colour
from mmbench.api.parts import Dataset
from mmbench.api.record import pack, unpack
from mmbench.engine.data import intake, report, view
from mmbench.engine.data.building import building, sync
from mmbench.engine.data.column import Column
from mmbench.engine.data.folders import (
    PARTS,
    STRATA,
    fold_folder,
    fold_targets,
    folds_folder,
    groups_file,
    strata_file,
    targets_file,
    truth_file,
    truth_folder,
    where,
)
from mmbench.engine.data.view import View
from mmbench.engine.identity import fingerprint
from mmbench.engine.space import Fold
from mmbench.errors import DataError, MMBenchError, blamed

if TYPE_CHECKING:
    import numpy as np
    from datasets import DatasetDict

REPORT, TAKEN_IN = "report.json", "taken-in"


@dataclass(frozen=True)
class Table:
    """A dataset as it lies in the cache, seen as a `View` says: `limit` keeps that many rows of each split, evenly
    spread; in a `fold` the splits are those of the fold; `size` keeps that many train rows."""

    dataset: Dataset
    folder: Path
    limit: int | None = None
    fold: Fold | None = None
    size: int | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """{"rows": {split: n}, "classes": names or null}"""
        facts: dict[str, Any] = json.loads((self.folder / "facts.json").read_text())
        facts["rows"] = {split: len(self.rows(split, n)) for split, n in self._rows.items()}
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
        found = report.warnings(self.report or {"warnings": []}, modalities, folded=self.fold is not None)
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

        few = n if self.limit is None or self.limit >= n else self.limit
        rows = np.arange(n) if few == n else np.linspace(0, n - 1, few).astype(int)
        return rows[self._sample] if split == "train" and self.size is not None else rows

    def targets(self, split: str) -> "np.ndarray[Any, Any]":
        """The truth, as the target's own type says."""
        target = self._truth(split)
        return self.dataset.target.some(target, self.rows(split, len(target)))

    @cached_property
    def whole(self) -> "Table":
        """The table whose rows those of this view are among: one for all folds and train sizes, unless limited."""
        return replace(self, size=None, fold=None if self.limit is None else self.fold)

    def among(self, split: str) -> "dict[str, np.ndarray[Any, Any]]":
        """{split of `whole`: which of its rows this view's split has}, each in order."""
        import numpy as np

        if self.fold == self.whole.fold:
            rows = self.rows(split, self._rows[split])
            return {split: np.searchsorted(self.whole.rows(split, self._rows[split]), rows)}
        rows, first, found = self._places[split], 0, {}
        rows = rows[self.rows(split, len(rows))]
        for name, n in self.whole._rows.items():
            found[name] = rows[(rows >= first) & (rows < first + n)] - first
            first += n
        return found

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

    def _truth(self, split: str) -> "np.ndarray[Any, Any]":
        """That of all rows of the split."""
        from safetensors.numpy import load_file

        found: np.ndarray[Any, Any] = unpack(load_file(targets_file(self.folder, self.fold, split)))["target"]
        return found

    @cached_property
    def _sample(self) -> "np.ndarray[Any, Any]":
        """Which of the train rows, as `limit` has them, are among the `size` that are used, in order."""
        import numpy as np

        target, size, full = self.dataset.target, self.size or 0, replace(self, size=None)
        truth, names = full.targets("train"), full.facts["classes"]
        where = f"dataset {self.dataset.name!r}" + (f", fold {self.fold.number}" if self.fold else "")
        if size > len(truth):
            raise DataError(f"{where}: train_sizes asks for {size:,} rows, of {len(truth):,} that train has")
        strata = view.strata(target, truth, names)
        if self.dataset.stratify:
            strata = np.load(strata_file(self.folder, self.fold))
            strata = np.unique(strata[full.rows("train", len(strata))], return_inverse=True)[1]
        sample = np.sort(view.nested(self.dataset.name, strata)[:size])
        if gone := view.lacking(target, truth, target.some(truth, sample), names):
            raise DataError(f"{where}: of {size:,} train rows none would be of {report.named(gone)}: ask for more")
        return sample

    @cached_property
    def _rows(self) -> dict[str, int]:
        """{split: how many rows it has}, before any are left out."""
        if self.fold:
            return {split: len(self._places[split]) for split in SPLITS}
        facts: dict[str, Any] = json.loads((self.folder / "facts.json").read_text())
        return {split: facts["rows"][split] for split in SPLITS}

    @cached_property
    def _places(self) -> "dict[str, np.ndarray[Any, Any]]":
        """{split: its rows among those of all splits joined}, in a fold."""
        import numpy as np

        assert self.fold is not None
        return view.places(np.load(fold_folder(self.folder, self.fold) / PARTS), self.fold)


def planned(seen: View, dataset: Dataset, cache: Path) -> Table:
    """The table of a view, whether it is there yet or not."""
    return Table(dataset, where(dataset, cache, seen.fingerprint), seen.limit, seen.fold, seen.size)


def viewed(seen: View, dataset: Dataset, cache: Path) -> Table:
    """As `materialise`, seen as the view says."""
    table = materialise(dataset, cache, known=seen.fingerprint)
    if seen.fold and not folds_folder(table.folder, seen.fold).exists():
        cut(table, seen.fold)
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


def cut(table: Table, kind: Fold) -> None:
    """Cut the rows of all splits into folds as one of them is, unless that is done, and store what each fold's workers
    may know.

    Raises DataError if there are too few rows, groups or times for so many, or if one would learn from no row of a
    class.
    """
    import numpy as np
    from safetensors.numpy import save_file

    whole = replace(table, limit=None, fold=None, size=None)
    dataset, target, names = table.dataset, table.dataset.target, whole.facts["classes"]
    with building(folds_folder(table.folder, kind)) as draft:
        if not draft:
            return
        truth, said = np.concatenate([whole.targets(split) for split in SPLITS]), declared(dataset, table.folder)
        strata = said.get("strata", view.strata(target, truth, names))
        dealt = None if kind.by else view.deal(dataset.name, kind.of, strata, said.get("group"))
        for fold in (replace(kind, number=number + 1) for number in range(kind.of)):
            parts = dealt
            if parts is None:
                parts = view.deal_by_time(dataset.name, fold, said["time"], said.get("group"))
            places = view.places(parts, fold)
            if gone := view.lacking(target, truth, target.some(truth, places["train"]), names):
                raise DataError(
                    f"dataset {dataset.name!r}: fold {fold.number} of {fold.of} would learn from no row of "
                    f"{report.named(gone)}; take fewer folds, or merge what is that rare"
                )
            own = draft / str(fold.number)
            own.mkdir()
            np.save(own / PARTS, parts)
            if "strata" in said:
                np.save(own / STRATA, strata[places["train"]])
            for split, rows in places.items():
                save_file(pack({"target": target.some(truth, rows)}), fold_targets(own, split))


def declared(dataset: Dataset, folder: Path) -> "dict[str, np.ndarray[Any, Any]]":
    """{"group", "strata" or "time": a number for each row of all splits joined}, of those that it declares."""
    from safetensors.numpy import load_file

    return load_file(groups_file(folder)) if dataset.declared() else {}


def examine(table: Table) -> report.Report:
    """The table's report, made now if an older mmbench has left none. Raises DataError if a value can't be read.

    It counts the classes of test, so that workers who tune can't make one.
    """
    from datasets import disable_progress_bars, load_from_disk

    if (found := table.report) is not None:
        return found
    disable_progress_bars()
    whole, seen = replace(table, limit=None, fold=None, size=None), {}
    for name in SPLITS:
        split = load_from_disk(str(table.folder / "rows" / name), keep_in_memory=False)
        seen[name] = {m: intake.look(table.dataset, name, split, m) for m in table.dataset.columns}
        intake.refuse(table.dataset, name, seen[name])
    targets = {name: whole.targets(name) for name in SPLITS}
    made = report.make(table.dataset, whole.facts, seen, targets, declared(table.dataset, table.folder))
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
    said = intake.declared(dataset, splits)
    if said:
        _put(said, groups_file(folder))
    if "strata" in said:
        np.save(draft / STRATA, said["strata"][: facts["rows"]["train"]])
    shutil.rmtree(draft / TAKEN_IN, ignore_errors=True)
    (draft / REPORT).write_text(json.dumps(report.make(dataset, facts, seen, targets, said)))
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


def _put(arrays: "Mapping[str, np.ndarray[Any, Any]]", file: Path) -> None:
    """Write a file of the truth, whole or not at all; the lock of its dataset is ours."""
    from safetensors.numpy import save_file

    file.parent.mkdir(exist_ok=True)
    draft = file.with_suffix(".draft")
    save_file(pack(arrays), draft)
    draft.chmod(file.parent.stat().st_mode & 0o666)
    sync(draft.parent, draft.name)
    draft.replace(file)
