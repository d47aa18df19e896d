"""Bradley-Terry ratings: how strong each contender is, from who beat whom on which task; those that miss tasks too.

The chance that i beats j is 1 / (1 + exp(b_j - b_i)) (Bradley and Terry 1952); the ratings are shown as 1000 + 400 / ln
10 b, where 400 points are odds of ten to one. Intervals are over tasks: their contests are drawn again, task by task.
Used by `across`; needs numpy.
"""

import math
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

RESAMPLES = 500
FEWEST_TASKS = 5
"""With fewer, draws of tasks are too much alike to say how sure a rating is."""
AVERAGE, POINTS = 1000.0, 400 / math.log(10)
PRIOR = 1.0
MOST_KEPT = 500_000  # entries of the matrices solved at once
MOST_SOLVED = 2_000_000  # entries of all that are solved for an interval: 63 contenders
STEPS = 100


def contests(scores: "Array") -> "Array":
    """Who beat whom on each task, [T, K, K], from scores [T, K] of which more is better, NaN where there is none.

    1 where the row's contender is better than the column's, a half each for equals, 0 where one of them is missing.
    """
    import numpy as np

    ours, theirs = scores[:, :, None], scores[:, None, :]
    won: Array = (ours > theirs) + 0.5 * (ours == theirs)
    won[:, np.arange(scores.shape[1]), np.arange(scores.shape[1])] = 0
    return won


def strengths(wins: "Array", *, prior: float = PRIOR, start: "Array | None" = None, close: float = 1e-9) -> "Array":
    """The strengths b that make the wins [..., K, K] most likely, [..., K]; their mean is 0.

    prior: so many drawn contests of each with one of strength 0, which keeps the rating of one that always won, or that
    met nobody, finite. With 0 it is plain maximum likelihood, which such a one does not have.
    start, close: where to begin, and how short a step ends the search.
    """
    import numpy as np

    size = wins.shape[-1]
    games = wins + np.swapaxes(wins, -1, -2)
    own = wins.sum(-1) + prior / 2
    strength = np.zeros(wins.shape[:-1]) + (0.0 if start is None else start)
    corner = 0.0 if prior else np.ones((size, size)) / size  # without a prior the mean is free, and has to be held
    diagonal = np.arange(size)
    for _ in range(STEPS):  # Newton's: the likelihood is concave
        chance = 1 / (1 + np.exp(strength[..., None, :] - strength[..., :, None]))
        alone = 1 / (1 + np.exp(-strength))
        slope = own - (games * chance).sum(-1) - prior * alone
        curve = -games * chance * (1 - chance)
        curve[..., diagonal, diagonal] = -curve.sum(-1) + prior * alone * (1 - alone)
        step = np.linalg.solve(curve + corner, slope[..., None])[..., 0]
        strength = strength + np.clip(step, -2, 2)
        if np.abs(step).max() < close:
            break
    centred: Array = strength - strength.mean(-1, keepdims=True)
    return centred


def ratings(scores: "Array") -> "tuple[Array, Array | None]":
    """The rating of each contender [K], and its 95% interval [K, 2]: none of fewer than 5 tasks, or of more
    than 63 contenders.

    scores [T, K], more is better, NaN where a contender has none: those contests did not take place.
    """
    import numpy as np

    tasks, size = scores.shape
    strength = strengths(sum((contests(scores[t : t + 1])[0] for t in range(tasks)), np.zeros((size, size))))
    rating = AVERAGE + POINTS * strength
    if tasks < FEWEST_TASKS or RESAMPLES * size**2 > MOST_SOLVED:
        return rating, None
    won = contests(scores)
    draws = np.random.default_rng(tasks).multinomial(tasks, np.full(tasks, 1 / tasks), RESAMPLES)
    at_once = max(1, MOST_KEPT // size**2)
    parts = [
        strengths(np.tensordot(draws[first : first + at_once], won, axes=1), start=strength, close=1e-4)
        for first in range(0, RESAMPLES, at_once)
    ]
    low, high = np.quantile(AVERAGE + POINTS * np.concatenate(parts), [0.025, 0.975], axis=0)
    return rating, np.stack([low, high], axis=1)
