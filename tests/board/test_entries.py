"""What a board says of scores that are undefined on test, for some seeds, or in some resamples."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mmbench.api.parts import Metric
from mmbench.api.record import Record
from mmbench.board import figures, report
from mmbench.board.compare import compare
from mmbench.board.rank import leaderboard
from mmbench.board.stats import pareto
from mmbench.board.stats.across import across
from mmbench.errors import UndefinedError
from mmbench.store.reading import RunData

Array = np.ndarray[Any, Any]
Metrics = dict[str, Metric]
Cells = list[dict[str, Any]]
Build = Callable[..., RunData]
WHY = "undefined: class 3 is not in test"


class Needs(Metric):
    """Accuracy, unless one of the first `items` items is missing, as a rare class might be."""

    name = "accuracy"
    targets = ("label",)

    def __init__(self, items: int) -> None:
        self.items = items

    def score(self, truth: Array, prediction: Array) -> float:
        return float((prediction.argmax(1) == truth).mean())

    def resampled(self, truth: Array, prediction: Array, rows: Array) -> Array:
        right = (prediction.argmax(1) == truth)[rows].mean(1)
        there = np.all([(rows == item).any(1) for item in range(self.items)], axis=0)
        return np.where(there, right, np.nan)


def unscored(run: RunData, contender: str, seeds: tuple[int, ...], *, task: str = "a") -> RunData:
    """The run in which those seeds of a contender have no accuracy on test."""

    def changed(record: Record) -> Record:
        if (record.task, record.contender) != (task, contender):
            return record
        refits = [
            replace(refit, metrics={"distance": refit.metrics["distance"]}, unscored={"accuracy": WHY})
            if refit.seed in seeds
            else refit
            for refit in record.refits
        ]
        return replace(record, refits=refits)

    return replace(run, records=[changed(record) for record in run.records])


def of(rows: list[dict[str, Any]], contender: str, task: str = "a") -> dict[str, Any]:
    return next(row for row in rows if (row["task"], row["contender"]) == (task, contender))


def test_one_without_a_tuned_score_has_no_rank_and_the_others_theirs(
    build: Build, cells: Cells, metrics: Metrics
) -> None:
    rows = leaderboard(unscored(build(cells), "gated", (0, 1, 2)), metrics)
    row = of(rows, "gated")
    assert (row["status"], row["rank"], row["reason"]) == ("ok", None, f"no accuracy: {WHY}")
    assert row["metrics"]["accuracy"] == {"mean": None, "low": None, "high": None, "n_seeds": 0, "reason": WHY}
    assert row["metrics"]["distance"]["mean"] > 0
    assert row["fusion_gain"] is row["tuning_gain"] is row["validation_gap"] is None
    assert {r["contender"]: r["rank"] for r in rows if r["task"] == "a" and r["rank"]} == {
        "concat": 1,
        "only image": 2,
        "only text": 3,
        "majority": 4,
    }
    (trade, _) = pareto.tradeoffs([r for r in rows if r["task"] == "a"] + [of(rows, "concat", "b")], "latency")
    assert "gated" in trade.left_out
    assert {line["contender"]: line["missing"] for line in across(rows)}["gated"] == ["b", "a"]
    for text in (report.markdown(rows), report.latex(rows), report.json(rows)):
        assert "class 3 is not in test" in text
    assert "| – | gated | – |" in report.markdown(rows)


def test_no_mean_over_the_seeds_that_happen_to_have_a_score(build: Build, cells: Cells, metrics: Metrics) -> None:
    row = of(leaderboard(unscored(build(cells), "gated", (1,)), metrics), "gated")
    assert row["rank"] is None
    assert row["reason"] == f"no accuracy: seed 1 {WHY}"


def test_a_single_modality_without_a_score_is_no_reference(build: Build, cells: Cells, metrics: Metrics) -> None:
    rows = leaderboard(unscored(build(cells), "only text", (0, 1, 2)), metrics)
    assert of(rows, "gated")["rank"] == 1
    assert of(rows, "gated")["fusion_gain"] is None


def test_a_stored_score_that_is_no_number_ranks_nobody(build: Build, cells: Cells, metrics: Metrics) -> None:
    """As older runs may have it."""
    run = build(cells)
    records = [
        replace(r, refits=[replace(f, metrics={**f.metrics, "accuracy": float("nan")}) for f in r.refits])
        if r.contender == "gated"
        else r
        for r in run.records
    ]
    row = of(leaderboard(replace(run, records=records), metrics), "gated")
    assert row["rank"] is None
    assert "the score is nan" in row["reason"]


def test_resamples_without_a_score_are_left_out_for_both(build: Build, cells: Cells) -> None:
    run = build(cells)
    rows = leaderboard(run, {"accuracy": Needs(1)})
    summary = of(rows, "gated")["metrics"]["accuracy"]
    assert summary["left_out"]["resamples"] / summary["left_out"]["of"] == pytest.approx(np.exp(-1), abs=0.05)
    assert summary["low"] < summary["mean"] < summary["high"]
    assert [row["rank"] for row in rows if row["task"] == "a"] == [1, 1, 3, 4, 5, None, None]
    (found, _) = compare(run, {"accuracy": Needs(1)}, first="gated", second="only text", tasks=["a"]) * 2
    assert found.left_out == summary["left_out"]["resamples"]
    assert found.p is not None
    (line,) = figures.gaps([row for row in rows if row["task"] == "a"])
    assert line.startswith(f"a: left out {found.left_out} of 800 resamples, which have no score, of accuracy: ")


def test_with_most_resamples_left_out_there_is_no_interval_and_nobody_is_told_apart(build: Build, cells: Cells) -> None:
    rows = [row for row in leaderboard(build(cells), {"accuracy": Needs(2)}) if row["task"] == "a"]
    for row in rows[:5]:
        summary = row["metrics"]["accuracy"]
        assert (row["rank"], summary["low"]) == (1, None)
        assert "of 800 resamples of the test rows have no score" in summary["reason"]
    (line,) = figures.gaps(rows)
    assert line.startswith("a: no interval of accuracy: ")


def test_a_metric_that_fails_now_ends_no_board(build: Build, cells: Cells) -> None:
    class Fails(Needs):
        def score(self, truth: Array, prediction: Array) -> float:
            raise UndefinedError("no luck")

        def resampled(self, truth: Array, prediction: Array, rows: Array) -> Array:
            raise ZeroDivisionError

    row = of(leaderboard(build(cells), {"accuracy": Fails(0)}), "gated")
    assert row["metrics"]["accuracy"]["mean"] == pytest.approx(0.85)
    assert row["metrics"]["accuracy"]["reason"] == "the stored predictions can't be scored (undefined: no luck)"


def test_what_a_board_shows_is_a_property_of_the_metric(build: Build, cells: Cells, metrics: Metrics) -> None:
    class Distance(type(metrics["distance"])):  # type: ignore[misc]
        column = None
        interval = True
        short = "dist."

    run = build(cells)
    known: dict[str, Metric] = {**metrics, "distance": Distance()}
    for parts, shown in ((known, False), (metrics, True)):
        rows = leaderboard(run, parts)
        assert (of(rows, "gated")["metrics"]["distance"]["low"] is None) is shown
        head = next(line for line in report.markdown(rows, parts).split("\n") if line.startswith("|"))
        assert ("distance" in head) is shown
    assert figures.short("distance", {"distance": Distance()}) == "dist."
