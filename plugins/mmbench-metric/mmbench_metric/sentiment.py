"""The metrics of multimodal sentiment analysis, of one real number from -3 to 3: truth [N], prediction [N].

They are those that papers on CMU-MOSI and CMU-MOSEI print as Acc-2, F1, Acc-7 and Corr. They score a task that is tuned
on one of them, or whose target is called as in `TARGETS`: other numbers, such as a price, have no sentiment.
"""

from typing import TYPE_CHECKING, Any, TypeAlias

import mmbench as mb

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

TARGETS = ("sentiment", "regression_labels")
"""Names of a target that say it is a sentiment; the latter is MMSA's."""


class _Sentiment(mb.Metric):
    """What the metrics here share. A board has no column for one unless its task is about a sentiment."""

    targets = ("number",)
    share = True
    interval = True

    def concerns(self, task: mb.Task) -> bool:
        named = set(task.target.columns) & set(TARGETS)
        return task.target.type == "number" and (bool(named) or task.metric in NAMES)


class _OfItems(_Sentiment):
    """The share of items that are right, of those that count."""

    def score(self, truth: "Array", prediction: "Array") -> float:
        truth, prediction = _checked(truth, prediction)
        right, counts = self.each(truth, prediction)
        if not counts.any():
            raise mb.UndefinedError("the truth of every row is 0")
        return float(right[counts].mean())

    def resampled(self, truth: "Array", prediction: "Array", rows: "Array") -> "Array":
        from mmbench_metric.resample import ratio, weights, where

        right, counts = self.each(*_checked(truth, prediction))
        weight = weights(rows, len(right))
        total = weight @ counts.astype(float)
        return where(total > 0, ratio(weight @ (right & counts).astype(float), total))

    def each(self, truth: "Array", prediction: "Array") -> "tuple[Array, Array]":
        """Which items are right, and which count, bool [N] each."""
        raise NotImplementedError


class Acc2(_OfItems):
    """Acc-2 with zeros: share of rows where truth and prediction are both negative, or both not; 0 is not negative.

    MMSA calls it Has0_acc_2 (on MOSI and MOSEI). On SIMS its code counts 0 among the negative ones instead.
    """

    name = "acc2"

    def right(self, truth: "Array", prediction: "Array") -> "Array":
        found: Array = self.each(*_checked(truth, prediction))[0]
        return found

    def each(self, truth: "Array", prediction: "Array") -> "tuple[Array, Array]":
        import numpy as np

        return (truth >= 0) == (prediction >= 0), np.ones(len(truth), bool)


class Acc2Nonzero(_OfItems):
    """Acc-2 without zeros: of rows whose truth is not 0, the share where prediction and truth agree on being positive.

    A prediction of exactly 0 counts as negative. MMSA calls it Non0_acc_2. Undefined if the truth of every row is 0.
    """

    name = "acc2_nonzero"

    def each(self, truth: "Array", prediction: "Array") -> "tuple[Array, Array]":
        return (truth > 0) == (prediction > 0), truth != 0


class Acc7(_OfItems):
    """Acc-7: share of rows where truth and prediction, clipped to -3 to 3, round to the same whole number.

    A half rounds to the even number, as in NumPy: 0.5 to 0, 1.5 to 2. MMSA calls it Mult_acc_7.
    """

    name = "acc7"

    def right(self, truth: "Array", prediction: "Array") -> "Array":
        found: Array = self.each(*_checked(truth, prediction))[0]
        return found

    def each(self, truth: "Array", prediction: "Array") -> "tuple[Array, Array]":
        import numpy as np

        same = np.round(np.clip(truth, -3, 3)) == np.round(np.clip(prediction, -3, 3))
        return same, np.ones(len(truth), bool)


class F1Nonzero(_Sentiment):
    """F1 of positive and of negative, weighted by how many rows are so, over rows whose truth is not 0.

    A prediction of exactly 0 counts as negative. MMSA calls it Non0_F1_score; older code of the field gave truth and
    prediction to scikit-learn in the other order, which weights by what is predicted. Undefined if the truth of every
    row is 0.
    """

    name = "f1_nonzero"

    def score(self, truth: "Array", prediction: "Array") -> float:
        import numpy as np

        found = float(self.resampled(truth, prediction, np.arange(len(truth))[None])[0])
        if np.isnan(found):
            raise mb.UndefinedError("the truth of every row is 0")
        return found

    def resampled(self, truth: "Array", prediction: "Array", rows: "Array") -> "Array":
        from mmbench_metric.resample import ratio, weights, where

        truth, prediction = _checked(truth, prediction)
        weight = weights(rows, len(truth)) * (truth != 0)
        total = weight.sum(1)
        found = 0 * total
        for actual, decided in ((truth > 0, prediction > 0), (truth < 0, prediction <= 0)):
            held = weight @ actual.astype(float)
            f1 = ratio(2 * (weight @ (actual & decided).astype(float)), held + weight @ decided.astype(float))
            found = found + held * f1
        return where(total > 0, ratio(found, total))


class Pearson(_Sentiment):
    """Corr: Pearson's correlation. Undefined for a constant truth.

    A constant prediction, for which MMSA (NumPy) has NaN, gets 0 as in `spearman`: it has to rank below what follows
    the truth.
    """

    name = "pearson"
    share = False
    short = "corr"

    def score(self, truth: "Array", prediction: "Array") -> float:
        import numpy as np

        found = float(self.resampled(truth, prediction, np.arange(len(truth))[None])[0])
        if np.isnan(found):
            raise mb.UndefinedError("all rows have the same number" if len(truth) > 1 else "there is one row only")
        return found

    def resampled(self, truth: "Array", prediction: "Array", rows: "Array") -> "Array":
        import numpy as np

        from mmbench_metric.resample import ratio, where

        truth, prediction = _checked(truth, prediction)
        x, y = _scaled(truth)[rows], _scaled(prediction)[rows]
        flat, still = ((drawn == drawn[:, :1]).all(1) for drawn in (x, y))  # their spread may be a rounding error
        x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
        found = ratio((x * y).sum(1), np.sqrt(np.square(x).sum(1) * np.square(y).sum(1)))
        return where(~flat, np.where(still, 0.0, np.clip(found, -1, 1)))


def _checked(truth: "Array", prediction: "Array") -> "tuple[Array, Array]":
    import numpy as np

    from mmbench_metric.resample import checked

    truth, prediction = checked(truth, prediction, matrix=False)
    return truth.astype(np.float64), prediction


def _scaled(values: "Array") -> "Array":
    """Divided by the largest, so that no square overflows; a correlation does not change."""
    import numpy as np

    largest = np.abs(values).max()
    return values / largest if largest > 0 else values


METRICS: list[type[mb.Metric]] = [Acc2, Acc2Nonzero, Acc7, F1Nonzero, Pearson]
NAMES = frozenset(metric.name for metric in METRICS)
