"""Where in the cache a data set lies: its rows and open targets in one folder, what tells of test in another, where
processes that tune are kept from reading it (`executors.sandbox`). Used by `tables`.
"""

from pathlib import Path

from mmbench.api.data import SPLITS
from mmbench.api.parts import Dataset
from mmbench.engine.data.view import View
from mmbench.engine.identity import fingerprint
from mmbench.engine.space import Fold

PARTS, STRATA = "parts.npy", "strata.npy"


def where(dataset: Dataset, cache: Path, known: str | None = None) -> Path:
    """The folder in which `dataset` is kept, whether it is there yet or not. `known`: its fingerprint, if it is."""
    return table_folder(cache, dataset.name, known or fingerprint(dataset))


def table_folder(cache: Path, name: str, mark: str) -> Path:
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
    return folds_folder(folder, fold) / str(fold.number)


def folds_folder(folder: Path, fold: Fold) -> Path:
    """Where all folds of that kind lie."""
    by = f"-by-{fold.by}" if fold.by else ""
    return truth_folder(folder.parents[1]) / f"{folder.name}.folds-{fold.of}{by}"


def open_targets(folder: Path, split: str) -> Path:
    return folder / f"targets-{split}.safetensors"


def targets_file(folder: Path, fold: Fold | None, split: str) -> Path:
    """Where a split's truth lies."""
    if fold:
        return fold_targets(fold_folder(folder, fold), split)
    return truth_file(folder) if split == "test" else open_targets(folder, split)


def fold_targets(own: Path, split: str) -> Path:
    """The same of a fold; that of test beside its folder, which its workers may read."""
    return own.with_name(f"{own.name}-test.safetensors") if split == "test" else open_targets(own, split)


def strata_file(folder: Path, fold: Fold | None) -> Path:
    """What the train rows are spread by, where the data set declares that."""
    return (fold_folder(folder, fold) if fold else folder) / STRATA


def shown(seen: View, cache: Path) -> list[Path]:
    """What a worker at this view may read of the tables and of the truth: the rows, and the targets of its own train
    and validation. No other table: its train rows may be test here."""
    folder = table_folder(cache, seen.dataset, seen.fingerprint)
    if seen.fold is None:
        return [folder]
    closed = [*(open_targets(folder, split) for split in SPLITS[:2]), strata_file(folder, None)]
    return [fold_folder(folder, seen.fold), *(path for path in sorted(folder.glob("*")) if path not in closed)]


def groups_file(folder: Path) -> Path:
    """Which rows belong together, what they are spread by and when they are from, where the data set says so."""
    return truth_folder(folder.parents[1]) / f"{folder.name}.groups.safetensors"
