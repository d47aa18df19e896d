"""Which rows of a data set are train, validation and test: its own splits or a fold of all rows joined, and of train
all or some.

`tables` keeps the rows and their truth; here is what depends on neither files nor caches.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from mmbench.api.data import SPLITS, Target
from mmbench.engine.space import Cell, Fold, derive_seed
from mmbench.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

MANY = 10
"""Rows that a class must have in the mean, so that a small sample may begin with one of each."""


@dataclass(frozen=True)
class View:
    """What a cell sees of a data set. Two cells of one view share rows, features and truth."""

    dataset: str
    fingerprint: str
    limit: int | None = None
    """Keeps that many rows of each split, evenly spread."""
    fold: Fold | None = None
    size: int | None = None
    """Keeps that many train rows, those of a smaller size among them."""

    @classmethod
    def of(cls, cell: Cell) -> "View":
        return cls(cell.task.dataset, cell.fingerprint, cell.limit, cell.fold, cell.size)


def places(parts: "Array", fold: Fold) -> "dict[str, Array]":
    """{split: its rows among all rows joined, in order}: part i is test in fold i, part i + 1 validation, the rest
    train. By time: part i + 1 is test in fold i, part i validation, those before it train; what is later is not seen,
    nor rows of part -1."""
    if fold.by == "time":
        number = fold.number
        chosen = {"train": (parts >= 0) & (parts < number), "validation": parts == number, "test": parts == number + 1}
    else:
        test, validation = fold.number - 1, fold.number % fold.of
        chosen = {"validation": parts == validation, "test": parts == test}
        chosen["train"] = ~(chosen["validation"] | chosen["test"])
    return {split: chosen[split].nonzero()[0] for split in SPLITS}


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


def deal_by_time(dataset: str, fold: Fold, times: "Array", groups: "Array | None") -> "Array":
    """The part that each row belongs to in one fold by time: equal parts of the rows in order, those of one time
    together. A row whose group comes up in a later part that this fold uses is in none (-1): what is tested and what
    chooses have no group in common with what comes before.

    Raises DataError if there are too few times, or if that leaves nothing to learn from or to choose by.
    """
    import numpy as np

    known, found = np.unique(times, return_inverse=True)
    wanted = fold.of + 2
    if len(known) < wanted:
        raise DataError(
            f"dataset {dataset!r} has {len(known)} different times, which can't be cut into {fold.of} folds by time: "
            f"{wanted} are needed, as the first two parts are never tested"
        )
    earlier = np.searchsorted(np.sort(found), np.arange(len(known)))  # rows before each time
    parts = (earlier * wanted // len(found))[found]
    if len(np.unique(parts)) < wanted:
        raise DataError(f"dataset {dataset!r}: too many rows are of one time to be cut into {fold.of} folds by time")
    if groups is not None:
        for later in (fold.number + 1, fold.number):
            parts[np.isin(groups, groups[parts == later]) & (parts < later)] = -1
        for split, rows in places(parts, fold).items():
            if not len(rows):
                raise DataError(
                    f"dataset {dataset!r}, fold {fold.number} of {fold.of} by time: no {split} row is left whose group "
                    "does not come up later"
                )
    return parts


def nested(dataset: str, classes: "Array") -> "Array":
    """An order of the train rows of which any beginning is a sample of all, each class in its share. One row of each
    comes first, unless classes are so many that this would be no sample. The same for every suite and seed."""
    import numpy as np

    generator = np.random.default_rng(derive_seed("train sizes", dataset))
    order = generator.permutation(len(classes))
    order = order[np.argsort(classes[order], kind="stable")]
    sizes = np.bincount(classes)
    place = np.arange(len(classes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # of each row in its class
    share = (place + 0.5) / np.repeat(sizes, sizes)
    if MANY * len(sizes) <= len(classes):
        share[place == 0] = 0.0
    return order[np.lexsort((generator.permutation(len(classes)), share))]


def lacking(target: Target, truth: "Array", some: "Array", names: list[str] | None) -> list[str]:
    """The classes that `truth` has and `some` of it lacks."""
    every, there = target.counts(truth, names) or {}, target.counts(some, names) or {}
    return [name for name, count in every.items() if count and not there.get(name)]
