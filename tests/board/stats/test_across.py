"""All tasks together: places, ratings, gaps that are not filled, and the diagram in words."""

from typing import Any

import pytest

from mmbench.board import figures, report
from mmbench.board.stats.across import across, told_apart


def row(task: str, contender: str, score: float | None, direction: str = "max") -> dict[str, Any]:
    metrics = {} if score is None else {"m": {"mean": score, "low": None, "high": None, "n_seeds": 1}}
    return {
        **{"task": task, "contender": contender, "metric": "m", "direction": direction, "metrics": metrics},
        "rank": None if score is None else 1,
    }


BOARD = [
    *(row("a", name, score) for name, score in (("x", 0.9), ("y", 0.8), ("z", 0.8), ("part", 0.95))),
    *(row("b", name, score, "min") for name, score in (("x", 2.0), ("y", 1.0), ("z", 3.0), ("part", None))),
]


def test_places_are_among_those_with_all_tasks() -> None:
    found = {line["contender"]: line for line in across(BOARD)}
    assert list(found) == ["x", "y", "z", "part"]
    assert found["x"]["places"] == {"a": 1, "b": 2}
    assert found["y"]["places"] == {"a": 2.5, "b": 1}
    assert found["z"]["average_rank"] == 2.75
    assert (found["part"]["average_rank"], found["part"]["places"], found["part"]["missing"]) == (None, None, ["b"])


def test_one_that_lacks_a_task_is_rated_by_the_others() -> None:
    found = {line["contender"]: line["rating"]["value"] for line in across(BOARD)}
    assert found["part"] > found["x"] > found["y"] > found["z"]
    nowhere = across([*BOARD, row("a", "broken", None)])[-2]
    assert (nowhere["contender"], nowhere["rating"], nowhere["missing"]) == ("broken", None, ["a", "b"])


def test_ratings_have_intervals_from_five_tasks_on() -> None:
    def board(tasks: int) -> list[dict[str, Any]]:
        return [row(f"{t}", name, s + t % 2) for t in range(tasks) for name, s in (("x", 2.0), ("y", 1.0))]

    assert across(board(4))[0]["rating"]["low"] is None
    rating = across(board(5))[0]["rating"]
    assert rating["low"] <= rating["value"] <= rating["high"]
    assert figures.rated(rating).startswith(f"{rating['value']:.0f} [")


def test_the_diagram_in_words() -> None:
    found = told_apart([row(f"{t}", f"c{i}", float(-i)) for t in range(20) for i in range(5)])
    assert found is not None
    assert found["groups"] == [["c0", "c1"], ["c1", "c2"], ["c2", "c3"], ["c3", "c4"]]
    assert found["best"] == ["c0", "c1"]
    assert found["from_best"] < found["critical_difference"]
    lines = figures.told(found)
    assert "p < .001" in lines[0]
    assert "With 95% confidence the best over tasks like these is within" in lines[0]
    assert lines[1:] == [f"{i + 1}. not told apart: c{i}, c{i + 1}" for i in range(4)]
    few = told_apart(BOARD)
    assert few is not None
    assert few["contenders"] == 3
    assert figures.told(few)[1:] == ["By that, none of them can."]


@pytest.mark.parametrize("rows", [[], BOARD[:3], [row("a", "x", 1.0), row("b", "x", 1.0)]])
def test_nothing_is_told_apart_on_one_task_or_of_one_contender(rows: list[dict[str, Any]]) -> None:
    assert told_apart(rows) is None
    assert figures.told(None) == []
    across(rows)


def test_no_contender_has_all_tasks() -> None:
    rows = [row("a", "x", 1.0), row("b", "y", 1.0)]
    assert [line["average_rank"] for line in across(rows)] == [None, None]
    assert told_apart(rows) is None
    assert report.finite(across(rows))[0]["rating"]["value"] == pytest.approx(1000)
