"""A task with train sizes from its plan to its board, in real processes; test_folds.py has a short run of one, too."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mmbench import plugins, session
from mmbench.api.suite import Budget, ContenderSpec, Suite, TaskSpec
from mmbench.board.stats.learning import curves
from mmbench.engine.events import CellFinished
from mmbench.errors import DataError
from mmbench.store import reading
from mmbench.trust.verify import verify
from tests.engine.conftest import TOYS

Execute = Callable[..., session.Run]
SUITE = Suite(
    name="sized",
    version=1,
    budget=Budget(trials=1, batch=1, epochs=2, refit_seeds=2),
    tasks=(TaskSpec("toy", "toy", "accuracy", train_sizes=(24, 240)),),
    contenders=(ContenderSpec("concat", ("concat",)), ContenderSpec("only left", only=("left",))),
)
CATALOG = plugins.load([TOYS])


@pytest.mark.slow
def test_a_run_with_sizes_is_joined_and_verified(execute: Execute) -> None:
    run = execute(SUITE)
    assert sorted(run.data.cells) == [(f"toy@{n}", who) for n in (24, 240) for who in ("concat", "only left")]
    rows = {record.task: record.dataset["rows"] for record in run.data.records}
    assert rows == {f"toy@{size}": {"train": size, "validation": 100, "test": 120} for size in (24, 240)}
    truths = [reading.load_targets(run.folder, f"toy@{size}").tolist() for size in (24, 240)]
    assert truths[0] == truths[1]
    (curve,) = curves(run.rows(CATALOG))
    assert curve["sizes"] == [24, 240]
    assert {row["contender"] for row in curve["contenders"]} == {"concat", "only left"}
    report = verify(run.folder, CATALOG)
    assert not report.findings, report.findings


@pytest.mark.slow
def test_a_run_with_sizes_is_resumed(execute: Execute) -> None:
    def leave(event: Any) -> None:
        if isinstance(event, CellFinished):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(SUITE, on_event=leave)
    ended: list[str] = []
    run = execute(SUITE, on_event=lambda e: ended.append(e.record.task) if isinstance(e, CellFinished) else None)
    assert len(ended) == 3, "one was finished before"
    assert len(run.data.records) == 4


@pytest.mark.slow
def test_a_size_that_train_has_not_stops_the_run_in_one_line(execute: Execute) -> None:
    suite = replace(SUITE, tasks=(replace(SUITE.tasks[0], train_sizes=(24, 241)),))
    with pytest.raises(DataError, match="dataset 'toy': train_sizes asks for 241 rows, of 240 that train has"):
        execute(suite)
