"""Critical values and p: known limits, one from the other, never surer than the evidence."""

import math

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
    assert both.freedom_at(0.05) == pytest.approx(8)


def test_far_out_few_seeds_are_trusted_less() -> None:
    mixed = Spread(items=1.0, chance=0.1, seeds=0.1, squares=0.1**2 / 2)
    assert mixed.freedom_at(0.05) > mixed.freedom_at(0.001) > mixed.freedom_at(1e-6) >= 1.99


def test_seeds_that_agree_do_not_make_the_items_sure() -> None:
    agree = Spread(items=1.0, chance=1.0, seeds=0.0, squares=0.0)
    assert agree.critical() == pytest.approx(0.5 * 1.959964, rel=1e-5)
    assert agree.p(0.98) == pytest.approx(0.05, rel=0.01)


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
