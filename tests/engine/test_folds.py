"""A task with folds from its plan to its board, in real processes."""

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmbench import plugins, session
from mmbench.api.suite import Budget, ContenderSpec, CorruptionSpec, Suite, TaskSpec, fold_name, fold_of, task_of
from mmbench.board.compare import compare
from mmbench.board.folds import joined
from mmbench.board.stats.learning import curves
from mmbench.engine import identity, plan
from mmbench.engine.events import CellFinished
from mmbench.engine.jobs.job import LoadData, Prepare
from mmbench.engine.run.schedule import Schedule
from mmbench.engine.space import Fold
from mmbench.errors import SuiteError
from mmbench.store import reading, suitefile
from mmbench.trust.verify import verify
from tests.engine.conftest import TOYS
from tests.engine.test_runner import table
from tests.trust.conftest import Forger

Execute = Callable[..., session.Run]
K, ROWS = 3, 460
DAMAGE = CorruptionSpec("missing", "right", severities=(0.0, 1.0))
SUITE = Suite(
    name="folded",
    version=1,
    budget=Budget(trials=3, batch=2, epochs=3, refit_seeds=2),
    tasks=(
        TaskSpec("toy", "toy", "accuracy", folds=K, corruptions=(DAMAGE,)),
        TaskSpec("sized", "toy", "accuracy", train_sizes=(24, 240)),
    ),
    contenders=(ContenderSpec("majority", ("majority",)), ContenderSpec("concat", ("concat",), tasks=("toy",))),
)
CATALOG = plugins.load([TOYS])


def by_contender(run: session.Run) -> dict[str, dict[str, Any]]:
    return {row["contender"]: row for row in run.rows(CATALOG) if row["task"] == "toy"}


@pytest.fixture(scope="module")
def whole(shared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> session.Run:
    """Run with one worker, and undisturbed. Not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMBENCH_CACHE", str(shared_cache))
        return session.run(SUITE, plugins=[TOYS], results=tmp_path_factory.mktemp("folded"), workers=1)


def test_the_board_has_one_row_a_contender_over_all_rows(whole: session.Run) -> None:
    run = whole
    folds = [(f"toy#{n}", c) for n in (1, 2, 3) for c in ("concat", "majority")]
    assert sorted(run.data.cells) == sorted([*folds, ("sized@24", "majority"), ("sized@240", "majority")])
    rows = [row for row in run.rows(CATALOG) if row["task"] == "toy"]
    assert [(row["task"], row["contender"], row["test_rows"]) for row in rows] == [
        ("toy", "concat", ROWS),
        ("toy", "majority", ROWS),
    ]
    concat = rows[0]
    assert concat["metrics"]["accuracy"]["n_seeds"] == 2
    assert concat["metrics"]["accuracy"]["low"] < concat["metrics"]["accuracy"]["mean"]
    assert concat["plan"] == "registered"
    records = [record for record in run.data.records if record.contender == "concat"]
    assert concat["spent"]["trials"] == 3 * K
    assert concat["spent"]["test_accesses"] == sum(len(record.refits) for record in records)
    assert concat["cost"]["parameters"] == pytest.approx(np.mean([r.cost["parameters"] for r in records]))
    right = total = 0
    for record in records:
        truth = reading.load_targets(run.folder, record.task)
        for refit in record.refits:
            if refit.role == "tuned":
                found = reading.load_predictions(run.folder, refit)["test"]
                right, total = right + int((found.argmax(1) == truth).sum()), total + len(truth)
    assert total == 2 * ROWS
    assert concat["metrics"]["accuracy"]["mean"] == pytest.approx(right / total)
    points = dict(concat["curves"]["missing right"]["points"])
    assert points[0.0] == pytest.approx(concat["metrics"]["accuracy"]["mean"])
    assert points[1.0] < points[0.0]
    assert concat["default"] is not None
    assert concat["tuning_gain"]["mean"] == pytest.approx(
        concat["metrics"]["accuracy"]["mean"] - concat["default"]["mean"]
    )
    report = verify(run.folder, CATALOG)
    assert not report.findings, report.findings
    comparison = compare(run.data, CATALOG.metrics, first="concat", second="majority")[0]
    assert (comparison.task, comparison.items, comparison.reason) == ("toy", ROWS, None)


def test_train_sizes_stand_beside_folds(whole: session.Run) -> None:
    """Verified with them, above: the same validation and test rows, and so many of train."""
    rows = {record.task: record.dataset["rows"] for record in whole.data.records if record.task.startswith("sized")}
    assert rows == {f"sized@{size}": {"train": size, "validation": 100, "test": 120} for size in (24, 240)}
    few, every = (reading.load_targets(whole.folder, f"sized@{size}").tolist() for size in (24, 240))
    assert few == every
    (curve,) = curves(whole.rows(CATALOG))
    assert (curve["task"], curve["sizes"]) == ("sized", [24, 240])


def test_the_easiest_fold_can_not_stand_for_another(whole: session.Run, tmp_path: Path) -> None:
    """Its predictions and targets are stored for another fold, with all that follows from them."""
    forger = Forger(Path(shutil.copytree(whole.folder, tmp_path / "folded")))
    records = {(r.task, r.contender): r for r in whole.data.records}
    good, weak = (records[f"toy#{number}", "concat"] for number in (3, 2))
    place, targets = forger.folder / "predictions", whole.data.targets
    shutil.copy(place / targets["toy#3"]["file"], place / targets["toy#2"]["file"])
    digest = targets["toy#3"]["sha256"]
    forger.change(
        "records.jsonl",
        lambda kind, row: row.update(sha256=digest) if (kind, row.get("task")) == ("targets", "toy#2") else None,
    )
    for refit in good.refits:
        assert refit.predictions
        name = refit.predictions["file"].replace(good.cell, weak.cell)
        shutil.copy(place / refit.predictions["file"], place / name)
        same = {"predictions": {"file": name, "sha256": refit.predictions["sha256"]}, "metrics": dict(refit.metrics)}
        same["curves"] = {curve: [list(point) for point in points] for curve, points in refit.curves.items()}
        own = {"cell": weak.cell, "role": refit.role, "seed": refit.seed}
        _everywhere(forger, own, same)
    forger.seal()
    told = "\n".join(map(str, verify(forger.folder, CATALOG).findings))
    assert "those of toy#3/concat, tuned seed 0: two folds have no row in common" in told or (
        "those of toy#2/concat, tuned seed 0: two folds have no row in common" in told
    )


def _everywhere(forger: Forger, own: dict[str, Any], change: dict[str, Any]) -> None:
    def each(kind: str, row: dict[str, Any]) -> None:
        for refit in [row] if kind == "refit" else row.get("refits", []):
            if own.items() <= refit.items():
                refit.update(change)

    for name in ("trials.jsonl", "records.jsonl"):
        forger.change(name, each)


@pytest.mark.slow
def test_neither_workers_nor_an_end_on_the_way_change_a_fold(
    whole: session.Run, execute: Execute, tmp_path: Path
) -> None:
    def leave(event: Any) -> None:
        if isinstance(event, CellFinished):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(SUITE, workers=3, on_event=leave, results=tmp_path / "parts")
    part = session.find_run(str(tmp_path / "parts" / "folded"))
    states = {name: row["status"] for name, row in by_contender(part).items()}
    assert set(states.values()) == {"missing"}
    reason = next(iter(by_contender(part).values()))["reason"]
    assert reason == "folds 2, 3 of 3 have no record: not run, or not to the end"
    again = execute(SUITE, workers=3, results=tmp_path / "parts")
    assert table(again) == table(whole)
    scores = [{name: row["metrics"] for name, row in by_contender(run).items()} for run in (again, whole)]
    assert scores[0] == scores[1]


def test_a_fold_that_failed_is_named(execute: Execute) -> None:
    suite = replace(SUITE, budget=replace(SUITE.budget, trials=1), contenders=(ContenderSpec("raises", ("raises",)),))
    row = by_contender(execute(suite))["raises"]
    assert (row["status"], row["rank"]) == ("error", None)
    assert "this fusion always raises" in row["reason"]


def test_keys_and_hashes_of_before_stay(suite: Suite) -> None:
    """A suite without folds has the hash that it always had, and its cells say nothing of folds."""
    assert all("folds" not in task for task in suitefile._content(suite)["tasks"])
    folds = replace(suite, tasks=(replace(suite.tasks[0], folds=K),))
    assert suitefile.suite_hash(folds) != suitefile.suite_hash(suite)
    keys = {cell.key for cell in plan.make(folds, CATALOG).cells}
    assert len(keys) == K * len(plan.make(suite, CATALOG).cells)
    assert not keys & {cell.key for cell in plan.make(suite, CATALOG).cells}


def test_keys_of_folds_of_before_stay(suite: Suite) -> None:
    """A fold that is not cut by time has the key, and keeps its features where it did, before there was another way."""
    folds = replace(suite, tasks=(replace(suite.tasks[0], folds=K),))
    cell = plan.make(folds, CATALOG).cells[0]
    content = asdict(cell) | {"parent": None, "fold": {"number": 1, "of": K}}
    for name in ("key", "skip", "sources", "parent", "size"):
        del content[name]
    content["budget"] = {name: value for name, value in content["budget"].items() if value is not None}
    assert cell.key == identity.digest(content | {"protocol": identity.PROTOCOL, "device": "cpu"})


def test_sizes_and_folds_are_cells_of_their_own(suite: Suite) -> None:
    task = replace(suite.tasks[0], folds=K, train_sizes=(10, 30))
    cells = plan.make(replace(suite, tasks=(task,)), CATALOG).cells
    names = list(dict.fromkeys(cell.task.name for cell in cells))
    assert sorted(names) == [f"toy@{size}#{number}" for size in (10, 30) for number in range(1, K + 1)]
    assert {task_of(name) for name in names} == {"toy"}
    assert {(cell.task.name, cell.size, cell.fold) for cell in cells} >= {("toy@30#2", 30, Fold(2, K))}
    assert len({cell.key for cell in cells}) == len(cells)


def test_folds_by_time_need_a_time_and_folds(suite: Suite) -> None:
    (task,) = suite.tasks
    for changed, said in (
        (replace(task, by="time"), 'by = "time" needs folds, such as folds = 5'),
        (replace(task, by="time", folds=K), "'toy' has no `time`"),
    ):
        with pytest.raises(SuiteError, match=said):
            plan.make(replace(suite, tasks=(changed,)), CATALOG)


def test_a_match_can_not_have_folds(suite: Suite) -> None:
    task = TaskSpec("match", "toy_match", "recall@1", folds=K)
    with pytest.raises(SuiteError, match="task 'match': a match can't have folds"):
        plan.make(replace(suite, tasks=(task,)), CATALOG)


def test_a_run_without_folds_is_its_own_join(suite: Suite) -> None:
    data = reading.RunData(suite, (), Path("nowhere"))
    assert joined(data, CATALOG.metrics) is data


def test_features_that_learn_from_no_row_are_one_job_for_all_folds_and_sizes(suite: Suite, tmp_path: Path) -> None:
    """Of two encoders one is frozen: its job stands once, the other's for each view."""
    file = tmp_path / "frozen.py"
    file.write_text(FROZEN)
    catalog = plugins.load([TOYS, str(file)])
    task = replace(suite.tasks[0], folds=K, train_sizes=(10, 30), encoders={"left": ("plain",), "right": ("mlp",)})
    schedule = Schedule(catalog, tmp_path / "cache", {})
    cells = plan.make(replace(suite, tasks=(task,)), catalog).cells
    for cell in cells:
        schedule.add_search(cell)
    jobs = [job for job in schedule.waiting if isinstance(job, Prepare)]
    assert Counter(job.encoder for job in jobs) == {"plain": 1, "mlp": 2 * K}
    assert sum(isinstance(job, LoadData) for job in schedule.waiting) == 1


FROZEN = """
import mmbench as mb

class Plain(mb.Encoder):
    name = "plain"
    kind = "tabular"

@mb.hookimpl
def mmbench_encoders():
    return [Plain]
"""


def test_names_of_folds() -> None:
    assert fold_of(fold_name("a task", 12)) == ("a task", 12)
    assert fold_of("a task") == ("a task", None)
