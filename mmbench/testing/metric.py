"""The contract of a metric, as tests: inherit the class, name your part, and pytest runs it all.

from mmbench.testing.metric import MetricContract
from my_metric import Mine

class TestMine(MetricContract):
    part = Mine
"""

import inspect
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest

from mmbench.api.parts import Metric
from mmbench.api.parts.head import Head
from mmbench.api.parts.scores import UNDEFINED, scored, sign
from mmbench.testing.rules.part import heads

Array = np.ndarray[Any, Any]


def truth_of(target: str | Head, rows: int, seed: int) -> Array:
    """Some truth of that type, as a metric gets it."""
    return _head(target).truth(rows, np.random.default_rng(seed))


def perfect(target: str | Head, truth: Array) -> Array:
    """The prediction that no other beats."""
    return _head(target).guess(truth, None)


def noisy(target: str | Head, truth: Array, seed: int) -> Array:
    """A prediction that knows something, but not all; probabilities where they are asked for."""
    return _head(target).guess(truth, np.random.default_rng(seed))


def _head(target: str | Head) -> Head:
    return heads()[target] if isinstance(target, str) else target


def poor(target: str | Head, rows: int) -> Array:
    """A truth that lacks something, as all its rows are alike; of pairs nothing can be lacking."""
    head = _head(target)
    draw = np.random.default_rng(0)
    return head.truth(rows, draw) if head.pairs else np.repeat(head.truth(1, draw), rows, axis=0)


class MetricContract:
    """What every metric must hold, for each type of target that it scores."""

    part: ClassVar[type[Metric]]
    rows: ClassVar[int] = 60
    heads: ClassVar[Mapping[str, Head]] = {}
    """Those of types of target that are not installed, for a metric that scores them."""

    def test_describes_itself(self) -> None:
        assert self.part.targets
        assert set(self.part.targets) <= {*heads(), *self.heads}, "targets names a type that no head is for"
        assert self.part.direction in ("max", "min")
        assert inspect.getdoc(self.part), "a docstring: its first line is the summary on `mmbench list`"

    def test_a_perfect_prediction_gets_the_best_score(self) -> None:
        for target in self._heads():
            truth = truth_of(target, self.rows, seed=0)
            best = self._signed(truth, perfect(target, truth))
            for seed in range(10):
                assert self._signed(truth, noisy(target, truth, seed)) <= best + 1e-12

    def test_the_direction_is_right(self) -> None:
        """Knowing something scores better than knowing the wrong rows, on the average of a few draws."""
        for target in self._heads():
            truth = truth_of(target, self.rows, seed=0)
            exact = perfect(target, truth)
            wrong = np.roll(exact, self.rows // 2 + 1, axis=0)
            assert self._signed(truth, exact) > self._signed(truth, wrong)

    def test_a_score_is_one_finite_number(self) -> None:
        for target in self._heads():
            truth = truth_of(target, self.rows, seed=0)
            score = self.part().score(truth, noisy(target, truth, 1))
            assert isinstance(score, float)
            assert math.isfinite(score)

    def test_nothing_given_is_changed(self) -> None:
        for target in self._heads():
            truth = truth_of(target, self.rows, seed=0)
            prediction = noisy(target, truth, 1)
            before = truth.copy(), prediction.copy()
            self.part().score(truth, prediction)
            self.part().resampled(truth, prediction, np.arange(self.rows)[None])
            assert np.array_equal(truth, before[0])
            assert np.array_equal(prediction, before[1])

    def test_resampling_each_row_once_gives_the_score(self) -> None:
        for target in self._heads():
            truth = truth_of(target, self.rows, seed=0)
            prediction = noisy(target, truth, 1)
            rows = np.stack([np.arange(self.rows), np.random.default_rng(0).permutation(self.rows)])
            score = self.part().score(truth, prediction)
            assert self.part().resampled(truth, prediction, rows) == pytest.approx([score, score], rel=1e-9)

    def test_a_resample_scores_as_its_rows_do(self) -> None:
        """Except in retrieval, where a resample is one of queries: the candidates stay."""
        for target in [head for head in self._heads() if not head.pairs]:
            truth = truth_of(target, self.rows, seed=0)
            prediction = noisy(target, truth, 1)
            rows = np.random.default_rng(0).integers(0, self.rows, (20, self.rows))
            expected = [self.part().score(truth[drawn], prediction[drawn]) for drawn in rows]
            assert self.part().resampled(truth, prediction, rows) == pytest.approx(expected, rel=1e-9)

    def test_a_truth_that_lacks_something_has_a_finite_score_or_is_undefined(self) -> None:
        """One class, no label, a constant, a single row: a number, or UndefinedError; and a resample of it alike."""
        for target in self._heads():
            for rows in (self.rows, 1):
                truth = poor(target, rows)
                prediction = noisy(target, truth, 1)
                found = scored(self.part(), truth, prediction)
                resampled = self.part().resampled(truth, prediction, np.arange(rows)[None])
                if isinstance(found, str):
                    assert found.startswith(UNDEFINED), f"raise mmbench.UndefinedError instead: {found}"
                    assert np.isnan(resampled).all()
                else:
                    assert resampled == pytest.approx([found], rel=1e-9)

    def test_what_is_given_may_be_read_only(self) -> None:
        for target in self._heads():
            truth = truth_of(target, self.rows, seed=0)
            prediction = noisy(target, truth, 1)
            assert scored(self.part(), truth, prediction) == self.part().score(truth, prediction)

    def test_the_order_of_rows_does_not_matter(self) -> None:
        for target in self._heads():
            truth = truth_of(target, self.rows, seed=0)
            prediction = noisy(target, truth, 1)
            order = np.random.default_rng(3).permutation(self.rows)
            score = self.part().score(truth, prediction)
            assert self.part().score(truth[order], prediction[order]) == pytest.approx(score, rel=1e-9)

    def test_a_prediction_that_is_not_finite_is_refused(self) -> None:
        for target in self._heads():
            truth = truth_of(target, self.rows, seed=0)
            for value in (math.nan, math.inf):
                prediction = noisy(target, truth, 1)
                if prediction.dtype.kind != "f":
                    continue  # texts
                prediction.flat[7] = value
                with pytest.raises(ValueError, match="finite"):
                    self.part().score(truth, prediction)

    def _heads(self) -> list[Head]:
        """The head of each type of target that the metric scores."""
        return [self.heads.get(target) or heads()[target] for target in self.part.targets]

    def _signed(self, truth: Array, prediction: Array) -> float:
        score = self.part().score(truth, prediction)
        return sign(self.part.direction) * score
