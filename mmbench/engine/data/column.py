"""One modality's raw values in a split, as encoders are given them: decoded when they are asked for.

`Table.values` makes them, `features` reads them.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

from mmbench.api.media import Colour

if TYPE_CHECKING:
    import numpy as np

BLOCK = 64  # values that are decoded together


class Column(Sequence[Any]):
    """Raw values that stay on disk, mapped into memory: a block of them is decoded when one is asked for.

    Values that are read in turn are decoded once; asking for a slice gives a list.
    """

    def __init__(self, split: Any, kind: str, rows: "np.ndarray[Any, Any]", *, background: Colour = "white") -> None:
        self._split, self._kind, self._rows, self._background = split, kind, rows, background
        self._block: tuple[int, list[Any]] = (-1, [])

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return self._decode(self._rows[index])
        number, place = divmod(range(len(self))[index], BLOCK)
        if self._block[0] != number:
            self._block = number, self[number * BLOCK : (number + 1) * BLOCK]
        return self._block[1][place]

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(self), BLOCK):
            yield from self[start : start + BLOCK]

    @cached_property
    def present(self) -> "np.ndarray[Any, Any]":
        """Which values are there, [N] bool; nothing is decoded for it."""
        import numpy as np

        blocks = (self._rows[start : start + 4096] for start in range(0, len(self), 4096))
        gone = [self._arrow(block).is_null().to_numpy() for block in blocks]
        return ~np.concatenate([np.zeros(0, bool), *gone])

    def only(self, chosen: "np.ndarray[Any, Any]") -> "Column":
        """The values at some places: their indices, or a mask [N]."""
        return Column(self._split, self._kind, self._rows[chosen], background=self._background)

    def _arrow(self, rows: "np.ndarray[Any, Any]") -> Any:
        """The rows as a `pyarrow.ChunkedArray`."""
        follow = len(rows) and rows[-1] - rows[0] == len(rows) - 1
        which = slice(int(rows[0]), int(rows[-1]) + 1) if follow else rows.tolist()
        return self._split[which].column(0)

    def _decode(self, rows: "np.ndarray[Any, Any]") -> list[Any]:
        from mmbench.api import columns

        if not len(rows):
            return []
        name, first = self._split.column_names[0], int(rows[0])
        return columns.decode(self._arrow(rows), name, self._kind, first=first, background=self._background)
