"""The contract of a metric catches the metrics that break it."""

from typing import Any, ClassVar, Literal

import numpy as np
import pytest

import mmbench as mb
from mmbench.api.parts import Metric
from mmbench.testing.metric import MetricContract

Array = np.ndarray[Any, Any]


class Sound(Metric):
    """Mean absolute error, as it should be."""

    name = "sound"
    targets: ClassVar[tuple[str, ...]] = ("number",)
    direction: ClassVar[Literal["max", "min"]] = "min"

    def score(self, truth: Array, prediction: Array) -> float:
        if not np.isfinite(prediction).all():
            raise ValueError("not finite")
        return float(np.abs(truth - prediction).mean())


class WrongDirection(Sound):
    direction = "max"


class Blind(Sound):
    def score(self, truth: Array, prediction: Array) -> float:
        return 0.5


class OrderMatters(Sound):
    def score(self, truth: Array, prediction: Array) -> float:
        return super().score(truth[:-1], prediction[:-1])


class OtherResample(Sound):
    def resampled(self, truth: Array, prediction: Array, rows: Array) -> Array:
        return super().resampled(truth, prediction, rows) + 0.1


class SameResample(Sound):
    def resampled(self, truth: Array, prediction: Array, rows: Array) -> Array:
        return np.full(len(rows), self.score(truth, prediction))


class Writes(Sound):
    def score(self, truth: Array, prediction: Array) -> float:
        found = super().score(truth, prediction)
        prediction -= prediction.mean()
        return found


class NotANumber(Sound):
    def score(self, truth: Array, prediction: Array) -> float:
        return float("nan")


class Whole(Sound):
    def score(self, truth: Array, prediction: Array) -> float:
        super().score(truth, prediction)
        return 1


class TakesAnything(Sound):
    def score(self, truth: Array, prediction: Array) -> float:
        return float(np.abs(truth - np.nan_to_num(prediction)).mean())


class Lacking(Sound):
    def score(self, truth: Array, prediction: Array) -> float:
        if np.ptp(truth) == 0:
            raise ValueError("constant")
        return super().score(truth, prediction)


class Sorts(Sound):
    def score(self, truth: Array, prediction: Array) -> float:
        prediction.sort()
        return super().score(np.sort(truth), prediction)


class Undefined(Sound):
    """Mean absolute error in deviations, which a constant has not."""

    def score(self, truth: Array, prediction: Array) -> float:
        if np.ptp(truth) == 0:
            raise mb.UndefinedError("all rows have the same number")
        return super().score(truth, prediction) / float(truth.std())


class NoTarget(Sound):
    targets = ("numbers",)


class TestSound(MetricContract):
    part = Sound


class TestUndefined(MetricContract):
    part = Undefined


BROKEN: list[tuple[type[Metric], str]] = [
    (WrongDirection, "test_a_perfect_prediction_gets_the_best_score"),
    (WrongDirection, "test_the_direction_is_right"),
    (Blind, "test_the_direction_is_right"),
    (OrderMatters, "test_the_order_of_rows_does_not_matter"),
    (OtherResample, "test_resampling_each_row_once_gives_the_score"),
    (SameResample, "test_a_resample_scores_as_its_rows_do"),
    (Writes, "test_nothing_given_is_changed"),
    (NotANumber, "test_a_score_is_one_finite_number"),
    (Whole, "test_a_score_is_one_finite_number"),
    (TakesAnything, "test_a_prediction_that_is_not_finite_is_refused"),
    (Lacking, "test_a_truth_that_lacks_something_has_a_finite_score_or_is_undefined"),
    (Sorts, "test_what_is_given_may_be_read_only"),
    (NoTarget, "test_describes_itself"),
]


@pytest.mark.parametrize(("part", "test"), BROKEN, ids=[f"{part.__name__}-{test}" for part, test in BROKEN])
def test_a_broken_metric_is_caught(part: type[Metric], test: str) -> None:
    contract = type("Contract", (MetricContract,), {"part": part})()
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        getattr(contract, test)()
