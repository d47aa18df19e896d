"""`mmbench compare` on a real run: the figures are those of the predictions, names are helped with."""

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

PUBLISHED = Path(__file__).parents[3] / "results" / "published" / "starter"
Type = Callable[..., Any]
Toy = Callable[[str], Path]


def compared(mmbench: Type, *words: str) -> dict[str, Any]:
    answer = mmbench("compare", "toy", *words, "--format", "json")
    assert (answer.code, answer.err) == (0, "")
    found: dict[str, Any] = json.loads(answer.out)
    return found


@pytest.mark.slow
def test_the_figures_are_those_of_the_predictions(mmbench: Type, toy: Toy) -> None:
    run = toy("toy")
    found = compared(mmbench, "concat", "only left")
    assert (found["run"], found["a"], found["b"]) == ("toy", "concat", "only left")
    (task,) = found["tasks"]
    lines = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    records = {line["row"]["contender"]: line["row"] for line in lines if line["kind"] == "record"}
    targets = next(line["row"]["file"] for line in lines if line["kind"] == "targets")
    truth = load_file(run / "predictions" / targets)["target"]
    right = {
        name: np.array(
            [
                load_file(run / "predictions" / refit["predictions"]["file"])["test"].argmax(1) == truth
                for refit in records[name]["refits"]
                if refit["role"] == "tuned"
            ]
        )
        for name in ("concat", "only left")
    }
    a, b = right["concat"], right["only left"]
    assert task["first"] == pytest.approx(a.mean())
    assert task["second"] == pytest.approx(b.mean())
    assert task["difference"] == pytest.approx(a.mean() - b.mean())
    assert task["low"] < task["difference"] < task["high"]
    assert task["p"] < task["corrected"] <= 1, "corrected over all pairs, as the ranks are"
    assert task["better"] == ("concat" if task["corrected"] < 0.05 else None)  # two seeds that differ say little
    assert (task["seeds"], task["items"]) == ([[0, 1], [0, 1]], 120)
    pairs = [(one, other) for one in a for other in b]
    assert task["discordance"] == pytest.approx(
        {
            "both": np.mean([(one & other).sum() for one, other in pairs]),
            "first": np.mean([(one & ~other).sum() for one, other in pairs]),
            "second": np.mean([(~one & other).sum() for one, other in pairs]),
            "neither": np.mean([(~one & ~other).sum() for one, other in pairs]),
        }
    )


@pytest.mark.slow
def test_turned_round_it_says_the_same(mmbench: Type, toy: Toy) -> None:
    toy("toy")
    (one,) = compared(mmbench, "concat", "only left")["tasks"]
    (other,) = compared(mmbench, "only left", "concat")["tasks"]
    assert other["difference"] == pytest.approx(-one["difference"])
    assert (other["low"], other["high"]) == pytest.approx((-one["high"], -one["low"]))
    assert other["p"] == pytest.approx(one["p"])
    assert other["better"] == one["better"]
    (loss,) = compared(mmbench, "concat", "majority", "--metric", "log_loss")["tasks"]
    assert loss["difference"] < 0
    assert loss["better"] == "concat", "less is better"


def test_tables_for_eyes(mmbench: Type, toy: Toy) -> None:
    toy("toy")
    table = mmbench("compare", "toy", "concat", "only left").out
    right = "of 120 items both were right on"
    for said in ("A: concat, B: only left", "accuracy", "(step-down max-t, ", right, "Seeds: A 0, 1"):
        assert said in table
    written = mmbench("compare", "toy", "concat", "only left", "--format", "markdown").out
    assert "| task | metric | A | B | A - B | p | better |" in written
    (first, *_) = [line for line in written.splitlines() if line.startswith("| toy | accuracy | .")]
    assert first.endswith(("| concat |", "| can't be told apart |"))


def test_one_who_failed_is_not_compared(mmbench: Type, toy: Toy) -> None:
    toy("toy")
    answer = mmbench("compare", "toy", "raises", "concat")
    assert answer.code == 0
    assert "not compared" in answer.out
    assert "raises: error: every trial failed" in answer.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["cncat", "only left"], "unknown contender 'cncat': did you mean 'concat'?"),
        (["concat", "only lft"], "did you mean 'only left'?"),
        (["concat", "concat"], "'concat' can't be compared with itself; name another contender"),
        (["concat", "only left", "--task", "tox"], "unknown task 'tox': did you mean 'toy'?"),
        (["concat", "only left", "--metric", "acuracy"], "unknown metric 'acuracy': did you mean 'accuracy'?"),
    ],
)
def test_a_wrong_name_is_one_line_and_exit_2(mmbench: Type, toy: Toy, words: list[str], said: str) -> None:
    toy("toy")
    answer = mmbench("compare", "toy", *words)
    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err
    assert answer.err.count("\n") == 1


def test_no_name_is_broken_in_80_columns() -> None:
    """The longest names of the published run, on a terminal."""
    master, slave = pty.openpty()
    words = [sys.executable, "-m", "mmbench", "compare", str(PUBLISHED), "late_transformer", "cross_attention"]
    size = {"COLUMNS": "80", "LINES": "50", "TERM": "xterm"}
    subprocess.run([*words, "--metric", "balanced_accuracy"], stdout=slave, env={**os.environ, **size}, check=True)
    os.close(slave)
    shown = ""
    with contextlib.suppress(OSError), os.fdopen(master, closefd=True) as terminal:
        while text := terminal.read(1):
            shown += text
    assert "A: late_transformer, B: cross_attention; balanced_accuracy" in shown
    (line,) = [line for line in shown.splitlines() if line.startswith("watch_exercise ")]
    assert re.search(r"watch_exercise +[.]\d+ +[.]\d+ +[-+][.]\d+ \[\S+ \S+\] .* (A|B|neither)\s*$", line)
    assert len(line.rstrip()) <= 80


def test_no_winner_whom_the_board_does_not_see(mmbench: Type) -> None:
    """The same tests decide: a gain over the single modality and the comparison with it have one corrected p."""
    rows = json.loads(mmbench("leaderboard", str(PUBLISHED), "--format", "json").out)["rows"]
    checked = 0
    for row in rows:
        if row["contender"] in ("sum", "forest") and (gain := row["fusion_gain"]):
            words = ("compare", str(PUBLISHED), row["contender"], gain["against"], "--task", row["task"])
            (task,) = json.loads(mmbench(*words, "--format", "json").out)["tasks"]
            rivals = "step-down max-t, 13 rivals"
            assert (task["corrected"], task["correction"], rivals) == (gain["corrected"], gain["correction"], rivals)
            ranks = {other["contender"]: other["rank"] for other in rows if other["task"] == row["task"]}
            winner = {True: row["contender"] if gain["mean"] > 0 else gain["against"], False: None}
            assert task["better"] == winner[gain["corrected"] < 0.05]
            assert (task["better"] is None) or ranks[row["contender"]] != ranks[gain["against"]]
            checked += 1
    assert checked == 6
