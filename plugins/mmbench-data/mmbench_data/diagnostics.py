"""Diagnostics: tasks whose information is known by construction, made in no time and without a download.

Two tabular modalities, `a` and `b`, 4 numbers each, and a label of two classes. Where a modality says something, it
says it by the sign of its first number; the other numbers are noise. In each split exactly 5 labels in 100 are
flipped, so the best possible accuracy is exactly 0.95, whatever is fused how.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from mmbench import Dataset, Label
from mmbench_data.splits import tables

if TYPE_CHECKING:
    import numpy as np
    from datasets import DatasetDict

    Array: TypeAlias = np.ndarray[Any, Any]

ROWS = {"train": 1000, "validation": 500, "test": 1000}
WIDTH = 4
FLIPPED = 0.05


class _Diagnostic(Dataset):
    columns = {"a": "tabular", "b": "tabular"}
    target = Label("label")
    licence = "CC0-1.0"
    ceiling: ClassVar[float] = 1 - FLIPPED
    """The accuracy of the best possible classifier of both modalities."""
    alone: ClassVar[dict[str, float]]
    """The accuracy of the best possible classifier of one modality."""

    def _truth(self, signs: "Array") -> "Array":
        """The label before any is flipped, [N], from the signs of a and b, [N, 2] of -1 and 1; may change them."""
        raise NotImplementedError

    def load(self, cache: Path) -> "DatasetDict":
        import numpy as np
        from datasets import ClassLabel, List, Value

        generator = np.random.default_rng(0)
        columns: dict[str, list[Any]] = {"a": [], "b": [], "label": []}
        rows: dict[str, list[int]] = {}
        for split, count in ROWS.items():
            signs = generator.choice([-1, 1], size=(count, 2))
            truth = self._truth(signs)
            truth[generator.permutation(count)[: round(FLIPPED * count)]] ^= 1
            numbers = generator.normal(size=(2, count, WIDTH))
            numbers[:, :, 0] = signs.T * generator.uniform(0.5, 1.5, size=(2, count))
            rows[split] = list(range(len(columns["label"]), len(columns["label"]) + count))
            columns["a"] += list(numbers[0])
            columns["b"] += list(numbers[1])
            columns["label"] += truth.tolist()
        features = {"a": List(Value("float32")), "b": List(Value("float32")), "label": ClassLabel(names=["0", "1"])}
        return tables(columns, rows, features)


class Synergy(_Diagnostic):
    """XOR of two modalities: neither alone says anything; ceiling 0.95 together, 0.5 alone.

    The label is 1 where the signs of a and b differ. Adding a score of each
    modality gets at most three of the four combinations of signs right: 0.725. Behind a sum of vectors the head, which
    is not linear, can do better.
    """

    name = "synergy"
    alone = {"a": 0.5, "b": 0.5}

    def _truth(self, signs: "Array") -> "Array":
        truth: Array = (signs[:, 0] != signs[:, 1]).astype(int)
        return truth


class Redundant(_Diagnostic):
    """Each of two modalities says all there is to know; ceiling 0.95 together and alone.

    A fusion has nothing to gain here, and something to lose.
    """

    name = "redundant"
    alone = {"a": 0.95, "b": 0.95}

    def _truth(self, signs: "Array") -> "Array":
        signs[:, 1] = signs[:, 0]
        truth: Array = (signs[:, 0] > 0).astype(int)
        return truth


class Unique(_Diagnostic):
    """Only the first of two modalities says anything; ceiling 0.95 together and for a alone, 0.5 for b alone.

    A fusion must learn to leave b aside.
    """

    name = "unique"
    alone = {"a": 0.95, "b": 0.5}

    def _truth(self, signs: "Array") -> "Array":
        truth: Array = (signs[:, 0] > 0).astype(int)
        return truth
