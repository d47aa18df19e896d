"""Contenders over many tasks by their places: Friedman's test and Nemenyi's critical difference, after Demsar (2006).

"Statistical comparisons of classifiers over multiple data sets", JMLR 7. Tasks are the sample: nothing is said of the
items and seeds of one. Written out on scipy.special, as scipy.stats takes longer to load than a board to draw; tests
hold every figure against scipy.stats. Used by `across`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from mmbench.board.stats.reference import LEVEL

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Places:
    """What the places [T, K] of K contenders on T tasks say; 1 is the best, equals share the mean of theirs."""

    average: tuple[float, ...]
    p: float
    """Of Friedman's test, that all are alike, by the F of Iman and Davenport (1980)."""
    critical: float
    """Average places closer than this can't be told apart at 5%, all pairs together (Nemenyi)."""
    from_best: float = 0.0
    """One whose average place is farther than this from the best one's is not the best, at 5% over all rivals."""

    def best(self) -> tuple[int, ...]:
        """The 95% set of the best, by number: comparisons with the best (Hsu 1981) of average places."""
        order = sorted(range(len(self.average)), key=self.average.__getitem__)
        return tuple(place for place in order if self.average[place] - self.average[order[0]] <= self.from_best)

    def groups(self) -> list[tuple[int, ...]]:
        """The bars of a critical-difference diagram: the largest sets that lie within it, the best first.

        Contenders by number; one that differs from all others is in none.
        """
        order = sorted(range(len(self.average)), key=self.average.__getitem__)
        found: list[tuple[int, ...]] = []
        reached = 0
        for start, first in enumerate(order):
            end = start
            while end < len(order) and self.average[order[end]] - self.average[first] <= self.critical:
                end += 1
            if end > max(reached, start + 1):
                found.append(tuple(order[start:end]))
                reached = end
        return found


def places(scores: "Array") -> "Array":
    """The place of each of K contenders on each of T tasks, [T, K], from scores of which more is better."""
    import numpy as np

    found: Array = np.empty(scores.shape)
    for place, own in zip(found, scores, strict=True):
        ordered = np.sort(-own)
        before, within = (np.searchsorted(ordered, -own, side=side) for side in ("left", "right"))
        place[:] = (before + 1 + within) / 2
    return found


def compare(of: "Array") -> Places | None:
    """From places [T, K]; None for fewer than two tasks or contenders."""
    tasks, contenders = of.shape
    if tasks < 2 or contenders < 2:
        return None
    return Places(
        average=tuple(float(mean) for mean in of.mean(0)),
        p=_friedman(of),
        critical=_studentised(contenders) * math.sqrt(contenders * (contenders + 1) / (6 * tasks)),
        from_best=_lead(contenders) * math.sqrt(contenders * (contenders + 1) / (6 * tasks)),
    )


def _friedman(of: "Array") -> float:
    """Friedman's statistic, corrected for ties; its F holds its level better with few tasks than its chi-squared."""
    from scipy.special import fdtrc

    tasks, contenders = of.shape
    between = tasks * float(((of.mean(0) - (contenders + 1) / 2) ** 2).sum())
    within = float(of.var(axis=1, ddof=1).sum())
    if not within:
        return 1.0
    statistic = tasks * between / within
    rest = tasks * (contenders - 1) - statistic
    if rest <= 1e-9:
        return 0.0
    return float(fdtrc(contenders - 1, (contenders - 1) * (tasks - 1), (tasks - 1) * statistic / rest))


@cache
def _studentised(contenders: int) -> float:
    """The critical value of the range of K normal figures of variance 1, over the square root of 2."""
    from scipy.special import ndtr

    return _critical(lambda x, width: contenders * (ndtr(x) - ndtr(x - width)) ** (contenders - 1))


@cache
def _lead(contenders: int) -> float:
    """The critical value of the lead of the best of K - 1 normal figures of variance 1 over one more, over the square
    root of 2: Dunnett's, one-sided, with endless degrees of freedom."""
    from scipy.special import ndtr

    return _critical(lambda x, width: ndtr(x + width) ** (contenders - 1))


def _critical(chance: "Callable[[Array, float], Array]") -> float:
    """The width, over the square root of 2, of which that chance, given one normal figure, is 95% in the mean."""
    import numpy as np

    points = np.linspace(-8, 8, 2001)
    density = np.exp(-(points**2) / 2) / math.sqrt(2 * math.pi)
    low, high = 0.0, 20.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        found = float(np.trapezoid(density * chance(points, middle), points))
        low, high = (middle, high) if found < 1 - LEVEL else (low, middle)
    return high / math.sqrt(2)


def by_place(names: Sequence[str], found: Places) -> list[list[str]]:
    """The groups by name."""
    return [[names[i] for i in group] for group in found.groups()]
