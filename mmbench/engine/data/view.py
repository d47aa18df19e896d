"""Which rows of a data set are train, validation and test: its own splits, or a fold of all rows joined.

`tables` keeps the rows and their truth; here is what depends on neither files nor caches.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from mmbench.api.data import Target
from mmbench.engine.space import Cell, Fold, derive_seed
from mmbench.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True)
class View:
    """What a cell sees of a data set. Two cells of one view share rows, features and truth."""

    dataset: str
    fingerprint: str
    limit: int | None = None
    """Keeps that many rows of each split, evenly spread."""
    fold: Fold | None = None

    @classmethod
    def of(cls, cell: Cell) -> "View":
        return cls(cell.task.dataset, cell.fingerprint, cell.limit, cell.fold)


def places(parts: "Array", fold: Fold) -> "dict[str, Array]":
    """{split: its rows among all rows joined, in order}: part i is test in fold i, part i + 1 validation, the rest
    train."""
    test, validation = fold.number - 1, fold.number % fold.of
    chosen = {"validation": parts == validation, "test": parts == test}
    chosen["train"] = ~(chosen["validation"] | chosen["test"])
    return {split: chosen[split].nonzero()[0] for split in ("train", "validation", "test")}


def strata(target: Target, truth: "Array", names: list[str] | None) -> "Array":
    """What is to be spread evenly over the parts, as a number a row: the classes, if the target has any."""
    import numpy as np

    if target.counts(truth, names) is None:
        return np.zeros(len(truth), int)
    return np.unique(truth.reshape(len(truth), -1), axis=0, return_inverse=True)[1].reshape(-1)


def deal(dataset: str, folds: int, classes: "Array", groups: "Array | None") -> "Array":
    """The part that each row belongs to, from 0; the same for every suite and seed, as the data set's own splits are.

    Each class is spread evenly; rows of one group come to one part. Raises DataError if there are too few of them.
    """
    import numpy as np

    generator = np.random.default_rng(derive_seed("folds", dataset, folds))
    few = len(classes) if groups is None else len(np.unique(groups))
    if few < folds:
        what = "rows" if groups is None else "groups"
        raise DataError(f"dataset {dataset!r} has {few} {what}, which can't be cut into {folds} folds")
    parts = np.empty(len(classes), np.int64)
    if groups is None:
        order = generator.permutation(len(classes))
        order = order[np.argsort(classes[order], kind="stable")]
        parts[order] = np.arange(len(classes)) % folds
        return parts
    _, group = np.unique(groups, return_inverse=True)
    table = np.zeros((group.max() + 1, classes.max() + 1))  # rows of each group and class
    np.add.at(table, (group, classes), 1)
    share = table / table.sum(0)
    order = generator.permutation(len(table))
    order = order[np.argsort(-table.sum(1)[order], kind="stable")]  # the largest first
    held, sizes, part = np.zeros((folds, table.shape[1])), np.zeros(folds), np.empty(len(table), np.int64)
    for one in order:
        fullness = held @ share[one]
        least = (fullness <= fullness.min() + 1e-9).nonzero()[0]
        chosen = least[np.argmin(sizes[least])]
        part[one] = chosen
        held[chosen] += share[one] * len(classes)
        sizes[chosen] += table[one].sum()
    if not sizes.all():
        raise DataError(f"dataset {dataset!r}: its groups can't be cut into {folds} folds of rows each")
    return part[group]
