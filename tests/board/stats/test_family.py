"""A task's tests: Holm's adjustment as published, the set of the best, the rivals of a reference, no contradictions."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest
from scipy.stats import norm

from mmbench.board.stats.family import Family, holm
from mmbench.board.stats.reference import LEVEL

Array: TypeAlias = np.ndarray[Any, Any]


def known(means: Array, covariance: Array, **other: Any) -> Family:
    """The tests of means whose errors are normal with that covariance; contenders are numbered as they come."""
    order = sorted(range(len(means)), key=lambda place: -means[place])

    def p_value(first: str, second: str) -> float:
        a, b = int(first), int(second)
        deviation = (covariance[a, a] + covariance[b, b] - 2 * covariance[a, b]) ** 0.5
        return float(2 * norm.sf(abs(means[a] - means[b]) / deviation))

    return Family(list(map(str, order)), p_value, covariance=covariance[np.ix_(order, order)], **other)


def test_holm_as_published() -> None:
    """The example of the article "Holm-Bonferroni method": of 4 hypotheses the 4th and the 1st are rejected."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.6, 0.7]) == [1.0, 1.0]


def test_the_best_cannot_be_told_from_those_of_rank_1_and_below_the_same_is_asked_again() -> None:
    score = {"a": 9.0, "b": 8.5, "c": 6.0, "d": 5.5, "e": 1.0}

    def p_value(first: str, second: str) -> float:
        return 0.001 if abs(score[first] - score[second]) > 1 else 0.5

    found = Family(list(score), p_value)
    assert found.ranks() == {"a": 1, "b": 1, "c": 3, "d": 3, "e": 5}
    assert found.best("c") == pytest.approx(4 * 0.001 / 2), "one-sided, over four rivals"
    assert found.of_best == "Bonferroni, 4 rivals"
    assert Family([], p_value).ranks() == {}
    assert Family(["a"], p_value).ranks() == {"a": 1}


def test_many_rivals_need_stronger_evidence() -> None:
    def p_value(first: str, second: str) -> float:
        return 0.04

    assert Family(["a", "b"], p_value).ranks() == {"a": 1, "b": 2}
    assert set(Family(["a", "b", "c", "d"], p_value).ranks().values()) == {1}


def test_one_of_which_nothing_is_known_may_be_the_best() -> None:
    def p_value(first: str, second: str) -> float:
        return 1.0 if "c" in (first, second) else 0.001

    assert Family(["a", "b", "c"], p_value).ranks() == {"a": 1, "c": 1, "b": 3}


def test_joint_draws_see_what_rivals_share() -> None:
    """Nine equal rivals that err alike are as one; strangers are as many."""
    means = np.array([1.0, *[0.9] * 8, -1.2])
    strangers, alike = np.eye(10) / 2, np.full((10, 10), 0.4999) + np.eye(10) * 1e-4
    alike[9], alike[:, 9], alike[9, 9] = 0.0, 0.0, 0.5
    assert known(means, strangers).best("9") == pytest.approx(1 - norm.cdf(2.2) ** 9, abs=0.05)
    assert known(means, alike).best("9") == pytest.approx(norm.sf(2.2), abs=0.006)
    assert known(means, alike).of_best == "max-t, 9 rivals"


def test_the_reference_is_compared_with_its_rivals_only() -> None:
    p_values = {("a", "b"): 0.012, ("a", "c"): 0.001, ("a", "d"): 0.001, ("b", "c"): 0.5, ("b", "d"): 0.03}

    def p_value(first: str, second: str) -> float:
        return p_values.get((first, second), 0.9)

    found = Family(list("abcd"), p_value, reference="b", rivals=["a"])
    assert found.p("a", "b") == pytest.approx(0.018)
    assert found.correction("b", "a") == "Holm, 1 rival"
    assert found.correction("b", "c") == "Holm, 6 pairs"
    pairs = Family(list("abcd"), p_value)
    assert pairs.p("a", "b") == pytest.approx(4 * 0.012)
    assert pairs.correction("b", "a") == "Holm, 6 pairs"
    assert Family(list("abcd"), p_value, reference="gone", rivals=["a"]).rivals == []


def test_very_many_contenders_are_ranked_without_testing_every_pair() -> None:
    asked = []

    def p_value(first: str, second: str) -> float:
        asked.append((first, second))
        return 1e-9 if int(second) - int(first) >= 20 else 0.5

    names = [str(number) for number in range(200)]
    ranks = Family(names, p_value).ranks()
    assert ranks == {name: 1 + 20 * (int(name) // 20) for name in names}
    assert len(asked) < 1200
    assert Family(names, p_value).correction("3", "1") == "Bonferroni, 19900 pairs"


def test_a_pair_has_one_p_whichever_way_it_is_asked_for() -> None:
    p_values = {("a", "b"): 0.001, ("a", "c"): 0.02, ("b", "c"): 0.9}
    family = Family(["a", "b", "c"], lambda first, second: p_values[first, second])
    assert family.correction("a", "b") == "Holm, 3 pairs"
    assert family.p("a", "b") == family.p("b", "a") == pytest.approx(0.003)
    assert family.p("c", "a") == pytest.approx(0.04)
    assert family.p("c", "b") == 0.9
    assert Family(["a", "b"], lambda first, second: 0.2).correction("b", "a") == "Holm, 1 pair"


@pytest.mark.parametrize("seed", range(8))
def test_what_a_pair_shows_no_rank_denies(seed: int) -> None:
    """Who is shown to be worse is not the best of those that rank with the other, and so ranks below it.

    A single rival of the reference has an easy test; that the reference is not the best of nine is harder to show.
    """
    draw = np.random.default_rng(seed)
    covariance, shown = np.diag(draw.uniform(0.3, 1.5, 9)), 0
    for gap in (2.2, 2.8, 3.4, 6.0):
        means = np.array([gap * (covariance[0, 0] + covariance[1, 1]) ** 0.5, *draw.normal(0, 0.1, 8)])
        found = known(means, covariance, reference="1", rivals=["0"])
        ranks = found.ranks()
        for one in range(9):
            for other in range(9):
                if means[one] > means[other] and found.p(str(one), str(other)) < LEVEL:
                    shown += 1
                    assert ranks[str(one)] < ranks[str(other)]
        for name, rank in ranks.items():
            assert (found.best(name) >= LEVEL) == (rank == 1)
    assert shown


def _left_out(of: Callable[[Array, Array], Family], worlds: int) -> tuple[float, float]:
    """How often the best of eight is not in the set, and how many of the others are, where two are as good as it."""
    draw = np.random.default_rng(3)
    lost, excluded = [], []
    for _ in range(worlds):
        root = draw.normal(size=(8, 8)) * draw.uniform(0.3, 1.5, (8, 1)) / 3
        truth = np.array([0.0, 0.0, 0.0, -0.5, -1, -2, -4, -6])
        covariance = root @ root.T + 0.05 * np.eye(8)
        ranks = of(truth + draw.multivariate_normal(np.zeros(8), covariance), covariance).ranks()
        lost.append(ranks["0"] > 1)
        excluded.append(np.mean([ranks[str(place)] > 1 for place in range(3, 8)]))
    return float(np.mean(lost)), float(np.mean(excluded))


def test_it_holds_the_best_in_95_of_100_worlds() -> None:
    """Over worlds with covariances of all kinds; the bound is three deviations of so many worlds above 5%."""
    lost, excluded = _left_out(known, 250)
    assert lost <= 0.05 + 3 * (0.05 * 0.95 / 250) ** 0.5
    assert excluded >= 0.4
