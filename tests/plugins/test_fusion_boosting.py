"""Boosted trees against stumps fitted by hand, and where no single column says anything."""

from typing import Any

import numpy as np
from mmbench_fusion.boosting import Boosting

import mmbench as mb

Array = np.ndarray[Any, Any]
INPUTS = {"b": mb.FeatureSpec(2, 1), "a": mb.FeatureSpec(1, 1)}


def rows(count: int, seed: int) -> dict[str, Array]:
    draw = np.random.default_rng(seed)
    return {m: draw.normal(size=(count, spec.width)).astype("float32") for m, spec in INPUTS.items()}


def stump(x: Array, residual: Array) -> Array:
    """The step of one column that takes most from the squared error, 20 rows or more on each side."""
    best, found = 0.0, np.zeros(len(x))
    for column in x.T:
        for cut in np.sort(column)[19:-20]:
            left = column <= cut
            fitted = np.where(left, residual[left].mean(), residual[~left].mean())
            if (gain := float((fitted**2).sum())) > best:
                best, found = gain, fitted
    return found


def test_trees_of_two_leaves_are_stumps_on_the_residuals() -> None:
    X = rows(120, 0)
    joined = np.concatenate([X["a"], X["b"]], axis=1)
    y = joined[:, 0] + np.sin(3 * joined[:, 1])
    estimator = Boosting().build(INPUTS, 1, {"trees": 3, "rate": 0.5, "leaves": 2}).fit(X, y)
    expected = np.full(120, y.mean())
    for _ in range(3):
        expected += 0.5 * stump(joined, y - expected)
    np.testing.assert_allclose(estimator.predict(X), expected, rtol=1e-4, atol=1e-5)


def test_learns_an_exclusive_or() -> None:
    X, fresh = rows(600, 1), rows(200, 2)
    truth, wanted = ((x["a"][:, 0] > 0) ^ (x["b"][:, 0] > 0) for x in (X, fresh))
    estimator = Boosting().build(INPUTS, 2, {"trees": 40, "rate": 0.2, "leaves": 8}).fit(X, truth.astype(int))
    assert np.mean(estimator.predict(fresh) == wanted) > 0.9
