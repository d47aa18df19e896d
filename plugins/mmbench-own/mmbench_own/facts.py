"""Rows of numbers from columns of numbers, categories and dates: what is learned of train, and what it makes of rows.

`learn` looks at train; `tabular` turns any rows into the same places, those of a file that comes later among them.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmbench_own import typed
from mmbench_own.form import Modality
from mmbench_own.reading import Rows

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

LEVELS = 64
"""Words of a category that have a place of their own, the most frequent ones; others share one."""
DATE, CATEGORY, NUMBER = "date", "category", "number"


def learn(name: str, modality: Modality, rows: Rows, train: "Array", missing: Sequence[str]) -> list[Mapping[str, Any]]:
    """Of each column {"column", "as": a date, category or number, "words" of a category, "gaps": whether a value is
    missing in train}, as JSON. Raises DataError for what can't be read."""
    import numpy as np

    found: list[Mapping[str, Any]] = []
    for column in modality.read:
        if column in modality.dates:
            blank = np.isnan(typed.dates(rows, column, missing))
        elif column in modality.categories or (
            column in modality.columns and not typed.is_numeric(rows, column, missing)
        ):
            found.append({"column": column, "as": CATEGORY, "words": _words(rows, column, train, missing)})
            continue
        else:
            blank = np.isnan(typed.numbers(rows, column, missing, _hint(name, column)))
        kind = DATE if column in modality.dates else NUMBER
        found.append({"column": column, "as": kind, "gaps": bool(blank[train].any())})
    return found


def tabular(name: str, learned: Sequence[Mapping[str, Any]], rows: Rows, missing: Sequence[str]) -> "Array":
    """float64 [N, D], NaN where a number is missing.

    A number is one place, and a second one says whether it was missing, if any of train is. A category has a place for
    each word of train, one for unknown words, and one for none. A date is days since 1970, month and day of the week.
    """
    import numpy as np

    made: list[Array] = []
    for one in learned:
        column = one["column"]
        if one["as"] == CATEGORY:
            made += list(_places(rows, column, one["words"], missing).T.astype(np.float64))
            continue
        if one["as"] == DATE:
            when = typed.dates(rows, column, missing)
            own = [when, *typed.calendar(when)]
        else:
            own = [typed.numbers(rows, column, missing, _hint(name, column))]
        made += own
        if one["gaps"]:
            made.append(np.isnan(own[0]).astype(np.float64))
    return np.stack(made, axis=1)


def absent(modality: Modality, rows: Rows, missing: Sequence[str]) -> "Array":
    """Which rows have nothing in any column of a tabular modality, bool [N]."""
    import numpy as np

    gone = np.ones(len(rows), bool)
    for name in modality.read:
        gone &= np.array([typed.is_gap(cell, missing) for cell in rows.column(name).to_pylist()])
    return gone


def _hint(name: str, column: str) -> str:
    return f"mend it, or name {column!r} among the categories of {name!r}"


def _words(rows: Rows, column: str, train: "Array", missing: Sequence[str]) -> list[str]:
    """The most frequent words of train, in order."""
    cells = typed.words(rows, column, missing)
    counts: dict[str, int] = {}
    for row in train:
        if (word := cells[row]) is not None:
            counts[word] = counts.get(word, 0) + 1
    return sorted(sorted(counts, key=lambda word: (-counts[word], word))[:LEVELS])


def _places(rows: Rows, column: str, words: Sequence[str], missing: Sequence[str]) -> "Array":
    """bool [N, words + 2]: one place a word, one for all others, one for none."""
    import numpy as np

    places = {word: place for place, word in enumerate(words)}
    cells = typed.words(rows, column, missing)
    found = np.array([len(words) + 1 if cell is None else places.get(cell, len(words)) for cell in cells], int)
    made: Array = np.eye(len(words) + 2, dtype=bool)[found]
    return made
