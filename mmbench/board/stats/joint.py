"""How often the largest of several differences is as large by chance, when all are of the same test items.

Tests of one task share items and contenders, so that they err together: joint draws of all means say how far the
largest of several errors goes, where Bonferroni's bound takes them to be strangers. Each test keeps its own p, from its
own degrees of freedom; only how they depend on each other comes from the draws (a Gaussian copula). Used by `family`.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

DRAWS = 10_000
MOST_DRAWN = 200_000  # draws x contenders
SURE = 0.001
"""Of the 5%: the chance that a rival is taken to be worse than it is, where rivals far behind are left out."""


def units(p: float) -> float:
    """How many standard deviations a normal difference with that two-sided p lies from 0."""
    from scipy.special import ndtri

    return math.inf if p <= 0 else max(0.0, -float(ndtri(p / 2)))


def tail(apart: float) -> float:
    """The chance that a normal figure lies above so many deviations."""
    from scipy.special import ndtr

    return float(ndtr(-apart))


class Joint:
    """Draws of the errors of K means, from their covariance [K, K]."""

    def __init__(self, covariance: "Array") -> None:
        import numpy as np

        variances = np.diag(covariance)
        self._errors = _normal(len(variances)) @ _root(covariance).T
        self._deviations = np.sqrt(np.maximum(variances[:, None] + variances - 2 * covariance, 0.0))

    def _apart(self, one: int, others: Sequence[int]) -> "Array":
        """The errors of the others' differences from one in deviations, [draws, others]; a difference that is known
        without error has none."""
        import numpy as np

        deviations = self._deviations[one, others]
        known = deviations <= 1e-7 * self._deviations.max(initial=0.0)
        found = (self._errors[:, others] - self._errors[:, [one]]) / np.where(known, 1.0, deviations)
        return np.where(known, 0.0, found)

    def of_best(self, one: int, others: Sequence[int], ahead: Sequence[float]) -> float:
        """The p of `one` being at least as good as all others, of which each is `ahead` of it by so many deviations.

        The largest lead is held against what it would be by chance, were all as good as `one`; or as good as they can
        be at all, where they lie far behind (Romano, Shaikh and Wolf 2014, "A practical two-step method for testing
        moment inequalities"): a rival that is surely worse makes it no harder to see that another one is better.
        """
        import numpy as np

        errors, lead = self._apart(one, others), np.asarray(ahead)
        highest = float(np.quantile((-errors).max(1), 1 - SURE))
        found = (errors + np.minimum(lead + highest, 0.0)).max(1) >= lead.max()
        return min(1.0, float(found.mean()) + SURE)

    def stepped(self, one: int, others: Sequence[int], apart: Sequence[float]) -> list[float]:
        """Corrected p of the others' differences from one, either way, of so many deviations each.

        Step-down max-t (Westfall and Young 1993; Romano and Wolf 2005): the largest is held against the largest of all
        by chance, the next against the largest of those that are left, and none gets a smaller p than one before it.
        """
        import numpy as np

        order = sorted(range(len(others)), key=lambda place: -apart[place])
        errors = np.abs(self._apart(one, [others[place] for place in order]))
        of_rest = np.maximum.accumulate(errors[:, ::-1], axis=1)[:, ::-1]
        adjusted, highest = [0.0] * len(others), 0.0
        for step, place in enumerate(order):
            own = float((of_rest[:, step] >= apart[place]).mean())
            highest = max(highest, own, 2 * tail(apart[place]))
            adjusted[place] = highest
        return adjusted


@cache
def _normal(contenders: int) -> "Array":
    """The same for so many contenders, always."""
    import numpy as np

    draws = min(DRAWS, MOST_DRAWN // contenders)
    return np.random.default_rng(contenders).standard_normal((draws, contenders))


def _root(covariance: "Array") -> "Array":
    """Cholesky's; contenders that do the same, or resamples that some lack, take a little more on the diagonal."""
    import numpy as np

    size = float(np.diag(covariance).max(initial=0.0))
    more = 1e-12
    while size:
        try:
            return np.asarray(np.linalg.cholesky(covariance + more * size * np.eye(len(covariance))))
        except np.linalg.LinAlgError:
            more *= 10
    return np.zeros_like(covariance)
