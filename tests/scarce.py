"""A plugin for tests: data that lack something, and metrics that are undefined for it, fail, or misbehave."""

from pathlib import Path
from typing import Any, ClassVar

import mmbench as mb
from mmbench.api.data import Target


class Scarce(mb.Dataset):
    """Two views of three classes; `classes` says how many rows of each class a split has."""

    columns = {"left": "tabular", "right": "tabular"}
    target: ClassVar[Target] = mb.Label("label")
    licence = "CC0-1.0"
    enough: ClassVar[tuple[int, ...]] = (12, 12, 12)
    splits: ClassVar[dict[str, tuple[int, ...]]] = {}

    def load(self, cache: Path) -> Any:
        import numpy as np
        from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

        rng = np.random.default_rng(3)
        number = List(Value("float32"))
        form = Features(left=number, right=number, label=ClassLabel(names=list("abc")))
        made = {}
        for split in ("train", "validation", "test"):
            label = rng.permutation(np.repeat(np.arange(3), self.splits.get(split, self.enough)))
            left, right = (np.c_[label, label == 1] + rng.normal(0, 0.7, (len(label), 2)) for _ in "lr")
            rows = {"left": left.tolist(), "right": right.tolist(), "label": label.tolist()}
            made[split] = Dataset.from_dict(rows, features=form)
        return DatasetDict(made)


class Rare0(Scarce):
    """No row of the third class is in test."""

    name = "rare0"
    splits = {"test": (12, 12, 0)}


class Rare1(Scarce):
    """One row of the third class is in test: a third of the resamples has none."""

    name = "rare1"
    splits = {"test": (12, 12, 1)}


class OneRow(Scarce):
    """Test is a single row."""

    name = "one_row"
    splits = {"test": (0, 1, 0)}


class ValidOneKind(Scarce):
    """All rows of validation have one class, and train has one row of another."""

    name = "valid_one_kind"
    splits = {"train": (12, 12, 1), "validation": (12, 0, 0)}


class Constant(Scarce):
    """A number that is the same for all rows of test."""

    name = "constant"
    target = mb.Number("number")
    splits = {"test": (9, 0, 0)}

    def load(self, cache: Path) -> Any:
        return super().load(cache).map(lambda row: {"number": 1.0 + row["label"]}, remove_columns="label")


class Picky(mb.Metric):
    """The mean recall of all classes, and no word on what to do without one of them."""

    name = "picky"
    targets = ("label",)
    interval = True

    def score(self, truth: Any, prediction: Any) -> float:
        missing = set(range(prediction.shape[1])) - set(truth.tolist())
        if missing:
            raise KeyError(f"no class {min(missing)}")
        right = prediction.argmax(1) == truth
        return float(sum(right[truth == c].mean() for c in range(prediction.shape[1])) / prediction.shape[1])


class Nan(mb.Metric):
    """Gives NaN."""

    name = "nan"
    targets = ("label",)

    def score(self, truth: Any, prediction: Any) -> float:
        return float("nan")


class Words(mb.Metric):
    """Gives no number."""

    name = "words"
    targets = ("label",)

    def score(self, truth: Any, prediction: Any) -> float:
        return "good"  # type: ignore[return-value]


class Sorts(mb.Metric):
    """Changes what it is given: it is called before `zero_one`."""

    name = "sorts"
    targets = ("label",)

    def score(self, truth: Any, prediction: Any) -> float:
        truth.sort()
        prediction[:] = 0
        return 1.0


class Reshapes(mb.Metric):
    """Changes the form of what it is given, which a view that can't be written to allows."""

    name = "reshapes"
    targets = ("label",)

    def score(self, truth: Any, prediction: Any) -> float:
        truth.shape = (-1, 1)
        return float((truth[:, 0] == prediction.argmax(1)).mean())


class Quits(mb.Metric):
    """Ends the process."""

    name = "quits"
    targets = ("label",)

    def score(self, truth: Any, prediction: Any) -> float:
        raise SystemExit(3)


class ZeroOne(mb.Metric):
    """One minus accuracy."""

    name = "zero_one"
    targets = ("label",)
    direction = "min"

    def score(self, truth: Any, prediction: Any) -> float:
        return float((truth != prediction.argmax(1)).mean())


@mb.hookimpl
def mmbench_datasets() -> list[type[mb.Dataset]]:
    return [Rare0, Rare1, OneRow, ValidOneKind, Constant]


@mb.hookimpl
def mmbench_metrics() -> list[type[mb.Metric]]:
    return [Sorts, Reshapes, Picky, Nan, Words, Quits, ZeroOne]
