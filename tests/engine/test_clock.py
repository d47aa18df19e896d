"""The clock of limits stands still while its process is stopped, in a worker and in the process that runs the suite."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmbench.engine.clock import TOLERANCE, Clock
from mmbench.engine.run.crew import GRACE
from mmbench.store import reading

TESTS = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGSTOP")
STOPPED = TOLERANCE + 2.0
PROGRAM = """
import sys, time
from mmbench.engine import clock
if sys.argv[1] == "thread":
    clock.keep_looking()
else:
    clock.begin()
before, began = clock.seconds(), time.monotonic()
print("ready", flush=True)
while time.monotonic() - began < float(sys.argv[2]):
    time.sleep(0.1)
    if sys.argv[1] == "loop":
        clock.look()
clock.look()
print(clock.seconds() - before, time.monotonic() - began)
"""


def measured(how: str, *, seconds: float, stopped: float) -> tuple[float, float]:
    """Seconds of the clock, and those that went by, in a process that was stopped for a while."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, how, str(seconds)], stdout=subprocess.PIPE, text=True, cwd=TESTS.parent
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    if stopped:
        process.send_signal(signal.SIGSTOP)
        time.sleep(stopped)
        process.send_signal(signal.SIGCONT)
    own, passed = process.communicate()[0].split()
    return float(own), float(passed)


@pytest.mark.parametrize("how", ["thread", "loop"])
def test_the_time_in_which_a_process_was_stopped_does_not_count(how: str) -> None:
    own, passed = measured(how, seconds=STOPPED + 1.0, stopped=STOPPED)
    assert passed >= STOPPED
    assert own <= passed - STOPPED + 0.3


def test_a_process_at_work_that_nobody_looks_at_is_not_stopped() -> None:
    """As in C code that lets no thread look: it uses the processor."""
    busy, idle = (Clock(last=(time.monotonic() - 10, time.process_time() - used)) for used in (3.0, 0.2))
    busy.look()
    idle.look()
    assert busy.lost == 0.0
    assert idle.lost == pytest.approx(10, abs=0.5)


def test_a_clock_that_begins_forgets_the_time_before() -> None:
    clock = Clock(last=(time.monotonic() - 100, time.process_time()))
    clock.begin()
    clock.look()
    assert clock.lost == 0.0


@pytest.mark.slow
def test_a_run_that_is_stopped_for_longer_than_its_limits_goes_on(tmp_path: Path) -> None:
    """The whole group, as by Ctrl-Z: neither a training's own limit nor that for hanging counts the time."""
    begun, suite, limit = tmp_path / "begun", tmp_path / "toy.toml", 15
    suite.write_text((TESTS / "toy.toml").read_text().replace("trial_seconds = 60", f"trial_seconds = {limit}"))
    words = ["run", str(suite), "--trials", "1", "--contender", "plods", "--results", str(tmp_path), "--workers", "2"]
    plugins = ["--plugin", str(TESTS / "toys.py"), "--plugin", str(TESTS / "engine" / "slow.py")]
    process = subprocess.Popen(
        [sys.executable, "-m", "mmbench", *words, *plugins],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PLODS": str(begun)},
        start_new_session=True,
    )
    deadline = time.monotonic() + 180
    while not begun.exists():
        assert time.monotonic() < deadline, "no training began"
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGSTOP)
    time.sleep(2 * limit + GRACE + 2)
    os.killpg(process.pid, signal.SIGCONT)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 0, said
    (cell,) = reading.history(tmp_path / "toy").values()
    assert [trial.status for trial in cell.trials] == ["ok"], cell.trials
    assert cell.trials[0].seconds < 2 * limit
    assert {refit.status for refit in cell.refits} == {"ok"}
