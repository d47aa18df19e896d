"""Says of each row whether it is train, validation or test; holds what a split by group or time promises."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmbench.api.data import SPLITS
from mmbench.errors import DataError
from mmbench_own.form import Form
from mmbench_own.reading import Rows
from mmbench_own.typed import times

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

ALIASES = {
    "train": ("training", "train"),
    "validation": ("validation", "valid", "val", "dev", "development"),
    "test": ("testing", "test", "eval"),
}
"""What data sets call their splits."""
FEWEST = 2
"""Rows of a split."""


def split(form: Form, rows: Rows, given: "Sequence[str] | None", strata: "Array | None") -> "Array":
    """The number in SPLITS of each row. given: what the data call each row's split, if they do; strata: the class of
    each row, if the target is a label. Raises DataError for a split that is empty or breaks its promise."""
    import numpy as np

    plan = form.split
    if plan.by == "given":
        if plan.column:
            column = rows.column(plan.column)
            given = ["" if cell is None else str(cell).strip() for cell in column.to_pylist()]
        elif given is None:
            raise DataError('split: by = "given" needs files for each split, or the column that names it')
        found = _given(form, rows, given)
    else:
        found = np.full(len(rows), -1)
    if plan.fractions:
        shares = [plan.fractions.get(name, 0.0) for name in SPLITS]
        here = np.flatnonzero(found == -1) if plan.by == "fractions" else np.flatnonzero(found == 0)
        if plan.by == "given":
            shares[0] = 1 - sum(shares[1:])
        found[here] = _cut(form, rows, here, shares, strata)
    counts = [int((found == number).sum()) for number in range(3)]
    for name, count in zip(SPLITS, counts, strict=True):
        if count < FEWEST:
            said = "no row" if not count else "one row"
            raise DataError(f"split: {name} has {said} of {len(rows)}: {_more(form, name)}")
    _hold(form, rows, found)
    return found


def _more(form: Form, name: str) -> str:
    if form.split.by == "given" and name != "train":
        return f"name its files, or write {name} = 0.2 in [task.data.split] to take some of train"
    return "more rows are needed, or other shares"


def _given(form: Form, rows: Rows, given: "Sequence[str]") -> "Array":
    import numpy as np

    own = {value: SPLITS.index(name) for name, value in (form.split.names or {}).items()}
    known = {alias: SPLITS.index(name) for name, aliases in ALIASES.items() for alias in aliases} | own
    found = np.array(
        [known.get(value, known.get(value.lower(), -2)) if value not in own else own[value] for value in given]
    )
    strangers = np.flatnonzero(found == -2)
    if len(strangers):
        value = given[strangers[0]]
        said = (
            f"{rows.place(int(strangers[0]))}: {value!r} is no split"
            if value
            else f"{rows.place(int(strangers[0]))} names no split"
        )
        raise DataError(
            f'split: {said}; write names = {{ validation = "dev" }} in [task.data.split] for names of your own'
        )
    return found


def _cut(form: Form, rows: Rows, here: "Array", shares: Sequence[float], strata: "Array | None") -> "Array":
    import numpy as np

    plan = form.split
    if plan.time:
        return _by_time(times(rows, plan.time)[here], shares)
    random = np.random.default_rng(plan.seed)
    if plan.group:
        return _by_group(_groups(rows, plan.group)[here], shares, random)
    stratify = strata is not None if plan.stratify is None else plan.stratify
    if stratify and strata is None:
        raise DataError("split: stratify = true needs a label as the target")
    found = np.zeros(len(here), int)
    for stratum in np.unique(strata[here]) if stratify and strata is not None else [None]:
        members = np.arange(len(here)) if stratum is None else np.flatnonzero(strata[here] == stratum)  # type: ignore[index]
        members = random.permutation(members)
        ends = np.round(np.cumsum(shares) * len(members)).astype(int)
        found[members] = np.searchsorted(ends, np.arange(len(members)), side="right").clip(0, 2)
    return found


def _by_time(when: "Array", shares: Sequence[float]) -> "Array":
    """The earliest are train, the latest test; rows of one time stay together."""
    import numpy as np

    order = np.sort(when)
    ends = [order[min(len(order) - 1, round(share * len(order)))] for share in np.cumsum(shares)[:2]]
    return np.searchsorted(np.array(ends), when, side="right")


def _by_group(groups: "Array", shares: Sequence[float], random: "np.random.Generator") -> "Array":
    """Whole groups, the largest first, each to the split that lacks most of its share."""
    import numpy as np

    names, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = sorted(random.permutation(len(names)), key=lambda one: -sizes[one])
    room = np.array(shares) * len(groups)
    part = np.zeros(len(names), int)
    for one in order:
        part[one] = int(np.argmax(room))
        room[part[one]] -= sizes[one]
    return part[member]


def _groups(rows: Rows, name: str) -> "Array":
    import numpy as np

    cells = rows.column(name).to_pylist()
    if gone := [(row, "no group") for row, cell in enumerate(cells) if cell is None or str(cell).strip() == ""]:
        raise rows.faults(name, gone, "name the group of each row, or take group out of [task.data.split]")
    return np.array([str(cell).strip() for cell in cells])


def _hold(form: Form, rows: Rows, found: "Array") -> None:
    """A group is in one split only; what is later than test is no train row."""
    import numpy as np

    plan = form.split
    if plan.group:
        groups = _groups(rows, plan.group)
        first: dict[str, int] = {}
        for row, group in enumerate(groups):
            other = first.setdefault(group, row)
            if found[other] != found[row]:
                here, there = (f"{SPLITS[found[r]]} ({rows.place(r)})" for r in (other, row))
                said = f"split: group {str(group)!r} of column {plan.group!r} is in {here} and in {there}"
                raise DataError(f"{said}: move one, or split by fractions")
    if plan.time:
        when = times(rows, plan.time)
        for late in (1, 2):
            begin = np.flatnonzero(found == late)[np.argmin(when[found == late])]
            wrong = np.flatnonzero((found < late) & (when > when[begin]))
            if len(wrong):
                row = int(wrong[0])
                raise DataError(
                    f"split: {SPLITS[found[row]]} has rows that are later than the first of {SPLITS[late]} by "
                    f"{plan.time!r}: {rows.place(row)}, and {len(wrong) - 1} more, against {rows.place(int(begin))}"
                )
