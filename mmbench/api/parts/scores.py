"""Calls a metric: what it is given, what counts as a score, and why there is none.

A metric may be anyone's: it may be undefined for a truth, raise, or give what is no number. None of that ends a run or
a board. The engine scores validation and test by `scored`, `verify` scores them again, and the board its resamples.
"""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from mmbench.errors import UndefinedError, blamed

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

UNDEFINED, FAILED = "undefined", "failed"
"""How a reason begins: the truth does not allow the metric, or the metric's own code went wrong."""
LONGEST = 600  # characters of what a metric may say


class Scorer(Protocol):
    """What of a metric is called here."""

    def score(self, truth: "Array", prediction: "Array") -> float: ...


def sign(direction: str) -> int:
    """1 if more is better, -1 if less is: by it every metric becomes one of which more is better."""
    return -1 if direction == "min" else 1


def scored(metric: Scorer, truth: "Array", prediction: "Array") -> float | str:
    """The score, a finite number; or in one line why there is none.

    The metric gets read-only views: nothing that it does changes what others get.
    """
    try:
        with quiet():
            return _number(metric.score(read_only(truth), read_only(prediction)))
    except (Exception, SystemExit) as error:  # a metric is anyone's code, and its failure no reason to stop
        return reason(error)


def score_or_nan(metric: Scorer, truth: "Array", prediction: "Array") -> float:
    """The score, or NaN where there is none: for resamples, of which hundreds may have none, and why takes long."""
    try:
        return _number(metric.score(read_only(truth), read_only(prediction)))
    except (Exception, SystemExit):  # as in `scored`; the board counts them, and asks one of them why
        return math.nan


def reason(error: BaseException) -> str:
    """Why there is no score, in one line."""
    return f"{UNDEFINED if isinstance(error, UndefinedError) else FAILED}: {blamed(error)[:LONGEST]}"


def curve_point(metric: str, severity: float, curve: str) -> str:
    """What a point of a curve is called where it has no score."""
    return f"{metric} at severity {severity:g} of {curve!r}"


def read_only(array: "Array") -> "Array":
    """A fresh view of the array that can't be written to."""
    view = array.view()
    view.flags.writeable = False
    return view


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps warnings of a metric's libraries from the user, who is told in the result."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _number(value: Any) -> float:
    """A finite float. Raises ValueError for anything else."""
    single = isinstance(value, int | float) or (hasattr(value, "item") and getattr(value, "ndim", None) == 0)
    value = value.item() if single and hasattr(value, "item") else value
    if not isinstance(value, int | float):
        raise ValueError(f"the score is no number, but {type(value).__name__}")
    if not math.isfinite(value):
        raise ValueError(f"the score is {float(value)}, which is no finite number")
    return float(value)
