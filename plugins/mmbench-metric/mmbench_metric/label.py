"""Metrics of one label out of several: truth [N] is the class, prediction [N, C] the probabilities.

All but `auroc` are defined for every truth: what they do with a class that truth or decisions lack is said of each.
"""

from typing import TYPE_CHECKING, Any, TypeAlias

import mmbench as mb

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

BINS = 15


def _checked(truth: "Array", prediction: "Array") -> "tuple[Array, Array]":
    from mmbench_metric.resample import checked

    truth, prediction = checked(truth, prediction, matrix=True)
    classes = prediction.shape[1]
    if truth.ndim != 1 or truth.min() < 0 or truth.max() >= classes:
        raise ValueError(f"the truth must be one class of 0 to {classes - 1} for each row")
    return truth.astype(int), prediction


def _decided(truth: "Array", prediction: "Array") -> "tuple[Array, Array]":
    truth, prediction = _checked(truth, prediction)
    return truth, prediction.argmax(1)


def _counts(truth: "Array", prediction: "Array", rows: "Array") -> "tuple[Array, ...]":
    """For each resample and class, [R, C]: how many are rightly decided, how many there are, how many are decided."""
    from mmbench_metric.resample import once

    return once(_count, truth, prediction, rows)


def _count(truth: "Array", prediction: "Array", rows: "Array") -> "tuple[Array, ...]":
    import numpy as np

    from mmbench_metric.resample import weights

    truth, prediction = _checked(truth, prediction)
    decided = prediction.argmax(1)
    classes = np.arange(prediction.shape[1])
    is_class, is_decided = truth[:, None] == classes, decided[:, None] == classes
    each = np.concatenate([is_class & is_decided, is_class, is_decided], axis=1).astype(np.float64)
    return tuple(np.split(weights(rows, len(truth)) @ each, 3, axis=1))


class Accuracy(mb.Metric):
    """Accuracy: how many of the rows get their own class as the most probable."""

    name = "accuracy"
    targets = ("label",)
    share = True
    column, interval = None, True

    def score(self, truth: "Array", prediction: "Array") -> float:
        truth, decided = _decided(truth, prediction)
        return float((truth == decided).mean())

    def resampled(self, truth: "Array", prediction: "Array", rows: "Array") -> "Array":
        from mmbench_metric.resample import means

        truth, decided = _decided(truth, prediction)
        return means(truth == decided, rows)

    def right(self, truth: "Array", prediction: "Array") -> "Array":
        truth, decided = _decided(truth, prediction)
        right: Array = truth == decided
        return right


class BalancedAccuracy(mb.Metric):
    """Balanced accuracy: the mean recall of the classes that the truth holds."""

    name = "balanced_accuracy"
    targets = ("label",)
    libraries = ("sklearn.metrics",)
    share = True
    column, interval, short = None, True, "bal. acc."
    source = "https://doi.org/10.1109/ICPR.2010.764"

    def score(self, truth: "Array", prediction: "Array") -> float:
        import numpy as np
        from sklearn.metrics import recall_score

        truth, decided = _decided(truth, prediction)
        # balanced_accuracy_score is the same number, but warns of classes that the truth lacks.
        return float(recall_score(truth, decided, labels=np.unique(truth), average="macro", zero_division=0))

    def resampled(self, truth: "Array", prediction: "Array", rows: "Array") -> "Array":
        from mmbench_metric.resample import mean_where, ratio

        right, there, _ = _counts(truth, prediction, rows)
        return mean_where(ratio(right, there), there > 0)


class Precision(mb.Metric):
    """Precision, macro: over the classes in truth or decisions; 0 for a class that is never decided."""

    name = "precision"
    targets = ("label",)
    libraries = ("sklearn.metrics",)
    share = True
    column, interval, short = 1, True, "prec."

    def score(self, truth: "Array", prediction: "Array") -> float:
        from sklearn.metrics import precision_score

        return float(precision_score(*_decided(truth, prediction), average="macro", zero_division=0))

    def resampled(self, truth: "Array", prediction: "Array", rows: "Array") -> "Array":
        from mmbench_metric.resample import mean_where, ratio

        right, there, decided = _counts(truth, prediction, rows)
        return mean_where(ratio(right, decided), there + decided > 0)


class Recall(mb.Metric):
    """Recall, macro: over the classes in truth or decisions; 0 for a class that the truth lacks."""

    name = "recall"
    targets = ("label",)
    libraries = ("sklearn.metrics",)
    share = True
    column, interval = 2, True

    def score(self, truth: "Array", prediction: "Array") -> float:
        from sklearn.metrics import recall_score

        return float(recall_score(*_decided(truth, prediction), average="macro", zero_division=0))

    def resampled(self, truth: "Array", prediction: "Array", rows: "Array") -> "Array":
        from mmbench_metric.resample import mean_where, ratio

        right, there, decided = _counts(truth, prediction, rows)
        return mean_where(ratio(right, there), there + decided > 0)


class F1(mb.Metric):
    """F1, macro: the harmonic mean of a class's precision and recall, over the classes in truth or decisions."""

    name = "f1"
    targets = ("label",)
    libraries = ("sklearn.metrics",)
    share = True
    column, interval, short = 3, True, "F1"

    def score(self, truth: "Array", prediction: "Array") -> float:
        from sklearn.metrics import f1_score

        return float(f1_score(*_decided(truth, prediction), average="macro", zero_division=0))

    def resampled(self, truth: "Array", prediction: "Array", rows: "Array") -> "Array":
        from mmbench_metric.resample import mean_where, ratio

        right, there, decided = _counts(truth, prediction, rows)
        return mean_where(ratio(2 * right, there + decided), there + decided > 0)


class _MeanOverRows(mb.Metric):
    """A score that is the mean of one number a row."""

    targets = ("label",)
    direction = "min"
    column = None

    def items(self, truth: "Array", prediction: "Array") -> "Array":
        raise NotImplementedError

    def score(self, truth: "Array", prediction: "Array") -> float:
        return float(self.items(*_checked(truth, prediction)).mean())

    def resampled(self, truth: "Array", prediction: "Array", rows: "Array") -> "Array":
        from mmbench_metric.resample import means

        return means(self.items(*_checked(truth, prediction)), rows)


class LogLoss(_MeanOverRows):
    """Log loss: minus the logarithm of the probability given to the own class, cut at 2.2e-16; rows sum to 1."""

    name = "log_loss"
    interval, short = True, "log loss"

    def items(self, truth: "Array", prediction: "Array") -> "Array":
        import numpy as np

        total = prediction.sum(1)
        if prediction.min() < 0 or total.min() <= 0:
            raise ValueError("probabilities must not be negative, nor all be 0")
        smallest = np.finfo(np.float64).eps
        own = prediction[np.arange(len(truth)), truth] / total
        losses: Array = -np.log(np.clip(own, smallest, 1 - smallest))
        return losses


class Brier(_MeanOverRows):
    """Brier score: the squared distance of the probabilities from the truth, summed over classes, 0 to 2."""

    name = "brier"
    source = "https://doi.org/10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2"

    def items(self, truth: "Array", prediction: "Array") -> "Array":
        import numpy as np

        distances: Array = np.square(prediction - np.eye(prediction.shape[1])[truth]).sum(1)
        return distances


class CalibrationError(mb.Metric):
    """Expected calibration error: |accuracy - confidence| over 15 equal bins of confidence, weighted by their rows."""

    name = "ece"
    targets = ("label",)
    direction = "min"
    column = None
    source = "arXiv:1706.04599"

    def score(self, truth: "Array", prediction: "Array") -> float:
        import numpy as np

        return float(self.resampled(truth, prediction, np.arange(len(truth))[None])[0])

    def resampled(self, truth: "Array", prediction: "Array", rows: "Array") -> "Array":
        import numpy as np

        from mmbench_metric.resample import weights

        truth, prediction = _checked(truth, prediction)
        confidence, decided = prediction.max(1), prediction.argmax(1)
        bins = np.clip(np.ceil(confidence * BINS) - 1, 0, BINS - 1)  # (low, high], as published
        gap = (decided == truth) - confidence
        in_bin = bins[:, None] == np.arange(BINS)
        errors: Array = np.abs(weights(rows, len(truth)) @ (gap[:, None] * in_bin)).sum(1) / np.shape(rows)[1]
        return errors


class AreaUnderROC(mb.Metric):
    """Area under the ROC curve, each class against the rest, macro; classes that no row has are left out.

    Undefined if all rows have the same class: there is nothing to tell apart.
    """

    name = "auroc"
    targets = ("label",)
    libraries = ("sklearn.metrics",)
    share = True
    column = None
    source = "https://doi.org/10.1016/j.patrec.2005.10.010"

    def score(self, truth: "Array", prediction: "Array") -> float:
        import numpy as np
        from sklearn.metrics import roc_auc_score

        truth, prediction = _checked(truth, prediction)
        classes = [c for c in range(prediction.shape[1]) if 0 < (truth == c).sum() < len(truth)]
        if not classes:
            raise mb.UndefinedError("all rows have the same class")
        return float(np.mean([roc_auc_score(truth == c, prediction[:, c]) for c in classes]))

    def resampled(self, truth: "Array", prediction: "Array", rows: "Array") -> "Array":
        import numpy as np

        from mmbench_metric.resample import area_under_roc, mean_where, weights

        truth, prediction = _checked(truth, prediction)
        weight = weights(rows, len(truth))
        found = [area_under_roc(truth == c, prediction[:, c], weight) for c in np.unique(truth)]
        areas, both = (np.stack(column, axis=1) for column in zip(*found, strict=True))
        return mean_where(areas, both)


METRICS: list[type[mb.Metric]] = [
    Accuracy,
    BalancedAccuracy,
    Precision,
    Recall,
    F1,
    LogLoss,
    Brier,
    CalibrationError,
    AreaUnderROC,
]
