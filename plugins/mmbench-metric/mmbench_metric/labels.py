"""Metrics of any number of labels: truth [N, L] is 0 or 1, prediction [N, L] the probability of each label.

F1 and average precision are undefined if no row has any label: whatever is predicted, nothing can be found.
"""

from typing import TYPE_CHECKING, Any, TypeAlias

import mmbench as mb

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

THRESHOLD = 0.5


def _checked(truth: "Array", prediction: "Array") -> "tuple[Array, Array]":
    import numpy as np

    from mmbench_metric.resample import checked

    truth, prediction = checked(truth, prediction, matrix=True)
    if truth.shape != prediction.shape or not np.isin(truth, (0, 1)).all():
        raise ValueError(f"the truth must be 0 or 1 for each of {prediction.shape[1]} labels and each row")
    return truth.astype(bool), prediction


def _some(truth: "Array") -> None:
    """Raises UndefinedError if no row has a label."""
    if not truth.any():
        raise mb.UndefinedError("no row has any of the labels")


def _decided(truth: "Array", prediction: "Array") -> "tuple[Array, Array]":
    truth, prediction = _checked(truth, prediction)
    return truth, prediction > THRESHOLD


def _counts(truth: "Array", prediction: "Array", rows: "Array") -> "tuple[Array, ...]":
    """For each resample and label, [R, L]: true positives; positives in truth; those in decisions."""
    from mmbench_metric.resample import once

    return once(_count, truth, prediction, rows)


def _count(truth: "Array", prediction: "Array", rows: "Array") -> "tuple[Array, ...]":
    from mmbench_metric.resample import weights

    truth, decided = _decided(truth, prediction)
    weight = weights(rows, len(truth))
    return tuple(weight @ each.astype(float) for each in (truth & decided, truth, decided))


class MicroF1(mb.Metric):
    """F1, micro: of all decisions at a probability above 0.5, whatever their label."""

    name = "micro_f1"
    targets = ("labels",)
    libraries = ("sklearn.metrics",)
    share = True
    interval = True

    def score(self, truth: "Array", prediction: "Array") -> float:
        from sklearn.metrics import f1_score

        truth, decided = _decided(truth, prediction)
        _some(truth)
        return float(f1_score(truth, decided, average="micro", zero_division=0))

    def resampled(self, truth: "Array", prediction: "Array", rows: "Array") -> "Array":
        from mmbench_metric.resample import ratio, where

        right, there, decided = _counts(truth, prediction, rows)
        return where(there.sum(1) > 0, ratio(2 * right.sum(1), (there + decided).sum(1)))


class MacroF1(mb.Metric):
    """F1, macro: the mean over labels, decided at a probability above 0.5; 0 for a label that no row has.

    As scikit-learn's `zero_division=0` and most papers have it: a label that test lacks lowers the score of all.
    """

    name = "macro_f1"
    targets = ("labels",)
    libraries = ("sklearn.metrics",)
    share = True
    interval = True

    def score(self, truth: "Array", prediction: "Array") -> float:
        from sklearn.metrics import f1_score

        truth, decided = _decided(truth, prediction)
        _some(truth)
        return float(f1_score(truth, decided, average="macro", zero_division=0))

    def resampled(self, truth: "Array", prediction: "Array", rows: "Array") -> "Array":
        from mmbench_metric.resample import ratio, where

        right, there, decided = _counts(truth, prediction, rows)
        return where(there.sum(1) > 0, ratio(2 * right, there + decided).mean(1))


class SubsetAccuracy(mb.Metric):
    """Subset accuracy: how many of the rows get all their labels right, decided at a probability above 0.5."""

    name = "subset_accuracy"
    targets = ("labels",)
    libraries = ("sklearn.metrics",)
    share = True

    def score(self, truth: "Array", prediction: "Array") -> float:
        from sklearn.metrics import accuracy_score

        return float(accuracy_score(*_decided(truth, prediction)))

    def resampled(self, truth: "Array", prediction: "Array", rows: "Array") -> "Array":
        from mmbench_metric.resample import means

        truth, decided = _decided(truth, prediction)
        return means((truth == decided).all(1), rows)


class MeanAveragePrecision(mb.Metric):
    """Mean average precision, over the labels that some row has."""

    name = "map"
    targets = ("labels",)
    libraries = ("sklearn.metrics",)
    share = True
    interval = True

    def score(self, truth: "Array", prediction: "Array") -> float:
        import numpy as np
        from sklearn.metrics import average_precision_score

        truth, prediction = _checked(truth, prediction)
        _some(truth)
        labels = np.flatnonzero(truth.any(0))
        return float(np.mean([average_precision_score(truth[:, k], prediction[:, k]) for k in labels]))

    def resampled(self, truth: "Array", prediction: "Array", rows: "Array") -> "Array":
        import numpy as np

        from mmbench_metric.resample import average_precision, mean_where, weights

        truth, prediction = _checked(truth, prediction)
        weight = weights(rows, len(truth))
        found = [average_precision(truth[:, k], prediction[:, k], weight) for k in range(truth.shape[1])]
        precisions, there = (np.stack(column, axis=1) for column in zip(*found, strict=True))
        return mean_where(precisions, there)


METRICS: list[type[mb.Metric]] = [MicroF1, MacroF1, SubsetAccuracy, MeanAveragePrecision]
