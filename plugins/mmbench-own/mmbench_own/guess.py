"""Guesses what a file or folder holds, and writes it down as a suite's `[[task]]`, with the reasons as comments.

A guess is never used silently: it stands in the suite, where its author reads and mends it.
"""

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmbench.errors import DataError
from mmbench_own import folders, reading, typed
from mmbench_own.form import FORMATS
from mmbench_own.pickled import LENGTHS
from mmbench_own.reading import Rows
from mmbench_own.splits import ALIASES

BARE = re.compile(r"[A-Za-z0-9_-]+")
NUMBER = "regression_labels"
"""What MMSA's pickles call the target."""
LABELS = (NUMBER, "label", "labels", "target", "class", "y", "category", "outcome", "sentiment", "emotion")
"""What columns are called that are to be predicted."""
SPLIT = ("split", "set", "partition", "subset", "fold")
OTHERS = ("classification_labels", "annotations", *(f"{NUMBER}_{modality}" for modality in "TAV"))
"""What they call it in other forms: every model would be given the answer."""
METRICS = {"label": "accuracy", "number": "mae"}
FEW = 20
"""Different whole numbers that may be a label's codes."""
CATEGORY = 50
WORDY = 2.5
"""Different words that may be a category's."""


READERS = {
    "text": ("embedding", 'text = ["embedding", "minilm"] adds sentence embeddings, a download of 84 MB'),
    "image": ("cnn", 'image = ["cnn", "efficientnet_lite0"] adds a pretrained network, a download of 17 MB'),
}
"""{kind: an encoder that needs no download, and what to say of another}"""


@dataclass(frozen=True)
class Guess:
    """What a column seems to hold."""

    column: str
    kind: str
    """number, category, date, text, image, audio, series, split, or out (left out)."""
    why: str
    distinct: int = 0
    gaps: frozenset[str] = frozenset()
    """Words that seem to stand for a missing value."""
    whole: bool = True
    """Whether each row has a value."""


def task(name: str, source: Path, folder: Path) -> str:
    """The `[[task]]` of a suite in `folder` about `source`. Raises DataError if that can't be read."""
    place = Path(os.path.relpath(source, folder)).as_posix()
    if source.is_dir():
        rows, given = folders.rows(source)
        said = [f"folder = {json.dumps(place)}"]
    elif not source.is_file():
        raise DataError(f"{str(source)!r} does not exist")
    elif source.suffix.lstrip(".").lower() not in FORMATS:
        known = ", ".join(f".{ending}" for ending in FORMATS)
        raise DataError(f"{source.name} ends with none of {known}, and is no folder")
    else:
        separator = _separator(source)
        rows, given = reading.read([source], separator), None
        said = [f"files = {json.dumps(place)}"]
        if separator and separator != reading.separator_of(source):
            said.append(f"separator = {json.dumps(separator)}")
    guesses = [_guess(rows, column) for column in rows.names]
    target = _target(guesses)
    if gaps := sorted({gap for g in guesses if g.kind in ("text", "category", "image", "audio") for gap in g.gaps}):
        said.append(f"missing = {json.dumps(gaps, ensure_ascii=False)}")
    return "\n".join(
        [*_head(name, target, guesses), *said, "", *_columns(guesses, target), *_split(guesses, target, given), ""]
    )


def _separator(file: Path) -> str | None:
    """Which mark the header has most of, for CSV."""
    if FORMATS[file.suffix.lstrip(".").lower()] != "csv":
        return None
    with file.open(encoding="utf-8-sig", errors="replace") as text:
        first = text.readline()
    usual = reading.separator_of(file)
    best = max((usual, ",", ";", "\t", "|"), key=first.count)
    return best if first.count(best) else usual


def _guess(rows: Rows, column: str) -> Guess:
    import pyarrow.types as types

    kind = rows.column(column).type
    if column in OTHERS and NUMBER in rows.names:
        return Guess(column, "out", "the target in another form")
    nested = types.is_list(kind) or types.is_large_list(kind)
    long = column.removesuffix(LENGTHS)
    if long != column and long in rows.names and types.is_list(rows.column(long).type):
        return Guess(column, "out", f"says how long the rows of {long} are")
    if nested and column == "text_bert":
        return Guess(column, "out", "the tokens of text, as numbers")
    if nested:
        return Guess(column, "series", f"holds {kind}", whole=not rows.column(column).null_count)
    cells = rows.column(column).to_pylist()
    gaps = {cell.strip() for cell in cells if isinstance(cell, str) and cell.strip() and typed.is_gap(cell, ())}
    whole = not any(typed.is_gap(cell, ()) for cell in cells)
    return replace(_kind(rows, column, cells), gaps=frozenset(gaps), whole=whole)


def _kind(rows: Rows, column: str, cells: Sequence[Any]) -> Guess:
    import pyarrow.types as types

    kind = rows.column(column).type
    feature = rows.features.get(column) if rows.features else None
    if types.is_struct(kind) or types.is_binary(kind):
        return Guess(column, "audio" if "Audio" in type(feature).__name__ else "image", "holds files")
    there = [cell for cell in cells if not typed.is_gap(cell, ())]
    distinct = {str(cell).strip() for cell in there}
    gaps = f", {len(cells) - len(there):,} missing" if len(there) < len(cells) else ""
    many = f"{len(distinct):,} different{gaps}"
    if not there or len(distinct) == 1:
        return Guess(column, "out", f"always the same{gaps}" if there else "empty")
    if column.lower() in SPLIT and {cell.lower() for cell in distinct} <= {
        a for all_ in ALIASES.values() for a in all_
    }:
        return Guess(column, "split", many)
    endings = {folders.MEDIA.get(cell.rpartition(".")[2].lower()) if "." in cell else None for cell in distinct}
    if len(endings) == 1 and (media := next(iter(endings))):
        return Guess(column, media, f"paths, {many}")
    if names := getattr(feature, "names", None):
        return Guess(column, "category", many, len(names))
    if all(typed._number(cell) is not None for cell in there):
        whole = all(float(cell).is_integer() for cell in distinct if cell.lower() not in ("inf", "-inf"))
        if (
            whole
            and len(distinct) == len(cells)
            and (column.lower().endswith("id") or column.lower() in ("", "index", "row"))
        ):
            return Guess(column, "out", "another number in each row: an identifier")
        return Guess(column, "number", many, len(distinct) if whole else len(cells))
    if all(typed._day(cell) is not None for cell in there):
        return Guess(column, "date", many)
    words = sum(len(str(cell).split()) for cell in there) / len(there)
    if words < 1.5 and column.lower().endswith("id"):
        return Guess(column, "out", f"an identifier, {many}; rows that share one may be a group: see split")
    wordy = words >= WORDY
    if wordy and 2 * len(there) < len(cells):
        return Guess(column, "text", f"{many}, {words:.1f} words on average")
    if len(distinct) <= (10 if wordy else CATEGORY) and len(distinct) <= max(2, len(there) // 4):
        return Guess(column, "category", many, len(distinct))
    return Guess(column, "text", f"{many}, {words:.1f} words on average")


def _target(guesses: Sequence[Guess]) -> Guess | None:
    """Of the columns with a value in each row one that is called like a target; else the last category, or the last."""
    fitting = [g for g in guesses if g.kind in ("category", "number", "text") and g.whole]
    named = [g for name in LABELS for g in fitting if g.column.lower() == name]
    return next(iter([*named, *[g for g in fitting[::-1] if g.kind == "category"], *fitting[::-1]]), None)


def _as_label(target: Guess) -> bool:
    if target.column == NUMBER:
        return False
    return target.kind == "category" or (target.kind == "text") or (target.kind == "number" and target.distinct <= FEW)


def _head(name: str, target: Guess | None, guesses: Sequence[Guess]) -> Iterator[str]:
    kind = "label" if target is None or _as_label(target) else "number"
    yield "[[task]]"
    yield f"name = {json.dumps(name)}"
    yield f'metric = "{METRICS[kind]}"             # mmbench list metrics'
    readers = {g.column: READERS[g.kind] for g in guesses if g.kind in READERS and g is not target}
    if readers:
        quick = ", ".join(f'{_key(column)} = "{quick}"' for column, (quick, _) in readers.items())
        yield f"encoders = {{ {quick} }}"
        for other in dict.fromkeys(other for _, other in readers.values()):
            yield f"# {other}"
    yield ""
    yield "[task.data]                     # every key: docs/guides/your-data.md"


def _columns(guesses: Sequence[Guess], target: Guess | None) -> Iterator[str]:
    yield "# What each column seems to hold: check it. mmbench info THIS_FILE shows the rows as they are understood."
    yield "[task.data.columns]"
    mine = [guess for guess in guesses if guess is not target]
    cells = {kind: [g for g in mine if g.kind == kind] for kind in ("number", "category", "date")}
    names = {"number": "numbers", "category": "categories", "date": "dates"}
    facts = {names[kind]: [g.column for g in found] for kind, found in cells.items() if found}
    if facts:
        for guess in (g for found in cells.values() for g in found):
            yield f"# {_comment(guess)}: {guess.kind}; {guess.why}"
        name = _free("facts", [g.column for g in guesses])
        listed = ", ".join(f"{key} = {json.dumps(own, ensure_ascii=False)}" for key, own in facts.items())
        yield f"{name} = {{ {listed} }}"
    taken = {name for name in ["facts"] if facts}
    for guess in mine:
        name = (
            guess.column
            if not (target and guess.column == target.column) and guess.column not in taken
            else f"{guess.column}_"
        )
        quoted = json.dumps(guess.column, ensure_ascii=False)
        if guess.kind == "text":
            yield f"{_key(name)} = {quoted}    # text; {guess.why}"
        elif guess.kind in ("image", "audio", "series"):
            yield f'{_key(name)} = {{ column = {quoted}, kind = "{guess.kind}" }}    # {guess.why}'
        elif guess.kind == "out":
            yield f"# {_comment(guess)} is left out: {guess.why}"
    if not facts and not any(g.kind in ("text", "image", "audio", "series") for g in mine):
        yield "# no column is left that a model could read"
    yield ""
    yield "[task.data.target]              # label, labels, number, text or match"
    if target is None:
        yield '# label = "..."                 # no column looks like one'
    else:
        kind = "label" if _as_label(target) else "number"
        yield f"{kind} = {json.dumps(target.column, ensure_ascii=False)}    # {target.kind}; {target.why}"
    yield ""


def _comment(guess: Guess) -> str:
    return json.dumps(guess.column, ensure_ascii=False)


def _key(name: str) -> str:
    return name if BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def _free(name: str, taken: Sequence[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _split(guesses: Sequence[Guess], target: Guess | None, given: Sequence[str] | None) -> Iterator[str]:
    column = next((g.column for g in guesses if g.kind == "split"), None)
    yield "[task.data.split]"
    if given is not None or column is not None:
        yield 'by = "given"'
        if column is not None:
            yield f"column = {json.dumps(column, ensure_ascii=False)}"
        found = {name.lower() for name in given} if given is not None else None
        for split in ("validation", "test"):
            if found is not None and not found & set(ALIASES[split]):
                yield f"{split} = 0.2                # taken from train, as there is none"
        return
    yield 'by = "fractions"                # or "given", where files or a column say it'
    yield "train = 0.6"
    yield "validation = 0.2"
    yield "test = 0.2"
    yield "seed = 0"
    yield '# group = "..."                 # a column: rows of one patient, speaker or document stay in one split'
    yield '# time = "..."                  # a column: the latest rows are test'
