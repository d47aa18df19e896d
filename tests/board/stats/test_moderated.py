"""Contenders that lend each other what they know of seeds: the formula, who takes part, and who is left alone."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from mmbench.board.stats import resampling as stats
from mmbench.board.stats.family import Family
from mmbench.board.stats.moderated import FEWEST, PRIOR, far_seed, moderated
from mmbench.board.stats.resampling import Draws
from tests.board.stats.test_resampling import Share, drawn

ROWS = stats.item_rows(100)


def scattering(number: int, *, seeds: int = 3, scale: float = 1.0) -> list[Draws]:
    draw = np.random.default_rng(number)
    return [drawn([scale * draw.normal(0.01 * i, 1, 100) for i in range(seeds)], ROWS) for _ in range(number)]


def settled() -> Draws:
    return drawn([np.random.default_rng(0).normal(0, 1, 100)] * 3, ROWS)


def test_the_variance_and_the_degrees_of_freedom_are_smyths() -> None:
    alone = scattering(5)
    ratios = [draws.observed / draws.spread.chance for draws in alone]
    assert np.mean(ratios) > 1
    for draws, found in zip(alone, moderated(alone), strict=True):
        assert found is not None
        expected = (PRIOR * np.mean(ratios) * draws.spread.chance + 2 * draws.observed) / (PRIOR + 2)
        assert found.spread.seeds == pytest.approx(expected)
        assert found.spread.seeds**2 / found.spread.squares == pytest.approx(PRIOR + 2)
        assert found == replace(draws, spread=found.spread)


def test_more_seeds_weigh_more() -> None:
    alone = [*scattering(2, seeds=2), *scattering(3, seeds=9)]
    parts = [(draws.seeds - 1, draws.observed / draws.spread.chance) for draws in alone]
    common = sum(own * ratio for own, ratio in parts) / sum(own for own, _ in parts)
    first = moderated(alone)[0]
    assert first is not None
    chance = alone[0].spread.chance
    assert first.spread.seeds == pytest.approx((PRIOR * common * chance + alone[0].observed) / (PRIOR + 1))


@pytest.mark.parametrize("seeds", [2, 3])
def test_what_is_common_never_counts_for_more_than_a_third_of_what_is_known(seeds: int) -> None:
    for number in range(FEWEST, 9):
        found = moderated(scattering(number, seeds=seeds))[0]
        assert found is not None
        own = found.spread.seeds**2 / found.spread.squares
        assert own == pytest.approx(seeds - 1 + min(PRIOR, number * (seeds - 1) / 3))


def test_too_few_contenders_are_left_alone() -> None:
    few = [*scattering(FEWEST - 1), settled(), None]
    assert all(found is draws for found, draws in zip(moderated(few), few, strict=True))


def test_one_that_always_does_the_same_stays_sure_and_lends_nothing() -> None:
    alone = scattering(4)
    same, single = settled(), scattering(1, seeds=1)[0]
    *others, still, one, none = moderated([*alone, same, single, None])
    assert (still, one, none) == (same, single, None)
    assert same.spread.seeds == same.spread.chance == 0
    assert [draws and draws.spread for draws in others] == [draws and draws.spread for draws in moderated(alone)]


def test_one_that_collapsed_on_a_seed_spoils_nobody_elses_interval() -> None:
    alone = scattering(9)
    draw = np.random.default_rng(1)
    collapsed = drawn([draw.normal(mean, 1, 100) for mean in (0.0, 0.1, 50.0)], ROWS)
    for one, other in zip(moderated(alone), moderated([*alone, collapsed]), strict=False):
        assert one is not None
        assert other is not None
        assert one.spread.seeds <= other.spread.seeds <= 4 * one.spread.seeds
    assert collapsed.observed / collapsed.spread.chance > 400


def test_rounding_makes_no_seeds_differ() -> None:
    values = np.random.default_rng(0).normal(0, 1, 100)
    assert drawn([values, values * (1 + 1e-15), values - 1e-16], ROWS).spread.seeds == 0


def test_seeds_that_agree_by_accident_are_not_taken_to_do_so_always() -> None:
    """As many right, on other items; and right on the same ones, though the predictions differ."""
    right = (np.arange(100) < 70).astype(float)
    shifted = np.roll(right, 3)
    swapped = drawn([right, shifted, np.roll(right, 6)], ROWS)
    assert swapped.observed == pytest.approx(0, abs=1e-20)
    assert swapped.spread.seeds > 0
    alike = stats.of_resamples(np.stack([right[ROWS.rows].mean(1)] * 2), [0.7, 0.7], ROWS, share=True)
    assert alike.spread.chance == pytest.approx((1 / 200) ** 2)
    hits = [right, right]
    assert stats.draw(Share(), right, hits, ROWS, scores=[0.7, 0.7]).spread.chance == 0
    lent = moderated([*scattering(3), swapped, alike])
    assert all(found is not None for found in lent)
    for found, own in zip(lent[3:], (swapped, alike), strict=True):
        assert found is not None
        assert found.spread.seeds > own.spread.seeds
        assert 0 < found.spread.squares < np.inf


@given(scale=some.floats(1e-3, 1e3))
def test_the_metrics_scale_changes_nothing(scale: float) -> None:
    for one, other in zip(moderated(scattering(4)), moderated(scattering(4, scale=scale)), strict=True):
        assert one is not None
        assert other is not None
        assert other.spread.critical() == pytest.approx(scale * one.spread.critical())


def test_with_two_seeds_what_is_far_apart_is_told_apart() -> None:
    """Ten contenders at .80 or so and one that guesses: by a t of one degree of freedom no pair is told apart."""
    draw = np.random.default_rng(0)
    shares = [0.1, *(0.8 + draw.normal(0, 0.02) for _ in range(10))]
    ease = draw.random(300)
    rows = stats.item_rows(300)
    alone = []
    for share in shares:
        hits = [(0.5 * (ease + draw.random(300)) < share + draw.normal(0, 0.02)).astype(float) for _ in range(2)]
        alone.append(stats.draw(Share(), ease, hits, rows, scores=[float(own.mean()) for own in hits]))
    assert _of_pair(alone) > 0.05
    assert _of_pair([draws for draws in moderated(alone) if draws is not None]) < 0.05


def _of_pair(board: list[Draws]) -> float:
    """The corrected p of the best against the first."""
    names = sorted(map(str, range(len(board))), key=lambda name: -board[int(name)].mean)
    return Family(names, lambda a, b: stats.difference(board[int(a)], board[int(b)]).p).p(names[0], "0")


def test_a_seed_that_collapsed_lies_far_from_its_others() -> None:
    others: list[Draws | None] = [*scattering(4), None]

    def place(*levels: float) -> int | None:
        draw = np.random.default_rng(3)
        values = [draw.normal(level, 1, 100) for level in levels]
        return far_seed([float(value.mean()) for value in values], drawn(values, ROWS), others)

    assert place(0.0, -3.0, 0.0) == 1
    assert place(0.0, 0.0, 3.0) == 2
    assert place(0.0, 0.0, 0.0) is None
    assert place(0.0, -3.0, -3.0) == 0, "far above is far, too"
    assert place(0.0, -3.0) is None, "of two nobody knows which it is"


def test_without_a_yardstick_no_seed_is_far() -> None:
    draw = np.random.default_rng(3)
    values = [draw.normal(level, 1, 100) for level in (0.0, -3.0, 0.0)]
    scores = [float(value.mean()) for value in values]
    assert far_seed(scores, drawn(values, ROWS), [*scattering(2), settled(), None]) is None
