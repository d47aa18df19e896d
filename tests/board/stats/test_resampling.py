"""Intervals and tests beside those of SciPy where it has them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.stats

from mmbench.api.parts import Metric
from mmbench.board.stats import resampling as stats

Array = np.ndarray[Any, Any]
ITEMS = 150
ROWS = stats.item_rows(ITEMS, 300)


class Mean(Metric):
    """The mean of the predictions themselves."""

    name = "mean"
    targets = ("number",)

    def score(self, truth: Array, prediction: Array) -> float:
        return float(prediction.mean())

    def resampled(self, truth: Array, prediction: Array, rows: Array) -> Array:
        return np.asarray(prediction[rows].mean(1))


class Share(Mean):
    """The same, known to lie between 0 and 1."""

    share = True


def drawn(predictions: Sequence[Array], rows: stats.Resamples) -> stats.Draws:
    scores = [float(p.mean()) for p in predictions]
    return stats.draw(Mean(), np.zeros(len(predictions[0])), predictions, rows, scores=scores)


def world(draw: np.random.Generator, *, seeds: int, spread: float, contenders: int = 1) -> list[list[Array]]:
    """Right or wrong for each contender, seed and item: items differ in difficulty, seeds by luck; 0.7 are right."""
    difficulty = draw.beta(2.8, 1.2, ITEMS)
    return [
        [(draw.random(ITEMS) < difficulty + luck).astype(float) for luck in draw.normal(0, spread, seeds)]
        for _ in range(contenders)
    ]


def test_pairing_on_the_same_items_sharpens_a_difference() -> None:
    rows = stats.item_rows(200)
    hard = np.random.default_rng(0).random(200) < 0.5
    worse = hard.astype(float)
    better = worse.copy()
    better[np.flatnonzero(~hard)[:10]] = 1
    gain = stats.difference(drawn([better], rows), drawn([worse], rows))
    assert gain.mean == pytest.approx(0.05)
    assert 0 < gain.low < 0.05 < gain.high < 0.09
    assert gain.p < 0.01
    shuffled = np.random.default_rng(1).permutation(worse)
    assert stats.difference(drawn([better], rows), drawn([shuffled], rows)).p > 0.1


def test_a_difference_has_a_sign_and_is_nothing_between_equals() -> None:
    rows = stats.item_rows(50)
    values = np.random.default_rng(0).random(50)
    low, high = drawn([values], rows), drawn([values + 1], rows)
    assert stats.difference(high, low).mean == pytest.approx(1)
    assert stats.difference(high, low, sign=-1).mean == pytest.approx(-1)
    assert stats.difference(high, low).p < 1e-9
    assert stats.difference(low, low).p == 1
    assert stats.difference(drawn([values] * 3, rows), drawn([values] * 3, rows)).p == 1


def test_the_same_store_gives_the_same_interval() -> None:
    (predictions,) = world(np.random.default_rng(0), seeds=3, spread=0.1)
    first, again = (drawn(predictions, stats.item_rows(ITEMS)).interval() for _ in "ab")
    assert first == again


def test_seeds_that_differ_widen_the_interval_as_student_says() -> None:
    rows = stats.item_rows(100)
    assert drawn([np.full(100, 0.5)] * 3, rows).interval() == (0.5, 0.5)
    apart = [0.4, 0.5, 0.6]
    low, high = drawn([np.full(100, value) for value in apart], rows).interval()
    expected = scipy.stats.t.interval(0.95, 2, loc=0.5, scale=scipy.stats.sem(apart))
    assert (low, high) == pytest.approx(expected)


def test_two_whose_seeds_scatter_are_compared_as_welch_does() -> None:
    rows = stats.item_rows(100)
    one, other = [0.4, 0.5, 0.6, 0.45, 0.52], [0.7, 0.9, 0.6, 0.8]
    found = stats.difference(*(drawn([np.full(100, value) for value in of], rows) for of in (other, one)))
    expected = scipy.stats.ttest_ind(other, one, equal_var=False)
    interval = expected.confidence_interval()
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.p == pytest.approx(expected.pvalue, rel=0.05)


def test_one_seed_on_many_items_is_the_paired_t_test_of_the_items() -> None:
    draw = np.random.default_rng(3)
    one, other = draw.normal(0, 1, 400), draw.normal(0.13, 1, 400)
    found = stats.difference(*(drawn([values], stats.item_rows(400)) for values in (other, one)))
    expected = scipy.stats.ttest_rel(other, one)
    interval = expected.confidence_interval()
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=0.004)
    assert found.p == pytest.approx(expected.pvalue, rel=0.3)


@pytest.mark.parametrize(("right", "items"), [(97, 100), (100, 100), (0, 60), (210, 300)])
def test_the_interval_of_a_share_is_wilsons(right: int, items: int) -> None:
    rows = stats.item_rows(items)
    hits = (np.arange(items) < right).astype(float)
    draws = stats.draw(Share(), hits, [hits], rows, scores=[right / items])
    expected = scipy.stats.binomtest(right, items).proportion_ci(method="wilson")
    assert draws.interval() == pytest.approx((expected.low, expected.high), abs=0.004)


def test_the_skew_of_a_heavy_tail_moves_the_interval() -> None:
    losses = np.random.default_rng(0).lognormal(0, 1, 200)
    draws = drawn([losses], stats.item_rows(200))
    low, high = draws.interval()
    assert high - draws.mean > 1.15 * (draws.mean - low)
    mirrored = drawn([-losses], stats.item_rows(200)).interval()
    assert mirrored == pytest.approx((-high, -low))


def test_a_difference_that_hangs_on_few_items_is_held_less_sure() -> None:
    """Four items of 200 tell the two apart, all in favour of one: the exact sign test gives .125."""
    rows = stats.item_rows(200)
    worse = (np.arange(200) < 150).astype(float)
    better = worse.copy()
    better[150:154] = 1
    assert 0.05 < stats.difference(drawn([better], rows), drawn([worse], rows)).p < 0.2


def test_the_interval_of_a_difference_excludes_0_exactly_where_p_is_small() -> None:
    draw = np.random.default_rng(5)
    seen = set()
    for _ in range(100):
        first, second = world(draw, seeds=2, spread=0.1, contenders=2)
        found = stats.difference(drawn([p + 0.1 for p in first], ROWS), drawn(second, ROWS))
        assert (found.low > 0 or found.high < 0) == (found.p < 0.05)
        seen.add(found.p < 0.05)
    assert seen == {True, False}


def test_resamples_are_fewer_where_items_are_very_many() -> None:
    assert stats.item_rows(10).rows.shape == (810, 10)
    many = stats.item_rows(40_000)
    assert (many.rows.shape, many.drawn) == ((625, 40_000), 500)
    assert not stats.item_rows(10).rows.flags.writeable


class Sometimes(Mean):
    """The mean, where the first item is in the resample."""

    def resampled(self, truth: Array, prediction: Array, rows: Array) -> Array:
        return np.where((rows == 0).any(1), super().resampled(truth, prediction, rows), np.nan)


def test_resamples_that_one_of_two_lacks_are_left_out_for_both() -> None:
    draw = np.random.default_rng(0)
    one, other = draw.normal(size=(2, 60))
    rows = stats.item_rows(60)
    whole = [drawn([values], rows) for values in (one, other)]
    scores = [float(one.mean())]
    part = stats.draw(Sometimes(), np.zeros(60), [one], rows, scores=scores)
    assert part.left_out == pytest.approx(800 * np.exp(-1), rel=0.15)
    assert part.left_out == stats.left_out(part, whole[1]) == stats.left_out(whole[1], part)
    found, expected = (stats.difference(first, whole[1]) for first in (part, whole[0]))
    assert found.mean == expected.mean
    kept = ~np.isnan(part.values)
    assert found.high - found.low == pytest.approx(expected.high - expected.low, rel=0.2)
    assert part.spread.items == pytest.approx(whole[0].values[kept].var() * 60 / 59)
    assert np.isfinite(part.influence).all()


def test_two_that_share_too_few_resamples_can_not_be_told_apart() -> None:
    rows = stats.item_rows(60)
    first, second = (drawn([np.arange(60.0) + shift], rows) for shift in (0, 1000))
    lost = replace(first, values=np.where(np.arange(800) < 401, np.nan, first.values))
    found = stats.difference(lost, second)
    assert (found.low, found.high, found.p) == (-np.inf, np.inf, 1.0)


@pytest.mark.parametrize(("items", "known"), [(1, False), (5, False), (6, True)])
def test_few_items_tell_nothing(items: int, known: bool) -> None:
    """That one is better on each of five items is chance in one of 16 cases, which no resample knows."""
    values = np.linspace(0, 1, items)
    if known:
        assert drawn([values], stats.item_rows(items)).items == items
        return
    with pytest.raises(stats.UnsureError, match="fewer than 6 test rows"):
        drawn([values], stats.item_rows(items))


def test_the_errors_of_two_means_go_together_by_their_items_alone() -> None:
    """The covariance gives each difference the variance that its own test has."""
    draw = np.random.default_rng(4)
    found: list[stats.Draws | None] = [drawn(own, ROWS) for own in world(draw, seeds=3, spread=0.05, contenders=3)]
    matrix = stats.covariance([*found, None])
    items = np.array([own.values for own in found if own is not None])
    assert matrix[0, 1] == pytest.approx(np.cov(items[0], items[1], bias=True)[0, 1] * ITEMS / (ITEMS - 1))
    assert not matrix[3].any()
    for a, b in ((0, 1), (1, 2)):
        one, other = found[a], found[b]
        assert one is not None
        assert other is not None
        variance = matrix[a, a] + matrix[b, b] - 2 * matrix[a, b]
        apart = stats.difference(one, other)
        assert one.mean - other.mean == pytest.approx(apart.mean)
        items_apart = float((one.values - other.values).var()) * ITEMS / (ITEMS - 1)
        chance = one.spread.chance + other.spread.chance
        assert variance == pytest.approx(items_apart - chance + one.spread.seeds + other.spread.seeds)


def test_a_resample_that_one_lacks_tells_nothing_of_it() -> None:
    draw = np.random.default_rng(4)
    one, other = (drawn(own, ROWS) for own in world(draw, seeds=1, spread=0.0, contenders=2))
    some = replace(other, values=np.where(draw.random(len(other.values)) < 0.2, np.nan, other.values))
    whole, partly = stats.covariance([one, other]), stats.covariance([one, some])
    assert np.isfinite(partly).all()
    assert partly[0, 1] == pytest.approx(whole[0, 1], rel=0.2)


def test_training_sets_widen_what_items_say_of_a_score_and_of_a_difference() -> None:
    draw = np.random.default_rng(4)
    one, other = world(draw, seeds=1, spread=0.0, contenders=2)

    def made(training: float) -> list[stats.Draws]:
        zeros = np.zeros(ITEMS)
        return [
            stats.draw(Mean(), zeros, own, ROWS, scores=[float(own[0].mean())], training=training)
            for own in (one, other)
        ]

    plain, folds = made(0.0), made(0.3)
    assert [own.spread.total for own in folds] == pytest.approx([1.3 * own.spread.total for own in plain])
    assert stats.covariance([*folds]) == pytest.approx(1.3 * stats.covariance([*plain]))
    apart, wider = stats.difference(*plain), stats.difference(*folds)
    assert wider.high - wider.low == pytest.approx(1.3**0.5 * (apart.high - apart.low))
