"""A look at the train rows of a data set: how long, how large, from where to where, and a few rows as they are.

`mmbench info` prints it beside the report, so that who described their own data sees how it was understood.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmbench.engine.data.tables import Table

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

MOST = {"image": 50, "audio": 50, "video": 10}
USUAL = 1000
"""Values that are looked at, of a kind that MOST does not have."""
ROWS = 3
WIDEST = 60


def lines(table: Table, rows: int = ROWS) -> list[str]:
    """What train holds, a line a modality, and its first rows."""
    columns = {m: table.values("train", m, first=MOST.get(kind, USUAL)) for m, kind in table.dataset.columns.items()}
    text = [
        f"{m}: {_spread(kind, [v for v in columns[m] if v is not None])}" for m, kind in table.dataset.columns.items()
    ]
    truth = table.targets("train")
    said = table.dataset.target.words(truth, table.facts["classes"])
    if not said and truth.dtype.kind == "f" and truth.ndim == 1:
        text.append(f"target: {truth.min():g} to {truth.max():g}")
    for row in range(min(rows, len(truth))):
        values = [f"{m} {_shown(kind, columns[m][row])}" for m, kind in table.dataset.columns.items()]
        target = said[row] if said else truth[row].tolist()
        text.append(f"row {row} of train: {'; '.join(values)} → {_short(str(target))}")
    return text


def _spread(kind: str, values: Sequence[Any]) -> str:
    import numpy as np

    if not values:
        return "no value in the first rows"
    if kind == "text":
        return f"{_range([len(value.split()) for value in values])} words"
    if kind == "image":
        return f"{_range([v.width for v in values])} x {_range([v.height for v in values])} pixels"
    if kind == "audio":
        rates = ", ".join(f"{rate:,}" for rate in sorted({value.rate for value in values}))
        return f"{_range([round(len(v.samples) / v.rate, 2) for v in values])} seconds at {rates} a second"
    if kind == "tabular":
        cells = np.stack(values)
        known = cells[np.isfinite(cells)]
        ends = f", {known.min():g} to {known.max():g}" if len(known) else ""
        return f"{cells.shape[1]} numbers a row{ends}, {1 - len(known) / cells.size:.0%} missing"
    shape = " x ".join(map(str, values[0].shape[1:]))
    return f"{_range([len(value) for value in values])} {'frames' if kind == 'video' else 'steps'} of {shape}"


def _range(numbers: Sequence[float]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _shown(kind: str, value: Any) -> str:
    """One value in a few words."""
    if value is None:
        return "(missing)"
    if kind == "text":
        return repr(_short(value))
    if kind == "image":
        return f"{value.width} x {value.height}"
    if kind == "audio":
        return f"{len(value.samples) / value.rate:.2f} s"
    if kind == "tabular":
        return _short(
            "[" + ", ".join(f"{number:g}" for number in value[:12]) + (", ..." if len(value) > 12 else "") + "]"
        )
    return " x ".join(map(str, value.shape))


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 3]}..."
