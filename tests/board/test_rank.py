"""The leaderboard's rows: ranks, gains over the best single modality, defaults, curves, and what went wrong."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from mmbench.api.parts import Metric
from mmbench.board import figures
from mmbench.board.rank import COSTS, UNTESTED, leaderboard
from mmbench.board.stats.across import across
from mmbench.errors import StoreError
from mmbench.store.reading import RunData, load_predictions

Metrics = dict[str, Metric]
Cells = list[dict[str, Any]]
Build = Callable[..., RunData]


@pytest.fixture
def rows(build: Build, cells: Cells, metrics: Metrics) -> list[dict[str, Any]]:
    return leaderboard(build(cells), metrics)


def row_of(rows: list[dict[str, Any]], contender: str, task: str = "a") -> dict[str, Any]:
    (found,) = [row for row in rows if row["contender"] == contender and row["task"] == task]
    return found


def test_the_suites_tasks_in_order_and_the_best_first(rows: list[dict[str, Any]]) -> None:
    assert [(row["task"], row["contender"], row["rank"]) for row in rows] == [
        ("b", "concat", 1),
        ("a", "concat", 1),
        ("a", "gated", 1),
        ("a", "only image", 3),
        ("a", "only text", 4),
        ("a", "majority", 5),
        ("a", "broken", None),
        ("a", "mbt", None),
    ]


def test_a_row_has_what_the_architecture_promises(rows: list[dict[str, Any]]) -> None:
    row = row_of(rows, "gated")
    assert {"task", "contender", "status", "rank", "metrics", "fusion_gain", "default", "cost", "spent"} <= set(row)
    assert set(row["cost"]) >= set(COSTS)
    assert row["cost"]["flops"] is None
    assert row["cost"]["train_throughput"] == 500
    assert row["spent"]["trials"] == 8
    accuracy = row["metrics"]["accuracy"]
    assert accuracy["mean"] == pytest.approx(0.85)
    assert accuracy["n_seeds"] == 3
    assert 0.78 < accuracy["low"] < 0.83 < 0.87 < accuracy["high"] < 0.92
    assert row["test_rows"] == 200


def test_an_interval_only_where_one_is_asked_for(build: Build, cells: Cells, metrics: Metrics) -> None:
    run = build(cells)
    other = row_of(leaderboard(run, metrics), "gated")["metrics"]["distance"]
    assert (other["low"], other["high"]) == (None, None)
    assert other["mean"] > 0
    asked = row_of(leaderboard(run, metrics, intervals=["distance"]), "gated")["metrics"]
    assert asked["distance"]["low"] < other["mean"] < asked["distance"]["high"]
    assert asked["accuracy"]["low"] is not None


def test_the_gain_is_over_the_single_modality_that_validation_chose(rows: list[dict[str, Any]]) -> None:
    """Text, though image is better on test."""
    gain = row_of(rows, "gated")["fusion_gain"]
    assert gain["against"] == "only text"
    assert gain["mean"] == pytest.approx(0.85 - 0.60)
    assert 0.15 < gain["low"] < 0.25 < gain["high"] < 0.35
    assert gain["p"] < 1e-4
    assert (gain["p"] < gain["corrected"] < 0.002, gain["correction"]) == (True, "step-down max-t, 3 rivals")
    best = row_of(rows, "only text")["best"]
    assert (best["p"] < 0.002, best["correction"]) == (True, "max-t, 4 rivals")
    assert row_of(rows, "concat")["best"]["p"] == 1
    assert row_of(rows, "broken")["best"] is None
    assert row_of(rows, "majority")["fusion_gain"]["mean"] == pytest.approx(-0.35)
    assert row_of(rows, "only text")["fusion_gain"] is None
    assert row_of(rows, "only image")["fusion_gain"] is None
    assert row_of(rows, "concat", "b")["fusion_gain"] is None


def test_for_an_error_a_gain_is_positive_where_it_is_smaller(build: Build, cells: Cells, metrics: Metrics) -> None:
    errors = [{**cell, "metric": "distance"} for cell in cells if cell["task"] == "a"]
    rows = leaderboard(build(errors), metrics)
    assert [row["contender"] for row in rows][:2] == ["concat", "gated"]
    gain = row_of(rows, "gated")["fusion_gain"]
    assert gain["against"] == "only image"  # a smaller distance on validation is better
    assert gain["mean"] > 0
    assert gain["low"] > 0


def test_the_default_beside_the_tuned(rows: list[dict[str, Any]]) -> None:
    default = row_of(rows, "gated")["default"]
    assert default["metric"] == "accuracy"
    assert default["mean"] == pytest.approx(0.7)
    assert default["low"] < 0.7 < default["high"]
    assert row_of(rows, "concat")["default"] is None


def test_a_default_that_won_is_not_refitted_twice(build: Build, metrics: Metrics) -> None:
    cell = {"task": "a", "contender": "sum", "tuned": [0.5, 0.5], "params": {"w": 1}, "default_params": {"w": 1}}
    (row,) = leaderboard(build([cell]), metrics)
    assert row["default"] == {"metric": "accuracy", **row["metrics"]["accuracy"]}


def test_what_the_search_gained(rows: list[dict[str, Any]]) -> None:
    gain = row_of(rows, "gated")["tuning_gain"]
    assert gain["mean"] == pytest.approx(0.15)
    assert 0.05 < gain["low"] < 0.15 < gain["high"] < 0.25
    assert gain["p"] < 0.01
    assert row_of(rows, "concat")["tuning_gain"] is None


def test_a_default_that_won_gained_nothing(build: Build, metrics: Metrics) -> None:
    won = {"task": "a", "contender": "sum", "tuned": [0.5, 0.5], "params": {"w": 1}, "default_params": {"w": 1}}
    (row,) = leaderboard(build([won]), metrics)
    assert row["tuning_gain"] == {"mean": 0.0, **UNTESTED}


def test_by_how_much_validation_was_kinder_than_test(build: Build, metrics: Metrics) -> None:
    rows = {"validation": 200, "test": 200}
    dataset = {"name": "a", "fingerprint": "x", "licence": "MIT", "rows": rows}
    cell = {"task": "a", "contender": "sum", "tuned": [0.5, 0.52, 0.48], "valid": 0.9, "dataset": dataset}
    found = leaderboard(build([cell]), metrics)[0]["validation_gap"]
    assert found["mean"] == pytest.approx(0.4)
    assert 0.2 < found["low"] < 0.4 < found["high"] < 0.6
    assert found["p"] < 0.01


def test_without_the_number_of_validation_rows_a_gap_has_no_interval(rows: list[dict[str, Any]]) -> None:
    gap = row_of(rows, "gated")["validation_gap"]
    assert gap["mean"] == pytest.approx(0.5 - 0.85)
    assert gap["low"] is gap["high"] is gap["p"] is None


def test_what_went_wrong_is_a_row_with_its_reason(rows: list[dict[str, Any]]) -> None:
    broken, skipped = row_of(rows, "broken"), row_of(rows, "mbt")
    assert (broken["status"], broken["reason"], broken["rank"]) == ("error", "loss became NaN", None)
    assert (skipped["status"], skipped["reason"], skipped["rank"]) == ("skipped", "needs tokens", None)
    for row in (broken, skipped):
        assert row["metrics"] == {}
        assert row["fusion_gain"] is None
        assert row["default"] is None


def test_without_predictions_means_remain(build: Build, cells: Cells, metrics: Metrics) -> None:
    rows = leaderboard(build(cells, predictions=False), metrics)
    assert [row["rank"] for row in rows] == [1, 1, 1, 3, 4, 5, None, None]
    row = row_of(rows, "gated")
    assert row["metrics"]["accuracy"]["low"] is None
    assert row["fusion_gain"]["mean"] == pytest.approx(0.25)
    assert row["fusion_gain"]["low"] is None


def test_without_the_metrics_plugin_means_remain(build: Build, cells: Cells) -> None:
    row = row_of(leaderboard(build(cells), {}), "gated")
    assert row["metrics"]["accuracy"]["mean"] == pytest.approx(0.85)
    assert row["metrics"]["accuracy"]["low"] is None


def test_curves_are_means_over_seeds_with_their_area(build: Build, metrics: Metrics) -> None:
    curves = {"missing image": [(0.0, 0.8), (0.5, 0.6), (1.0, 0.2)], "noise image": [(0.5, 0.4)]}
    (row,) = leaderboard(build([{"task": "a", "contender": "sum", "tuned": [0.5, 0.5], "curves": curves}]), metrics)
    missing = row["curves"]["missing image"]
    assert missing["points"] == [[0.0, 0.8], [0.5, 0.6], [1.0, 0.2]]
    assert missing["area"] == pytest.approx((0.5 * 0.7 + 0.5 * 0.4) / 1)
    assert row["curves"]["noise image"]["area"] == pytest.approx(0.4)


def test_damaged_predictions_are_an_error(build: Build, cells: Cells, metrics: Metrics) -> None:
    run = build(cells)
    refit = run.records[-3].refits[0]
    load_predictions(run.path, refit)
    assert refit.predictions is not None
    path = run.path / "predictions" / refit.predictions["file"]
    content = path.read_bytes()
    path.write_bytes(content[:-8] + b"\x00" * 8)
    with pytest.raises(StoreError, match=re.escape(f"{path} was altered")):
        leaderboard(run, metrics)


def test_the_same_store_gives_the_same_board(build: Build, cells: Cells, metrics: Metrics) -> None:
    run = build(cells)
    assert leaderboard(run, metrics) == leaderboard(run, metrics)


def test_the_average_rank_is_of_those_that_have_all_tasks(rows: list[dict[str, Any]]) -> None:
    summary = across(rows)
    assert summary[0]["average_rank"] == 1.0
    assert (summary[0]["contender"], summary[0]["tasks"], summary[0]["missing"]) == ("concat", 2, [])
    assert [row["contender"] for row in summary[1:]] == [
        "broken",
        "gated",
        "majority",
        "mbt",
        "only image",
        "only text",
    ]
    gated = summary[2]
    assert (gated["average_rank"], gated["tasks"], gated["missing"]) == (None, 1, ["b"])
    assert across([]) == []


def test_two_seeds_tell_a_guess_from_the_rest(build: Build, metrics: Metrics) -> None:
    """Alone, two seeds have one degree of freedom, and ten contenders would share a rank; defaults count as well."""
    many = [{"task": "a", "contender": f"c{i}", "tuned": [0.8 + i / 100, 0.83 - i / 100]} for i in range(6)]
    guess = {"task": "a", "contender": "guess", "tuned": [0.22, 0.28]}
    found = leaderboard(build([*many, guess]), metrics)
    assert [row["rank"] for row in found] == [1, 1, 1, 1, 1, 1, 7]


def test_few_defaults_lean_on_the_tuned(build: Build, metrics: Metrics) -> None:
    """The only default that was refitted with two seeds, against eight tuned contenders."""
    many = [{"task": "a", "contender": f"c{i}", "tuned": [0.8 + i / 100, 0.83 - i / 100]} for i in range(8)]
    many[0]["default"] = [0.58, 0.62]
    gain = row_of(leaderboard(build(many), metrics), "c0")["tuning_gain"]
    assert gain["low"] > 0.05
    assert gain["p"] < 0.01


def test_the_gap_to_validation_leans_on_all(build: Build, metrics: Metrics) -> None:
    rows = {"test": 200, "validation": 200}
    dataset = {"name": "a", "fingerprint": "x", "licence": "MIT", "rows": rows}
    many = [
        {"task": "a", "contender": f"c{i}", "tuned": [0.55 + i / 100, 0.69 - i / 100], "valid": 0.9, "dataset": dataset}
        for i in range(5)
    ]
    alone = row_of(leaderboard(build([{**many[0], "contender": "x0"}]), metrics), "x0")["validation_gap"]
    together = row_of(leaderboard(build(many), metrics), "c0")["validation_gap"]
    assert together["mean"] == pytest.approx(alone["mean"])
    assert together["p"] < 0.5 * alone["p"]
    assert together["high"] - together["low"] < 0.6 * (alone["high"] - alone["low"])


def test_a_gain_is_shown_exactly_where_its_corrected_test_shows_it(build: Build, metrics: Metrics) -> None:
    """Alone, "better" is told from the single modality; of ten contenders, tested together, it is not."""
    single = {"task": "a", "contender": "only text", "tuned": [0.70, 0.70, 0.70], "modalities": {"text": "text"}}
    others = [{"task": "a", "contender": "c" * (1 + i), "tuned": [0.74, 0.74, 0.74]} for i in range(12) if i != 5]
    found = leaderboard(
        build([single, *others, {"task": "a", "contender": "better", "tuned": [0.77, 0.77, 0.77]}]), metrics
    )
    gain = row_of(found, "better")["fusion_gain"]
    assert gain["low"] > 0
    assert gain["p"] < 0.05 < gain["corrected"]
    assert row_of(found, "better")["rank"] == 1
    assert figures.shown(gain) == 0
    assert figures.shown({**gain, "corrected": 0.049}) == 1
    assert figures.shown({**gain, "corrected": 0.049, "mean": -0.1}) == -1
    assert figures.shown(None) == figures.shown({**gain, "corrected": None}) == 0


def test_what_the_search_gained_is_corrected_for_all_that_searched(build: Build, metrics: Metrics) -> None:
    searched = [
        {"task": "a", "contender": f"c{i}", "tuned": [0.7, 0.71, 0.7], "default": [0.6, 0.61 - i / 100, 0.62]}
        for i in range(4)
    ]
    found = [row["tuning_gain"] for row in leaderboard(build(searched), metrics)]
    assert {gain["correction"] for gain in found} == {"Holm, 4 contenders"}
    assert min(gain["corrected"] for gain in found) == pytest.approx(4 * min(gain["p"] for gain in found))


def test_the_reference_is_marked_with_the_margin_by_which_validation_chose_it(rows: list[dict[str, Any]]) -> None:
    (marked,) = [row for row in rows if row["reference"]]
    assert marked["contender"] == "only text"
    wanted = {"valid": pytest.approx(0.7), "next": "only image", "margin": pytest.approx(0.1)}
    assert marked["reference"] == wanted
    assert {row["fusion_gain"]["against"] for row in rows if row["fusion_gain"]} == {"only text"}


def test_for_an_error_the_margin_is_positive_too(build: Build, cells: Cells, metrics: Metrics) -> None:
    errors = [{**cell, "metric": "distance"} for cell in cells if cell["task"] == "a"]
    (marked,) = [row for row in leaderboard(build(errors), metrics) if row["reference"]]
    assert marked["reference"] == {"valid": 0.6, "next": "only text", "margin": pytest.approx(0.1)}


def test_what_a_contender_is_follows_from_what_it_saw_and_did(build: Build, metrics: Metrics) -> None:
    """Never from its name."""
    found = [
        {"task": "a", "contender": "only text", "tuned": [0.5], "valid": 0.4},
        {"task": "a", "contender": "forest", "tuned": [0.5], "epochs": 3},
        {"task": "a", "contender": "concat", "tuned": [0.5], "epochs": 0},
        {"task": "a", "contender": "gated", "tuned": [0.5], "modalities": {"text": "text"}, "valid": 0.5},
        {"task": "a", "contender": "small", "tuned": [0.5], "derived": {"of": "forest", "cell": "x"}},
        {"task": "a", "contender": "less", "tuned": [0.5], "modalities": {"text": "text"}, "valid": 0.9}
        | {"derived": {"of": "gated", "cell": "x"}},
        {"task": "a", "contender": "broken", "status": "error", "default_params": {"train.lr": 0.1}},
        {"task": "a", "contender": "guess", "status": "error", "default_params": {"fusion": "x"}},
        {"task": "a", "contender": "misfit", "status": "skipped", "default_params": {}},
    ]
    rows = leaderboard(build(found), metrics)
    assert {row["contender"]: row["kind"] for row in rows} == {
        "only text": "fusion",
        "forest": "fusion",
        "concat": "baseline",
        "gated": "single",
        "small": "derived",
        "less": "derived",
        "broken": "fusion",
        "guess": "baseline",
        "misfit": None,
    }
    (marked,) = [row for row in rows if row["reference"]]
    assert marked["contender"] == "gated", "what is derived was not tuned as the others were"
    assert marked["reference"]["next"] is marked["reference"]["margin"] is None


def test_a_seed_far_from_its_others_is_noted_beside_its_row(build: Build, metrics: Metrics) -> None:
    several = [{"task": "a", "contender": f"c{k}", "tuned": [0.70, 0.71, 0.69]} for k in range(4)]
    fell = {"task": "a", "contender": "fell", "tuned": [0.72, 0.25, 0.71]}
    rows = leaderboard(build([*several, fell]), metrics)
    found = row_of(rows, "fell")["far_seed"]
    assert found == {"seed": 1, "score": 0.25, "others": [0.71, 0.72]}
    assert all("far_seed" not in row for row in rows if row["contender"] != "fell")
    (note,) = [note for note in figures.notes(rows) if "lies far from its others" in note]
    assert note.startswith("fell, a: seed 1 (.250) lies far from its others (.710 to .720)")
