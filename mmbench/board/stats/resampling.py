"""How sure a score is, and whether two contenders differ: over test items and seeds together.

One resample draws test items, the same for every contender and seed of a task: it tells what other items would have
changed, and as a task's contenders share the items drawn, the difference of two is paired. What other seeds would
have changed is told by the scores of the seeds at hand, which are few: intervals and p are those of Student's t, with
the degrees of freedom of `reference`; `moderated` lets contenders lend each other some, and `family` corrects the tests
of a task together. Used by `rank` and `compare`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from mmbench.api.parts import Metric
from mmbench.api.parts.scores import quiet, read_only, reason, scored
from mmbench.board.stats.reference import LEVEL as LEVEL
from mmbench.board.stats.reference import MOST, Spread
from mmbench.errors import MMBenchError

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

RESAMPLES = 800
FEWEST = 200
GROUPED = 4  # resamples that are drawn for each group of items
MOST_DRAWN = 20_000_000  # items x resamples kept in memory
FEWEST_ITEMS = 6
"""Test items that it takes for p < 0.05: by chance alone, one of two contenders is better on all N of them in one of
2^(N - 1) cases. Resamples of fewer items know nothing of that."""
MOST_LEFT_OUT = 0.5
"""The share of the resamples that may lack a score. Beyond it, those that have one say little of all."""
TRAINING = 0.3
"""What the training sets of folds do to a joined score, as a share of what its items do: .1 to .3 in real trainings
(docs/statistics.md). The folds of one data set can't say it: they share most of their train rows and no test row."""
LEAST = 0.5
"""Seeds whose scores happen to agree are taken to scatter by this share of their chance at least."""


class UnsureError(MMBenchError):
    """Nothing can be said of what other test items would have changed; says why."""


@dataclass(frozen=True)
class Resamples:
    """Which items stand in each resample, [R + G, N]: R that are drawn, then G that tell what hangs on single items.

    Each of those G has one group of items twice, and the next group not at all.
    """

    rows: "Array"
    drawn: int

    @property
    def items(self) -> int:
        return int(self.rows.shape[1])


@dataclass(frozen=True)
class Draws:
    """A contender's score: its mean over seeds, and what that mean was in each resample of the items."""

    mean: float
    values: "Array"
    """In each that was drawn, [R]; NaN in those that have no score."""
    influence: "Array"
    """By how much each group of items moves it, [G]."""
    spread: Spread
    items: int
    share: bool = False
    """Whether the score lies between 0 and 1."""
    seeds: int = 1
    observed: float = 0.0
    """The variance of the scores over seeds, divided by their number; `spread` has it as it is believed."""
    why: str = ""
    """Why some resamples have no score, if any has none."""
    training: float = 0.0
    """What the training sets add to the variance of the items, as a share of it; `spread` holds it."""

    @property
    def left_out(self) -> int:
        """How many resamples have no score."""
        return int((self.values != self.values).sum())

    def interval(self) -> tuple[float, float]:
        """The 95% interval: Wilson's (1927) for a share, else Student's t with Hall's (1992) correction for skew."""
        return self._of_share() if self.share and 0 <= self.mean <= 1 else self._of_mean()

    def _of_share(self) -> tuple[float, float]:
        """The shares that the one observed does not contradict, if their variance goes with p (1 - p).

        At 0 and 1, where all seeds and items agree, that variance is that of one seed: 1 / N.
        """
        p, apart = self.mean, self.spread.critical()
        width = apart**2 / (p * (1 - p)) if apart and 0 < p < 1 else FARTHEST / self.items
        middle = (p + width / 2) / (1 + width)
        half = math.sqrt(width * p * (1 - p) + width**2 / 4) / (1 + width)
        return max(0.0, middle - half), min(1.0, middle + half)

    def _of_mean(self) -> tuple[float, float]:
        apart, deviation = self.spread.critical(), math.sqrt(self.spread.total)
        if not apart or not deviation:
            return self.mean - apart, self.mean + apart
        skew = _moment(self.influence, 3) / math.sqrt(len(self.influence))
        skew *= (self.spread.items / max(self.spread.total, self.spread.items)) ** 1.5
        low, high = (_unskewed(side * apart / deviation, skew) for side in (1, -1))
        return self.mean - deviation * low, self.mean - deviation * high


FARTHEST = 1.959964**2


@dataclass(frozen=True)
class Difference:
    """One contender minus another, on the same items: the mean, its 95% interval, and the two-sided p.

    The interval holds 0 exactly where p is 0.05 or more.
    """

    mean: float
    low: float
    high: float
    p: float


def item_rows(items: int, resamples: int = RESAMPLES) -> Resamples:
    """Always the same for N items; fewer resamples of very many items."""
    import numpy as np

    generator = np.random.default_rng(items)
    resamples = min(resamples, max(FEWEST, MOST_DRAWN // items))
    drawn = generator.integers(0, items, (resamples, items), dtype=np.int64)
    size = -(-items // (resamples // GROUPED))
    groups = generator.permutation(items)[: items // size * size].reshape(-1, size)
    swapped = np.tile(np.arange(items), (len(groups), 1))
    np.put_along_axis(swapped, np.roll(groups, -1, axis=0), groups, axis=1)
    rows: Array = np.concatenate([drawn, swapped])
    rows.flags.writeable = False  # one array serves every contender of a task
    return Resamples(rows, resamples)


def draw(
    metric: Metric,
    truth: "Array",
    predictions: "Sequence[Array]",
    resamples: Resamples,
    *,
    scores: Sequence[float],
    training: float = 0.0,
) -> Draws:
    """What the mean over seeds might have been on other items, and with other seeds.

    `scores` are those of each seed on the items as they are. Seeds and items are crossed: what a seed makes of an item
    by chance is in the differences between seeds and in those between resamples. It is measured, as what is left of a
    seed's resamples without their mean over seeds, and counted once. `training` is what the training sets add, as a
    share of what the items do. A resample in which the metric is undefined or
    fails for one of the seeds is left out. Raises UnsureError if nothing can be said of other items.
    """
    import numpy as np

    if resamples.items < FEWEST_ITEMS:
        raise UnsureError(f"with fewer than {FEWEST_ITEMS} test rows nothing can be told from chance")
    try:
        with quiet():
            found = np.stack([_resampled(metric, truth, prediction, resamples) for prediction in predictions])
    except (Exception, SystemExit) as error:  # a metric is anyone's code, and its failure no reason to stop
        raise UnsureError(reason(error)) from error
    lost = np.isnan(found)
    left_out = int(lost[:, : resamples.drawn].any(0).sum())
    why = _why(metric, truth, predictions, resamples, lost) if left_out else ""
    if left_out > MOST_LEFT_OUT * resamples.drawn:
        raise UnsureError(f"{left_out} of {resamples.drawn} resamples of the test rows have no score ({why})")
    alike = all(_alike(prediction, predictions[0]) for prediction in predictions)
    made = of_resamples(found, scores, resamples, share=metric.share, alike=alike, training=training)
    return replace(made, why=why)


def _resampled(metric: Metric, truth: "Array", prediction: "Array", resamples: Resamples) -> "Array":
    """The score in each resample, [R + G]; NaN where that is no finite number."""
    import numpy as np

    rows = resamples.rows
    found = np.asarray(metric.resampled(read_only(truth), read_only(prediction), read_only(rows)), np.float64)
    if found.shape != (len(rows),):
        raise ValueError(f"resampled gave the shape {found.shape} for {len(rows)} resamples")
    return np.where(np.isfinite(found), found, np.nan)


def _why(metric: Metric, truth: "Array", predictions: "Sequence[Array]", resamples: Resamples, lost: "Array") -> str:
    """Why the first resample that has no score has none."""
    seed, place = next(zip(*lost[:, : resamples.drawn].nonzero(), strict=True))
    rows = resamples.rows[place]
    found = scored(metric, truth[rows], predictions[seed][rows])
    return found if isinstance(found, str) else "no finite number"


def _alike(one: "Array", other: "Array") -> bool:
    """Whether two seeds predict the same, but for rounding: then no seed will ever differ."""
    import numpy as np

    if one.shape != other.shape or one.dtype.kind not in "biufc":
        return np.array_equal(one, other)
    return np.allclose(one, other, equal_nan=True)


def of_resamples(
    found: "Array",
    scores: Sequence[float],
    resamples: Resamples,
    *,
    share: bool = False,
    alike: bool = False,
    training: float = 0.0,
) -> Draws:
    """The same from each seed's score in each resample, [S, R + G], and each seed's score on the items as they are.

    `alike` says that the seeds predict the same. If not, seeds whose scores agree do so by accident, and where they are
    right on the same items too, their chance is that of one item for one seed.
    """
    import numpy as np

    means, seeds, items = found.mean(0), len(scores), resamples.items
    values, influence = means[: resamples.drawn], _influence(np.mean(scores) - means[resamples.drawn :])
    known = 1 / seeds if share else 0.0  # one seed's share varies by p (1 - p) / N, which is not estimated
    freedom = min(MOST, _freedom(influence, items) / max(1 - known, 1 / MOST))
    spread = Spread(_variance(values, items) * (1 + training), freedom=freedom)
    draws = Draws(float(np.mean(scores)), values, influence, spread, items, share, seeds, training=training)
    if seeds == 1 or alike:
        return draws
    chance = sum(_variance(own, items) for own in found[:, : resamples.drawn] - values) / (seeds * (seeds - 1))
    return _with_seeds(draws, scores, chance=max(chance, (1 / (seeds * items)) ** 2 if share else 0.0))


def _influence(apart: "Array") -> "Array":
    """By how much each group of items moves the score, [G], from what each trade of a group for the next changes.

    The trades lead round to where they began, so that all together change nothing; those that left no score share what
    is missing from that.
    """
    import numpy as np

    lost = np.isnan(apart)
    if lost.any():
        apart = np.where(lost, -apart[~lost].sum() / lost.sum(), apart)
    return np.cumsum(apart)


def _with_seeds(draws: Draws, scores: Sequence[float], *, chance: float) -> Draws:
    """With what these scores of the seeds scatter."""
    import numpy as np

    observed = float(np.var(scores, ddof=1)) / draws.seeds
    squares = observed**2 / (draws.seeds - 1)
    spread = replace(draws.spread, chance=chance, seeds=max(observed, LEAST * chance), squares=squares)
    return replace(draws, spread=spread, observed=observed)


def difference(first: Draws, second: Draws, *, sign: int = 1) -> Difference:
    """`first` minus `second`, times `sign`; both drawn on the same items. The seeds of the two are not paired.

    Resamples in which one has no score are left out for both. If that leaves too few, nothing is known: p is 1.
    """
    mean = sign * (first.mean - second.mean)
    if left_out(first, second) > MOST_LEFT_OUT * len(first.values):
        return Difference(mean, -math.inf, math.inf, 1.0)
    one, other = first.spread, second.spread
    spread = Spread(
        items=_variance(first.values - second.values, first.items) * (1 + first.training),
        chance=one.chance + other.chance,
        seeds=one.seeds + other.seeds,
        squares=one.squares + other.squares,
        freedom=_freedom(first.influence - second.influence, first.items),
    )
    return _about(mean, spread)


def left_out(first: Draws, second: Draws) -> int:
    """In how many resamples one of the two has no score."""
    apart = first.values - second.values
    return int((apart != apart).sum())


def covariance(found: Sequence[Draws | None]) -> "Array":
    """Of the errors of contenders' means, [K, K], all drawn on the same items; 0 for one of which nothing is known.

    Items make them err together, seeds each alone. A resample in which one has no score tells nothing of that one.
    """
    import numpy as np

    known = [draws for draws in found if draws is not None]
    values = np.array([draws.values if draws else np.full(len(known[0].values), np.nan) for draws in found])
    there = np.isfinite(values)
    apart = np.where(there, values, 0.0)
    apart = np.where(there, apart - (apart.sum(1) / np.maximum(there.sum(1), 1))[:, None], 0.0)
    both = there.astype(float) @ there.T
    items, training = known[0].items, known[0].training
    together: Array = apart @ apart.T / np.maximum(both, 1) * (1 + training) * items / max(items - 1, 1)
    np.fill_diagonal(together, [draws.spread.total if draws else 0.0 for draws in found])
    return together


def against_0(draws: Draws) -> Difference:
    """The mean itself, as a difference."""
    return _about(draws.mean, draws.spread)


def _about(mean: float, spread: Spread) -> Difference:
    apart = spread.critical()
    return Difference(mean, mean - apart, mean + apart, spread.p(mean))


def gap(test: Draws, apart: Sequence[float], *, validation_items: int) -> Draws:
    """The mean of `apart`, each seed's validation score minus its test score: other items on both sides.

    What the validation items do is not measured, as predictions are kept of test only: they are taken to be as diverse
    as the test items, so that their noise goes with the inverse of their number.
    """
    import numpy as np

    both = 1 + test.items / validation_items
    spread = Spread(test.spread.items * both, freedom=test.spread.freedom)
    found = replace(test, mean=float(np.mean(apart)), spread=spread, share=False, observed=0.0)
    return _with_seeds(found, apart, chance=test.spread.chance * both) if found.seeds > 1 else found


def _variance(values: "Array", items: int) -> float:
    """What drawing the items does to a score, from what it was in the resamples that have one."""
    lost = values != values
    if lost.any():
        values = values[~lost]
    return float(values.var()) * items / max(items - 1, 1)  # resamples vary by (N - 1) / N less than fresh samples


def _freedom(influence: "Array", items: int) -> float:
    """The degrees of freedom of that variance: N - 1 if the items' parts are normal, few if it hangs on few items."""
    excess = _moment(influence, 4) - 3
    return 2 / max(2 / max(items - 1, 1) + excess / len(influence), 2 / MOST)


def _moment(values: "Array", power: int) -> float:
    """A standardised central moment; that of a normal distribution if the values do not vary."""
    apart = values - values.mean()
    deviation = float((apart**2).mean()) ** 0.5
    return float((apart**power).mean()) / deviation**power if deviation else (0.0, 3.0)[power == 4]


def _unskewed(units: float, skew: float) -> float:
    """Where Hall's transformation, which takes the skew out of a studentised mean, reaches so many units."""
    if abs(skew) < 1e-6:
        return units
    root = math.cbrt(1 + skew * (units - skew / 6))
    return 3 / skew * (root - 1)
