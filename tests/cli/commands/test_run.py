"""`mmbench run`, `plan`, `prepare` and `leaderboard` on the toy suite, in real worker processes."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

Type = Callable[..., Any]
TESTS = Path(__file__).parents[2]
TOY = [str(TESTS / "toy.toml"), "--plugin", str(TESTS / "toys.py")]
TWO = ["--contender", "concat", "--contender", "majority", "--trials", "2"]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in, with an empty cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_a_run_from_plan_to_leaderboard(mmbench: Type) -> None:
    planned = mmbench("plan", *TOY, *TWO)
    assert planned.code == 0
    assert "2 of 2 cells to do, at most 9 trainings" in planned.out  # 2 trials + 2 x 2 refits; nothing to tune: 1 + 2

    done = mmbench("run", *TOY, *TWO)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("toy → results/toy: 2 cells, 0 done before\n")
    assert "[2/2] toy, " in done.out
    assert "mmbench leaderboard results/toy" in done.out

    again = mmbench("run", *TOY, *TWO)
    assert again.out.startswith("toy → results/toy: 2 cells, 2 done before\n")
    assert "[" not in again.out.splitlines()[1], "nothing is done twice"
    assert "0 of 2 cells to do, at most 0 trainings" in mmbench("plan", *TOY, *TWO).out

    board = json.loads(mmbench("leaderboard", "toy", "--format", "json").out)
    assert board["run"] == "toy"
    assert {row["contender"] for row in board["rows"]} == {"concat", "majority"}
    assert mmbench("leaderboard", "results/toy", "--format", "csv", "-o", "board.csv").code == 0
    assert Path("board.csv").read_text().startswith("task,contender,")
    by_metric = mmbench("leaderboard", "toy", "--by", "metric", "--format", "markdown").out
    assert "## accuracy, higher is better" in by_metric
    assert "| concat | " in by_metric
    assert "nothing is imputed" not in by_metric + again.out, "there is no gap to explain"
    assert mmbench("leaderboard", "toy", "--by", "metric", "--format", "csv").code == 2
    assert mmbench("leaderboard", "toy", "-o", "no/such/folder.md").code == 2

    quiet = mmbench("run", *TOY, *TWO, "--quiet")
    assert not quiet.out.startswith("toy →")
    assert "concat" in quiet.out


def test_a_failed_cell_is_exit_code_1_and_says_why(mmbench: Type) -> None:
    answer = mmbench("run", *TOY, "--contender", "raises", "--contender", "majority", "--trials", "1")
    assert answer.code == 1
    assert "1 failed:" in answer.out
    failed = next(line for line in answer.out.splitlines() if line.startswith("  toy, raises: error:"))
    assert "this fusion always raises" in failed
    assert "(toys.py, line " in failed, "where in the plugin it was raised"
    assert f"  mmbench check {TESTS / 'toys.py'} --verbose\n" in answer.out
    assert "majority" in answer.out


def test_prepare_fetches_and_builds(mmbench: Type, place: Path) -> None:
    answer = mmbench("prepare", "toy", "--plugin", str(TESTS / "toys.py"))
    assert answer.code == 0
    assert "dataset toy" in answer.out
    assert str(place / "cache") in answer.out


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(place: Path) -> None:
    program = "from mmbench.cli.app import main; main()"
    words = ["run", *TOY, "--contender", "hangs", "--fresh", "--workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("toy → results/toy")
    deadline = time.monotonic() + 60
    while not (place / "cache/features").exists():
        assert time.monotonic() < deadline, "no worker began"
        time.sleep(0.1)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert said.startswith("mmbench: stopped: 0 of 1 cells are done")
    assert "--fresh" not in said
    assert f"mmbench run {TOY[0]} --plugin" in said
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive
