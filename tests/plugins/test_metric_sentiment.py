"""The metrics of multimodal sentiment: equal to the definitions in NumPy and scikit-learn, and where there is none."""

import warnings
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st
from mmbench_metric.sentiment import METRICS as FOUND

import mmbench as mb
from mmbench.api.parts.scores import scored

Array = np.ndarray[Any, Any]
METRICS = {metric.name: metric() for metric in FOUND}


def definitions(truth: Array, prediction: Array) -> dict[str, float]:
    """As the field's code computes them, one set of rows at a time; NaN where it would fail."""
    some = truth != 0
    flat = len(set(truth)) == 1
    held, decided = truth[some] > 0, prediction[some] > 0
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        return {
            "acc2": np.mean((truth >= 0) == (prediction >= 0)),
            "acc2_nonzero": np.mean(held == decided) if some.any() else np.nan,
            "acc7": np.mean(np.round(truth.clip(-3, 3)) == np.round(prediction.clip(-3, 3))),
            "f1_nonzero": sk.f1_score(held, decided, average="weighted", zero_division=0) if some.any() else np.nan,
            "pearson": np.nan if flat else np.nan_to_num(np.corrcoef(truth, prediction)[0, 1]),
        }


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 30), st.integers(0, 2**31))
def test_they_equal_their_definitions(rows: int, seed: int) -> None:
    """With zeros, halves and values beyond 3 on both sides; on the rows as they are and on resamples of them."""
    draw = np.random.default_rng(seed)
    truth, prediction = (np.round(draw.normal(0, 2, rows) * 2) / 2 for _ in range(2))
    resamples = np.stack([np.arange(rows), draw.integers(0, rows, rows), np.zeros(rows, int)])
    expected = [definitions(truth[r], prediction[r]) for r in resamples]
    for name, metric in METRICS.items():
        wanted = [one[name] for one in expected]
        assert metric.resampled(truth, prediction, resamples) == pytest.approx(wanted, nan_ok=True, abs=1e-12), name
        if not np.isnan(wanted[0]):
            assert metric.score(truth, prediction) == pytest.approx(wanted[0], abs=1e-12), name


def test_zeros_by_hand() -> None:
    truth, prediction = np.array([0.0, 0.0, -1.0, 2.0]), np.array([0.4, -0.4, 0.0, 0.0])
    assert METRICS["acc2"].score(truth, prediction) == 2 / 4  # 0 is not negative, whether true or predicted
    assert METRICS["acc2_nonzero"].score(truth, prediction) == 1 / 2  # of -1 and 2; a predicted 0 is not positive
    assert METRICS["f1_nonzero"].score(truth, prediction) == pytest.approx(1 / 3)  # (2/3 of negative + 0) / 2
    assert METRICS["acc7"].score(truth, prediction) == 2 / 4  # 0.4 and -0.4 round to 0


def test_clipped_before_it_is_rounded() -> None:
    assert METRICS["acc7"].score(np.array([3.0, -3.0]), np.array([9.0, -3.2])) == 1


@pytest.mark.parametrize("name", ["acc2_nonzero", "f1_nonzero"])
def test_no_number_without_a_row_that_is_not_zero(name: str) -> None:
    with pytest.raises(mb.UndefinedError, match="every row is 0"):
        METRICS[name].score(np.zeros(4), np.arange(4.0))


def test_correlation_of_constants() -> None:
    truth, still = np.arange(4.0), np.full(4, 0.1)
    assert str(scored(METRICS["pearson"], still, truth)).startswith("undefined")
    assert METRICS["pearson"].score(truth, still) == 0
    assert METRICS["pearson"].score(truth * 1e200, truth) == pytest.approx(1)


@pytest.mark.parametrize(
    ("target", "tuned", "scores"),
    [
        ("price", "mae", False),
        ("price", "pearson", True),
        ("sentiment", "mae", True),
        ("regression_labels", "r2", True),
    ],
)
def test_only_a_sentiment_is_scored(target: str, tuned: str, scores: bool) -> None:
    """A board of prices has no Acc-7, and stays as it was."""
    task = mb.Task(name="t", dataset="d", modalities={"a": "text"}, target=mb.Number(target), metric=tuned)
    assert all(metric.concerns(task) == scores for metric in METRICS.values())
