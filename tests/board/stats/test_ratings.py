"""Bradley-Terry ratings, held against Agresti's baseball data and against a logistic regression."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mmbench.board.stats import ratings

Array = np.ndarray[Any, Any]

# The American League's East in 1987: Agresti, Categorical Data Analysis (2002), table 10.10. Row beat column.
TEAMS = ("Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore")
WINS = np.array(
    [
        [0, 7, 9, 7, 7, 9, 11],
        [6, 0, 7, 5, 11, 9, 9],
        [4, 6, 0, 7, 7, 8, 12],
        [6, 8, 6, 0, 6, 7, 10],
        [6, 2, 6, 7, 0, 7, 12],
        [4, 4, 5, 6, 6, 0, 6],
        [2, 4, 1, 3, 1, 7, 0],
    ],
    dtype=float,
)


def test_agrestis_baseball() -> None:
    found = ratings.strengths(WINS, prior=0)
    assert found - found[-1] == pytest.approx([1.581, 1.436, 1.294, 1.248, 1.108, 0.684, 0], abs=0.001)


@pytest.mark.parametrize("prior", [0.0, 1.0, 4.0])
def test_a_logistic_regression_on_the_same_design_agrees(prior: float) -> None:
    size = len(WINS)
    design, won, weight = [], [], []
    for i, j in combinations(range(size), 2):
        row = np.zeros(size)
        row[i], row[j] = 1, -1
        design += [row, row]
        won += [1, 0]
        weight += [WINS[i, j], WINS[j, i]]
    for i in range(size if prior else 0):
        design += [np.eye(size)[i]] * 2
        won += [1, 0]
        weight += [prior / 2] * 2
    model = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10, max_iter=10_000)
    model.fit(np.array(design), won, sample_weight=weight)
    expected = model.coef_[0] - model.coef_[0].mean()
    assert ratings.strengths(WINS, prior=prior) == pytest.approx(expected, abs=1e-4)


def test_many_at_once_are_as_one_by_one() -> None:
    stack = np.stack([WINS, WINS.T, 2 * WINS])
    assert ratings.strengths(stack) == pytest.approx(np.stack([ratings.strengths(wins) for wins in stack]))


def test_who_beat_whom_with_equals_and_gaps() -> None:
    (won,) = ratings.contests(np.array([[2.0, 1.0, 1.0, np.nan]]))
    assert won.tolist() == [[0, 1, 1, 0], [0, 0, 0.5, 0], [0, 0.5, 0, 0], [0, 0, 0, 0]]


def test_one_that_always_wins_has_a_finite_rating_and_one_without_contests_the_average() -> None:
    rating, interval = ratings.ratings(np.array([[3.0, 2.0, 1.0, np.nan]] * 4))
    assert interval is None
    assert np.isfinite(rating).all()
    assert rating[0] > rating[1] > rating[2]
    assert rating[3] == pytest.approx(1000)
    assert rating.mean() == pytest.approx(1000)


def test_a_missing_task_counts_for_nothing() -> None:
    """The third lacks a task on which the others swap places: its own contests stay what they were."""
    whole = np.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [2.0, 3.0, np.nan]])
    rating, _ = ratings.ratings(whole)
    won = ratings.contests(whole).sum(0)
    assert won[2].sum() + won[:, 2].sum() == 4
    assert rating[2] < rating[1] < rating[0]


def test_the_interval_over_tasks_covers() -> None:
    """Contenders of known strength on 30 tasks, whose contests share the task's luck."""
    draw = np.random.default_rng(0)
    strength = np.array([0.6, 0.2, 0.0, -0.2, -0.6])
    many = ratings.contests(strength + draw.gumbel(size=(40_000, 5))).sum(0)
    truth = ratings.AVERAGE + ratings.POINTS * ratings.strengths(many, prior=0)
    hits = []
    for _ in range(60):
        _, interval = ratings.ratings(strength + draw.gumbel(size=(30, 5)))
        assert interval is not None
        hits += ((interval[:, 0] <= truth) & (truth <= interval[:, 1])).tolist()
    assert 0.90 <= np.mean(hits) <= 0.99
