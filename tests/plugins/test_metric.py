"""The built-in metrics: the contract for each, and equality with scikit-learn, scipy or the equation by hand."""

import re
import warnings
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st
from mmbench_metric import mmbench_metrics, resample
from mmbench_metric.match import query_ranks
from scipy.stats import ConstantInputWarning, spearmanr

import mmbench as mb
from mmbench.api.parts import Metric
from mmbench.testing.metric import MetricContract, noisy, truth_of

METRICS: dict[str, type[Metric]] = {m.name: m for m in mmbench_metrics() if "text" not in m.targets}
"""Those of texts are in test_metric_text."""
Array = np.ndarray[Any, Any]


def _contracts() -> dict[str, type]:
    names = {name: "Test" + re.sub(r"\W", "At", name.title()) for name in METRICS}
    return {names[name]: type(names[name], (MetricContract,), {"part": part}) for name, part in METRICS.items()}


globals().update(_contracts())


def test_all_are_there() -> None:
    sides = ("", "_forward", "_backward")
    assert set(METRICS) == {
        *("accuracy", "balanced_accuracy", "precision", "recall", "f1", "log_loss", "brier", "ece", "auroc"),
        *("micro_f1", "macro_f1", "subset_accuracy", "map", "mae", "rmse", "r2", "spearman", "mrr", "median_rank"),
        *("acc2", "acc2_nonzero", "acc7", "f1_nonzero", "pearson"),
        *(f"recall@{k}{side}" for k in (1, 5, 10) for side in sides),
    }


def label_references(truth: Array, probability: Array) -> dict[str, float]:
    decided, classes = probability.argmax(1), range(probability.shape[1])
    macro: dict[str, Any] = {"average": "macro", "zero_division": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # classes that the truth lacks
        balanced = sk.balanced_accuracy_score(truth, decided)
    own = np.eye(len(classes))[truth]
    return {
        "accuracy": sk.accuracy_score(truth, decided),
        "balanced_accuracy": balanced,
        "precision": sk.precision_score(truth, decided, **macro),
        "recall": sk.recall_score(truth, decided, **macro),
        "f1": sk.f1_score(truth, decided, **macro),
        "log_loss": sk.log_loss(truth, probability, labels=list(classes)),
        "brier": sum(np.mean((own[:, c] - probability[:, c]) ** 2) for c in classes),
    }


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 40), st.integers(2, 6), st.integers(0, 2**31))
def test_label_metrics_equal_scikit_learn(rows: int, classes: int, seed: int) -> None:
    """Also where the truth lacks classes, on the rows as they are and on resamples of them."""
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, classes, rows)
    probability = draw.dirichlet(np.full(classes, 0.5), rows)
    resamples = np.stack([np.arange(rows), draw.integers(0, rows, rows), np.zeros(rows, int)])
    references = [label_references(truth[r], probability[r]) for r in resamples]
    for name in references[0]:
        expected = [reference[name] for reference in references]
        assert METRICS[name]().score(truth, probability) == pytest.approx(expected[0])
        assert METRICS[name]().resampled(truth, probability, resamples) == pytest.approx(expected)


def test_area_under_roc_equals_scikit_learn() -> None:
    draw = np.random.default_rng(0)
    truth, probability = draw.integers(0, 4, 80), np.round(draw.dirichlet(np.ones(4), 80), 1)  # with ties
    resamples = draw.integers(0, 80, (10, 80))
    expected = [np.mean([sk.roc_auc_score(truth[r] == c, probability[r, c]) for c in range(4)]) for r in resamples]
    assert METRICS["auroc"]().resampled(truth, probability, resamples) == pytest.approx(expected)
    lacking = np.where(truth == 3, 2, truth)  # a class that only the prediction knows is left out
    expected_score = np.mean([sk.roc_auc_score(lacking == c, probability[:, c]) for c in range(3)])
    assert METRICS["auroc"]().score(lacking, probability) == pytest.approx(expected_score)


def test_calibration_error_by_hand() -> None:
    """Two bins: (0.6, 0.667] holds 3 rows, 1 right; (0.933, 1] holds 2 rows, both right."""
    confidence = np.array([0.65, 0.65, 0.65, 0.95, 0.95])
    probability = np.stack([confidence, 1 - confidence], axis=1)
    truth = np.array([0, 1, 1, 0, 0])
    expected = 3 / 5 * abs(1 / 3 - 0.65) + 2 / 5 * abs(1 - 0.95)
    assert METRICS["ece"]().score(truth, probability) == pytest.approx(expected)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 30), st.integers(1, 5), st.integers(0, 2**31))
def test_labels_metrics_equal_scikit_learn(rows: int, labels: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    truth, probability = draw.integers(0, 2, (rows, labels)), np.round(draw.random((rows, labels)), 2)
    resamples = np.stack([np.arange(rows), draw.integers(0, rows, rows), np.zeros(rows, int)])
    expected: dict[str, list[float]] = {"micro_f1": [], "macro_f1": [], "subset_accuracy": [], "map": []}
    none = [not truth[r].any() for r in resamples]
    for r in resamples:
        t, p = truth[r], probability[r]
        # scikit-learn takes a single column of labels for one label out of two.
        ones = {"pos_label": 1} if labels == 1 else {}
        flat = (t.ravel(), p.ravel() > 0.5)
        expected["micro_f1"].append(sk.f1_score(*flat, zero_division=0, **ones))
        each = [sk.f1_score(t[:, k], p[:, k] > 0.5, zero_division=0) for k in range(labels)]
        expected["macro_f1"].append(float(np.mean(each)))
        expected["subset_accuracy"].append(float(np.mean([(a == b).all() for a, b in zip(t, p > 0.5, strict=True)])))
        held = [k for k in range(labels) if t[:, k].any()]
        expected["map"].append(float(np.mean([sk.average_precision_score(t[:, k], p[:, k]) for k in held] or [0.0])))
    for name, scores in expected.items():
        if name != "subset_accuracy":
            scores = list(np.where(none, np.nan, scores))
        assert METRICS[name]().resampled(truth, probability, resamples) == pytest.approx(scores, nan_ok=True)
        if labels > 1 and scores[0] == scores[0]:
            assert METRICS[name]().score(truth, probability) == pytest.approx(scores[0])


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 30), st.integers(0, 2**31))
def test_number_metrics_equal_scikit_learn_and_scipy(rows: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    truth, prediction = np.round(draw.normal(3, 1, rows), 1), np.round(draw.normal(3, 1, rows), 1)  # with ties
    resamples = np.stack([np.arange(rows), draw.integers(0, rows, rows), np.zeros(rows, int)])
    pairs = [(truth[r], prediction[r]) for r in resamples]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        spearman = [np.nan_to_num(spearmanr(t, p).statistic) if len(set(t)) > 1 else np.nan for t, p in pairs]
    expected = {
        "mae": [sk.mean_absolute_error(t, p) for t, p in pairs],
        "rmse": [sk.root_mean_squared_error(t, p) for t, p in pairs],
        # scikit-learn divides by the rounding error of a constant truth's variance
        "r2": [sk.r2_score(t, p) if len(set(t)) > 1 else np.nan for t, p in pairs],
        "spearman": spearman,
    }
    for name, scores in expected.items():
        assert METRICS[name]().resampled(truth, prediction, resamples) == pytest.approx(scores, nan_ok=True)
        if scores[0] == scores[0]:
            assert METRICS[name]().score(truth, prediction) == pytest.approx(scores[0])


UNDEFINED = {
    ("auroc", "one class"): "all rows have the same class",
    ("auroc", "one row"): "all rows have the same class",
    ("micro_f1", "no label"): "no row has any of the labels",
    ("macro_f1", "no label"): "no row has any of the labels",
    ("map", "no label"): "no row has any of the labels",
    ("r2", "constant"): "all rows have the same number",
    ("r2", "one row"): "there is one row only",
    ("spearman", "constant"): "all rows have the same number",
    ("spearman", "one row"): "there is one row only",
    ("pearson", "constant"): "all rows have the same number",
    ("pearson", "one row"): "there is one row only",
}


def poor(target: str) -> dict[str, tuple[Array, Array]]:
    """Truths that lack something, each with a prediction."""
    truth = truth_of(target, 12, seed=0)
    prediction = noisy(target, truth, 1)
    found = {"one row": (truth[:1], prediction[:1]), "one row, all right": (truth[1:2], prediction[1:2])}
    if target == "label":
        found |= {"one class": (np.zeros(12, int), prediction), "no row of a class": (truth % 3, prediction)}
    elif target == "labels":
        truth[0] = 1  # the single row has labels
        found |= {
            "one row": (truth[:1], prediction[:1]),
            "no label": (np.zeros_like(truth), prediction),
            "nor predicted": (np.zeros_like(truth), 0 * prediction),
            "a label that no row has": (truth * (np.arange(5) > 0), prediction),
            "all labels": (np.ones_like(truth), prediction),
        }
    elif target == "number":
        found |= {"constant": (np.full(12, 0.1), prediction), "met": (np.full(12, 0.1), np.full(12, 0.1))}
    else:
        found = {"one row": (np.zeros(1, int), np.ones((1, 1)))}
    return found


@pytest.mark.parametrize("name", METRICS)
def test_a_truth_that_lacks_something_has_a_finite_score_or_none(name: str) -> None:
    """Never a warning, NaN, or a number that every prediction would get; resamples say the same."""
    metric = METRICS[name]()
    (target,) = metric.targets
    same = {"one row, all right": "one row", "nor predicted": "no label", "met": "constant"}
    for case, (truth, prediction) in poor(target).items():
        resampled = metric.resampled(truth, prediction, np.stack([np.arange(len(truth))] * 2))
        why = None if target == "labels" and "row," in case else UNDEFINED.get((name, same.get(case, case)))
        if why:
            with pytest.raises(mb.UndefinedError, match=f"^{why}$"):
                metric.score(truth, prediction)
            assert np.isnan(resampled).all(), case
        else:
            score = metric.score(truth, prediction)
            assert np.isfinite(score), case
            assert resampled == pytest.approx([score, score])


def test_what_scikit_learn_calls_undefined_is() -> None:
    """Where it gives NaN, raises, or warns and takes a number of its own."""
    probability, labels = np.full((4, 2), 0.5), np.zeros((4, 2), int)
    with pytest.warns(UserWarning, match="Only one class is present"):
        assert np.isnan(sk.roc_auc_score(np.zeros(4), probability[:, 0]))
    with pytest.warns(UserWarning, match="less than two samples"):
        assert np.isnan(sk.r2_score([1.0], [1.0]))
    with pytest.warns(UserWarning, match="ill-defined"):
        assert sk.f1_score(labels, labels, average="micro") == 0
    with pytest.warns(UserWarning, match="No positive class found"):
        assert sk.average_precision_score(labels[:, 0], probability[:, 0]) == 0
    with pytest.warns(ConstantInputWarning):
        assert np.isnan(spearmanr([1.0, 1.0], [1.0, 2.0]).statistic)


def test_a_constant_prediction_ranks_below_what_puts_anything_in_order() -> None:
    truth = np.arange(8.0)
    assert METRICS["spearman"]().score(truth, np.full(8, 3.0)) == 0
    assert METRICS["auroc"]().score(truth.astype(int) % 2, np.full((8, 2), 0.5)) == 0.5


def test_retrieval_by_hand() -> None:
    scores = np.array([[0.9, 0.1, 0.5], [0.8, 0.2, 0.7], [0.3, 0.4, 0.6]])
    truth = np.arange(3)
    assert query_ranks(truth, scores).tolist() == [[1, 1], [3, 2], [1, 2]]
    expected = {
        "recall@1_forward": 2 / 3,
        "recall@1_backward": 1 / 3,
        "recall@1": 1 / 2,
        "recall@5": 1,
        "mrr": (1 + 1 / 3 + 1 + 1 + 1 / 2 + 1 / 2) / 6,
        "median_rank": (1 + 2) / 2,
    }
    for name, value in expected.items():
        assert METRICS[name]().score(truth, scores) == pytest.approx(value)
    rows = np.array([[1, 1, 2]])
    assert METRICS["recall@1_forward"]().resampled(truth, scores, rows) == pytest.approx([1 / 3])
    assert METRICS["median_rank"]().resampled(truth, scores, rows) == pytest.approx([(3 + 2) / 2])


def test_a_scorer_that_tells_nothing_apart_gets_no_more_than_chance() -> None:
    truth, same = np.arange(100), np.zeros((100, 100))
    assert METRICS["recall@10"]().score(truth, same) == 0
    assert METRICS["median_rank"]().score(truth, same) == 50.5


@pytest.mark.parametrize("name", METRICS)
def test_what_cannot_be_scored_is_refused_in_one_line(name: str) -> None:
    metric = METRICS[name]()
    (target,) = metric.targets
    truth = truth_of(target, 12, seed=0)
    prediction = noisy(target, truth, 1)
    for wrong in (prediction[:-1], prediction[..., None], prediction[:0]):
        with pytest.raises(ValueError, match=r"can't be scored against|no rows"):
            metric.score(truth[: len(wrong)] if not len(wrong) else truth, wrong)
    broken = prediction.copy()
    broken[3], broken[5] = np.nan, np.inf
    with pytest.raises(ValueError, match="predicted values are not finite, the first in row 3"):
        metric.score(truth, broken)
    if target in ("label", "labels", "match"):
        with pytest.raises(ValueError, match="the truth must be"):
            metric.score(truth + 100, prediction)


def test_probabilities_must_be_some() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        METRICS["log_loss"]().score(np.array([0]), np.array([[-0.5, 1.5]]))


def test_resampling_is_fast_enough_for_a_leaderboard() -> None:
    """The figures that a board shows of 3 seeds x 330 rows x 8 classes, 1,000 resamples, in a fraction of a second."""
    import time

    truth = truth_of("label", 330, seed=0)
    prediction = noisy("label", truth, 1)
    rows = np.random.default_rng(0).integers(0, 330, (1000, 330))
    start = time.process_time()
    for name in ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "log_loss"):
        METRICS[name]().resampled(truth, prediction, rows)
    assert time.process_time() - start < 1.0


@pytest.mark.parametrize(("target", "names"), [("label", "precision recall f1"), ("labels", "micro_f1 macro_f1")])
def test_what_metrics_share_is_counted_once_and_dies_with_the_prediction(target: Any, names: str) -> None:
    metrics = [METRICS[name]() for name in names.split()]
    truth = truth_of(target, 40, seed=0)
    rows = np.random.default_rng(0).integers(0, 40, (30, 40))
    for seed in range(20):
        prediction = noisy(target, truth, seed)
        expected = [metric.resampled(truth, prediction, rows) for metric in metrics]
        assert not resample._kept  # nothing is kept of arrays that may change
        fixed = [array.copy() for array in (truth, prediction, rows)]
        for array in fixed:
            array.flags.writeable = False
        for metric, same in zip(metrics, expected, strict=True):
            assert np.array_equal(metric.resampled(*fixed), same)
        assert len(resample._kept) == 1
        again = metrics[0].resampled(fixed[0], fixed[1], fixed[2][:5])  # other resamples of the same prediction
        assert np.array_equal(again, expected[0][:5])
        del fixed, array
        assert not resample._kept


def test_what_metrics_share_is_kept_of_few_predictions() -> None:
    truth, rows = truth_of("match", 30, seed=0), np.arange(30)[None]
    predictions = [noisy("match", truth, seed) for seed in range(20)]
    for array in (truth, *predictions):
        array.flags.writeable = False
    for _ in range(2):
        for prediction in predictions:
            found = METRICS["recall@1"]().resampled(truth, prediction, rows)
            assert found == METRICS["recall@1"]().resampled(truth.copy(), prediction.copy(), rows)
            assert len(resample._kept) <= resample.KEPT
