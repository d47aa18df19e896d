"""Moderated seed variance: with few seeds, the contenders of a task share what they know of seed noise.

With S seeds a contender's seed variance has S - 1 degrees of freedom; with two seeds, Student's t then tells nothing
from anything. As `limma` does for genes (Smyth 2004, "Linear models and empirical Bayes methods"), each variance is
drawn towards a common one, which counts as so many degrees of freedom more. Used by `rank`, once for a task and metric.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from mmbench.board.stats.resampling import Draws

PRIOR = 3.0
"""Degrees of freedom that the common variance counts for, at most: as if the true variances of 19 contenders of 20 lay
within a factor of 45. Fitting it (Smyth's fitFDist, or by likelihood) gained nothing in simulation: a board of ten
contenders with two seeds can't tell a factor of 1 from one of 100."""
FEWEST = 3
"""Contenders whose seeds scatter, for a common variance."""
WILD = 20.0
"""Times the median that one contender counts for, at most: a seed that collapsed spoils nobody else's interval."""


FAR = 6.0
"""How many standard deviations of a seed's score, as the other contenders' seeds scatter, a seed must lie from the
nearest of its contender's others to be called far."""


def far_seed(scores: Sequence[float], own: Draws, others: Sequence[Draws | None]) -> int | None:
    """Which of a contender's seeds lies far from all its others, as one that collapsed; None if none does.

    The yardstick is the median ratio (see `moderated`) of the task's other contenders, which a collapse among them
    moves little, times the luck that the contender's own seeds would have with single items.
    """
    pool = [draws for draws in others if draws is not None and _scatters(draws)]
    if len(scores) < FEWEST or len(pool) < FEWEST or own.spread.chance <= 0:
        return None
    freedom = median(draws.seeds - 1 for draws in pool)
    typical = max(1.0, median(map(_ratio, pool)) / (1 - 2 / (9 * freedom)) ** 3)  # of chi squared, by its median
    deviation = math.sqrt(typical * own.spread.chance * own.seeds)
    order = sorted(range(len(scores)), key=lambda place: scores[place])
    ends = [(scores[order[1]] - scores[order[0]], order[0]), (scores[order[-1]] - scores[order[-2]], order[-1])]
    gap, seed = max(ends)
    return seed if gap > FAR * deviation else None


def moderated(found: Sequence[Draws | None]) -> list[Draws | None]:
    """The same contenders, each with a seed variance that leans on all: (d0 s0^2 + d s^2) / (d0 + d), df = d0 + d.

    What is common is the ratio of the scores' variance over seeds to `chance`, what seeds would scatter if only luck
    with single items told them apart: it is free of the metric's scale, of the score and of N, and never below 1 in
    truth. s0^2 is its mean, weighed by degrees of freedom. d0 is at most a third of the degrees of freedom of all.
    Where seeds don't scatter at all, or there are too few contenders, nothing changes.
    """
    pool = [draws for draws in found if draws is not None and _scatters(draws)]
    if len(pool) < FEWEST:
        return list(found)
    known = sum(draws.seeds - 1 for draws in pool)
    most = WILD * max(1.0, median(map(_ratio, pool)))
    common = max(1.0, sum((draws.seeds - 1) * min(_ratio(draws), most) for draws in pool) / known)
    prior = min(PRIOR, known / 3)
    return [_leaning(draws, common, prior) if draws is not None and _scatters(draws) else draws for draws in found]


def _scatters(draws: Draws) -> bool:
    return draws.seeds > 1 and draws.spread.chance > 0


def _ratio(draws: Draws) -> float:
    return draws.observed / draws.spread.chance


def _leaning(draws: Draws, common: float, prior: float) -> Draws:
    own, chance = draws.seeds - 1, draws.spread.chance
    seeds = (prior * common * chance + own * draws.observed) / (prior + own)
    return replace(draws, spread=replace(draws.spread, seeds=seeds, squares=seeds**2 / (prior + own)))
