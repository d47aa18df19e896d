"""Splits by time, and what must not be on two sides of one."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

from mmbench.api.data import SPLITS

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

SHARES = (0.6, 0.2, 0.2)


def by_time(times: "Array") -> dict[str, list[int]]:
    """60, 20 and 20 in a hundred of the rows, the earliest in train, the latest in test, each split in the order of
    time (then of the rows); no moment is in two splits."""
    import numpy as np

    order = np.argsort(times, kind="stable")
    places = np.round(np.cumsum(SHARES)[:-1] * len(order)).astype(int)
    # A cut lies before the first row of its moment.
    cuts = [0, *(int(np.searchsorted(times[order], times[order[place]])) for place in places), len(order)]
    return {split: order[first:last].tolist() for split, (first, last) in zip(SPLITS, pairwise(cuts), strict=True)}


def without_repeats(rows: Mapping[str, Sequence[int]], columns: Iterable[Sequence[Any]]) -> dict[str, list[int]]:
    """The rows without those whose contents, in all `columns`, an earlier split has too."""
    import numpy as np

    contents = list(columns)
    seen: set[tuple[Any, ...]] = set()
    kept: dict[str, list[int]] = {}
    for split, indices in rows.items():
        told = {row: tuple(_told(column[row], np) for column in contents) for row in indices}
        kept[split] = [row for row in indices if told[row] not in seen]
        seen |= set(told.values())
    return kept


def _told(value: Any, np: Any) -> Any:
    return value.tobytes() if isinstance(value, np.ndarray) else value
