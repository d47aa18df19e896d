"""Reads rows into the cache: stores files, reads every value once, finds what can't be read. Called by `tables`.

A file that is named by its path is stored with its bytes, so that what becomes of it later changes no row. Every value
is decoded here, as an encoder will get it, before anything is trained: `report` is made of what is seen.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from mmbench.api import columns
from mmbench.api.columns import Unreadable
from mmbench.api.data import SPLITS
from mmbench.api.parts import Dataset
from mmbench.api.progress import report
from mmbench.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from datasets import Dataset as Split

    Array: TypeAlias = np.ndarray[Any, Any]

FILES = ("image", "audio")
"""The kinds whose values are files."""
BLOCKS = {"image": 64, "audio": 64, "video": 16}
BLOCK = 1024
"""Values that are read together."""
Change: TypeAlias = "Callable[[list[int], pa.ChunkedArray], pa.Array]"
"""From the numbers of some rows and their cells to other cells."""


@dataclass
class Seen:
    """What one modality of one split holds."""

    marks: "Array"
    """A hash of each row's content, uint64 [N]: alike where what an encoder gets is alike; 0 where it is missing."""
    present: "Array"
    """Which rows have a value, bool [N]."""
    unreadable: list[Unreadable] = field(default_factory=list)
    empty: int = 0
    """Texts of nothing but spaces."""
    rounded: int = 0
    """Whole numbers that float32 can't hold."""
    width: int | None = None
    """Of tabular rows."""


def take_in(dataset: Dataset, name: str, split: "Split", place: Path) -> "tuple[Split, dict[str, Seen]]":
    """The split's modalities as they are to be kept, and what they hold; `place` is a folder for the time being.

    Raises DataError if a value can't be read, unless the data set counts such as missing.
    """
    split = split.select_columns(list(dataset.columns))
    lost: dict[str, list[Unreadable]] = {}
    for modality, kind in dataset.columns.items():
        if kind in FILES and _any(split, modality, _has_paths):
            lost[modality] = []
            split = _change(split, modality, _reader(kind, lost[modality]), place / f"{name}-{len(lost)}.arrow")
    found = {m: look(dataset, name, split, m, lost.get(m, ())) for m in dataset.columns}
    if dataset.unreadable == "refuse":
        refuse(dataset, name, found)
    for number, (modality, seen) in enumerate(found.items()):
        if seen.unreadable and not seen.present.any():
            refuse(dataset, name, {modality: seen})  # not one value: the column is another than was meant
        gone = {row for row, _ in seen.unreadable}
        if gone or _any(split, modality, _has_names):
            split = _change(split, modality, _keeper(gone), place / f"{name}-{number}-read.arrow")
    return split, found


def refuse(dataset: Dataset, name: str, found: Mapping[str, Seen]) -> None:
    """Raise DataError for what can't be read: all such rows of the first column that has any, counted."""
    for modality, seen in found.items():
        if seen.unreadable:
            hint = 'mend or leave out what is named, or set unreadable = "missing" on the data set'
            where = f"dataset {dataset.name!r}, split {name!r}, column {modality!r}"
            raise DataError(f"{where}, {columns.told(seen.unreadable)}; {hint}")


def look(dataset: Dataset, name: str, split: "Split", modality: str, lost: Sequence[Unreadable] = ()) -> Seen:
    """Read every value of one modality. `lost`: the rows whose file could not be opened, which are missing by now."""
    import numpy as np

    kind, rows = dataset.columns[modality], len(split)
    table = split.select_columns([modality]).with_format("arrow")
    seen = Seen(np.zeros(rows, np.uint64), np.zeros(rows, bool), list(lost))
    step = BLOCKS.get(kind, BLOCK)
    widths: set[int] = set()
    for start in range(0, rows, step):
        report(f"{dataset.name}: read {modality} of {name}", start, rows)
        column = table[start : start + step].column(0)
        try:
            values = columns.decode(
                column, modality, kind, first=start, background=dataset.background, unreadable=seen.unreadable
            )
        except DataError as error:
            raise DataError(f"dataset {dataset.name!r}, split {name!r}: {error}") from error
        for row, value in enumerate(values, start):
            if value is not None:
                seen.marks[row], seen.present[row] = _mark(value, kind), True
        if kind == "text":
            seen.empty += sum(value is not None and not value.strip() for value in values)
        elif kind == "tabular":
            widths |= {len(value) for value in values if value is not None}
        if kind in ("tabular", "series") and column.null_count < len(column):
            seen.rounded += columns.rounded(column)
    report(f"{dataset.name}: read {modality} of {name}", rows, rows)
    if len(widths) > 1:
        some = " and ".join(map(str, sorted(widths)[:2]))
        raise DataError(f"dataset {dataset.name!r}, split {name!r}: column {modality!r} has rows of {some} numbers")
    seen.width = next(iter(widths), None)
    seen.unreadable.sort()
    return seen


def whole_rows(seen: Mapping[str, Seen]) -> Seen:
    """All modalities of a split together, as one."""
    import numpy as np

    marks = np.stack([one.marks for one in seen.values()], axis=1)
    present = np.stack([one.present for one in seen.values()], axis=1)
    joined = np.array([_hashed(row.tobytes()) for row in np.hstack([marks, present.astype(np.uint64)])], np.uint64)
    return Seen(joined, np.asarray(present.any(axis=1)))


def _any(split: "Split", modality: str, holds: "Callable[[pa.ChunkedArray], bool]") -> bool:
    """Whether that is so of some rows of a column of files."""
    import pyarrow.types as types

    table = split.select_columns([modality]).with_format("arrow")
    for start in range(0, len(split), BLOCK):
        column = table[start : start + BLOCK].column(0)
        if not types.is_struct(column.type) or "path" not in {field.name for field in column.type}:
            return False
        if holds(column):
            return True
    return False


def _has_paths(column: "pa.ChunkedArray") -> bool:
    """Whether a value is a file that has yet to be read."""
    import pyarrow.compute as pc

    names = {field.name for field in column.type}
    return "bytes" not in names or pc.struct_field(column, "bytes").null_count > column.null_count


def _has_names(column: "pa.ChunkedArray") -> bool:
    """Whether a value says what its file was called."""
    import pyarrow.compute as pc

    return bool(pc.struct_field(column, "path").null_count < len(column))


def _reader(kind: str, lost: list[Unreadable]) -> Change:
    """Puts files' bytes beside their paths; one that can't be opened is missing then, and noted."""
    import pyarrow as pa

    def read(row: int, cell: Any) -> Any:
        content, path = columns.content_of(cell)
        if content is not None or not path:
            return cell
        if "://" in path:
            lost.append((row, f"{path}: an address, not a file: load must fetch it"))
            return None
        try:
            return {"bytes": Path(path).read_bytes(), "path": path}
        except OSError as error:
            lost.append((row, f"{path}: {columns.why(error, kind)}"))
            return None

    def change(rows: list[int], column: "pa.ChunkedArray") -> "pa.Array":
        cells = zip(rows, column.to_pylist(), strict=True)
        read_in = [None if cell is None else read(row, cell) for row, cell in cells]
        return pa.array(read_in, pa.struct({"bytes": pa.binary(), "path": pa.string()}))

    return change


def _keeper(gone: set[int]) -> Change:
    """Makes some rows missing, whatever type they have, and takes away what files were called: who tunes may read the
    rows, and a file in a folder `cats` says what it shows."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as types

    def change(rows: list[int], column: "pa.ChunkedArray") -> "pa.Array | pa.ChunkedArray":
        kept = column.take(pa.array([None if r in gone else n for n, r in enumerate(rows)], pa.int64()))
        if not types.is_struct(kept.type):
            return kept
        cells = kept.combine_chunks()
        parts = [
            pa.nulls(len(cells), f.type) if f.name == "path" else pc.struct_field(cells, f.name) for f in kept.type
        ]
        return pa.StructArray.from_arrays(parts, fields=list(kept.type), mask=cells.is_null())

    return change


def _change(split: "Split", modality: str, change: Change, file: Path) -> "Split":
    """The split with other rows of a modality, a few at a time; the new rows are written to `file`."""
    from datasets import Value

    features = split.features.copy()
    if isinstance(features[modality], dict):
        features[modality] = {"bytes": Value("binary"), "path": Value("string")}

    def batch(table: "pa.Table", rows: list[int]) -> "pa.Table":
        place = table.schema.get_field_index(modality)
        return table.set_column(place, modality, change(rows, table.column(place)))

    file.parent.mkdir(exist_ok=True)
    return split.with_format("arrow").map(
        batch,
        with_indices=True,
        batched=True,
        batch_size=64,
        features=features,
        cache_file_name=str(file),
        load_from_cache_file=False,
        new_fingerprint=hashlib.sha256(file.name.encode()).hexdigest()[:16],
    )


def _mark(value: Any, kind: str) -> int:
    """A hash of what an encoder gets: pictures by their pixels, sounds by their samples, tables by their numbers."""
    import numpy as np

    if kind == "text":
        return _hashed(value.encode("utf-8", "surrogatepass"))
    if kind == "image":
        return _hashed(repr(value.size).encode(), value.tobytes())
    if kind == "audio":
        return _hashed(str(value.rate).encode(), value.samples.tobytes())
    if value.dtype.kind == "f":
        value = np.where(np.isnan(value), np.float32("nan"), value) + np.float32(0)  # one NaN, and one zero
    return _hashed(repr(value.shape).encode(), value.tobytes())


def _hashed(*contents: bytes) -> int:
    digest = hashlib.blake2b(digest_size=8)
    for content in contents:
        digest.update(content)
    return int.from_bytes(digest.digest(), "little")


def declared(dataset: Dataset, splits: "Mapping[str, Split]") -> "dict[str, Array]":
    """{"group", "strata" or "time": a number for each row of all splits joined}, of the columns that the data set
    declares; those of time are in its order. Raises DataError if a column is not there, or lacks a value."""
    import numpy as np

    found: dict[str, Array] = {}
    for what, column in dataset.declared().items():
        values: list[Any] = []
        for name in SPLITS:
            where = f"dataset {dataset.name!r}, split {name!r}"
            if column not in splits[name].features:
                raise DataError(f"{where}: the column of {what} {column!r} is missing")
            own = splits[name].select_columns([column])[column]
            if gone := [row for row, value in enumerate(own) if value is None or value != value]:
                raise DataError(f"{where}: row {gone[0]} has no value in the column of {what} {column!r}")
            values += own
        if what == "time":
            try:
                order = {value: place for place, value in enumerate(sorted(set(values)))}
            except TypeError as error:
                raise DataError(
                    f"dataset {dataset.name!r}: the column of time {column!r} can't be ordered: {error}"
                ) from None
            found[what] = np.array([order[value] for value in values])
        else:
            numbers: dict[str, int] = {}
            found["group" if what == "groups" else what] = np.array(
                [numbers.setdefault(repr(value), len(numbers)) for value in values]
            )
    return found
