"""Metrics of plugins that hang, crash or otherwise harm the process that scores: each is unscored, and the run goes
on with the scores of all others."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmbench import plugins, session
from mmbench.api.parts.scores import scored
from mmbench.api.suite import Suite
from mmbench.engine.run.scoring import Scoring, apart
from mmbench.errors import TrainingError
from mmbench.trust import verify
from tests.engine.conftest import TOYS
from tests.engine.test_failures import small

Execute = Callable[..., session.Run]
HARMFUL = str(Path(__file__).with_name("harmful.py"))
ENDED = "failed: its process"
REASONS = {
    "hangs": "failed: it gave no score within 6 seconds",
    "stuck": "failed: it gave no score within 6 seconds",
    "quits": "failed: SystemExit: enough (harmful.py",
    "leaves": f"{ENDED} ended with exit code 0",
    "aborts": f"{ENDED} crashed by SIGABRT",
    "dies": f"{ENDED} was killed by SIGKILL (out of memory?)",
    "scrawls": f"{ENDED} was stopped: it wrote what is no score where its scores go",
    "plunges": "failed: RecursionError: maximum recursion depth exceeded",
    "huge": "failed: ValueError: the score is no number, but bytearray",
    "chatters": "undefined: there is none there is none",
    "takes_all": "failed: MemoryError: ",
}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and signals")
def test_each_harmful_metric_is_unscored_and_all_others_score(
    execute: Execute, suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCORED_IN", str(tmp_path / "scored"))
    plain = execute(small(suite, "concat", seconds=6.0), results=tmp_path / "plain")
    run = execute(small(suite, "concat", seconds=6.0), plugins=[TOYS, HARMFUL])
    assert not run.failed
    for ours, theirs in zip(run.data.records[0].refits, plain.data.records[0].refits, strict=True):
        assert {name: ours.metrics[name] for name in theirs.metrics} == dict(theirs.metrics)
        assert {*ours.metrics} - {*theirs.metrics} == {"a_harmless", "forks", "unsure", "zz_harmless"}
        assert ours.metrics["zz_harmless"] == ours.metrics["forks"] == ours.metrics["accuracy"]
        for name, reason in REASONS.items():
            assert ours.unscored[name].startswith(reason), (name, ours.unscored[name])
            assert len(ours.unscored[name]) < 1000
        assert {*ours.metrics, *ours.unscored} == {*run.data.records[0].directions}
    where = {int(line) for line in (tmp_path / "scored").read_text().split()}
    assert os.getpid() not in where, "no metric of a plugin runs where the run is"
    assert len(where) > 1, "and after a crash there is another"


@pytest.fixture
def scoring(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("SCORED_IN", str(tmp_path / "scored"))
    with Scoring(plugins.load([HARMFUL]), dict(os.environ)) as made:
        yield made


def scores(scoring: Scoring, *names: str) -> dict[str, Any]:
    import numpy as np

    metrics = [scoring._catalog.metrics[name] for name in names]
    return scoring.score(metrics, np.array([0, 1, 2]), np.eye(3), 2.0)


def test_one_process_scores_all_that_behaves_and_ends_with_the_run(scoring: Scoring, tmp_path: Path) -> None:
    assert scores(scoring, "accuracy") == {"accuracy": 1.0}
    assert scoring._running is None, "mmbench's own metrics need none"
    for _ in range(3):
        assert scores(scoring, "a_harmless", "accuracy") == {"a_harmless": 1.0, "accuracy": 1.0}
    (pid,) = {int(line) for line in (tmp_path / "scored").read_text().split()}
    assert scoring._running is not None
    process = scoring._running.process
    assert process.pid == pid
    scoring.__exit__()
    assert not process.is_alive()


def test_a_process_that_was_killed_between_two_scores_is_begun_again(scoring: Scoring) -> None:
    assert scores(scoring, "a_harmless") == {"a_harmless": 1.0}
    assert scoring._running is not None
    scoring._running.process.kill()
    scoring._running.process.join()
    assert scores(scoring, "a_harmless") == {"a_harmless": 1.0}, "nobody is charged"


def test_who_hung_is_not_waited_for_again(scoring: Scoring) -> None:
    import time

    first = scores(scoring, "hangs")
    start = time.monotonic()
    assert scores(scoring, "hangs") == first == {"hangs": "failed: it gave no score within 2 seconds"}
    assert time.monotonic() - start < 1


def test_what_a_metric_answers_elsewhere_is_what_it_answers_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np

    monkeypatch.setenv("SCORED_IN", str(tmp_path / "scored"))
    catalog = plugins.load([HARMFUL])
    elsewhere, rng = apart(catalog), np.random.default_rng(0)
    truth, prediction = rng.integers(0, 3, 30), rng.random((30, 3))
    rows = rng.integers(0, 30, (20, 30))
    here, there = catalog.metrics["a_harmless"], elsewhere["a_harmless"]
    assert (there.name, there.targets, there.direction) == (here.name, here.targets, here.direction)
    assert there.score(truth, prediction) == here.score(truth, prediction)
    np.testing.assert_array_equal(there.resampled(truth, prediction, rows), here.resampled(truth, prediction, rows))
    assert there.right(truth, prediction) is None
    assert elsewhere["accuracy"] is catalog.metrics["accuracy"]
    for name in ("dies", "quits", "chatters", "plunges"):
        assert str(scored(elsewhere[name], truth, prediction)).startswith(REASONS[name])
    with pytest.raises(TrainingError, match="its process was killed by SIGKILL"):
        elsewhere["dies"].resampled(truth, prediction, rows)


def test_a_run_with_harmful_metrics_is_verified_by_those_that_are_here(
    execute: Execute, suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What plugins were loaded, and of what code, stands in the record."""
    file = tmp_path / "mine.py"
    code = Path(HARMFUL).read_text().replace("[Harmless, Again, Forks, Everything, *HARMFUL]", "[Harmless]")
    file.write_text(code)
    monkeypatch.setenv("SCORED_IN", str(tmp_path / "scored"))
    run = execute(small(suite, "concat"), plugins=[TOYS, str(file)])
    catalog = plugins.load([TOYS, str(file)])
    report = verify.verify(run.folder, catalog)
    assert not report.findings, report.findings
    run.boards(catalog)
    where = {int(line) for line in (tmp_path / "scored").read_text().split()}
    assert os.getpid() not in where, "neither `verify` nor a board scores by a plugin's metric where it is itself"
    (record,) = run.data.records
    assert {"toys.py", "mine.py", "mmbench_fusion"} <= {*record.environment["plugins"]}
    assert dict(record.environment["plugins"]) == catalog.code
    file.write_text(code + "\nchanged = True\n")
    assert plugins.load([TOYS, str(file)]).code["mine.py"] != record.environment["plugins"]["mine.py"]
