"""Parts that crash, hang or misbehave in real worker processes: what each is charged, and that others go on."""

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from mmbench import session
from mmbench.api.record import Record
from mmbench.api.suite import ContenderSpec, Suite
from mmbench.store import reading

Execute = Callable[..., session.Run]
TESTS = Path(__file__).parents[1]
PLUGINS = [str(TESTS / "toys.py"), str(TESTS / "engine" / "unruly.py")]


def only(suite: Suite, *fusions: str) -> Suite:
    return replace(suite, contenders=tuple(ContenderSpec(name=f, fusion=(f,)) for f in fusions))


def small(suite: Suite, *fusions: str, trials: int = 1, seconds: float = 60.0) -> Suite:
    budget = replace(suite.budget, trials=trials, batch=1, epochs=1, refit_seeds=1, trial_seconds=seconds)
    return replace(only(suite, *fusions), budget=budget)


def by_contender(run: session.Run) -> dict[str, Record]:
    return {record.contender: record for record in run.data.records}


def test_a_process_that_ends_itself_is_charged_with_the_trial(execute: Execute, suite: Suite) -> None:
    run = execute(small(suite, "leaves", "quits", "forks", "concat", trials=2, seconds=10.0), plugins=PLUGINS)
    records = by_contender(run)
    assert {name: record.status for name, record in records.items()} == {
        "leaves": "error",
        "quits": "error",
        "forks": "error",
        "concat": "ok",
    }
    assert "ended with exit code 3" in (records["leaves"].reason or "")
    assert "crashed by SIGABRT" in (records["forks"].reason or ""), "what it left open does not hide its death"
    for name in ("leaves", "quits", "forks"):
        assert records[name].spent["trials"] == records[name].spent["failed"] == 2, name


def test_a_search_goes_on_after_a_trial_that_crashed(execute: Execute, suite: Suite) -> None:
    run = execute(small(suite, "aborts", trials=4), plugins=PLUGINS)
    record = by_contender(run)["aborts"]
    assert (record.status, record.spent["trials"], record.spent["failed"]) == ("ok", 4, 3)
    trials = reading.history(run.folder)[record.cell].trials
    assert [trial.status for trial in trials] == ["ok", "error", "error", "error"]
    assert trials[1].reason == "the worker crashed by SIGABRT"


def test_what_a_part_does_to_its_process_stays_there(execute: Execute, suite: Suite) -> None:
    """Threads left behind, another folder, megabytes of output: the next job has a fresh process."""
    run = execute(small(suite, "wanders", "lingers", "concat"), plugins=PLUGINS)
    assert {record.status for record in run.data.records} == {"ok"}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs real signals")
def test_hung_trials_are_killed_and_charged_whatever_they_hang_in(execute: Execute, suite: Suite) -> None:
    run = execute(small(suite, "deaf", "stuck", "deadlock", "hangs", "concat", seconds=2.0), plugins=PLUGINS, workers=4)
    records = by_contender(run)
    assert records.pop("concat").status == "ok"
    for name, record in records.items():
        assert record.status == "timeout", name
        assert "hung: no sign of life" in (record.reason or ""), name
        assert record.spent["failed"] == 1, name


def command(place: Path, *words: str) -> list[str]:
    plugins = [word for plugin in PLUGINS for word in ("--plugin", plugin)]
    suite = [str(TESTS / "toy.toml"), "--trials", "1", "--results", str(place)]
    return [sys.executable, "-m", "mmbench", "run", *suite, *plugins, *words]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on addresses")
def test_memory_that_runs_out_is_charged_to_who_took_it(tmp_path: Path) -> None:
    """A limit of 16 GiB of addresses for each process: allocation fails for real, in the contender that hoards."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (2**34, 2**34))

    chosen = ("--contender", "swallows", "--contender", "concat")
    done = subprocess.run(command(tmp_path, *chosen), preexec_fn=limit, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    records = {record.contender: record for record in reading.read_run(tmp_path / "toy").records}
    assert records["concat"].status == "ok"
    assert records["swallows"].status == "oom"


@pytest.mark.slow
def test_what_parts_print_does_not_get_into_the_leaderboard(tmp_path: Path) -> None:
    chosen = ("--contender", "loud", "--contender", "concat")
    done = subprocess.run(command(tmp_path, *chosen), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1000:]
    assert "loud loud" not in done.stdout
    assert "concat" in done.stdout
    assert "loud loud" in done.stderr, "whoever looks for their print finds it"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a worker that hangs in C is not reached")
def test_workers_die_with_their_parent_whatever_they_are_at(tmp_path: Path) -> None:
    chosen = ("--contender", "stuck", "--contender", "deaf", "--workers", "2")
    process = subprocess.Popen(command(tmp_path, *chosen), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        family = wait_for_workers(process, tmp_path)
        process.kill()
        process.wait()
        _, alive = psutil.wait_procs(family, timeout=20)
        assert not alive
    finally:
        process.kill()


def wait_for_workers(process: "subprocess.Popen[bytes]", results: Path) -> list[psutil.Process]:
    """The processes of a run of which two workers have been at a trial for a second."""
    records = results / "toy" / "records.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        family = psutil.Process(process.pid).children(recursive=True)
        if len(family) >= 4 and records.exists() and records.stat().st_size:  # tracker, server, two at work
            time.sleep(1)
            return family
        time.sleep(0.05)
    raise AssertionError("no worker began")
