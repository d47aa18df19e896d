"""Reads collections of time series from the .ts files of the wheel aeon.

Source: the format of the UEA and UCR archives, https://www.timeseriesclassification.com.
"""

from typing import TYPE_CHECKING, Any, TypeAlias

from mmbench.api.carrier import Carrier
from mmbench.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

AEON = Carrier(
    package="aeon",
    version="1.6.0",
    sha256="d05227086706f80111ac5fee8de4d5d3115bb3bcfd1c786c8629393055816409",
    size=6421000,
    licence="BSD-3-Clause (the wheel; each collection has its own)",
)


def collection(name: str) -> "tuple[list[Array], list[str], int]":
    """The series float32 [T, C] of a collection and their labels, first those of its train part; how many these are."""
    parts = [parse(AEON.read(f"aeon/datasets/data/{name}/{name}_{part}.ts").decode()) for part in ("TRAIN", "TEST")]
    (train, train_labels), (test, test_labels) = parts
    return [*train, *test], [*train_labels, *test_labels], len(train)


def parse(text: str) -> "tuple[list[Array], list[str]]":
    """The series [T, C] of one file and their labels: a line each, channels between colons, then the label.

    Raises DataError for a line that can't be read, or whose channels are of unequal length.
    """
    import numpy as np

    series: list[Array] = []
    labels: list[str] = []
    lines = enumerate(text.splitlines(), 1)
    if not any(line.strip().lower() == "@data" for _, line in lines):
        raise DataError("the collection of series has no @data")
    for number, line in lines:
        if line.strip() and not line.startswith("#"):
            *channels, label = line.strip().split(":")
            try:
                values = np.array([channel.split(",") for channel in channels], np.float32).T
            except ValueError as error:
                raise DataError(f"line {number} of the collection of series can't be read: {error}") from error
            if values.ndim != 2 or not np.isfinite(values).all():
                raise DataError(f"line {number} of the collection of series holds no series of numbers")
            series.append(values)
            labels.append(label)
    return series, labels


def official(labels: list[str], train: int) -> dict[str, list[int]]:
    """The official test part; of the official train part, of each class every fourth row for validation."""
    rows: dict[str, list[int]] = {"train": [], "validation": [], "test": list(range(train, len(labels)))}
    seen: dict[str, int] = {}
    for row, label in enumerate(labels[:train]):
        seen[label] = seen.get(label, 0) + 1
        rows["validation" if seen[label] % 4 == 0 else "train"].append(row)
    return rows
