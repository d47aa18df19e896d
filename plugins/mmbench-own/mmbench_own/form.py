"""What a `[task.data]` table may say: its keys, their types, and what is wrong with them, before any file is read."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmbench.api.data import KINDS, SPLITS, Label, Labels, Match, Number, Target, Text
from mmbench.errors import DataError, unknown

FORMATS = {"csv": "csv", "tsv": "csv", "jsonl": "jsonl", "ndjson": "jsonl", "parquet": "parquet", "arrow": "arrow"} | {
    "pkl": "pickle",
    "pickle": "pickle",
}
"""{how a file's name ends: what reads it}"""
KEYS = {"files", "folder", "hub", "revision", "configuration", "separator", "missing", "background", "unreadable"} | {
    "licence",
    "columns",
    "target",
    "split",
}
TARGETS = ("label", "labels", "number", "text", "match")
FRACTIONS = {"train": 0.6, "validation": 0.2, "test": 0.2}
UNREADABLE = ("refuse", "missing", "zero")
SPLIT = "split"
"""The column of a pickle's rows that says which split they are in."""
START = "`mmbench new suite NAME --from FILE_OR_FOLDER` writes these tables, with guesses"


@dataclass(frozen=True)
class Modality:
    """One modality: its kind, and the columns that it is made of."""

    kind: str
    columns: tuple[str, ...] = ()
    """Read as what they hold: numbers, or else categories."""
    numbers: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()

    @property
    def read(self) -> tuple[str, ...]:
        return (*self.columns, *self.numbers, *self.categories, *self.dates)


@dataclass(frozen=True)
class Goal:
    """What is to be predicted."""

    target: Target
    columns: tuple[str, ...]
    """Those of the file."""
    separator: str = ";"
    classes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Split:
    """How the rows become train, validation and test."""

    by: str
    column: str | None = None
    names: Mapping[str, str] | None = None
    """{train, validation or test: what the data call it}"""
    fractions: Mapping[str, float] | None = None
    stratify: bool | None = None
    """None: where the target is a label, and neither group nor time is given."""
    group: str | None = None
    time: str | None = None
    seed: int = 0


@dataclass(frozen=True)
class Form:
    """A `[task.data]` table, checked."""

    files: Mapping[str, tuple[str, ...]]
    """{split: its files}; {"": files} where rows have yet to be split."""
    folder: str | None
    hub: str | None
    revision: str | None
    configuration: str | None
    separator: str | None
    missing: tuple[str, ...]
    background: str
    unreadable: str
    licence: str
    modalities: Mapping[str, Modality]
    goal: Goal
    split: Split


def read(table: Mapping[str, Any]) -> Form:
    """Check the table. Raises DataError, one line, for the first thing that is wrong."""
    _known("", table, KEYS)
    sources = [key for key in ("files", "folder", "hub") if key in table]
    if len(sources) != 1:
        raise DataError(f"write one of files, folder and hub, not {' and '.join(sources) or 'none'}")
    for key in ("columns", "target"):
        if key not in table:
            raise DataError(f"needs [task.data.{key}]: {START}")
    hub, revision = _text(table, "hub"), _text(table, "revision")
    if hub and not revision:
        raise DataError(f'hub {hub!r} needs revision = "...", a commit of it: without one the rows may change any day')
    if hub and not (len(revision or "") == 40 and set(str(revision)) <= set("0123456789abcdef")):
        raise DataError(
            f"revision {revision!r} is no commit: write its 40 hexadecimal digits, as a branch or tag moves"
        )
    for key in ("revision", "configuration"):
        if key in table and not hub:
            raise DataError(f"{key} is only for a hub's data")
    modalities = _modalities(_table(table, "columns"))
    goal = _goal(_table(table, "target"))
    files = _files(table["files"]) if "files" in table else {}
    unreadable = _text(table, "unreadable") or UNREADABLE[0]
    if unreadable not in UNREADABLE:
        raise DataError(f'unreadable is {unreadable!r}: write "refuse", "missing" or "zero"')
    pickles = [
        name for names in files.values() for name in names if FORMATS[name.rpartition(".")[2].lower()] == "pickle"
    ]
    if pickles and "" not in files:
        raise DataError(f"files: {pickles[0]!r} holds its splits itself: write files = {json.dumps(pickles[0])}")
    said = _table(table, "split")
    if pickles and not {"by", "column"} & set(said):
        said = {**said, "column": SPLIT}
    split = _split(said, given=bool(hub) or (bool(files) and "" not in files))
    for modality, one in modalities.items():
        if answer := [column for column in one.read if column in goal.columns]:
            raise DataError(
                f"columns.{modality} reads {answer[0]!r}, the target: every model would be given the answer"
            )
    return Form(
        files=files,
        folder=_text(table, "folder"),
        hub=hub,
        revision=revision,
        configuration=_text(table, "configuration"),
        separator=_text(table, "separator"),
        missing=_texts("missing", table.get("missing", [])),
        background=_text(table, "background") or "white",
        unreadable=unreadable,
        licence=_text(table, "licence") or "not stated",
        modalities=modalities,
        goal=goal,
        split=split,
    )


def _files(value: Any) -> dict[str, tuple[str, ...]]:
    given = value if isinstance(value, dict) else {"": value}
    _known("files", given, {"", *SPLITS})
    found = {split: _texts(f"files.{split}".rstrip("."), names) for split, names in given.items()}
    for split, names in found.items():
        if not names:
            raise DataError(f"files.{split} names no file".replace("files. ", "files "))
        for name in names:
            if "://" in name:
                raise DataError(f"files: {name!r} is an address: fetch it first, and name the file")
            ending = name.rpartition(".")[2].lower()
            if ending not in FORMATS:
                raise DataError(f"files: {name!r} ends with none of {', '.join(f'.{e}' for e in FORMATS)}")
    return found


def _modalities(table: Mapping[str, Any]) -> dict[str, Modality]:
    if not table:
        raise DataError(f"[task.data.columns] names no modality: {START}")
    return {name: _modality(f"columns.{name}", value) for name, value in table.items()}


def _modality(where: str, value: Any) -> Modality:
    if isinstance(value, str):
        return Modality("text", (value,))
    if not isinstance(value, dict):
        raise DataError(f'{where} must be a column\'s name, or {{ column = "...", kind = "..." }}')
    _known(where, value, {"column", "columns", "kind", "numbers", "categories", "dates"})
    lists = {key: _texts(f"{where}.{key}", value.get(key, [])) for key in ("columns", "numbers", "categories", "dates")}
    columns = (*_texts(f"{where}.column", value.get("column", [])), *lists["columns"])
    kind = value.get("kind", "tabular" if any(lists.values()) else "text")
    if kind not in KINDS:
        raise DataError(f"{where}.kind: {unknown('kind of modality', str(kind), KINDS)}")
    made = Modality(kind, columns, lists["numbers"], lists["categories"], lists["dates"])
    if not made.read:
        raise DataError(f"{where} names no column")
    if twice := [name for n, name in enumerate(made.read) if name in made.read[:n]]:
        raise DataError(f"{where} names {twice[0]!r} twice")
    if kind != "tabular" and (len(made.columns) != 1 or len(made.read) != 1):
        raise DataError(f'{where} is {kind}: it needs one column, column = "..."')
    return made


def _goal(table: Mapping[str, Any]) -> Goal:
    kinds = [key for key in TARGETS if key in table]
    _known("target", table, {*TARGETS, "separator", "classes"})
    if len(kinds) != 1:
        raise DataError(f"target must be one of {', '.join(TARGETS)}, not {' and '.join(kinds) or 'none'}")
    kind, value = kinds[0], table[kinds[0]]
    separator = table.get("separator", ";")
    if not isinstance(separator, str) or not separator:
        raise DataError("target.separator must be what stands between two labels of a row")
    classes = _texts("target.classes", table["classes"]) if "classes" in table else None
    if classes and kind not in ("label", "labels"):
        raise DataError(f"target.classes is only for labels, not for a {kind}")
    if kind == "match":
        if not isinstance(value, dict) or set(value) != {"left", "right"}:
            raise DataError('target.match must be { left = ["..."], right = ["..."] }, the modalities of each side')
        sides = (_texts(f"target.match.{side}", value[side]) for side in ("left", "right"))
        return Goal(Match(*sides), ())
    columns = _texts(f"target.{kind}", value)
    if not columns or (len(columns) > 1 and kind != "labels"):
        raise DataError(f"target.{kind} must be a column's name")
    made = {"label": Label, "labels": Labels, "number": Number, "text": Text}[kind]
    return Goal(made(" + ".join(columns)), columns, separator, classes)


def _split(table: Mapping[str, Any], *, given: bool) -> Split:
    allowed = {"by", "column", "names", *SPLITS, "stratify", "group", "time", "seed"}
    _known("split", table, allowed)
    by = table.get("by", "given" if given or "column" in table else "fractions")
    if by not in ("given", "fractions"):
        raise DataError(f'split.by must be "given" or "fractions", not {by!r}')
    if by == "fractions" and "column" in table:
        raise DataError('split.column is for by = "given": it says of each row which split it is in')
    names = table.get("names", {})
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise DataError('split.names must be such as { validation = "dev" }')
    _known("split.names", names, set(SPLITS))
    shares = {key: table[key] for key in SPLITS if key in table}
    for key, share in shares.items():
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1:
            raise DataError(f"split.{key} must be a share of the rows between 0 and 1, not {share!r}")
    if by == "given":
        fractions = shares
    elif shares and set(shares) != set(SPLITS):
        raise DataError(f"split needs a share for each of {', '.join(SPLITS)}, not for {', '.join(shares)} alone")
    else:
        fractions = shares or FRACTIONS
        if abs(sum(fractions.values()) - 1) > 1e-6:
            raise DataError(f"split: the shares sum up to {sum(fractions.values()):g}, not 1")
    stratify, seed = table.get("stratify"), table.get("seed", 0)
    if stratify not in (None, True, False):
        raise DataError("split.stratify must be true or false")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise DataError("split.seed must be a whole number from 0 on")
    group, time = _text(table, "group", "split."), _text(table, "time", "split.")
    if by == "fractions" and time and (group or stratify):
        raise DataError("split by time can't be by group or stratified too: the order of time alone decides")
    if group and stratify:
        raise DataError("split: rows of one group stay together, so that they can't be stratified too; write one")
    return Split(by, _text(table, "column", "split."), names, fractions, stratify, group, time, seed)


def _known(where: str, table: Mapping[str, Any], keys: Iterable[str]) -> None:
    for key in table:
        if key not in keys:
            raise DataError(f"{where}: {unknown('key', key, keys)}" if where else unknown("key", key, keys))


def _table(table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = table.get(key, {})
    if not isinstance(value, dict):
        raise DataError(f"{key} must be a table: [task.data.{key}]")
    return value


def _text(table: Mapping[str, Any], key: str, where: str = "") -> str | None:
    value = table.get(key)
    if value is not None and not (isinstance(value, str) and value):
        raise DataError(f"{where}{key} must be a text, not {value!r}")
    return value


def _texts(where: str, value: Any) -> tuple[str, ...]:
    values: Sequence[Any] = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
        raise DataError(f"{where} must be a name or a list of names")
    return tuple(values)
