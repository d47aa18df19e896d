"""Columns of a `datasets.Dataset` as the values that encoders read and the arrays that training needs.

The engine calls `values` once for each modality of each split, and `targets` once for each split. Both read the
Arrow table column by column: a row at a time costs about 100 µs of bookkeeping, a column next to nothing.
Images and sounds are decoded here from their stored bytes, by Pillow and soundfile, whatever decoder `datasets`
would have chosen.
"""

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from mmbench.api.data import KINDS, Sound, Target
from mmbench.errors import DataError, unknown

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from datasets import Dataset
    from PIL import Image

    Array: TypeAlias = np.ndarray[Any, Any]

_DEPTH = {"tabular": 1, "series": 2, "video": 4}


def values(split: "Dataset", modality: str, kind: str) -> list[Any]:
    """The column `modality` of `split` as a list of N values of `kind` (see `mmbench.api.data`); None stays None.

    tabular: float32 [D], a missing cell is NaN; text: str; image: PIL image, RGB; audio: Sound;
    series: float32 [T, C]; video: uint8 [T, H, W, 3]. Arrays are the caller's own, writable.
    Raises DataError if the column isn't there or doesn't hold such values.
    """
    return decode(_column(split, modality), modality, kind)


def decode(column: "pa.ChunkedArray", modality: str, kind: str, *, first: int = 0) -> list[Any]:
    """As `values`, of an Arrow column or a part of one that begins at row `first`."""
    if kind not in KINDS:
        raise DataError(unknown("kind of modality", kind, KINDS))
    if column.null_count == len(column):  # of any type: a reader that finds no value can't tell which
        return [None] * len(column)
    if kind in _DEPTH:
        return _arrays(column, modality, kind)
    if kind == "text":
        return _texts(column, modality)
    read = _image if kind == "image" else _sound
    return [None if cell is None else read(cell, f"column {modality!r}, row {first + n}") for n, cell in _cells(column)]


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


def _arrays(column: "pa.ChunkedArray", modality: str, kind: str) -> list[Any]:
    import numpy as np

    blocks = [_block(chunk, modality, kind) for chunk in column.chunks]
    shapes = sorted({inner for _, inner, _, _ in blocks if inner is not None})
    if len(shapes) > 1:
        raise DataError(f"column {modality!r} ({kind}) has steps of unequal size: {shapes[0]} and {shapes[1]}")
    shape = shapes[0] if shapes else (0,) * (_DEPTH[kind] - 1)
    rows: list[Any] = []
    for numbers, _, lengths, missing in blocks:
        pieces = np.split(numbers.reshape(lengths.sum(), *shape), np.cumsum(lengths)[:-1])
        rows += [None if absent else piece for absent, piece in zip(missing, pieces, strict=True)]
    return rows


def _block(chunk: "pa.Array", modality: str, kind: str) -> "tuple[Array, tuple[int, ...] | None, Array, Array]":
    """All numbers of one chunk, the shape of a step (None if there is no step), steps a row, and which are missing."""
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
    numbers = np.array(lists.to_numpy(zero_copy_only=False), dtype=np.uint8 if kind == "video" else np.float32)
    lengths = pc.list_value_length(rows).fill_null(0).to_numpy(zero_copy_only=False)
    shape = tuple(inner) if len(inner) == _DEPTH[kind] - 1 else None
    return numbers, shape, lengths, rows.is_null().to_numpy(zero_copy_only=False)


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


def _image(cell: Any, where: str) -> "Image.Image":
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(_file(cell, where)) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(f"{where}: not an image that Pillow reads ({error})") from error


def _sound(cell: Any, where: str) -> Sound:
    import soundfile

    try:
        samples, rate = soundfile.read(_file(cell, where), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise DataError(f"{where}: not a sound that soundfile reads ({error})") from error
    return Sound(samples=samples.mean(axis=1), rate=rate)


def _file(cell: Any, where: str) -> Any:
    """What to open: the stored bytes, else the stored path."""
    if isinstance(cell, bytes):
        return io.BytesIO(cell)
    if isinstance(cell, dict) and cell.get("bytes") is not None:
        return io.BytesIO(cell["bytes"])
    if isinstance(cell, dict) and cell.get("path"):
        return cell["path"]
    raise DataError(f"{where} holds neither bytes nor a path")
