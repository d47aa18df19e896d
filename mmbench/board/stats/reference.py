"""Critical values and p of an estimate that holds two kinds of noise.

The mean score over S seeds on N test items errs by the items drawn (many: their noise is known well) and by the seeds
drawn (few: their noise is known badly). `Spread` holds both variances and gives the critical value and the p that
belong together: an interval excludes 0 exactly where p < 0.05. Used by `resampling`; needs SciPy.
"""

import math
from dataclasses import dataclass

LEVEL = 0.05
MOST = 1e9
"""Degrees of freedom that are as good as endless."""


@dataclass(frozen=True)
class Spread:
    """The variance of a mean over seeds, or of the difference of two, by its sources.

    items: what drawing other test items would change, with the seeds at hand.
    chance: of that, what a seed makes of an item by chance (seeds x items); it is a part of `seeds` too.
    seeds: the variance of the scores over seeds, divided by their number; of several contenders the sum.
    squares: the sum of seeds^2 / degrees of freedom over the contenders, which gives those of `seeds`.
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
        return max(self.items - self.chance, 0.0) + self.seeds

    @property
    def degrees(self) -> float:
        """Degrees of freedom of the total: those of its sources, each weighed by its share.

        Satterthwaite (1946) weighs by the square of the share. As the share is itself guessed from few seeds, that is
        too many degrees: up to 8% of tests at the 5% level reject by mistake, with 2 of them. The plain share, held
        against n / (n + 1) with n of the seeds' own, keeps to 5% from 2 on (docs/statistics.md).
        """
        if not self.squares or not self.total:
            return self.freedom
        own: float = self.seeds**2 / self.squares
        share = self.seeds / self.total
        return 1 / (min(1.0, share * (1 + 1 / own)) / own + (1 - share) / self.freedom)

    def critical(self, level: float = LEVEL) -> float:
        """How far from its mean an estimate lies in that share of cases: half the width of the interval."""
        from scipy.special import stdtrit

        return -float(stdtrit(self.degrees, level / 2)) * math.sqrt(self.total)

    def p(self, apart: float) -> float:
        """The two-sided p of an estimate that far from 0: the level at which `critical` is just as far."""
        from scipy.special import stdtr

        if not apart or not self.total:
            return 0.0 if apart else 1.0
        return 2 * float(stdtr(self.degrees, -abs(apart) / math.sqrt(self.total)))
