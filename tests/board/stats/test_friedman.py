"""Places over tasks, held against Demsar's worked example (JMLR 7, 2006, section 3.2, table 6)."""

import numpy as np
import pytest
import scipy.stats

from mmbench.board.stats import friedman

C45 = ("C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf")
AUC = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.975, 0.9749],  # printed as .975 twice, and ranked 2 and 3
        [0.957, 0.978, 0.946, 0.970],
    ]
)


def test_demsars_example() -> None:
    found = friedman.compare(friedman.places(AUC))
    assert found is not None
    assert found.average == pytest.approx((3.143, 2.000, 2.893, 1.964), abs=0.0005)
    assert found.critical == pytest.approx(1.25, abs=0.005)
    statistic = 9.28 / (1 - 78 / 840)  # as printed, then corrected for ties, which Demsar leaves out
    assert found.p == pytest.approx(scipy.stats.f.sf(13 * statistic / (42 - statistic), 3, 39), abs=1e-4)
    assert friedman.by_place(C45, found) == [["C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5"]]  # "not powerful enough"


def test_the_groups_are_the_bars_of_the_diagram() -> None:
    found = friedman.Places(average=(4.0, 1.0, 2.0, 3.0, 9.0), p=0.0, critical=2.0)
    assert found.groups() == [(1, 2, 3), (2, 3, 0)]
    assert friedman.Places((1.0, 5.0), 0.0, 2.0).groups() == []
    assert friedman.Places((1.5, 1.5), 1.0, 2.0).groups() == [(0, 1)]


def test_the_set_of_the_best_is_what_dunnetts_one_sided_value_leaves() -> None:
    """Dunnett (1955), table 1a: 2.16 for four groups with endless degrees of freedom against one control."""
    assert friedman._lead(5) == pytest.approx(2.16, abs=0.005)
    assert friedman._lead(2) == pytest.approx(scipy.stats.norm.ppf(0.95), abs=1e-3)
    found = friedman.compare(friedman.places(AUC))
    assert found is not None
    assert found.from_best == pytest.approx(2.062 * (4 * 5 / (6 * 14)) ** 0.5, abs=0.002)
    assert found.best() == (3, 1, 2)


def test_the_set_of_the_best_holds_it_95_times_in_100() -> None:
    """Of equals, any one is a best one; with six tasks, each errs by chance of its ranks alone."""
    draw = np.random.default_rng(0)
    found = [friedman.compare(friedman.places(draw.normal(size=(6, 8)))) for _ in range(400)]
    assert 0.01 < np.mean([0 not in places.best() for places in found if places is not None]) < 0.075


def test_it_rejects_5_times_in_100_where_all_are_alike() -> None:
    draw = np.random.default_rng(0)
    found = [friedman.compare(friedman.places(draw.normal(size=(6, 5)))) for _ in range(400)]
    share = np.mean([places.p < 0.05 for places in found if places is not None])
    assert 0.02 <= share <= 0.08


def test_nothing_is_said_of_one_task_or_one_contender() -> None:
    assert friedman.compare(np.ones((1, 4))) is None
    assert friedman.compare(np.ones((4, 1))) is None
    assert friedman.compare(np.ones((4, 0))) is None


def test_all_equal_and_all_in_one_order() -> None:
    equal = friedman.compare(friedman.places(np.ones((5, 3))))
    assert equal is not None
    assert (equal.p, equal.average) == (1.0, (2.0, 2.0, 2.0))
    ordered = friedman.compare(friedman.places(np.tile([3.0, 2.0, 1.0], (5, 1))))
    assert ordered is not None
    assert (ordered.p, ordered.average) == (0.0, (1.0, 2.0, 3.0))
    two = friedman.compare(friedman.places(np.tile([3.0, 2.0], (8, 1))))
    assert two is not None
    assert two.p == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_scipy_agrees_ties_and_all(seed: int) -> None:
    draw = np.random.default_rng(seed)
    scores = draw.integers(0, 4, (9, 5)).astype(float)
    places = friedman.places(scores)
    assert places == pytest.approx(scipy.stats.rankdata(-scores, axis=1))
    statistic = scipy.stats.friedmanchisquare(*scores.T).statistic
    found = friedman.compare(places)
    assert found is not None
    assert found.p == pytest.approx(scipy.stats.f.sf(8 * statistic / (36 - statistic), 4, 32))


@pytest.mark.parametrize("contenders", [2, 5, 13, 60])
def test_the_critical_value_is_that_of_the_studentised_range(contenders: int) -> None:
    found = friedman.compare(np.tile(np.arange(1.0, contenders + 1), (6, 1)))
    assert found is not None
    scale = np.sqrt(contenders * (contenders + 1) / 36)
    expected = scipy.stats.studentized_range.ppf(0.95, contenders, np.inf) / np.sqrt(2)
    assert found.critical / scale == pytest.approx(expected, rel=1e-5)
