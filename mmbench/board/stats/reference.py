"""How many deviations are many: critical values and p of an estimate that holds two kinds of noise.

The mean score over S seeds on N test items errs by the items drawn (many: their noise is known well) and by the seeds
drawn (few: their noise is known badly). `Spread` holds both variances and gives the critical value and the p that
belong together: an interval excludes 0 exactly where p < 0.05. Used by `resampling`; needs SciPy.
"""

import math
from dataclasses import dataclass

LEVEL = 0.05
MOST = 1e9
"""Degrees of freedom that are as good as endless."""
NARROWEST = 0.5
"""Seeds that happen to agree never make an interval narrower than this share of what the items alone ask for."""
SMALLEST = 1e-300
CAUTION, TAIL = 0.75, 0.6
"""How the bound falls with few degrees of freedom, and far out; chosen by simulation."""


@dataclass(frozen=True)
class Spread:
    """The variance of a mean over seeds, or of the difference of two, by its sources.

    items: what drawing other test items would change, with the seeds at hand.
    chance: of that, what a seed makes of an item by chance (seeds x items); it is a part of `seeds` too.
    seeds: the variance of the scores over seeds, divided by their number; of several contenders the sum.
    squares: the sum of seeds^2 / (S - 1) over the contenders, which gives the degrees of freedom of `seeds`.
    freedom: the degrees of freedom of `items`.
    """

    items: float
    chance: float = 0.0
    seeds: float = 0.0
    squares: float = 0.0
    freedom: float = MOST

    @property
    def total(self) -> float:
        """The unbiased variance: what the seeds share of the items' noise, plus what they don't share."""
        return max(self.items - self.chance, 0.0) + self.seeds if self.squares or self.chance else self.items

    def freedom_at(self, level: float) -> float:
        """Degrees of freedom of a test at that level.

        Satterthwaite's (1946): each source's, weighed by the square of its share of the variance. With 1 to 4 of the
        seeds that is too many, the more so the further out in the tail; a seeds' share is therefore held against a
        `bound` below 1, found by integration over all mixtures of the two sources (docs/statistics.md).
        """
        if not self.squares or not self.total:
            return self.freedom
        own: float = self.seeds**2 / self.squares
        share = self.seeds / self.total
        bound: float = max((1 - CAUTION / own) * min(1.0, level / LEVEL) ** (TAIL / own**1.3), SMALLEST)
        inverse: float = min(1.0, share / bound) ** 2 / own + (1 - share) ** 2 / self.freedom
        return 1 / inverse

    def critical(self, level: float = LEVEL) -> float:
        """How far from its mean an estimate lies in that share of cases: half the width of the interval."""
        from scipy.special import ndtri, stdtrit

        apart = -float(stdtrit(self.freedom_at(level), level / 2)) * math.sqrt(self.total)
        return max(apart, -float(ndtri(level / 2)) * NARROWEST * math.sqrt(self.items))

    def p(self, apart: float) -> float:
        """The two-sided p of an estimate that far from 0: the level at which `critical` is just as far."""
        from scipy.special import ndtr, stdtr

        apart = abs(apart)
        if not apart or not self.items + self.seeds:
            return 0.0 if apart else 1.0
        units = apart / math.sqrt(self.total) if self.total else math.inf
        least = 2 * float(ndtr(-apart / NARROWEST / math.sqrt(self.items))) if self.items else 0.0

        def beyond(level: float) -> float:
            return max(2 * float(stdtr(self.freedom_at(level), -units)), SMALLEST)

        if beyond(SMALLEST) <= SMALLEST:
            return least
        low, high = (
            math.log(SMALLEST),
            0.0,
        )  # halved: a root finder of SciPy's takes longer to load than this for a board
        while high - low > 1e-9:
            middle = (low + high) / 2
            low, high = (middle, high) if math.log(beyond(math.exp(middle))) > middle else (low, middle)
        return max(least, math.exp(high))
