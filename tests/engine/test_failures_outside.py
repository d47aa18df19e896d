"""What happens to a run from outside: signals to stop, a clock that jumps, a folder that somebody takes away."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from mmbench import session
from mmbench.engine.events import TrialFinished
from mmbench.errors import StoreError
from mmbench.store import reading

Execute = Callable[..., session.Run]
TESTS = Path(__file__).parents[1]
RUN = ["run", str(TESTS / "toy.toml"), "--plugin", str(TESTS / "toys.py"), "--trials", "2"]
ENOUGH = 2 * 2**30
JUMPING_CLOCK = """
import itertools, time
honest, jumps = time.time, itertools.cycle((0, 86_400, -86_400, 3_600, -31_536_000))
time.time = lambda: honest() + next(jumps)
"""


def start(results: Path, *words: str, **options: Any) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "mmbench", *RUN, "--results", str(results), *words]
    pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, start_new_session=True, **pipes, **options)


def wait_for_a_trial(results: Path) -> None:
    trials = results / "toy" / "trials.jsonl"
    deadline = time.monotonic() + 180
    while not trials.exists() or b"\n" not in trials.read_bytes():
        assert time.monotonic() < deadline, "no trial was stored"
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.parametrize(
    ("number", "whom", "code"),
    [(signal.SIGTERM, "parent", 143), pytest.param(signal.SIGHUP, "group", 129, marks=pytest.mark.slow)],
)
def test_a_cluster_says_stop(tmp_path: Path, number: signal.Signals, whom: str, code: int) -> None:
    process = start(tmp_path, "--contender", "hangs", "--contender", "concat", "--workers", "2")
    wait_for_a_trial(tmp_path)
    family = psutil.Process(process.pid).children(recursive=True)
    (os.killpg if whom == "group" else os.kill)(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert said.startswith(f"mmbench: stopped: by {number.name}, 0 of 2 cells are done and stored, ")
    assert "resume with the same command: mmbench run" in said
    assert len(said.strip().splitlines()) == 1, said
    assert not psutil.wait_procs(family, timeout=30)[1]
    stored = reading.history(tmp_path / "toy")
    assert all(cell.trials and {trial.status for trial in cell.trials} == {"ok"} for cell in stored.values())


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs SIGHUP")
def test_nohup_is_respected(tmp_path: Path) -> None:
    def nohup() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    process = start(tmp_path, "--contender", "concat", preexec_fn=nohup)
    wait_for_a_trial(tmp_path)
    os.killpg(process.pid, signal.SIGHUP)
    _, said = process.communicate(timeout=180)
    assert process.returncode == 0, said


@pytest.mark.slow
def test_a_clock_that_jumps_changes_nothing(execute: Execute, tmp_path: Path) -> None:
    """By a day, an hour, a year, forwards and back, at each look: limits are kept by a clock that can't be set."""
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(JUMPING_CLOCK)
    path = os.pathsep.join(filter(None, [str(tmp_path / "clock"), os.environ.get("PYTHONPATH")]))
    execute(results=tmp_path / "steady", contenders=["concat"], trials=2)
    process = start(tmp_path / "jumping", "--contender", "concat", env=os.environ | {"PYTHONPATH": path})
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    found = []
    for name in ("steady", "jumping"):
        cells = reading.history(tmp_path / name / "toy").values()
        found.append([(t.number, t.status, t.score, list(t.curve)) for cell in cells for t in cell.trials])
        assert all(0 <= t.seconds < 300 for cell in cells for t in cell.trials)
    assert found[0] == found[1]


def test_a_folder_taken_away_while_a_run_writes_to_it(execute: Execute, tmp_path: Path) -> None:
    """The run stops and says so, and starts from the beginning when it is run again."""

    def vandal(event: Any) -> None:
        if isinstance(event, TrialFinished) and (tmp_path / "results" / "toy").exists():
            shutil.rmtree(tmp_path / "results" / "toy")

    with pytest.raises(StoreError, match=r"toy.*(taken away while the run was writing|No such file or directory)"):
        execute(on_event=vandal, contenders=["concat"])
    assert not execute(contenders=["concat"]).failed


def test_a_row_edited_while_a_run_writes(execute: Execute, tmp_path: Path) -> None:
    trials = tmp_path / "results" / "toy" / "trials.jsonl"

    def vandal(event: Any) -> None:
        if isinstance(event, TrialFinished):
            trials.write_bytes(trials.read_bytes()[:-10])

    with pytest.raises(StoreError, match="was changed by somebody else while the run was writing to it"):
        execute(on_event=vandal, contenders=["concat"])


@pytest.fixture
def cramped() -> Iterator[Callable[[], None]]:
    """Puts a process, and all that it starts, where there is memory for a run but for no hoard: a control group."""
    room = Path(f"/sys/fs/cgroup/memory/mmbench-test-{os.getpid()}")
    try:
        room.mkdir()
        (room / "memory.limit_in_bytes").write_text(str(ENOUGH))
    except OSError:
        pytest.skip("needs a control group for memory, and leave to make one")

    def enter() -> None:
        (room / "cgroup.procs").write_text(str(os.getpid()))

    yield enter
    deadline = time.monotonic() + 30
    while (room / "cgroup.procs").read_text() and time.monotonic() < deadline:
        time.sleep(0.1)
    room.rmdir()


@pytest.mark.slow
def test_the_kernel_ends_a_worker_when_memory_runs_out(tmp_path: Path, cramped: Callable[[], None]) -> None:
    """Tried three times in all, then charged to the one that took it; the other contender knows nothing of it."""
    words = ["--plugin", str(TESTS / "engine" / "unruly.py"), "--trials", "1", "--workers", "2"]
    process = start(tmp_path, "--contender", "fills", "--contender", "concat", *words, preexec_fn=cramped)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 1, said
    by_name = {record.contender: record for record in reading.read_run(tmp_path / "toy").records}
    assert (by_name["fills"].status, by_name["concat"].status) == ("oom", "ok")
    (trial,) = reading.history(tmp_path / "toy")[by_name["fills"].cell].trials
    assert (trial.status, trial.reason) == ("oom", "the worker was killed by SIGKILL (out of memory?), 3 times")
