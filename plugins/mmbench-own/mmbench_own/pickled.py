"""Reads the pickles of multimodal sentiment: {"train", "valid", "test": {key: its values, one a row}}.

MMSA and MultiBench hand out CMU-MOSI, CMU-MOSEI, CH-SIMS and others so. A pickle is a program: here it may build lists,
dicts, strings, numbers and plain NumPy arrays. Arrays are not built by NumPy from what the file says of them, but by
the classes below, which check it. All else is refused before it is called.
"""

import codecs
import pickle
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmbench.errors import DataError, told
from mmbench_own import series
from mmbench_own.form import SPLIT

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Array = np.ndarray[Any, Any]

LENGTHS = "_lengths"
"""`audio_lengths` says how many steps of each row of `audio` are no padding."""
PLAIN = re.compile(r"[biufcSU][0-9]{1,9}|O8|O")
FAULTS = (ValueError, TypeError, LookupError, AttributeError, EOFError, OverflowError, MemoryError, RecursionError)
"""What Python and NumPy raise for files that are damaged, or lie."""


class _Type:
    """A `numpy.dtype` as the file writes it: a name, then a byte order."""

    def __init__(self, name: object, *_: object) -> None:
        if not isinstance(name, str) or not PLAIN.fullmatch(name):
            raise DataError(f"holds an array of {name!r:.50}, not of numbers or texts")
        self.name, self.order = name, "="

    def __setstate__(self, state: Sequence[Any]) -> None:
        self.order = state[1] if state[1] in ("<", ">") else "="

    def made(self) -> "np.dtype[Any]":
        import numpy as np

        return np.dtype(self.name).newbyteorder(self.order)  # type: ignore[arg-type]


class _Held:
    """A `numpy.ndarray` as the file writes it: an empty one, then its shape, type and contents."""

    array: "Array"

    def __setstate__(self, state: Sequence[Any]) -> None:
        _, shape, kind, fortran, content = state
        self.array = _filled(content, kind, shape, "F" if fortran else "C")


def _filled(content: Any, kind: _Type, shape: Any, order: Any) -> "Array":
    import numpy as np

    dtype = kind.made()
    if not dtype.hasobject:
        flat = np.frombuffer(content, dtype) if len(content) else np.empty(0, dtype)
        return flat.reshape(shape, order=order)
    flat = np.empty(len(content), object)
    for place, value in enumerate(content):
        flat[place] = value
    return flat.reshape(shape, order=order)


def _reconstruct(*_: object) -> _Held:
    return _Held()


def _from_buffer(content: Any, kind: _Type, shape: Any, order: str, axes: Any = None) -> _Held:
    """As NumPy writes arrays since protocol 5."""
    held = _Held()
    array = _filled(content, kind, shape, "C" if order == "K" else order)
    held.array = array if axes is None else array.transpose(axes)
    return held


def _scalar(kind: _Type, content: bytes) -> Any:
    return _filled(content, kind, (1,), "C")[0]


def _latin1(text: str, encoding: str) -> bytes:
    """What `_codecs.encode` is called for: bytes written as text, in protocols before 3."""
    if codecs.lookup(encoding).name != "iso8859-1":
        raise DataError(f"asks for the codec {encoding!r:.50}, which no array needs")
    return text.encode("latin1")


ALLOWED: Mapping[str, Callable[..., Any] | str] = {
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy._core.numeric._frombuffer": _from_buffer,
    "numpy.ndarray": "ndarray",  # named only, never called
    "numpy.dtype": _Type,
    "_codecs.encode": _latin1,
}


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        wanted = f"{module}.{name}".replace("numpy.core.", "numpy._core.", 1)
        if wanted not in ALLOWED:
            raise DataError(f"asks for {wanted!r:.80}, which no arrays, texts and numbers need: nothing of it is run")
        return ALLOWED[wanted]


def read(file: Path) -> "Iterator[tuple[str, pa.Table]]":
    """Each split as the file calls it, and its rows. Raises DataError, one line, with file, split and key."""
    import numpy as np
    import pyarrow as pa

    for split, values in _splits(file):
        where = f"{file.name}, {split!r}"
        columns: dict[str, pa.Array] = {}
        first, count = "", 0
        for key, value in values.items():
            if not isinstance(value, list | tuple | np.ndarray) or (isinstance(value, np.ndarray) and not value.ndim):
                continue  # said of all rows, not of each
            if not columns:
                first, count = key, len(value)
            elif len(value) != count:
                raise DataError(f"{where}: {key!r} has {len(value):,} rows, {first!r} {count:,}")
            lengths = values.get(f"{key}{LENGTHS}")
            try:
                columns[key] = _column(value, lengths)
            except DataError as error:
                raise DataError(f"{where}, {key!r}: {error}") from error
            except FAULTS as error:
                raise DataError(f"{where}, {key!r} can't be read as a column: {told(error)}") from error
        if not count:
            raise DataError(f"{where} has no rows")
        if SPLIT in columns:
            raise DataError(f"{where}: a key is called {SPLIT!r}, which is the name of the column of splits")
        yield split, pa.table({**columns, SPLIT: pa.array([split] * count)})


def _splits(file: Path) -> list[tuple[str, dict[str, Any]]]:
    try:
        with file.open("rb") as content:
            found = _Plain(content).load()
        if not isinstance(found, dict) or not found:
            raise DataError(
                f"holds a {type(found).__name__.strip('_').lower()}, not one dict a split: {{'train': ...}}"
            )
        for split, values in found.items():
            if not isinstance(split, str) or not isinstance(values, dict):
                raise DataError(f"{split!r:.50} is no split, a dict of arrays as in {{'train': {{'text': ...}}}}")
        return [(split, {str(key): _bare(value) for key, value in own.items()}) for split, own in found.items()]
    except DataError as error:
        raise DataError(f"{file.name} {error}") from error
    except (pickle.UnpicklingError, *FAULTS) as error:
        raise DataError(f"{file.name} is no pickle of arrays: {told(error)}") from error


def _bare(value: Any) -> Any:
    return value.array if isinstance(value, _Held) else value


def _column(value: Any, lengths: Any) -> "pa.Array":
    """One value a row: a number, a text, or lists of numbers."""
    import numpy as np
    import pyarrow as pa

    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        array = value.reshape(len(value)) if value.size == len(value) else value
        if array.ndim >= 3 and lengths is not None:
            return _cut(array, lengths)
        return series.of_array(array)
    cells = [_bare(cell) for cell in value]
    if all(isinstance(cell, np.ndarray) and cell.ndim == 2 and cell.dtype.kind in "biuf" for cell in cells):
        return series.ragged(np.concatenate(cells), np.array([len(cell) for cell in cells]))
    if any(isinstance(cell, str | bytes | np.ndarray | list | tuple) for cell in cells):
        return pa.array([_text(cell) for cell in cells], pa.string())
    return pa.array(np.array(cells, np.float64))


def _text(cell: Any, *, inner: bool = False) -> str:
    """A text; a list of them, as MultiBench's ids are, joined. No deeper: a small file can hold lists without end."""
    import numpy as np

    if isinstance(cell, np.ndarray | list | tuple) and not inner:
        parts = cell.ravel() if isinstance(cell, np.ndarray) else cell
        return " ".join(_text(_bare(part), inner=True) for part in parts)
    if isinstance(cell, bytes):
        return cell.decode()
    if isinstance(cell, str | int | float | np.number):
        return str(cell)
    raise DataError(f"holds a {type(cell).__name__}, not a text or a number")


def _cut(array: "Array", given: Any) -> "pa.Array":
    """Without the padding; a row of length 0 is missing."""
    import numpy as np

    steps = array.shape[1]
    numbers = given.ravel().tolist() if isinstance(given, np.ndarray) else given
    lengths = np.array([int(_bare(number)) for number in numbers], np.int64).reshape(len(array))
    if ((lengths < 0) | (lengths > steps)).any():
        row = int(np.flatnonzero((lengths < 0) | (lengths > steps))[0])
        raise DataError(f"row {row + 1} has {steps} steps, but its length is said to be {lengths[row]}")
    return series.ragged(array[np.arange(steps) < lengths[:, None]], lengths)
