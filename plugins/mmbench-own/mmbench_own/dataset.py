"""The data set that a `[task.data]` table describes: what it is made of, and its rows."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mmbench as mb
from mmbench.api.data import SPLITS
from mmbench.api.files import content_hash, file_hash
from mmbench.api.media import is_colour
from mmbench.api.parts.dataset import NewRows
from mmbench.errors import DataError
from mmbench_own import facts, folders, form, hub, reading, splits, typed
from mmbench_own.form import FORMATS, Form
from mmbench_own.reading import Rows
from mmbench_own.series import ZERO

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset, DatasetDict

    Array = np.ndarray[Any, Any]

FILES = ("image", "audio")
"""Kinds whose values are files."""


class Own(mb.Dataset):
    """What a suite's `[task.data]` describes.

    Rows of CSV, TSV, JSON lines, Parquet or Arrow files, of a folder of pictures or sounds, or of a set of the hub.
    """

    table: Mapping[str, Any]
    form: Form
    folder: Path

    def load(self, cache: Path) -> "DatasetDict":
        try:
            return self._load(cache)
        except DataError as error:
            raise DataError(f"data of {self.name!r}: {error}") from error

    def _load(self, cache: Path) -> "DatasetDict":
        from datasets import DatasetDict

        rows, part, truth, classes = self._split(cache)
        columns, features = self._modalities(rows, self._facts(rows, part))
        aside, kinds = self._aside(rows, truth, classes)
        columns, features = columns | aside, features | kinds
        return DatasetDict(
            {name: _some(columns, features, (part == number).nonzero()[0]) for number, name in enumerate(SPLITS)}
        )

    def learn_rows(self, cache: Path) -> Mapping[str, Any]:
        try:
            rows, part, _, classes = self._split(cache)
            return {"facts": self._facts(rows, part), "classes": list(classes)}
        except DataError as error:
            raise DataError(f"data of {self.name!r}: {error}") from error

    def read_rows(self, file: Path, learned: Mapping[str, Any]) -> NewRows:
        import numpy as np

        if file.suffix.lstrip(".").lower() not in FORMATS:
            raise DataError(f"{str(file)!r} ends with none of {', '.join(f'.{ending}' for ending in FORMATS)}")
        rows = reading.read([file], self.form.separator)
        columns, features = self._modalities(rows, learned["facts"])
        return NewRows(_some(columns, features, np.arange(len(rows))), file.name, rows.numbers)

    def _split(self, cache: Path) -> "tuple[Rows, Array, Any, list[str]]":
        """All rows, the number in SPLITS of each, the target of each, and the classes."""
        import numpy as np

        rows, given = self._rows(cache)
        truth, classes = self._truth(rows)
        strata = np.asarray(truth) if isinstance(self.target, mb.Label) else None
        return rows, splits.split(self.form, rows, given, strata), truth, classes

    def files(self) -> Sequence[Path]:
        """What holds rows, and the folders of pictures and sounds that these name: a file's name may tell its label."""
        bases = {file.parent for file in self._sources()[:1]}
        tops = {base / path.relative_to(base).parts[0] for base in bases for path in self._named() if path.exists()}
        return [*self._sources(), *sorted(tops)]

    def _sources(self) -> list[Path]:
        """The files of rows, or the folder."""
        if self.form.folder:
            return [self.folder / self.form.folder]
        return [file for names in self.form.files.values() for file in reading.all_files(self.folder, names)]

    def origin(self) -> str:
        said = json.dumps(self.table, sort_keys=True)
        rows, named = content_hash(self._sources()), content_hash(path for path in self._named() if path.is_file())
        return hashlib.sha256(f"{said}\0{rows}\0{named}".encode()).hexdigest()

    def _named(self) -> Sequence[Path]:
        """The pictures and sounds that rows of files name by their paths, within the folder of these files."""
        named = [one.columns[0] for one in self.form.modalities.values() if one.kind in FILES]
        if not named or not self.form.files:
            return ()
        files = tuple(self._sources())
        base = files[0].parent
        texts = _cells(files, tuple(map(file_hash, files)), self.form.separator, tuple(named))
        return [base / text for text in texts if not typed.path_problem(text, base.resolve())]

    def _rows(self, cache: Path) -> "tuple[Rows, list[str] | None]":
        """All rows, and what the data call the split of each, if they do."""
        if self.form.hub:
            return hub.rows(self.form, cache)
        if self.form.folder:
            return folders.rows(self.folder / self.form.folder, self.form)
        files: list[Path] = []
        names: list[str] = []
        for split, patterns in self.form.files.items():
            own = list(reading.all_files(self.folder, patterns))
            files, names = files + own, names + [split] * len(own)
        if twice := [file.name for n, file in enumerate(files) if file.resolve() in {f.resolve() for f in files[:n]}]:
            raise DataError(f"files: {twice[0]!r} is named twice: rows would be in two splits")
        rows = reading.read(files, self.form.separator)
        if "" in self.form.files:
            return rows, None
        return rows, [names[number] for number in rows.table.column(reading.FILE).to_pylist()]

    def _truth(self, rows: Rows) -> "tuple[Array | list[str] | None, list[str]]":
        """The target of each row, and the classes."""
        goal = self.form.goal
        if isinstance(goal.target, mb.Label):
            return typed.label(goal, rows)
        if isinstance(goal.target, mb.Labels):
            return typed.labels(goal, rows)
        if isinstance(goal.target, mb.Number):
            return typed.number(goal, rows), []
        if isinstance(goal.target, mb.Text):
            return typed.answer(goal, rows), []
        return None, []

    def _facts(self, rows: Rows, part: "Array") -> dict[str, list[Mapping[str, Any]]]:
        """{tabular modality: what is learned of train}"""
        train, tables = (part == 0).nonzero()[0], self.form.modalities.items()
        return {n: facts.learn(n, one, rows, train, self.form.missing) for n, one in tables if one.kind == "tabular"}

    def _modalities(self, rows: Rows, learned: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """{modality: its values} of all rows, and their types."""
        from datasets import Image, List, Value

        columns: dict[str, Any] = {}
        types: dict[str, Any] = {}
        for name, one in self.form.modalities.items():
            if one.kind == "tabular":
                cells = facts.tabular(name, learned[name], rows, self.form.missing)
                gone = facts.absent(one, rows, self.form.missing)
                columns[name] = [None if g else row for g, row in zip(gone, cells, strict=True)]
                types[name] = List(Value("float64"))
            elif one.kind == "text":
                columns[name], types[name] = typed.texts(rows, one.columns[0], self.form.missing), Value("string")
            elif one.kind in FILES:
                columns[name] = typed.paths(self.form, rows, one.columns[0])
                types[name] = (
                    Image(decode=False) if one.kind == "image" else {"bytes": Value("binary"), "path": Value("string")}
                )
            else:
                columns[name], types[name] = typed.nested(rows, one.columns[0], self.form.unreadable), None
        return columns, types

    def _aside(self, rows: Rows, truth: Any, classes: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
        """What no contender sees, the target and what splits go by: {column: its values}, and their types."""
        import pyarrow as pa
        from datasets import ClassLabel, List, Value

        columns: dict[str, Any] = {}
        types: dict[str, Any] = {}
        if self.target.columns:
            kinds = {"label": ClassLabel(names=list(classes)) if classes else None, "labels": List(Value("float32"))}
            kinds |= {"number": Value("float64"), "text": Value("string")}
            columns[self.target.columns[0]], types[self.target.columns[0]] = truth, kinds[self.target.type]
        if self.groups:
            columns[self.groups], types[self.groups] = rows.column(str(self.form.split.group)), None
        if self.time:
            columns[self.time] = pa.chunked_array([typed.times(rows, str(self.form.split.time))])
            types[self.time] = None
        return columns, types


def make(name: str, table: Mapping[str, Any], folder: Path) -> Own:
    """The data set of a `[task.data]` table. Raises DataError for what is wrong in it; reads no file."""
    read = form.read(table)
    if not is_colour(read.background):
        raise DataError(f'background {read.background!r} is no colour: write "white", "#rrggbb", ...')
    named = read.hub or read.folder or ", ".join(file for names in read.files.values() for file in names)
    own: dict[str, Any] = {
        "__doc__": f"The data of {named}.",
        "__module__": __name__,
        "name": name,
        "columns": {modality: one.kind for modality, one in read.modalities.items()},
        "target": read.goal.target,
        "licence": read.licence,
        "background": read.background,
        "unreadable": "refuse" if read.unreadable == ZERO else read.unreadable,  # there is nothing left to refuse
        "groups": f"group: {read.split.group}" if read.split.group else None,
        "time": f"time: {read.split.time}" if read.split.time else None,
        "table": table,
        "form": read,
        "folder": folder,
    }
    made: Own = type("OwnData", (Own,), own)()
    return made


@cache
def _cells(
    files: tuple[Path, ...], contents: tuple[str, ...], separator: str | None, columns: tuple[str, ...]
) -> tuple[str, ...]:
    """Every path in these columns, each once; read again only when a file of rows has changed."""
    rows = reading.read(files, separator)
    cells = (cell for column in columns if column in rows.names for cell in rows.column(column).to_pylist())
    named = (cell.get("path") if isinstance(cell, dict) and cell.get("bytes") is None else cell for cell in cells)
    return tuple(dict.fromkeys(text for cell in named if isinstance(cell, str) and (text := cell.strip())))


def _some(columns: Mapping[str, Any], features: Mapping[str, Any], rows: "Array") -> "Dataset":
    """The data set of some rows."""
    import pyarrow as pa
    from datasets import Dataset, Features

    made = {}
    for name, values in columns.items():
        if hasattr(values, "take"):  # of Arrow or numpy
            made[name] = values.take(pa.array(rows)) if isinstance(values, pa.ChunkedArray) else values[rows]
        else:
            made[name] = [values[row] for row in rows]
    known = {name: kind for name, kind in features.items() if kind is not None}
    table = pa.table(
        {
            name: values
            if isinstance(values, pa.ChunkedArray)
            else pa.array(list(values), Features({name: known[name]}).arrow_schema.field(name).type)
            for name, values in made.items()
        }
    )
    whole = Features({**Features.from_arrow_schema(table.schema), **known})
    return Dataset(table.replace_schema_metadata(None).cast(whole.arrow_schema), fingerprint=None)
