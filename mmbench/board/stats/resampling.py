"""How sure a score is, and whether two contenders differ: resampling of seeds and test items together.

One resample draws test items, the same for every contender and seed of a task, and for each contender its seeds. A
score's interval holds the middle 95% of 1,000 resamples. As a task's contenders share the items drawn, the difference
of two is paired. All draws are seeded: the same store gives the same board. Used by `rank`; needs numpy only.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from mmbench.api.parts import Metric

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

RESAMPLES = 1000
FEWEST = 200
MOST_DRAWN = 20_000_000  # items x resamples kept in memory
LEVEL = 0.05


@dataclass(frozen=True)
class Draws:
    """A contender's score: its mean over seeds, and what that mean was in each resample, [R]."""

    mean: float
    values: "Array"
    lowest: float
    highest: float
    """The range of what any one seed reached on any resample."""

    def interval(self) -> tuple[float, float]:
        """The 95% percentile interval, kept within that range."""
        low, high = _middle(self.values)
        return max(low, self.lowest), min(high, self.highest)


@dataclass(frozen=True)
class Difference:
    """One contender minus another, on the same items: the mean, its 95% interval, and the two-sided p."""

    mean: float
    low: float
    high: float
    p: float


def item_rows(items: int, resamples: int = RESAMPLES) -> "Array":
    """The items of each resample, [R, N], always the same for N items; fewer resamples of very many items."""
    import numpy as np

    resamples = min(resamples, max(FEWEST, MOST_DRAWN // items))
    rows: Array = np.random.default_rng(items).integers(0, items, (resamples, items), dtype=np.int64)
    rows.flags.writeable = False  # one array serves every contender of a task
    return rows


def draw(
    metric: Metric,
    truth: "Array",
    predictions: "Sequence[Array]",
    rows: "Array",
    *,
    scores: Sequence[float],
    label: str,
) -> Draws:
    """Resample items, then seeds: what the mean over seeds might have been.

    `scores` are those of each seed on the items as they are; `label` names the contender, whose draw of seeds is its
    own. Drawing seeds and items naively counts three times what a seed makes of an item by chance (Owen 2007, "The
    pigeonhole bootstrap"). Resampling items already holds that part, so of the seeds' differences only what exceeds it
    is drawn again, with the variance of a mean of S. Raises ValueError as metrics do.
    """
    import numpy as np

    resampled = np.stack([metric.resampled(truth, prediction, rows) for prediction in predictions])
    mean, values = float(np.mean(scores)), resampled.mean(0)
    seeds = len(scores)
    if seeds > 1:
        apart = np.asarray(scores) - mean
        squares = float(apart @ apart)
        by_chance = float((resampled - values).var(axis=1).mean()) * seeds / (seeds - 1)
        of_seeds = squares / (seeds - 1) - by_chance
        if of_seeds > 0:
            generator = np.random.default_rng(int.from_bytes(hashlib.sha256(label.encode()).digest()[:8]))
            drawn = apart[generator.integers(0, seeds, (seeds, len(rows)))].mean(0)
            values = values + math.sqrt(of_seeds * seeds / squares) * drawn
    return Draws(mean, values, float(resampled.min()), float(resampled.max()))


def difference(first: Draws, second: Draws, *, sign: int = 1) -> Difference:
    """`first` minus `second`, times `sign`; both drawn on the same rows.

    p is that of the mean difference in units of its bootstrap deviation, against a normal distribution: unlike a
    count of resamples it has no smallest value, so that it can be corrected for many comparisons.
    """
    mean = sign * (first.mean - second.mean)
    apart = sign * (first.values - second.values)
    low, high = _middle(apart)
    deviation = float(apart.std())
    units = abs(mean) / deviation if deviation > 0 else math.inf if mean else 0.0
    p = math.erfc(units / math.sqrt(2))
    return Difference(mean, low, high, p)


def _middle(values: "Array") -> tuple[float, float]:
    import numpy as np

    low, high = np.quantile(values, [LEVEL / 2, 1 - LEVEL / 2])
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (1979): compare what it gives with the level for the whole family."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def tied_ranks(names: Sequence[str], p_value: Callable[[str, str], float]) -> dict[str, int]:
    """Ranks from 1 of `names`, best first: those that don't differ from the best of a group share its rank.

    The best one is compared with all after it, Holm-corrected. Its group ends at the first that differs, which leads
    the next group: one that scores less never ranks higher, however much its seeds scatter.
    """
    ranks: dict[str, int] = {}
    rest = list(names)
    while rest:
        best, others = rest[0], rest[1:]
        adjusted = holm([p_value(best, other) for other in others])
        rank = len(ranks) + 1
        ranks[best] = rank
        tied = next((i for i, p in enumerate(adjusted) if p < LEVEL), len(others))
        ranks |= dict.fromkeys(others[:tied], rank)
        rest = others[tied:]
    return ranks
