"""Turns columns of text or of Arrow types into the values of a modality: numbers, categories, dates, paths, targets.

What is learned from rows of a table (which words a category has) is the business of `facts`.
"""

import math
from collections.abc import Sequence
from datetime import date, datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmbench.errors import DataError
from mmbench_own import series
from mmbench_own.form import Form, Goal
from mmbench_own.reading import Rows

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Array = np.ndarray[Any, Any]

GAPS = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
"""What stands for a missing number or date, in any case."""
LARGEST = 3.4028234663852886e38  # of float32
DAY = 86_400.0


def is_gap(cell: Any, missing: Sequence[str]) -> bool:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return True
    text = str(cell).strip()
    return text.lower() in GAPS or text in missing


def words(rows: Rows, column: str, missing: Sequence[str] = ()) -> list[str | None]:
    """A word a row, spaces around it left out; None where there is none."""
    made: list[str | None] = []
    names = _class_names(rows, column)
    for cell in rows.column(column).to_pylist():
        if cell is None or (isinstance(cell, float) and math.isnan(cell)):
            made.append(None)
        else:
            text = names[cell] if names and isinstance(cell, int) and 0 <= cell < len(names) else str(cell).strip()
            made.append(None if not text or text in missing or (names and cell == -1) else text)
    return made


def _class_names(rows: Rows, column: str) -> list[str] | None:
    """The names of a `datasets.ClassLabel`, which stand in the rows as numbers."""
    feature = rows.features.get(column) if rows.features else None
    names = getattr(feature, "names", None)
    return list(names) if names else None


def is_numeric(rows: Rows, column: str, missing: Sequence[str]) -> bool:
    """Whether all that is there reads as numbers."""
    import pyarrow.types as types

    kind = rows.column(column).type
    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
        return not _class_names(rows, column)
    cells = [cell for cell in rows.column(column).to_pylist() if not is_gap(cell, missing)]
    return bool(cells) and all(_number(cell) is not None for cell in cells)


def _number(cell: Any) -> float | None:
    """None if it is none."""
    try:
        return float(cell) if "_" not in str(cell) else None  # Python reads 1_000, others don't
    except (TypeError, ValueError, OverflowError):
        return None


def numbers(rows: Rows, column: str, missing: Sequence[str], hint: str) -> "Array":
    """float64 [N], NaN where it is missing. Raises DataError for words, for infinity, and beyond float32."""
    import numpy as np

    made = np.full(len(rows), np.nan)
    wrong: list[tuple[int, str]] = []
    for row, cell in enumerate(rows.column(column).to_pylist()):
        if is_gap(cell, missing):
            continue
        found = _number(cell)
        if found is None:
            wrong.append((row, f"{_short(cell)} is no number"))
        elif math.isinf(found) and "inf" in str(cell).lower():
            wrong.append((row, f"{_short(cell)} is infinite"))
        elif abs(found) > LARGEST:
            wrong.append((row, f"{_short(cell)} is too large for float32"))
        else:
            made[row] = found
    if wrong:
        raise rows.faults(column, wrong, hint)
    return made


def _short(cell: Any) -> str:
    text = repr(cell)
    return text if len(text) <= 50 else f"{text[:47]}..."


def dates(rows: Rows, column: str, missing: Sequence[str] = ()) -> "Array":
    """Days since 1970 of ISO dates and times, float64 [N], NaN where there is none."""
    import numpy as np

    made = np.full(len(rows), np.nan)
    wrong: list[tuple[int, str]] = []
    for row, cell in enumerate(rows.column(column).to_pylist()):
        if is_gap(cell, missing):
            continue
        found = _day(cell)
        if found is None:
            wrong.append((row, f"{_short(cell)} is no date"))
        else:
            made[row] = found
    if wrong:
        raise rows.faults(column, wrong, 'write dates as "2026-11-28" or "2026-11-28T16:20:00"')
    return made


def _day(cell: Any) -> float | None:
    if isinstance(cell, str):
        try:
            cell = datetime.fromisoformat(cell.strip())
        except ValueError:
            return None
    if isinstance(cell, datetime):
        return (cell if cell.tzinfo else cell.replace(tzinfo=timezone.utc)).timestamp() / DAY  # noqa: UP017
    if isinstance(cell, date):
        return float((cell - date(1970, 1, 1)).days)
    return None


def calendar(days: "Array") -> "tuple[Array, Array]":
    """Month, 1 to 12, and day of the week, 0 (Monday) to 6, of days since 1970."""
    import numpy as np

    known = np.where(np.isnan(days), 0, days)
    moment = np.floor(known).astype("datetime64[D]")
    month = moment.astype("datetime64[M]").astype(int) % 12 + 1.0
    weekday = (np.floor(known) + 3) % 7
    return np.where(np.isnan(days), np.nan, month), np.where(np.isnan(days), np.nan, weekday)


def times(rows: Rows, column: str) -> "Array":
    """What orders the rows: a number or a date in each. Raises DataError where there is none."""
    import numpy as np

    cells = rows.column(column).to_pylist()
    found = [value if (value := _number(cell)) is not None else _day(cell) for cell in cells]
    if wrong := [
        (row, f"{_short(cells[row])} is neither a date nor a number")
        for row, v in enumerate(found)
        if v is None or math.isnan(v)
    ]:
        raise rows.faults(column, wrong, 'write dates as "2026-11-28"')
    return np.array(found, float)


def texts(rows: Rows, column: str, missing: Sequence[str]) -> list[str | None]:
    """Texts as they are; None where there is none."""
    made: list[str | None] = []
    for cell in rows.column(column).to_pylist():
        text = None if cell is None or (isinstance(cell, float) and math.isnan(cell)) else str(cell)
        made.append(None if text is None or not text.strip() or text.strip() in missing else text)
    return made


def paths(form: Form, rows: Rows, column: str) -> list[Any]:
    """{"bytes", "path"} of the files that cells name, or None. A path is relative to the file of rows, and stays in its
    folder, links resolved. Raises DataError, with the row, for one that does not, or that is not there."""
    made: list[Any] = []
    wrong: list[tuple[int, str]] = []
    base = rows.folder.resolve() if rows.folder else None
    for row, cell in enumerate(rows.column(column).to_pylist()):
        if cell is None or isinstance(cell, bytes):
            made.append(None if cell is None else {"bytes": cell, "path": None})
            continue
        if isinstance(cell, dict) and cell.get("bytes") is not None:
            made.append({"bytes": cell["bytes"], "path": None})
            continue
        name = str(cell.get("path") if isinstance(cell, dict) else cell).strip()
        if not name or name in form.missing:
            made.append(None)
            continue
        problem = path_problem(name, base)
        if problem and not (form.unreadable == "missing" and problem == GONE):
            wrong.append((row, f"{_short(name)} {problem}"))
        made.append({"bytes": None, "path": str(base / name) if base else name})
    if wrong:
        hint = "mend the path, leave the cell empty where there is no file"
        raise rows.faults(
            column,
            wrong,
            f'{hint}, or write unreadable = "missing" in [task.data]' if any(GONE in why for _, why in wrong) else hint,
        )
    return made


GONE = "is not there"
FOREIGN = {"svg": "is SVG, which has no pixels: draw it as PNG first"} | dict.fromkeys(
    ("m4a", "aac", "wma", "mp4"), "can't be read by soundfile: convert it to WAV, FLAC, OGG or MP3 first"
)
"""{how a file's name ends: why it is neither a picture nor a sound that is read}"""


def path_problem(name: str, base: Path | None) -> str | None:
    """Why a cell can't name a file of that folder, its links resolved; None if it does."""
    if "://" in name:
        return "is an address: fetch it first, and name the file"
    if base is None:
        return "is a path: rows of a hub hold pictures and sounds themselves"
    if (why := FOREIGN.get(name.rpartition(".")[2].lower())) is not None:
        return why
    if Path(name).is_absolute():
        return "is an absolute path: write it relative to the file of rows"
    try:
        place = (base / name).resolve()
        if not place.is_relative_to(base):
            return "leads out of the data's folder"
        return None if place.is_file() else GONE
    except (OSError, ValueError, RuntimeError):
        return "can't be a path"


def label(goal: Goal, rows: Rows) -> "tuple[Array, list[str]]":
    """The class of each row, int [N], and the classes. Raises DataError for a row without, or of an unknown one."""
    import numpy as np

    column = goal.columns[0]
    cells = words(rows, column)
    if gone := [(row, "no label") for row, cell in enumerate(cells) if cell is None]:
        raise rows.faults(column, gone, "give each row a label, or leave the row out")
    known = list(goal.classes or _class_names(rows, column) or _sorted(set(map(str, cells))))
    if strange := [
        (row, f"{cell!r} is no class of target.classes") for row, cell in enumerate(cells) if cell not in known
    ]:
        raise rows.faults(column, strange, "mend it, or add it to target.classes")
    if len(set(cells)) < 2:
        raise DataError(f"column {column!r}: every row has the label {cells[0]!r}: there is nothing to tell apart")
    if goal.classes is None and len(known) > max(20, len(rows) // 2):
        said = f"column {column!r} has {len(known)} different labels in {len(rows)} rows"
        raise DataError(f"{said}: is it a number or a text? Write target = {{ number = {column!r} }}".replace("'", '"'))
    places = {name: place for place, name in enumerate(known)}
    return np.array([places[str(cell)] for cell in cells]), known


def _sorted(words: set[str]) -> list[str]:
    """By value if all are numbers, else by name."""
    numbers = {word: _number(word) for word in words}
    if all(value is not None and math.isfinite(value) for value in numbers.values()):
        return sorted(words, key=lambda word: (numbers[word] or 0.0, word))
    return sorted(words)


def labels(goal: Goal, rows: Rows) -> "tuple[Array, list[str]]":
    """0 or 1 for each class in each row, float32 [N, L], and the classes."""
    import numpy as np

    if len(goal.columns) > 1:
        stacked = np.stack([numbers(rows, name, (), "write 0 or 1") for name in goal.columns], axis=1)
        for place, name in enumerate(goal.columns):
            wrong = [(int(row), "not 0 or 1") for row in np.flatnonzero(~np.isin(stacked[:, place], (0, 1)))]
            if wrong:
                raise rows.faults(name, wrong, "write 0 or 1")
        return stacked.astype(np.float32), list(goal.columns)
    column = goal.columns[0]
    sets = []
    for cell in rows.column(column).to_pylist():
        words = cell if isinstance(cell, list) else ("" if cell is None else str(cell)).split(goal.separator)
        sets.append({str(word).strip() for word in words} - {""})
    known = list(goal.classes or sorted(set().union(*sets)))
    strange = [
        (row, f"{min(own - set(known))!r} is no class of target.classes")
        for row, own in enumerate(sets)
        if own - set(known)
    ]
    if strange:
        raise rows.faults(column, strange, "mend it, or add it to target.classes")
    if not known:
        raise DataError(f"column {column!r} has no label in any row")
    return np.array([[word in own for word in known] for own in sets], np.float32), known


def number(goal: Goal, rows: Rows) -> "Array":
    import numpy as np

    column = goal.columns[0]
    found = numbers(rows, column, (), "mend it, or write target = { label = ... } if it is a class")
    if np.isnan(found).any():
        gone = [(int(row), "no number") for row in np.flatnonzero(np.isnan(found))]
        raise rows.faults(column, gone, "give each row its number, or leave the row out")
    return found


def answer(goal: Goal, rows: Rows) -> list[str]:
    column = goal.columns[0]
    found = texts(rows, column, ())
    if gone := [(row, "no text") for row, text in enumerate(found) if text is None]:
        raise rows.faults(column, gone, "give each row its text, or leave the row out")
    return [str(text) for text in found]


def nested(rows: Rows, column: str, unreadable: str) -> "pa.ChunkedArray":
    """A series or a video: lists of lists of numbers, as JSON lines, Parquet, Arrow and pickles can hold.

    Raises DataError for numbers that are not finite; with unreadable = "zero" they become 0, and with "missing" they
    stay, as those who read the rows leave such a one out.
    """
    import pyarrow.types as types

    found = rows.column(column)
    if types.is_string(found.type):
        raise DataError(
            f"column {column!r} holds text: a series or a video must be lists of numbers, as JSON lines and Parquet "
            "hold; files of videos are not read"
        )
    if not (types.is_list(found.type) or types.is_large_list(found.type) or types.is_fixed_size_list(found.type)):
        raise DataError(
            f"column {column!r} holds {found.type}, not lists of numbers: JSON lines and Parquet hold those"
        )
    wrong = [] if unreadable == "missing" else series.faulty(found)
    if wrong and unreadable != series.ZERO:
        hint = 'mend it, or write unreadable = "zero" in [task.data], or "missing" to leave out the whole series'
        raise rows.faults(column, [(row, "a number that is not finite") for row in wrong], hint)
    return series.mended(found) if wrong else found
