"""Contenders over many tasks by their places: Friedman's test and Nemenyi's critical difference, after Demsar (2006).

"Statistical comparisons of classifiers over multiple data sets", JMLR 7. Tasks are the sample: nothing is said of the
items and seeds of one. Used by `across`; needs SciPy.
"""

import math
from collections.abc import Sequence
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
    from scipy.stats import rankdata

    found: Array = rankdata(-scores, axis=1)
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
    )


def _friedman(of: "Array") -> float:
    """SciPy's statistic, which allows for ties; its F holds its level better with few tasks than its chi-squared."""
    import numpy as np
    from scipy.stats import f, friedmanchisquare

    tasks, contenders = of.shape
    if (of == of[:, :1]).all():
        return 1.0
    if contenders == 2:  # SciPy asks for three; the sign test's statistic is the same figure
        apart = np.sign(of[:, 0] - of[:, 1])
        statistic = float(apart.sum() ** 2 / np.abs(apart).sum())
    else:
        statistic = float(friedmanchisquare(*of.T).statistic)
    rest = tasks * (contenders - 1) - statistic
    if rest <= 1e-9:
        return 0.0
    return float(f.sf((tasks - 1) * statistic / rest, contenders - 1, (contenders - 1) * (tasks - 1)))


@cache
def _studentised(contenders: int) -> float:
    """The critical value of the studentised range over the square root of 2, with endless degrees of freedom."""
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(1 - LEVEL, contenders, math.inf)) / math.sqrt(2)


def by_place(names: Sequence[str], found: Places) -> list[list[str]]:
    """The groups by name."""
    return [[names[i] for i in group] for group in found.groups()]
