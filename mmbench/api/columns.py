"""Columns of a `datasets.Dataset` as the values that encoders read and the arrays that training needs.

The engine calls `values` once for each modality of each split, and `targets` once for each split. Both read the
Arrow table column by column: a row at a time costs about 100 µs of bookkeeping, a column next to nothing.
Images and sounds are decoded from their stored bytes by `media`, whatever decoder `datasets` would have chosen.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from mmbench.api.data import KINDS, Target
from mmbench.api.media import DEEP, Colour, picture, sound
from mmbench.errors import DataError, unknown

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from datasets import Dataset

    Array: TypeAlias = np.ndarray[Any, Any]

Unreadable: TypeAlias = tuple[int, str]
"""The row of a value that can't be read, and why."""
_DEPTH = {"tabular": 1, "series": 2, "video": 4}
_EXACT = 2**24
"""Up to here float32 holds every whole number."""


def values(split: "Dataset", modality: str, kind: str, *, background: Colour = "white") -> list[Any]:
    """The column `modality` of `split` as a list of N values of `kind` (see `mmbench.api.data`); None stays None.

    tabular: float32 [D], a missing cell is NaN; text: str; image: PIL image, RGB; audio: Sound;
    series: float32 [T, C]; video: uint8 [T, H, W, 3]. Arrays are the caller's own, writable. What is transparent in
    a picture is laid on `background`.
    Raises DataError if the column isn't there or doesn't hold such values.
    """
    return decode(_column(split, modality), modality, kind, background=background)


def decode(
    column: "pa.ChunkedArray",
    modality: str,
    kind: str,
    *,
    first: int = 0,
    background: Colour = "white",
    unreadable: list[Unreadable] | None = None,
) -> list[Any]:
    """As `values`, of an Arrow column or a part of one that begins at row `first`.

    unreadable: where each value is noted that can't be read, which is then None; without it that is a DataError.
    """
    if kind not in KINDS:
        raise DataError(unknown("kind of modality", kind, KINDS))
    if column.null_count == len(column):  # of any type: a reader that finds no value can't tell which
        return [None] * len(column)
    found: list[Unreadable] = []
    if kind in _DEPTH:
        rows = _arrays(column, modality, kind, lambda row, why: found.append((first + row, why)))
    elif kind == "text":
        rows = _texts(column, modality)
    else:
        _check_files(column.type, modality, kind)
        rows = [_media(cell, kind, background, first + n, found) for n, cell in _cells(column)]
    if found and unreadable is None:
        raise DataError(f"column {modality!r}, {told(found)}")
    if unreadable is not None:
        unreadable += found
    return rows


def told(found: Sequence[Unreadable], most: int = 3) -> str:
    """The rows that can't be read, in one line: the first few, and how many there are."""
    named = [f"row {row}: {why}" for row, why in found[:most]]
    if len(found) == 1:
        return named[0]
    rest = [f"and {len(found) - most} more"] if len(found) > most else []
    return f"{len(found)} rows can't be read: {'; '.join([*named, *rest])}"


def targets(split: "Dataset", target: Target) -> "Array":
    """What is to be predicted, as the target says. Raises DataError if a row has no target."""
    return target.read(Columns(split))


class Columns:
    """A split as a target reads it: see `mmbench.api.data.Columns`."""

    def __init__(self, split: "Dataset") -> None:
        self._split = split

    def __len__(self) -> int:
        return len(self._split)

    def numbers(self, name: str, needed: str = "a number in each row") -> "Array":
        column = self._whole(name)
        if _is_list(column.type) or not _is_number(column.type):
            raise DataError(f"target {name!r} must be {needed}, not {column.type}")
        numbers: Array = column.to_numpy()
        return numbers

    def lists(self, name: str) -> "list[Array]":
        return _arrays(self._whole(name), name, "tabular")

    def texts(self, name: str) -> list[str]:
        return _texts(self._whole(name), name)

    def _whole(self, name: str) -> "pa.ChunkedArray":
        column = _column(self._split, name)
        if column.null_count:
            raise DataError(f"target {name!r} is missing in {column.null_count} of {len(column)} rows")
        return column


def _column(split: "Dataset", name: str) -> "pa.ChunkedArray":
    if name not in split.column_names:
        raise DataError(unknown("column", name, split.column_names))
    return split.select_columns([name]).with_format("arrow")[:].column(name)


def _arrays(
    column: "pa.ChunkedArray", modality: str, kind: str, note: Callable[[int, str], None] | None = None
) -> list[Any]:
    """The rows as arrays; one with numbers that its kind can't hold is None, and `note` is told of it."""
    import numpy as np

    blocks = [_block(chunk, modality, kind) for chunk in column.chunks]
    shapes = sorted({inner for _, inner, _, _, _ in blocks if inner is not None})
    if len(shapes) > 1:
        raise DataError(f"column {modality!r} ({kind}) has steps of unequal size: {shapes[0]} and {shapes[1]}")
    shape = shapes[0] if shapes else (0,) * (_DEPTH[kind] - 1)
    rows: list[Any] = []
    for numbers, _, lengths, missing, wrong in blocks:
        pieces = np.split(numbers.reshape(lengths.sum(), *shape), np.cumsum(lengths)[:-1])
        if note:
            for place in wrong.nonzero()[0]:
                note(len(rows) + int(place), _RANGE[kind])
            missing = missing | wrong
        rows += [None if absent else piece for absent, piece in zip(missing, pieces, strict=True)]
    return rows


def _block(chunk: "pa.Array", modality: str, kind: str) -> "tuple[Array, tuple[int, ...] | None, Array, Array, Array]":
    """All numbers of one chunk, the shape of a step (None if there is no step), steps a row, which rows are missing,
    and which hold a number that the kind can't."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = chunk.storage if isinstance(chunk, pa.ExtensionArray) else chunk
    if kind == "tabular" and _is_number(rows.type):  # one number a row
        rows = pa.FixedSizeListArray.from_arrays(rows, 1)
    lists, inner = rows, []
    for level in range(_DEPTH[kind]):
        if not _is_list(lists.type):
            raise DataError(_misfit(modality, kind, chunk.type))
        if level:
            sizes = pc.unique(pc.list_value_length(lists)).to_pylist()
            if len(sizes) > 1 or None in sizes:
                raise DataError(f"column {modality!r} ({kind}) has steps of unequal size: {sizes[:5]}")
            inner += sizes
        lists = lists.flatten()
    if not _is_number(lists.type):
        raise DataError(_misfit(modality, kind, chunk.type))
    numbers, fine = _frames(lists) if kind == "video" else _reals(lists, gaps=kind == "tabular")
    lengths = pc.list_value_length(rows).fill_null(0).to_numpy(zero_copy_only=False)
    shape = tuple(inner) if len(inner) == _DEPTH[kind] - 1 else None
    missing = rows.is_null().to_numpy(zero_copy_only=False)
    if fine.all():
        return numbers, shape, lengths, missing, np.zeros(len(rows), bool)
    ends = np.cumsum(lengths * (len(numbers) // lengths.sum()))
    faults = np.concatenate([[0], np.cumsum(~fine)])
    starts = np.concatenate([[0], ends[:-1]])
    return numbers, shape, lengths, missing, faults[ends] > faults[starts]


_RANGE = {
    "tabular": "a number that is infinite, or too large for float32",
    "series": "a number that is not finite, or too large for float32",
    "video": "numbers that are neither whole ones from 0 to 255 nor floats from 0 to 1",
}
"""What is wrong with a row's numbers."""


def _reals(numbers: "pa.Array", *, gaps: bool) -> "tuple[Array, Array]":
    """float32, and which of them are right: finite, or with `gaps` also NaN."""
    import numpy as np

    with np.errstate(over="ignore"):
        made = np.array(numbers.to_numpy(zero_copy_only=False), dtype=np.float32)
    return made, ~np.isinf(made) if gaps else np.isfinite(made)


def _frames(numbers: "pa.Array") -> "tuple[Array, Array]":
    """uint8, and which of them are right: bytes as they are, 16 bits by 65535, floats by 1, as pictures are scaled."""
    import numpy as np
    import pyarrow.types as types

    given: Array = numbers.to_numpy(zero_copy_only=False)
    if types.is_boolean(numbers.type):
        given = given.astype(np.float32)
    if given.dtype == np.uint16:
        given = (given.astype(np.uint32) + DEEP // 2) // DEEP
    floats = given.dtype.kind == "f"
    fine: Array = (given >= 0) & (given <= (1 if floats else 255))
    made = np.where(fine, given, 0)
    return np.array((made * 255).round() if floats else made, dtype=np.uint8), fine


def rounded(column: "pa.ChunkedArray") -> int:
    """How many whole numbers of a column, at whatever depth, float32 can't hold: keys, times, large counts."""
    import numpy as np
    import pyarrow as pa

    found = 0
    for chunk in column.chunks:
        lists = chunk.storage if isinstance(chunk, pa.ExtensionArray) else chunk
        while _is_list(lists.type):
            lists = lists.flatten()
        numbers: Array = lists.drop_null().to_numpy(zero_copy_only=False)
        large = numbers[np.abs(numbers.astype(np.float64)) > _EXACT]
        large = large[np.isfinite(large)]
        whole = large if large.dtype.kind in "iu" else large[large == np.round(large)]
        with np.errstate(over="ignore"):
            single = whole.astype(np.float32).astype(np.float64)
        exact = whole.astype(np.float64) == single
        if whole.dtype.kind in "iu":  # float64 doesn't hold all of these either
            back = np.where(np.abs(single) < 2.0**63, single, 0).astype(np.int64)
            exact &= back.astype(whole.dtype) == whole
        found += int((~exact).sum())
    return found


def _misfit(modality: str, kind: str, found: object) -> str:
    return f"column {modality!r} holds {found}, not the {_DEPTH[kind]}-fold list of numbers that {kind} needs"


def _is_list(kind: "pa.DataType") -> bool:
    import pyarrow.types as types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _is_number(kind: "pa.DataType") -> bool:
    import pyarrow.types as types

    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


def _texts(column: "pa.ChunkedArray", modality: str) -> list[Any]:
    import pyarrow.types as types

    if not (types.is_string(column.type) or types.is_large_string(column.type)):
        raise DataError(f"column {modality!r} holds {column.type}, not text")
    return list(column.to_pylist())


def _cells(column: "pa.ChunkedArray") -> Iterator[tuple[int, Any]]:
    return enumerate(cell.as_py() for chunk in column.chunks for cell in chunk)


def _check_files(found: "pa.DataType", modality: str, kind: str) -> None:
    import pyarrow.types as types

    binary = types.is_binary(found) or types.is_large_binary(found)
    if not binary and not (types.is_struct(found) and {field.name for field in found} & {"bytes", "path"}):
        cast = f"cast it to datasets.{'Image()' if kind == 'image' else 'Audio(decode=False)'}"
        raise DataError(f"column {modality!r} holds {found}, not the bytes or the path of a file: {cast}")


def _media(cell: Any, kind: str, background: Colour, row: int, found: list[Unreadable]) -> Any:
    """The picture or the sound; None if it is missing, or can't be read, which is noted."""
    if cell is None:
        return None
    content, path = content_of(cell)
    try:
        if content is None and not path:
            raise DataError("neither bytes nor a path")
        file = io.BytesIO(content) if content is not None else str(path)
        return picture(file, background) if kind == "image" else sound(file)
    except MemoryError:
        raise
    except Exception as error:  # a file that isn't what it claims to be makes the libraries raise whatever comes
        found.append((row, f"{path}: {why(error, kind)}" if path else why(error, kind)))
        return None


def content_of(cell: Any) -> tuple[bytes | None, str | None]:
    """The bytes of a file and its path, whichever are stored."""
    if isinstance(cell, bytes):
        return cell, None
    return cell.get("bytes"), cell.get("path")


def why(error: BaseException, kind: str) -> str:
    """What is wrong with a file, in a few words."""
    if isinstance(error, DataError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    reader = "an image that Pillow reads" if kind == "image" else "a sound that soundfile reads"
    said = " ".join(str(error).split())
    return f"not {reader}" + (f" ({said})" if said and " at 0x" not in said else "")
