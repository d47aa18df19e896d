"""Metrics of one real number: truth [N], prediction [N]."""

from typing import TYPE_CHECKING, Any, TypeAlias

import mmbench as mb

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]


def _checked(truth: "Array", prediction: "Array") -> "tuple[Array, Array]":
    import numpy as np

    from mmbench_metric.resample import checked

    truth, prediction = checked(truth, prediction, matrix=False)
    return truth.astype(np.float64), prediction


def _varies(truth: "Array") -> None:
    """Raises UndefinedError if the truth is constant."""
    if (truth == truth[0]).all():
        raise mb.UndefinedError("all rows have the same number" if len(truth) > 1 else "there is one row only")


class MeanAbsoluteError(mb.Metric):
    """Mean absolute error, in the target's unit."""

    name = "mae"
    targets = ("number",)
    interval = True
    libraries = ("sklearn.metrics",)
    direction = "min"

    def score(self, truth: "Array", prediction: "Array") -> float:
        from sklearn.metrics import mean_absolute_error

        return float(mean_absolute_error(*_checked(truth, prediction)))

    def resampled(self, truth: "Array", prediction: "Array", rows: "Array") -> "Array":
        import numpy as np

        from mmbench_metric.resample import means

        truth, prediction = _checked(truth, prediction)
        return means(np.abs(truth - prediction), rows)


class RootMeanSquaredError(mb.Metric):
    """Root mean squared error, in the target's unit."""

    name = "rmse"
    targets = ("number",)
    interval = True
    libraries = ("sklearn.metrics",)
    direction = "min"

    def score(self, truth: "Array", prediction: "Array") -> float:
        from sklearn.metrics import root_mean_squared_error

        return float(root_mean_squared_error(*_checked(truth, prediction)))

    def resampled(self, truth: "Array", prediction: "Array", rows: "Array") -> "Array":
        import numpy as np

        from mmbench_metric.resample import means

        truth, prediction = _checked(truth, prediction)
        roots: Array = np.sqrt(means(np.square(truth - prediction), rows))
        return roots


class R2(mb.Metric):
    """Coefficient of determination: 1 - residual / variance. Undefined for a constant truth, which has no variance.

    scikit-learn has 1 or 0 there, and NaN for one row.
    """

    name = "r2"
    targets = ("number",)
    interval = True
    libraries = ("sklearn.metrics",)

    def score(self, truth: "Array", prediction: "Array") -> float:
        from sklearn.metrics import r2_score

        truth, prediction = _checked(truth, prediction)
        _varies(truth)
        return float(r2_score(truth, prediction))

    def resampled(self, truth: "Array", prediction: "Array", rows: "Array") -> "Array":
        import numpy as np

        truth, prediction = _checked(truth, prediction)
        drawn = truth[rows]
        residual = np.square(truth - prediction)[rows].sum(1)
        spread = np.square(drawn - drawn.mean(1, keepdims=True)).sum(1)
        constant = (drawn == drawn[:, :1]).all(1)  # their spread may be a rounding error
        found: Array = np.where(constant, np.nan, 1 - residual / np.where(constant, 1, spread))
        return found


class Spearman(mb.Metric):
    """Spearman's rank correlation, ties sharing their mean rank. Undefined for a constant truth.

    A constant prediction, for which SciPy has NaN, gets 0: it puts nothing in order, and has to rank below what does.
    """

    name = "spearman"
    targets = ("number",)
    interval = True
    source = "https://doi.org/10.2307/1412159"

    def score(self, truth: "Array", prediction: "Array") -> float:
        import numpy as np

        truth, prediction = _checked(truth, prediction)
        _varies(truth)
        return float(self.resampled(truth, prediction, np.arange(len(truth))[None])[0])

    def resampled(self, truth: "Array", prediction: "Array", rows: "Array") -> "Array":
        import numpy as np

        from mmbench_metric.resample import ranks, ratio, weights, where

        truth, prediction = _checked(truth, prediction)
        weight = weights(rows, len(truth))
        middle = (np.shape(rows)[1] + 1) / 2
        x, y = ranks(truth, weight) - middle, ranks(prediction, weight) - middle
        of_truth, of_prediction = (weight * x * x).sum(1), (weight * y * y).sum(1)
        return where(of_truth > 0, ratio((weight * x * y).sum(1), np.sqrt(of_truth * of_prediction)))


METRICS: list[type[mb.Metric]] = [MeanAbsoluteError, RootMeanSquaredError, R2, Spearman]
