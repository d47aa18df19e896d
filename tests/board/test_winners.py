"""The suite of the winners: parameters fixed, one contender for each choice, readable as any suite is."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmbench.api.suite import Budget, ContenderSpec, Suite, TaskSpec
from mmbench.board.winners import left_out, winners
from mmbench.errors import MMBenchError
from mmbench.store import suitefile
from mmbench.store.reading import RunData

Build = Callable[..., RunData]
TEXT = {"text": "text"}


def cell(contender: str, task: str = "a", **params: Any) -> dict[str, Any]:
    return {"task": task, "contender": contender, "tuned": [0.5], "params": {"fusion": "concat", **params}}


def written(run: RunData, folder: Path) -> Suite:
    path = folder / "winners.toml"
    path.write_text(suitefile.write(winners(run)))
    return suitefile.read(path)


def test_a_contender_is_fixed_to_what_won(build: Build, tmp_path: Path) -> None:
    params: dict[str, Any] = {"fusion": "gated", "fusion.gated.gate": "softmax", "train.lr": 0.1, "objective": "x+y"}
    run = build([cell("auto", **params)])
    suite = written(run, tmp_path)
    assert (suite.name, suite.budget.trials, suite.budget.refit_seeds) == (
        "small-best",
        1,
        run.suite.budget.refit_seeds,
    )
    assert suite.tasks == run.suite.tasks
    (spec,) = suite.contenders
    assert (spec.name, spec.fusion, spec.objective, spec.only, spec.tasks) == ("auto", ("gated",), ("x+y",), None, None)
    assert spec.params == {"fusion.gated.gate": "softmax", "train.lr": 0.1}


def test_one_contender_for_each_task_on_which_it_chose_differently(build: Build, tmp_path: Path) -> None:
    cells = [
        cell(name, task, **{"train.lr": lr})
        for name, task, lr in [
            ("sum", "a", 0.1),
            ("sum", "b", 0.2),
            ("mean", "a", 0.1),
            ("mean", "b", 0.1),
            ("late", "b", 0.1),
        ]
    ]
    failed = {"task": "a", "contender": "broken", "status": "error", "reason": "loss became NaN"}
    suite = written(build([*cells, failed]), tmp_path)
    assert [(spec.name, spec.tasks) for spec in suite.contenders] == [
        ("sum on a", ("a",)),
        ("sum on b", ("b",)),
        ("mean", None),
        ("late", ("b",)),
    ]


def test_a_single_modality_sees_it_alone_and_what_is_derived_has_its_parent(build: Build, tmp_path: Path) -> None:
    half = {"derived": {"of": "sum", "cell": "x"}}
    cells = [
        cell("only text") | {"modalities": TEXT},
        cell("sum", "a", **{"train.lr": 0.1}),
        cell("sum", "b", **{"train.lr": 0.2}),
        *(cell("lean", task, compressor="half", **{"compressor.half.x": 1}) | half for task in "ab"),
        cell("orphan", compressor="half") | {"derived": {"of": "gone", "cell": "x"}},
    ]
    run = build(cells)
    contenders = (ContenderSpec("only", each_modality=True), ContenderSpec("sum"))
    run = replace(run, suite=replace(run.suite, contenders=contenders))
    found = {spec.name: spec for spec in written(run, tmp_path).contenders}
    assert list(found) == ["only text", "sum on a", "sum on b", "lean on a", "lean on b"]
    assert found["only text"].only == ("text",)
    lean = found["lean on b"]
    assert (lean.of, lean.compressor, lean.tasks, lean.params) == (
        "sum on b",
        ("half",),
        ("b",),
        {"compressor.half.x": 1},
    )
    assert lean.fusion is None


def test_folds_have_no_single_winner(build: Build) -> None:
    run = build([cell("sum"), cell("sum", "b")])
    folds = replace(run, suite=replace(run.suite, tasks=(TaskSpec("a", "a", "accuracy", folds=3), run.suite.tasks[1])))
    assert left_out(folds) == ["a"]
    assert [task.name for task in winners(folds).tasks] == ["b"]
    with pytest.raises(MMBenchError, match="no contender of a task without folds and train sizes ended"):
        winners(replace(folds, records=()))
    assert isinstance(folds.suite.budget, Budget)
