"""Metrics of cross-modal retrieval: prediction [N, N] scores row i's left side with column j's right side.

truth [N] is each row's own column. Forward, a row looks for its column among all columns; backward, that column
looks for the row among all rows. A query's rank is 1 + those that score higher + half of those that score the same,
so that a scorer which tells nothing apart gets no more than chance. A resample is one of queries: the candidates
stay the same. All are defined for every truth.
"""

from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import mmbench as mb

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

Side: TypeAlias = Literal["forward", "backward", "both"]


def query_ranks(truth: "Array", prediction: "Array") -> "Array":
    """The rank of each row's own column, and of that column's own row, [N, 2]."""
    import numpy as np

    from mmbench_metric.resample import checked

    truth, prediction = checked(truth, prediction, matrix=True)
    items, columns = prediction.shape
    if truth.shape != (items,) or truth.min() < 0 or truth.max() >= columns:
        raise ValueError(f"the truth must be one column of 0 to {columns - 1} for each row")
    truth = truth.astype(int)
    own = prediction[np.arange(items), truth]
    among_columns, among_rows = prediction, prediction[:, truth]
    forward = _rank(among_columns, own[:, None], axis=1)
    backward = _rank(among_rows, own[None, :], axis=0)
    return np.stack([forward, backward], axis=1)


def _ranks(truth: "Array", prediction: "Array") -> "Array":
    """The same, found once for all metrics of a prediction that can't change."""
    from mmbench_metric.resample import once

    return once(_found, truth, prediction)[0]


def _found(truth: "Array", prediction: "Array") -> "tuple[Array, ...]":
    return (query_ranks(truth, prediction),)


def _rank(scores: "Array", own: "Array", axis: int) -> "Array":
    higher, same = (scores > own).sum(axis), (scores == own).sum(axis)
    rank: Array = 1 + higher + (same - 1) / 2
    return rank


class _OfRanks(mb.Metric):
    """A score that is made of the queries' ranks."""

    targets = ("match",)
    interval = True
    side: ClassVar[Side] = "both"

    def of(self, ranks: "Array") -> "Array":
        """The score of each of R sets of queries: ranks [R, n, sides] to [R]."""
        raise NotImplementedError

    def score(self, truth: "Array", prediction: "Array") -> float:
        import numpy as np

        return float(self.resampled(truth, prediction, np.arange(len(truth))[None])[0])

    def resampled(self, truth: "Array", prediction: "Array", rows: "Array") -> "Array":
        sides = {"forward": slice(0, 1), "backward": slice(1, 2), "both": slice(0, 2)}[self.side]
        return self.of(_ranks(truth, prediction)[:, sides][rows])


class MeanReciprocalRank(_OfRanks):
    """Mean reciprocal rank of the match, both directions."""

    name = "mrr"
    share = True

    def of(self, ranks: "Array") -> "Array":
        means: Array = (1 / ranks).mean((1, 2))
        return means


class MedianRank(_OfRanks):
    """Median rank of the match, mean of both directions; 1 is best."""

    name = "median_rank"
    direction = "min"

    def of(self, ranks: "Array") -> "Array":
        import numpy as np

        medians: Array = np.median(ranks, axis=1).mean(1)
        return medians


class _RecallAt(_OfRanks):
    share = True
    first: ClassVar[int]

    def of(self, ranks: "Array") -> "Array":
        found: Array = (ranks <= self.first).mean((1, 2))
        return found


def _recall_at(k: int, on: Side) -> type[mb.Metric]:
    words = {"forward": "left to right", "backward": "right to left", "both": "mean of both directions"}

    arrow = {"forward": "→", "backward": "←", "both": ""}

    class RecallAt(_RecallAt):
        __doc__ = f"Recall at {k}: how often the match is among the first {k}, {words[on]}."
        name = f"recall@{k}" if on == "both" else f"recall@{k}_{on}"
        short = f"R@{k}{arrow[on]}"
        side = on
        first = k

    return RecallAt


METRICS: list[type[mb.Metric]] = [
    *(_recall_at(k, on) for k in (1, 5, 10) for on in ("both", "forward", "backward")),
    MeanReciprocalRank,
    MedianRank,
]
