"""Executors of plugins: by whomever the jobs are run, the table is the same to the last digit."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmbench import plugins, session
from mmbench.api.suite import ContenderSpec, Suite
from mmbench.engine.events import TrialFinished, WorkerLost
from mmbench.errors import PluginError, SuiteError
from mmbench.store import reading
from tests.engine.conftest import TOYS

Execute = Callable[..., session.Run]
PLAIN = str(Path(__file__).with_name("plain.py"))
PLUGINS = [TOYS, PLAIN]


def small(suite: Suite) -> Suite:
    contenders = tuple(ContenderSpec(name=name, fusion=(name,)) for name in ("concat", "majority"))
    return replace(suite, contenders=contenders, budget=replace(suite.budget, trials=3, batch=1, refit_seeds=1))


def table(run: session.Run) -> dict[str, Any]:
    """All that must not depend on how a run was run, each cell's key included."""
    stored = reading.history(run.folder)
    return {
        record.contender: (
            record.cell,
            record.status,
            dict(record.params),
            [(t.number, dict(t.params), t.status, t.score, list(t.curve)) for t in stored[record.cell].trials],
            [(r.role, r.seed, r.valid, dict(r.metrics), r.epochs) for r in record.refits],
        )
        for record in run.data.records
    }


@pytest.mark.slow
def test_the_table_is_the_same_whoever_runs_it(execute: Execute, suite: Suite, tmp_path: Path) -> None:
    """Also when the run was stopped in between, and when a node was lost: that is charged to nobody."""
    suite = small(suite)
    local = execute(suite, results=tmp_path / "local")
    whole = table(local)
    assert not local.failed
    assert {record.environment["executor"] for record in local.data.records} == {"local"}

    def stop(event: Any) -> None:
        if isinstance(event, TrialFinished):
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            execute(suite, plugins=PLUGINS, executor="plain", on_event=stop, results=tmp_path / "plain")
    plain = execute(suite, plugins=PLUGINS, executor="plain", results=tmp_path / "plain")
    assert table(plain) == whole
    assert {record.environment["executor"] for record in plain.data.records} == {"plain"}

    events: list[Any] = []
    loses = execute(suite, plugins=PLUGINS, executor="loses", on_event=events.append, results=tmp_path / "loses")
    assert [event.reason for event in events if isinstance(event, WorkerLost)] == ["node1 is gone"]
    assert table(loses) == whole
    assert all(record.spent["failed"] == 0 for record in loses.data.records)


def test_a_run_goes_on_by_another_executor(execute: Execute, suite: Suite) -> None:
    suite = small(suite)

    def stop(event: Any) -> None:
        if isinstance(event, TrialFinished):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(suite, on_event=stop)
    again: list[Any] = []
    run = execute(suite, plugins=PLUGINS, executor="plain", on_event=again.append)
    assert not run.failed
    told = [(event.cell.contender, event.trial.number) for event in again if isinstance(event, TrialFinished)]
    assert len(told) == 3, "one of the four was stored: three of concat, one of majority"


@pytest.mark.parametrize(
    ("executor", "reason", "failed"),
    [("mumbles", "it sent what is no message", 1), ("repeats", "it sent a trial 0 that it had not begun", 0)],
)
def test_what_cannot_be_is_charged_to_the_worker_that_said_it(
    execute: Execute, suite: Suite, executor: str, reason: str, failed: int
) -> None:
    """As a crash of the worker; the process that listens goes on."""
    budget = replace(suite.budget, trials=1, batch=1, epochs=1, refit_seeds=1)
    suite = replace(small(suite), contenders=small(suite).contenders[:1], budget=budget)
    run = execute(suite, plugins=PLUGINS, executor=executor)
    (record,) = run.data.records
    assert record.status == "error"
    assert reason in (record.reason or "")
    assert record.spent["failed"] == failed


def test_an_unknown_executor_is_one_line(execute: Execute) -> None:
    with pytest.raises(SuiteError, match=r"^unknown executor 'plaine': did you mean 'plain'\?$"):
        execute(plugins=PLUGINS, executor="plaine")
    with pytest.raises(SuiteError, match="unknown executor 'ray': known are local"):
        execute(executor="ray")


def test_local_comes_through_the_same_door() -> None:
    catalog = plugins.load()
    assert set(catalog.executors) == {"local"}
    assert catalog.executors.origins["local"].module == "mmbench.engine.executors.local"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("class Mine(Executor):\n    name = 'mine'", "executor Mine needs the method '__init__'"),
        ("class Mine(Executor):\n    name = 'Mine!'", "needs a name of lower-case letters"),
        ("class Mine:\n    name = 'mine'", "which is no Executor"),
        ("from mmbench.engine.executors.local import Local as Mine", "two executors are named 'local'"),
    ],
)
def test_a_wrong_executor_is_one_line(tmp_path: Path, code: str, message: str) -> None:
    file = tmp_path / "mine.py"
    hook = "@mb.hookimpl\ndef mmbench_executors():\n    return [Mine]\n"
    file.write_text(f"import mmbench as mb\nfrom mmbench.api.executor import Executor\n{code}\n{hook}")
    with pytest.raises(PluginError, match=message) as caught:
        plugins.load([str(file)])
    assert "\n" not in str(caught.value)
