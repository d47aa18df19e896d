"""The contract of a dataset: inherit `DatasetContract`, name your part, and pytest loads and checks it.

    from mmbench.testing.dataset import DatasetContract
    from my_data import MyData

    class TestMyData(DatasetContract):
        part = MyData

The rows come through the user's own cache folder (MMBENCH_CACHE), so what must be downloaded is downloaded once.
How a stored value becomes what an encoder reads is written in `mmbench.api.columns.values`.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from mmbench.api.carrier import cache_folder
from mmbench.api.columns import targets, values
from mmbench.api.data import KINDS, SPLITS, Sound
from mmbench.api.parts import Dataset
from mmbench.engine.data.intake import declared
from mmbench.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from datasets import DatasetDict

    Array = np.ndarray[Any, Any]


class DatasetContract:
    """The tests every dataset passes. `part` is the Dataset's class."""

    part: ClassVar[type[Dataset]]

    @pytest.fixture(scope="class")
    @classmethod
    def splits(cls) -> "DatasetDict":
        return cls.part().load(cache_folder())

    def test_it_says_what_it_is(self) -> None:
        part = self.part
        assert (part.__doc__ or "").strip(), "the docstring's first line is its summary"
        assert part.licence.strip(), "a dataset needs a licence"
        assert part.columns, "a dataset needs modalities"
        assert set(part.columns.values()) <= set(KINDS), f"the kinds are {KINDS}"
        sides = {modality for side in part.target.sides for modality in side}
        assert sides <= set(part.columns), f"the sides of a {part.target.type} are modalities"

    def test_origin_is_quick_and_steady(self) -> None:
        start = time.perf_counter()
        first = self.part().origin()
        assert time.perf_counter() - start < 0.5, "origin() is asked often: it may not load, download or hash data"
        assert first == self.part().origin()

    def test_it_has_the_three_splits(self, splits: "DatasetDict") -> None:
        assert set(splits) == set(SPLITS)
        assert all(len(splits[name]) for name in SPLITS)
        features = [splits[name].features for name in SPLITS]
        assert features[0] == features[1] == features[2], "a column has the same feature in each split"

    def test_each_modality_holds_values_of_its_kind(self, splits: "DatasetDict") -> None:
        for name in SPLITS:
            for modality, kind in self.part.columns.items():
                column = values(splits[name], modality, kind)
                present = [value for value in column if value is not None]
                assert len(column) == len(splits[name])
                assert present, f"{name}: every value of {modality!r} is missing"
                for value in present:
                    problem = _problem(value, kind)
                    assert problem is None, f"{name}: a value of {modality!r} ({kind}) {problem}"

    def test_tabular_rows_are_equally_wide(self, splits: "DatasetDict") -> None:
        for modality, kind in self.part.columns.items():
            if kind == "tabular":
                rows = [value for name in SPLITS for value in values(splits[name], modality, kind)]
                assert len({len(row) for row in rows if row is not None}) == 1

    def test_the_target_column_fits_the_target(self, splits: "DatasetDict") -> None:
        """Its type can read it, has the same classes in each split, and train holds what is to be learned."""
        target = self.part.target
        try:
            names = target.names({name: splits[name].features for name in SPLITS})
        except DataError as error:
            raise AssertionError(str(error)) from None
        for name in SPLITS:
            truth = targets(splits[name], target)
            assert len(truth) == len(splits[name])
            fault = target.fault(truth, names, name)
            assert fault is None, f"{name}: {fault}"

    def test_no_row_is_in_two_splits(self, splits: "DatasetDict") -> None:
        rows = {name: set(self._digests(splits[name], self.part.columns)) for name in SPLITS}
        for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
            shared = rows[one] & rows[other]
            assert not shared, f"{len(shared)} rows of {one} are in {other} too"

    def test_what_it_declares_is_there(self, splits: "DatasetDict") -> None:
        """`groups`, `stratify` and `time` name columns that have a value in each row; no group is in two splits."""
        import numpy as np

        found = declared(self.part(), splits)
        ends = np.cumsum([len(splits[name]) for name in SPLITS])[:-1]
        groups = [set(part.tolist()) for part in np.split(found["group"], ends)] if "group" in found else []
        assert sum(map(len, groups)) == len(set().union(*groups)), "a group is in two splits"

    def test_no_value_of_a_side_has_two_answers(self, splits: "DatasetDict") -> None:
        for name in SPLITS:
            for side in self.part.target.sides:
                rows = Counter(self._digests(splits[name], side))
                assert max(rows.values()) == 1, f"{name}: {side} has duplicates"

    def test_the_target_is_no_modality(self, splits: "DatasetDict") -> None:
        target = self.part.target
        assert not set(target.columns) & set(self.part.columns)
        if not target.columns:
            return
        truth = targets(splits["train"], target)
        told = target.words(truth, target.names({name: splits[name].features for name in SPLITS}))
        for modality, kind in self.part.columns.items():
            column = values(splits["train"], modality, kind)
            number = truth.ndim == 1 and truth.dtype.kind in "biuf"
            if kind == "tabular" and number and all(row is not None for row in column):
                same = _equal_columns(column, truth)
                assert not same, f"column {same} of {modality!r} is the target"
            if kind == "text" and told is not None:
                pairs = zip(column, told, strict=True)
                leaks = sum(word.strip().lower() == (text or "").strip().lower() for text, word in pairs)
                assert leaks < 0.5 * len(told), f"the text {modality!r} is the target"

    def test_loading_twice_gives_the_same_rows(self, splits: "DatasetDict") -> None:
        again = self.part().load(cache_folder())
        for name in SPLITS:
            assert splits[name].column_names == again[name].column_names
            one, other = (self._digests(loaded[name], loaded[name].column_names) for loaded in (splits, again))
            assert one == other, f"{name} differs"

    def _digests(self, split: Any, columns: Iterable[str]) -> list[bytes]:
        """A hash of each row's values in `columns`."""
        hashed = zip(*(_bytes(split, name, self.part.columns.get(name)) for name in columns), strict=True)
        return [hashlib.sha256(repr(row).encode()).digest() for row in hashed]


def _bytes(split: Any, name: str, kind: str | None) -> list[Any]:
    """A column's values as they are stored, which is to say undecoded."""
    if kind in ("tabular", "series", "video"):
        return [None if value is None else (value.shape, value.tobytes()) for value in values(split, name, kind)]
    return list(split.select_columns([name]).with_format("arrow")[:].column(name).to_pylist())


def _problem(value: Any, kind: str) -> str | None:
    """What is wrong with a decoded value, None if nothing."""
    import numpy as np

    if kind == "text":
        return None if isinstance(value, str) and value.strip() else "is empty"
    if kind == "image":
        return None if value.mode == "RGB" and min(value.size) > 0 else f"is {value}"
    if kind == "audio":
        array, ndim = (value.samples, 1) if isinstance(value, Sound) else (None, 0)
    else:
        array, ndim = value, {"tabular": 1, "series": 2, "video": 4}[kind]
    if array is None or array.ndim != ndim or not array.size:
        return f"has the shape {getattr(array, 'shape', None)}"
    if kind != "tabular" and not np.isfinite(array).all():  # a tabular cell may be missing, as NaN
        return "holds numbers that are not finite"
    if kind == "tabular" and np.isinf(array).any():
        return "holds an infinite number"
    return None


def _equal_columns(rows: list[Any], truth: "Array") -> list[int]:
    """Which columns are the target itself, up to scale and shift."""
    import numpy as np

    table = np.stack(rows).astype(float)
    return [n for n, column in enumerate(table.T) if column.std() and abs(np.corrcoef(column, truth)[0, 1]) > 0.9999]
