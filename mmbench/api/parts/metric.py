"""Metrics: predictions against the labels."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from mmbench.api.data import Task
from mmbench.api.parts.part import Part

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]


class Metric(Part):
    """A score of predictions against the truth.

    prediction: Label: probabilities [N, C]; Labels: probabilities [N, L]; Number: [N];
    Match: scores [N, N], row i and column i belong together; Text: str [N]. truth: [N], [N, L], [N], [N] (the row's
    index), str [N]. In general `Target.read` gives the truth and `Head.decode` the prediction. Both are views that
    can't be written to.
    """

    role = "metric"
    targets: ClassVar[tuple[str, ...]]
    """Which types of target it scores: "label", "labels", "number", "match", "text" or another head's."""
    direction: ClassVar[Literal["max", "min"]] = "max"
    share: ClassVar[bool] = False
    """Whether it lies between 0 and 1 as a share does, and its interval with it."""
    column: ClassVar[int | None] = 9
    """Its place among the columns of a board on which another metric is tuned, the lowest first; None: it has none."""
    interval: ClassVar[bool] = False
    """Whether a board gives its interval where another metric is tuned: it is drawn for each contender and seed, so
    `resampled` should be fast."""
    short: ClassVar[str] = ""
    """The head of its column, where its name is too long for a narrow one."""

    @property
    def about(self) -> str:
        return f"{', '.join(self.targets)}: {self.direction}"

    def concerns(self, task: Task) -> bool:
        return task.target.type in self.targets

    def score(self, truth: "Array", prediction: "Array") -> float:
        """A finite number. Raises UndefinedError if this truth has no score, whatever is predicted."""
        raise NotImplementedError

    def resampled(self, truth: "Array", prediction: "Array", rows: "Array") -> "Array":
        """The score of each of R resamples of the items, [R], NaN where a resample has none; rows [R, N] are indices.

        Override to be fast.
        """
        import numpy as np

        from mmbench.api.parts.scores import score_or_nan

        return np.array([score_or_nan(self, truth[r], prediction[r]) for r in rows])

    def right(self, truth: "Array", prediction: "Array") -> "Array | None":
        """Which items are right, [N] of 0 and 1, if the metric is about that: `mmbench compare` counts who was."""
        return None
