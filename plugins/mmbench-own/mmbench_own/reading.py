"""Reads files of rows into one Arrow table, and remembers where each row stands: file and row, as the user counts them.

CSV and TSV are read as text, cell by cell; what a cell means is the business of `typed`. JSON lines, Parquet and Arrow
have types of their own.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmbench.errors import DataError, told, unknown
from mmbench_own import pickled
from mmbench_own.form import FORMATS

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from datasets import Features

    Array = np.ndarray[Any, Any]

MOST = 3
"""Rows that a message names."""
FILE, AT = "\0file", "\0row"
"""Columns of ours beside those of the data: the number of a row's file, and its row there."""


@dataclass(frozen=True)
class Rows:
    """Rows of one or several files or of a hub's data set."""

    table: "pa.Table"
    """With `FILE` and `AT`."""
    files: tuple[str, ...]
    """As messages call them."""
    features: "Features | None" = None
    """What the columns mean, where the data say so, as those of a hub do."""
    folder: Path | None = None
    """What paths in the cells are relative to; None: there can't be any."""

    def __post_init__(self) -> None:
        for name in self.names:
            if "\0" in name:  # Arrow finds no column of such a name
                raise DataError(f"{self.files[0]}: column {name!r} has a zero byte in its name: rename it")

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def names(self) -> list[str]:
        return [name for name in self.table.column_names if name not in (FILE, AT)]

    def place(self, row: int) -> str:
        """Where a row stands: "birds.csv, row 17"."""
        return f"{self.files[self.table.column(FILE)[row].as_py()]}, row {self.table.column(AT)[row].as_py()}"

    @property
    def numbers(self) -> list[int]:
        """Of each row its number in its file."""
        return [int(number) for number in self.table.column(AT).to_pylist()]

    def column(self, name: str) -> "pa.ChunkedArray":
        """Raises DataError if there is none."""
        if name not in self.names:
            raise DataError(f"{', '.join(self.files[:MOST])}: {unknown('column', name, self.names)}")
        return self.table.column(name)

    def faults(self, column: str, found: Sequence[tuple[int, str]], hint: str) -> DataError:
        """An error that names the first few rows, and says how many there are."""
        first = [f"{self.place(row)}: {what}" for row, what in found[:MOST]]
        more = f"; and {len(found) - MOST} more rows" if len(found) > MOST else ""
        return DataError(f"column {column!r}: {'; '.join(first)}{more}; {hint}")


def read(files: Sequence[Path], separator: str | None = None) -> Rows:
    """All rows of files that have the same columns. Raises DataError, one line, with file and row."""
    tables: list[pa.Table] = []
    names: list[str] = []
    features = None
    for file in files:
        form = FORMATS[file.suffix.lstrip(".").lower()]
        try:
            if form == "csv":
                parts = [(file.name, *_csv(file, separator or separator_of(file)))]
            elif form == "jsonl":
                parts = [(file.name, *_json_lines(file))]
            elif form == "pickle":
                parts = [(f"{file.name} {split}", table, _count(table)) for split, table in pickled.read(file)]
            else:
                table, features = _typed(file, form)
                parts = [(file.name, table, _count(table))]
        except OSError as error:
            raise DataError(f"{file.name} can't be read: {error.strerror or told(error)}") from error
        for name, table, at in parts:
            if not table.num_rows:
                raise DataError(f"{name} has no rows")
            tables.append(placed(table, len(tables), at))
            names.append(name)
            if set(tables[-1].column_names) != set(tables[0].column_names):
                _differ(names[0], tables[0].column_names, name, table.column_names)
    order = tables[0].column_names
    return Rows(joined([table.select(order) for table in tables]), tuple(names), features, files[0].parent)


def _count(table: "pa.Table") -> "Array":
    """The numbers of rows, from 1."""
    import numpy as np

    return np.arange(1, 1 + table.num_rows)


def separator_of(file: Path) -> str:
    return "\t" if file.suffix.lower() == ".tsv" else ","


def placed(table: "pa.Table", number: int, at: "Array") -> "pa.Table":
    """With the columns that say where each row stands."""
    import numpy as np
    import pyarrow as pa

    return table.append_column(FILE, pa.array(np.full(len(at), number))).append_column(AT, pa.array(at))


def joined(tables: "Sequence[pa.Table]") -> "pa.Table":
    """One table; a column of whole numbers here and of others there becomes one that holds both."""
    import pyarrow as pa

    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(f"the files' columns are of different types: {told(error)}") from error


def _differ(one: str, columns: Sequence[str], other: str, others: Sequence[str]) -> None:
    lacking = [name for name in columns if name not in others and name not in (FILE, AT)]
    lack, named, beside = (other, lacking, one) if lacking else (one, [n for n in others if n not in columns], other)
    raise DataError(f"{lack} lacks the column {named[0]!r}, which {beside} has: files of one data set have the same")


def _csv(file: Path, separator: str) -> "tuple[pa.Table, Array]":
    """The cells as text, and the number of each row: the header is row 1, as in a spreadsheet."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv as reader

    names = header(file, separator)
    ragged: list[Any] = []

    def note(row: Any) -> str:
        ragged.append(row)
        return "skip"

    try:
        table = reader.read_csv(
            file,
            reader.ReadOptions(use_threads=False, column_names=names, skip_rows_after_names=0),
            reader.ParseOptions(
                delimiter=separator, newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=note
            ),
            reader.ConvertOptions(column_types={name: pa.string() for name in names}, strings_can_be_null=False),
        )
    except pa.ArrowInvalid as error:
        raise DataError(f"{file.name}{_where_not_text(file)}: {told(error)}") from error
    if ragged:
        first = ragged[0]
        number = f", row {first.number}" if first.number is not None else ""
        more = f"; {len(ragged)} rows are so" if len(ragged) > 1 else ""
        raise DataError(
            f"{file.name}{number} has {_cells(first.actual_columns)}, but the header {first.expected_columns}{more}; "
            f"put cells that hold a {separator!r} into quotes"
        )
    table = table.slice(1)  # the header
    numbers = np.arange(2, 2 + table.num_rows)
    if len(names) > 1:  # lines without a single cell are none, but count
        filled = np.zeros(len(numbers), bool)
        for column in table.columns:
            filled |= pc.not_equal(column, "").to_numpy()
        return table.filter(pa.array(filled)), numbers[filled]
    return table, numbers


def _cells(count: int) -> str:
    return f"{count} cell{'' if count == 1 else 's'}"


def _where_not_text(file: Path) -> str:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return f", line {number} is not UTF-8 text: save the file as UTF-8"
    return ""


def header(file: Path, separator: str) -> list[str]:
    """The names of the columns. Raises DataError if one is missing or there twice."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            names = next(csv.reader(text, delimiter=separator, strict=True), [])
    except UnicodeDecodeError as error:
        raise DataError(f"{file.name}{_where_not_text(file) or ' is not UTF-8 text'}") from error
    except csv.Error as error:
        raise DataError(f"{file.name}, row 1: {error}") from error
    if not names:
        raise DataError(f"{file.name} is empty: its first row must name the columns")
    if len(names) == 1 and (other := next((mark for mark in ";\t|," if mark in names[0]), None)):
        raise DataError(f"{file.name} has one column, {names[0][:60]!r}: write separator = {json.dumps(other)}")
    for place, name in enumerate(names, 1):
        if not name.strip():
            raise DataError(f"{file.name}, row 1: column {place} has no name")
        if name in names[: place - 1]:
            raise DataError(f"{file.name}, row 1: two columns are named {name!r}")
    return names


def _json_lines(file: Path) -> "tuple[pa.Table, Array]":
    """The objects as rows, and the number of each one's line."""
    import numpy as np
    import pyarrow as pa

    columns: dict[str, list[Any]] = {}
    at: list[int] = []
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            row = _json_row(file, number, line)
            for name in row:
                columns.setdefault(name, [None] * len(at))
            for name, cells in columns.items():
                cells.append(row.get(name))
            at.append(number)
    made = {}
    for name, cells in columns.items():
        try:
            made[name] = pa.array(cells)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            if any(isinstance(cell, list | dict) for cell in cells):
                raise DataError(
                    f"{file.name}: column {name!r} holds cells of different forms: {told(error)}"
                ) from error
            made[name] = pa.array([None if cell is None else str(cell) for cell in cells])  # text, to be looked at
    return pa.table(made), np.array(at, int)


def _json_row(file: Path, number: int, line: bytes) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file.name}, row {number} is not JSON: {told(error)}") from error
    if not isinstance(row, dict):
        raise DataError(f'{file.name}, row {number} is no object: write {{"column": value, ...}}')
    return row


def _typed(file: Path, form: str) -> "tuple[pa.Table, Features]":
    """Parquet or Arrow, mapped into memory where the format allows it."""
    import pyarrow as pa
    from datasets import Features
    from pyarrow import parquet

    try:
        if form == "parquet":
            table = parquet.read_table(file, memory_map=True)
        else:
            source = pa.memory_map(str(file))
            try:
                table = pa.ipc.open_file(source).read_all()
            except pa.ArrowInvalid:
                source.seek(0)
                table = pa.ipc.open_stream(source).read_all()  # as `datasets` writes it
        table.validate(full=True)  # offsets in a damaged file may point anywhere in memory
    except pa.ArrowException as error:
        raise DataError(f"{file.name} is no {form} file: {told(error)}") from error
    return table, Features.from_arrow_schema(table.schema)


def all_files(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """The files of these names or patterns ("data/*.csv"), in order. Raises DataError if there is none."""
    for name in names:
        path = folder / name
        found = (
            sorted(folder.glob(name))
            if any(mark in name for mark in "*?[") and not Path(name).is_absolute()
            else [path]
        )
        if not found or not found[0].is_file():
            raise DataError(f"files: {name!r} does not exist in {folder}: paths are relative to the suite's file")
        yield from found
