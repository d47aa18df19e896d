"""Learning curves: sizes joined, what is shown at each corrected for all, and tasks counted once."""

import csv
import io
import json
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from mmbench.board import report
from mmbench.board.gate.boards import Board, boards
from mmbench.board.site import boards as site
from mmbench.board.stats import learning
from mmbench.board.stats.across import across
from mmbench.board.verdict import verdicts
from tests.board.conftest import METRICS, Build

SIZES = (100, 300, 1000)
SEEN = {"text": "text"}


def cells(task: str, scores: dict[str, tuple[float, ...]]) -> list[dict[str, Any]]:
    """Three seeds each, a hair apart; "only text" sees one modality."""
    found = []
    for name, own in scores.items():
        for size, score in zip(SIZES, own, strict=True):
            tuned = [score, score + 0.005, score - 0.005]
            seen: dict[str, Any] = {"modalities": SEEN} if name.startswith("only") else {}
            found.append({"task": f"{task}@{size}", "contender": name, "tuned": tuned, **seen})
    return found


MADE: list[Board] = []


@pytest.fixture
def board(build: Build) -> Board:
    """Made once, and a copy for each test."""
    if not MADE:
        MADE.append(made(build))
    return replace(MADE[0], rows=deepcopy(MADE[0].rows))


def made(build: Build) -> Board:
    scores: dict[str, tuple[float, ...]] = {
        "only text": (0.5, 0.55, 0.6),
        "concat": (0.5, 0.8, 0.9),
        "gated": (0.8, 0.56, 0.9),
        "film": (0.8, 0.5, 0.6),
        "low": (0.45, 0.5, 0.61),
    }
    plain = [
        {"task": "whole", "contender": "only text", "tuned": [0.5, 0.5], "modalities": SEEN},
        {"task": "whole", "contender": "concat", "tuned": [0.9, 0.9]},
    ]
    (found,) = boards([build([*cells("notes", scores), *plain])], METRICS)
    return found


def test_sizes_are_joined_in_order_and_corrected_together(board: Board) -> None:
    (curve,) = learning.curves(board.rows)
    assert (curve["task"], curve["sizes"], curve["pays_from"]) == ("notes", [100, 300, 1000], 300)
    (own,) = {row["fusion_gain"]["correction"] for row in board.rows if row["fusion_gain"] and row.get("train_size")}
    assert curve["correction"] == f"{own}; Bonferroni, 3 sizes"
    found = {row["contender"]: row for row in curve["contenders"]}
    assert [found[name]["pays_from"] for name in ("concat", "gated", "film", "low", "only text")] == [
        300,
        1000,
        None,
        None,
        None,
    ]
    assert curve["contenders"][0]["points"][-1]["mean"] == max(row["points"][-1]["mean"] for row in found.values())
    row = next(row for row in board.rows if (row["task"], row["contender"]) == ("notes@300", "concat"))
    assert row["train_size"] == 300
    assert row["fusion_gain"]["over_sizes"] == min(1.0, 3 * row["fusion_gain"]["corrected"])
    assert found["concat"]["points"][1]["over_sizes"] == row["fusion_gain"]["over_sizes"]
    assert curve["sentences"] == [
        "From 300 train rows on a fusion is shown to beat the best tuned single modality: concat from 300, gated from "
        f"1,000 (paired tests at 5%; {own}; Bonferroni, 3 sizes).",
        "At some sizes only, and not at larger ones: film with 100.",
    ]


def test_what_is_shown_at_one_size_alone_may_not_be_over_all(board: Board) -> None:
    row = next(row for row in board.rows if (row["task"], row["contender"]) == ("notes@1000", "concat"))
    row["fusion_gain"]["corrected"] = 0.02
    learning.mark(board.rows)
    (curve,) = learning.curves(board.rows)
    assert next(own for own in curve["contenders"] if own["contender"] == "concat")["pays_from"] is None


def test_nothing_shown_and_nothing_tested_are_said(build: Build) -> None:
    run = build(cells("notes", {"only text": (0.5, 0.5, 0.5), "concat": (0.5, 0.5, 0.5)}))
    (found,) = boards([run], METRICS)
    (curve,) = learning.curves(found.rows)
    (said,) = curve["sentences"]
    assert said.startswith(
        "From none of 3 sizes on (100 to 1,000 train rows) a fusion is shown to beat the best tuned single modality "
        "(paired tests at 5%; "
    )
    assert said.endswith("; Bonferroni, 3 sizes).")
    (untested,) = boards([run], {})
    (curve,) = learning.curves(untested.rows)
    assert curve["sentences"] == ["Nothing was tested, so nothing is said of from how many train rows on fusing pays."]


def test_a_task_counts_once_where_tasks_are_counted(board: Board) -> None:
    assert [row["task"] for row in learning.largest(board.rows)] == ["notes@1000"] * 5 + ["whole"] * 5
    assert {row["tasks"] for row in across(board.rows) if row["contender"] == "concat"} == {2}
    assert verdicts(board.rows)["overall"]["tasks"] == 2
    alone = [row for row in board.rows if row["task"] != "whole"]
    assert not learning.many(alone)
    assert verdicts(alone)["overall"] is None


def test_every_format_has_the_curve(board: Board) -> None:
    content = json.loads(report.json(board.rows))
    assert content["learning_curves"] == json.loads(json.dumps(learning.curves(board.rows)))
    lines = list(csv.DictReader(io.StringIO(report.csv(board.rows))))
    pays = {line["task"]: (line["train_size"], line["pays_from"]) for line in lines if line["contender"] == "concat"}
    assert pays["notes@100"] == ("100", "300")
    assert pays["whole"] == ("", "")
    text = report.markdown(board.rows)
    assert "## notes by train rows" in text
    line = next(line for line in text.splitlines() if line.startswith("| concat | .500"))
    assert "| **.800**" in line
    assert line.endswith("| 300 |")
    assert "| contender | 100 | 300 | 1,000 | pays from |" in text
    assert r"notes: accuracy by train rows, higher is better" in report.latex(board.rows)
    console = Console(width=100, record=True)
    with console.capture() as capture:
        console.print(*report.table(board.rows, 100, METRICS))
    shown = capture.get()
    assert "notes  accuracy by train rows, higher is better" in shown
    assert shown.index("notes  accuracy by train rows") < shown.index("notes@100  accuracy")


def test_the_page_plots_it(board: Board) -> None:
    view = site.board_view(board)
    (curve,) = view["learning"]
    assert curve["sizes"] == ["100", "300", "1,000"]
    concat = next(row for row in curve["rows"] if row["name"] == "concat")
    assert concat["pays"] == "300"
    assert [cell["shown"] for cell in concat["cells"]] == ["", "more", "more"]
    assert str(curve["svg"]).count("<polyline") == 5
    assert str(curve["svg"]).count("<circle") == 15
    assert [f'text-anchor="middle">{size}<' in str(curve["svg"]) for size in curve["sizes"]] == [True] * 3
    assert view["across"] is not None


def test_a_board_without_sizes_says_nothing_of_them(build: Build) -> None:
    (found,) = boards([build([{"task": "a", "contender": "concat", "tuned": [0.5, 0.6]}])], METRICS)
    assert not learning.curves(found.rows)
    assert not {"train_size", "pays_from"} & set(found.rows[0])
    assert "learning_curves" not in json.loads(report.json(found.rows))
