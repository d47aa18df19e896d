"""Metrics of any number of labels: truth [N, L] is 0 or 1, prediction [N, L] the probability of each label."""

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


def _decided(truth: "Array", prediction: "Array") -> "tuple[Array, Array]":
    truth, prediction = _checked(truth, prediction)
    return truth, prediction > THRESHOLD


def _counts(truth: "Array", prediction: "Array", rows: "Array") -> "tuple[Array, ...]":
    """For each resample and label, [R, L]: true positives, and positives in truth plus those in decisions."""
    from mmbench_metric.resample import once

    return once(_count, truth, prediction, rows)


def _count(truth: "Array", prediction: "Array", rows: "Array") -> "tuple[Array, ...]":
    from mmbench_metric.resample import weights

    truth, decided = _decided(truth, prediction)
    weight = weights(rows, len(truth))
    return weight @ (truth & decided).astype(float), weight @ (truth.astype(float) + decided)


class MicroF1(mb.Metric):
    """F1, micro: of all decisions at a probability above 0.5, whatever their label."""

    name = "micro_f1"
    targets = ("labels",)
    libraries = ("sklearn.metrics",)
    share = True

    def score(self, truth: "Array", prediction: "Array") -> float:
        from sklearn.metrics import f1_score

        return float(f1_score(*_decided(truth, prediction), average="micro", zero_division=0))

    def resampled(self, truth: "Array", prediction: "Array", rows: "Array") -> "Array":
        from mmbench_metric.resample import ratio

        right, both = _counts(truth, prediction, rows)
        return ratio(2 * right.sum(1), both.sum(1))


class MacroF1(mb.Metric):
    """F1, macro: the mean over labels, decided at a probability above 0.5; 0 for a label that is nowhere."""

    name = "macro_f1"
    targets = ("labels",)
    libraries = ("sklearn.metrics",)
    share = True

    def score(self, truth: "Array", prediction: "Array") -> float:
        from sklearn.metrics import f1_score

        return float(f1_score(*_decided(truth, prediction), average="macro", zero_division=0))

    def resampled(self, truth: "Array", prediction: "Array", rows: "Array") -> "Array":
        from mmbench_metric.resample import ratio

        right, both = _counts(truth, prediction, rows)
        scores: Array = ratio(2 * right, both).mean(1)
        return scores


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
    """Mean average precision, over the labels that the truth holds; 0 if it holds none."""

    name = "map"
    targets = ("labels",)
    libraries = ("sklearn.metrics",)
    share = True

    def score(self, truth: "Array", prediction: "Array") -> float:
        import numpy as np
        from sklearn.metrics import average_precision_score

        truth, prediction = _checked(truth, prediction)
        labels = np.flatnonzero(truth.any(0))
        return float(np.mean([average_precision_score(truth[:, k], prediction[:, k]) for k in labels] or [0.0]))

    def resampled(self, truth: "Array", prediction: "Array", rows: "Array") -> "Array":
        import numpy as np

        from mmbench_metric.resample import average_precision, mean_where, weights

        truth, prediction = _checked(truth, prediction)
        weight = weights(rows, len(truth))
        found = [average_precision(truth[:, k], prediction[:, k], weight) for k in range(truth.shape[1])]
        precisions, there = (np.stack(column, axis=1) for column in zip(*found, strict=True))
        return mean_where(precisions, there, otherwise=0)


METRICS: list[type[mb.Metric]] = [MicroF1, MacroF1, SubsetAccuracy, MeanAveragePrecision]
