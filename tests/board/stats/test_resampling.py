"""Intervals cover, tests hold their level, Holm's adjustment as published, ties."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from mmbench.api.parts import Metric
from mmbench.board.stats import resampling as stats

Array = np.ndarray[Any, Any]
ITEMS = 150
ROWS = stats.item_rows(ITEMS, 300)
WORLDS = 300


class Mean(Metric):
    """The mean of the predictions themselves."""

    name = "mean"
    targets = ("number",)

    def score(self, truth: Array, prediction: Array) -> float:
        return float(prediction.mean())

    def resampled(self, truth: Array, prediction: Array, rows: Array) -> Array:
        return np.asarray(prediction[rows].mean(1))


def drawn(predictions: Sequence[Array], rows: Array, label: str = "a") -> stats.Draws:
    scores = [float(p.mean()) for p in predictions]
    return stats.draw(Mean(), np.zeros(len(predictions[0])), predictions, rows, scores=scores, label=label)


def world(draw: np.random.Generator, *, seeds: int, spread: float, contenders: int = 1) -> list[list[Array]]:
    """Right or wrong for each contender, seed and item: items differ in difficulty, seeds by luck; 0.7 are right."""
    difficulty = draw.beta(2.8, 1.2, ITEMS)
    return [
        [(draw.random(ITEMS) < difficulty + luck).astype(float) for luck in draw.normal(0, spread, seeds)]
        for _ in range(contenders)
    ]


@pytest.mark.parametrize(("seeds", "spread"), [(1, 0.0), (3, 0.0), (3, 0.02), (5, 0.03)])
def test_the_interval_covers_the_truth_about_95_times_in_100(seeds: int, spread: float) -> None:
    draw = np.random.default_rng(0)
    hits = 0
    for number in range(WORLDS):
        (predictions,) = world(draw, seeds=seeds, spread=spread)
        low, high = drawn(predictions, ROWS, label=str(number)).interval()
        hits += low <= 0.7 <= high
    assert 0.91 <= hits / WORLDS <= 0.98


@pytest.mark.parametrize("spread", [0.0, 0.02])
def test_two_that_are_alike_are_told_apart_about_5_times_in_100(spread: float) -> None:
    draw = np.random.default_rng(1)
    rejected = 0
    for number in range(WORLDS):
        first, second = world(draw, seeds=3, spread=spread, contenders=2)
        rejected += stats.difference(drawn(first, ROWS, f"a{number}"), drawn(second, ROWS, f"b{number}")).p < 0.05
    assert 0.02 <= rejected / WORLDS <= 0.09


def test_pairing_on_the_same_items_sharpens_a_difference() -> None:
    rows = stats.item_rows(200)
    hard = np.random.default_rng(0).random(200) < 0.5
    worse = hard.astype(float)
    better = worse.copy()
    better[np.flatnonzero(~hard)[:10]] = 1
    gain = stats.difference(drawn([better], rows, "a"), drawn([worse], rows, "b"))
    assert gain.mean == pytest.approx(0.05)
    assert 0 < gain.low < 0.05 < gain.high < 0.09
    assert gain.p < 0.01
    shuffled = np.random.default_rng(1).permutation(worse)
    assert stats.difference(drawn([better], rows, "a"), drawn([shuffled], rows, "b")).p > 0.1


def test_a_difference_has_a_sign_and_is_nothing_between_equals() -> None:
    rows = stats.item_rows(50)
    values = np.random.default_rng(0).random(50)
    low, high = drawn([values], rows, "a"), drawn([values + 1], rows, "b")
    assert stats.difference(high, low).mean == pytest.approx(1)
    assert stats.difference(high, low, sign=-1).mean == pytest.approx(-1)
    assert stats.difference(high, low).p < 1e-9
    assert stats.difference(low, low).p == 1
    assert stats.difference(drawn([values] * 3, rows, "a"), drawn([values] * 3, rows, "b")).p == 1


def test_the_same_store_gives_the_same_interval() -> None:
    (predictions,) = world(np.random.default_rng(0), seeds=3, spread=0.1)
    first, again = (drawn(predictions, stats.item_rows(ITEMS)).interval() for _ in "ab")
    assert first == again
    assert drawn(predictions, stats.item_rows(ITEMS), "another").interval() != first


def test_seeds_that_differ_widen_the_interval_which_stays_within_what_was_reached() -> None:
    rows = stats.item_rows(100)
    alike = drawn([np.full(100, 0.5)] * 3, rows)
    assert alike.interval() == (0.5, 0.5)
    apart = drawn([np.full(100, value) for value in (0.4, 0.5, 0.6)], rows)
    low, high = apart.interval()
    assert 0.4 - 1e-9 <= low < 0.45 < 0.55 < high <= 0.6 + 1e-9
    assert apart.values.std() == pytest.approx(np.std([0.4, 0.5, 0.6], ddof=1) / np.sqrt(3), rel=0.1)


def test_resamples_are_fewer_where_items_are_very_many() -> None:
    assert stats.item_rows(10).shape == (1000, 10)
    assert stats.item_rows(40_000).shape == (500, 40_000)
    assert not stats.item_rows(10).flags.writeable


def test_holm_as_published() -> None:
    """The example of the article "Holm-Bonferroni method": of 4 hypotheses the 4th and the 1st are rejected."""
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([]) == []
    assert stats.holm([0.6, 0.7]) == [1.0, 1.0]


def test_those_that_cannot_be_told_from_the_best_of_a_group_share_its_rank() -> None:
    score = {"a": 9.0, "b": 8.5, "c": 6.0, "d": 5.5, "e": 1.0}

    def p_value(first: str, second: str) -> float:
        return 0.001 if abs(score[first] - score[second]) > 1 else 0.5

    assert stats.tied_ranks(list(score), p_value) == {"a": 1, "b": 1, "c": 3, "d": 3, "e": 5}
    assert stats.tied_ranks([], p_value) == {}


def test_many_comparisons_need_stronger_evidence() -> None:
    def p_value(first: str, second: str) -> float:
        return 0.02

    assert stats.tied_ranks(["a", "b"], p_value) == {"a": 1, "b": 2}
    assert set(stats.tied_ranks(["a", "b", "c", "d"], p_value).values()) == {1}


def test_one_that_scores_less_never_ranks_higher() -> None:
    """ "c" scatters so much that nothing can be told from it, not even the best; it still stands after "b"."""

    def p_value(first: str, second: str) -> float:
        return 0.5 if "c" in (first, second) else 0.001

    assert stats.tied_ranks(["a", "b", "c"], p_value) == {"a": 1, "b": 2, "c": 2}
