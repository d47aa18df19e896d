"""The front of score against cost: exactly those that no other beats."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmbench.board.stats import pareto

POINTS = st.lists(st.tuples(st.integers(0, 6).map(float), st.integers(0, 6).map(float)), max_size=12)


@given(POINTS)
def test_on_the_front_are_those_that_no_other_beats(points: list[tuple[float, float]]) -> None:
    def beaten(score: float, cost: float) -> bool:
        return any(a >= score and b <= cost and (a, b) != (score, cost) for a, b in points)

    assert pareto.front(points) == [not beaten(*point) for point in points]


def test_costs_within_their_noise_are_equal() -> None:
    """Then the better score counts: it is on the front alone, whichever happened to be measured as the cheaper."""
    points = [(0.8, 1.00), (0.9, 1.04), (0.7, 0.9)]
    assert pareto.front(points) == [True, True, True]
    assert pareto.front(points, [0.02, 0.03, 0.01]) == [False, True, True]
    assert pareto.front([(0.9, 1.0), (0.9, 1.01)], [0.01, 0.01]) == [True, True]
    assert pareto.front([(0.9, 1.0), (0.9, 1.01)]) == [True, False]


def test_the_noise_is_what_was_measured_and_at_least_that_between_processes() -> None:
    calm, loud = row("a", 0.5, 2.0), row("b", 0.5, 2.0)
    calm["cost"]["spread"], loud["cost"]["spread"] = {"latency_ms_p50": 0.001}, {"latency_ms_p50": 0.2}
    assert pareto.noise(calm, "latency_ms_p50") == pytest.approx(2.0 * pareto.BETWEEN / 2)
    assert pareto.noise(loud, "latency_ms_p50") == pytest.approx(0.4)
    for odd in (None, "wide", {"latency_ms_p50": "wide"}, {"latency_ms_p50": float("nan")}):
        loud["cost"]["spread"] = odd
        assert pareto.noise(loud, "latency_ms_p50") == 0.0


def test_a_machine_that_was_busy_throughout_is_told_by_the_reference() -> None:
    """It took half as long again beside this row as beside another: so may the row have taken."""
    calm, busy = row("a", 0.5, 2.0), row("b", 0.5, 2.0)
    for own, reference in ((calm, 0.02), (busy, 0.03)):
        own["cost"] |= {"spread": {"latency_ms_p50": 0.001}, "reference_ms": {"latency_ms_p50": reference}}
    assert pareto.noise(busy, "latency_ms_p50", [calm, busy]) == pytest.approx(0.5 * 2.0)
    assert pareto.noise(calm, "latency_ms_p50", [calm, busy]) == pytest.approx(2.0 * pareto.BETWEEN / 2)
    assert pareto.noise(busy, "latency_ms_p50") == pytest.approx(2.0 * pareto.BETWEEN / 2), "beside no other"


def test_the_cheapest_is_the_first_of_equals() -> None:
    rows = [row("a", 0.9, 1.04), row("b", 0.8, 1.0), row("c", 0.7, 1.3), row("d", 0.7, None)]
    assert (pareto.cheapest(rows, "latency_ms_p50") or {})["contender"] == "b"
    for own in rows:
        own["cost"]["spread"] = {"latency_ms_p50": 0.001}
    assert (pareto.cheapest(rows, "latency_ms_p50") or {})["contender"] == "a", "no dearer by more than the noise"
    assert pareto.cheapest(rows[3:], "latency_ms_p50") is None


def row(contender: str, score: float, cost: Any, *, direction: str = "max", rank: int | None = 1) -> dict[str, Any]:
    return {
        "task": "a",
        "contender": contender,
        "metric": "m",
        "direction": direction,
        "rank": rank,
        "metrics": {"m": {"mean": score}},
        "cost": {"latency_ms_p50": cost},
        "spent": {"seconds": None},
    }


def found(*rows: dict[str, Any]) -> tuple[list[tuple[str, bool]], tuple[str, ...]]:
    (task,) = pareto.tradeoffs(rows, "latency")
    return [(point.row["contender"], point.front) for point in task.points], task.left_out


def test_the_cheapest_first_and_less_is_better_where_it_is() -> None:
    high = [row("slow", 0.9, 3.0), row("fast", 0.5, 1.0), row("worse", 0.4, 2.0)]
    assert found(*high)[0] == [("fast", True), ("worse", False), ("slow", True)]
    low = [row("slow", 0.9, 3.0, direction="min"), row("fast", 0.5, 1.0, direction="min")]
    assert found(*low)[0] == [("fast", True), ("slow", False)]


def test_what_has_no_figure_is_left_out_by_name() -> None:
    odd = [row(str(cost), 0.5, cost) for cost in (None, "fast", float("nan"), float("inf"), True)]
    points, left_out = found(row("fine", 0.5, 1.0), row("failed", 0.9, 0.1, rank=None), *odd)
    assert points == [("fine", True)]
    assert left_out == ("failed", "None", "fast", "nan", "inf", "True")


def test_what_was_measured_in_a_storm_is_not_the_cheapest() -> None:
    """Its noise reaches down to the least, which is known well."""
    calm = {"cost": {"latency_ms_p50": 0.16, "spread": {"latency_ms_p50": 0.02}}}
    storm = {"cost": {"latency_ms_p50": 0.88, "spread": {"latency_ms_p50": 0.9}}}
    assert pareto.cheapest([storm, calm], "latency_ms_p50") is calm
    equal = {"cost": {"latency_ms_p50": 0.17, "spread": {"latency_ms_p50": 0.02}}}
    assert pareto.cheapest([equal, calm], "latency_ms_p50") is equal, "of equal ones the first"
