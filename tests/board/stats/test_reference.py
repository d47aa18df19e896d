"""Critical values and p: known limits, one from the other, tests that hold their level."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as some

from mmbench.board.stats.reference import Spread

amounts = some.floats(0, 10)


def test_items_alone_are_normal_and_seeds_alone_are_students() -> None:
    assert Spread(items=4.0).critical() == pytest.approx(2 * 1.959964, rel=1e-5)
    seeds = Spread(items=0.0, seeds=4.0, squares=16.0 / 2)
    assert seeds.critical() == pytest.approx(2 * scipy.stats.t.ppf(0.975, 2))
    assert seeds.p(5.0) == pytest.approx(2 * scipy.stats.t.sf(2.5, 2))


def test_two_contenders_of_five_seeds_have_satterthwaites_eight() -> None:
    both = Spread(items=0.0, seeds=2.0, squares=2 * 1.0 / 4)
    assert both.degrees == pytest.approx(8)


def test_degrees_of_freedom_grow_as_the_seeds_matter_less() -> None:
    degrees = [Spread(items, seeds=1.0, squares=1 / 4).degrees for items in (0.0, 0.2, 1.0, 4.0)]
    assert degrees[:2] == pytest.approx([4, 4])  # as long as the seeds' share is above 4 / 5
    assert degrees[2] == pytest.approx(4 / (0.5 * 5 / 4))
    assert degrees[3] == pytest.approx(4 / (0.2 * 5 / 4))
    assert Spread(1.0, seeds=1.0, squares=1 / 4, freedom=5).degrees < degrees[2]


@pytest.mark.parametrize(("own", "most"), [(1, 0.065), (2, 0.0505), (4, 0.0505), (8, 0.0505)])
def test_tests_hold_their_level_for_every_mixture_of_seeds_and_items(own: int, most: float) -> None:
    """By integration over the seeds' guess of their own variance, chi-square; with 1 degree of freedom up to .063."""
    guesses = scipy.stats.chi2.ppf((np.arange(500) + 0.5) / 500, own) / own
    for share in (0.05, 0.2, 0.4, 0.6, 0.8, 0.95):
        spreads = [Spread(1 - share, seeds=share * x, squares=(share * x) ** 2 / own) for x in guesses]
        level = np.mean([2 * scipy.stats.norm.sf(spread.critical()) for spread in spreads])
        assert 0.027 < level < most


def test_without_any_spread_only_equals_are_equal() -> None:
    assert Spread(0.0).critical() == 0
    assert Spread(0.0).p(0.0) == 1
    assert Spread(0.0).p(0.1) == 0


@given(items=amounts, chance=amounts, seeds=amounts, count=some.integers(2, 12), apart=some.floats(-100, 100))
def test_p_is_the_level_at_which_the_critical_value_is_reached(
    items: float, chance: float, seeds: float, count: int, apart: float
) -> None:
    spread = Spread(items, min(chance, items), seeds, seeds**2 / (count - 1))
    p = spread.p(apart)
    assert 0 <= p <= 1
    assert (p < 0.05) == (abs(apart) > spread.critical()) or math.isclose(abs(apart), spread.critical(), rel_tol=1e-6)
    if 1e-12 < p < 0.99:
        assert spread.critical(p) == pytest.approx(abs(apart), rel=1e-5)
    assert spread.p(2 * apart) <= p
