"""The gate: what may stand on one board does, what may not stands apart and says why, and no gap is hidden."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmbench.api.record import Record, Refit
from mmbench.api.suite import Budget, ContenderSpec, Suite, TaskSpec
from mmbench.board import figures, report
from mmbench.board.gate import boards as gate
from mmbench.board.gate import conditions
from mmbench.board.stats.across import across
from mmbench.errors import MMBenchError
from mmbench.store.reading import RunData
from mmbench.store.suitefile import suite_hash

SUITE = Suite(
    "small",
    1,
    Budget(trials=8),
    (TaskSpec("a", "a", "accuracy"), TaskSpec("b", "b", "accuracy")),
    (ContenderSpec("concat"), ContenderSpec("gated", tasks=("a",)), ContenderSpec("only", each_modality=True)),
)
ENVIRONMENT = {
    "mmbench": "0.1.0",
    "engine": "e1",
    "processor": "Abacus",
    "threads": 1,
    "device": "cpu",
    "libraries": {"torch": "2.13.0"},
}


def record(task: str = "a", contender: str = "concat", *, score: float | None = 0.8, **other: Any) -> Record:
    refit = Refit(
        cell="c",
        role="tuned",
        seed=0,
        params={},
        status="ok",
        reason=None,
        valid=0.5,
        metrics={"accuracy": score or 0.0},
        curves={},
        predictions=None,
        epochs=1,
        seconds=1.0,
        train_throughput=1.0,
    )
    first = Record(
        cell=f"{task}/{contender}",
        suite={"name": "small", "version": 1, "hash": "s1"},
        task=task,
        contender=contender,
        status="ok" if score is not None else "error",
        reason=None if score is not None else "the loss became nan",
        metric="accuracy",
        directions={"accuracy": "max"},
        dataset={"name": task, "fingerprint": "f1", "rows": {"train": 10, "test": 5} if score is not None else None},
        modalities={"image": "image", "text": "text"},
        params={},
        default_params={},
        space_hash="x",
        parts={},
        refits=(refit,) if score is not None else (),
        cost={"latency_ms_p50": 1.0, "device": "cpu", "threads": 1} if score is not None else {},
        spent={"trials": 8, "seconds": 3.0},
        environment=ENVIRONMENT,
    )
    return replace(first, **other)


def run(*records: Record, name: str = "one", suite: Suite = SUITE, targets: str = "t1") -> RunData:
    known = {task: {"file": "x", "sha256": targets} for task in ("a", "b")}
    return RunData(suite=suite, records=records, path=Path("nowhere") / name, targets=known)


def made(*runs: RunData) -> list[gate.Board]:
    """The boards, without the targets: these runs have no predictions to hold against them."""
    return gate.boards([replace(run, targets={}) for run in runs], {})


def test_one_run_is_one_board_without_a_title() -> None:
    (board,) = made(run(record(), record("a", "gated"), record("b")))
    assert (board.title, [row["run"] for row in board.rows]) == ("", ["one"] * 3)


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "another suite": ({"suite": {"hash": "s2"}}, "suite (s1; s2)"),
    "another engine": (
        {"environment": {**ENVIRONMENT, "engine": "e2"}},
        "mmbench (0.1.0 (engine e1); 0.1.0 (engine e2))",
    ),
    "an engine that is not said": ({"environment": {}}, "mmbench (0.1.0 (engine e1); unknown)"),
    "another data set": (
        {"dataset": {"fingerprint": "f2", "rows": {"train": 10, "test": 5}}},
        "data set of a (f1; f2)",
    ),
    "another split": (
        {"dataset": {"fingerprint": "f1", "rows": {"train": 9, "test": 5}}},
        "split of a (train 10, test 5; train 9, test 5)",
    ),
    "a split that is not said": ({"dataset": {"fingerprint": "f1"}}, "split of a (train 10, test 5; unknown)"),
    "another metric": ({"metric": "f1"}, "metric of a (accuracy; f1)"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_a_score_depends_on_sets_it_apart(what: str) -> None:
    change, said = CHANGES[what]
    first, other = run(record()), run(record(contender="gated", **change), name="two")
    with pytest.raises(MMBenchError) as error:
        conditions.check([first, other])
    assert str(error.value) == (
        f"one and two can't stand on one board: they differ in {said}; --separate gives each its own"
    )
    assert len(conditions.groups([run(*first.records, *other.records)])) == 2, "within one run too"


@pytest.mark.parametrize("change", [{"suite": {"hash": "s2"}}, {"environment": {**ENVIRONMENT, "engine": "e2"}}])
def test_suite_and_engine_are_those_of_the_whole_board(change: dict[str, Any]) -> None:
    """A task of its own is no way round: ranks are averaged over the tasks of a board."""
    assert len(conditions.groups([run(record(), record("b", **change))])) == 2


def test_other_test_targets_set_apart() -> None:
    with pytest.raises(MMBenchError, match=r"test targets of a \(t1; t2\)"):
        conditions.check([run(record()), run(record(contender="gated"), name="two", targets="t2")])


def test_a_changed_suite_says_what_was_changed() -> None:
    other = replace(SUITE, budget=Budget(trials=16), seed=3, contenders=SUITE.contenders[:1])
    one, two = (record(suite={"hash": suite_hash(suite)}) for suite in (SUITE, other))
    with pytest.raises(MMBenchError) as error:
        conditions.check([run(one), run(two, name="two", suite=other)])
    assert "seed (0; 3), budget.trials (8; 16); --separate" in str(error.value)


def test_a_suite_with_other_contenders_or_names_shares_a_board() -> None:
    more = replace(SUITE, name="mine", version=2, contenders=(*SUITE.contenders[::-1], ContenderSpec("mine")))
    one = record(suite={"hash": suite_hash(SUITE)})
    two = record(contender="mine", suite={"hash": suite_hash(more)})
    conditions.check([run(one), run(two, name="two", suite=more)])
    other = replace(SUITE, tasks=tuple(replace(task, give_up=0.5) for task in SUITE.tasks))
    two = replace(two, suite={"hash": suite_hash(other)})
    with pytest.raises(MMBenchError, match="they differ in what is asked on a"):
        conditions.check([run(one), run(two, name="two", suite=other)])


def test_the_protocol_sets_apart_and_the_engines_code_does_not() -> None:
    def under(**changes: Any) -> RunData:
        return run(record(environment={**ENVIRONMENT, "protocol": 1, **changes}), name=str(changes))

    conditions.check([under(), under(engine="e2", mmbench="0.1.1")])
    with pytest.raises(MMBenchError, match=r"they differ in protocol \(1; 2\)"):
        conditions.check([under(), under(protocol=2)])


def test_boards_apart_say_what_differs_and_rank_alone() -> None:
    newer = {**ENVIRONMENT, "engine": "e2"}
    first, second = made(run(record(), record(contender="gated", score=0.9, environment=newer)))
    assert first.title == "one: mmbench 0.1.0 (engine e1)"
    assert second.title == "one: mmbench 0.1.0 (engine e2)"
    assert [(row["contender"], row["rank"], row["board"]) for row in first.rows] == [("concat", 1, first.title)]
    assert [(row["contender"], row["rank"]) for row in second.rows] == [("gated", 1)]


def test_runs_that_belong_together_share_a_board() -> None:
    runs = [run(record(), record("b")), run(record(contender="mine", score=0.9), record("b", "mine"), name="two")]
    conditions.check(runs)
    (board,) = made(*runs)
    assert [(r["task"], r["contender"], r["rank"], r["run"]) for r in board.rows] == [
        ("a", "mine", 1, "two"),
        ("a", "concat", 2, "one"),
        ("b", "concat", 1, "one"),
        ("b", "mine", 1, "two"),
    ]


def test_a_contender_of_two_runs_bears_the_runs_name_on_every_task() -> None:
    (board,) = made(run(record(), record("b")), run(record(score=0.7), name="two"))
    names = [(row["task"], row["contender"], row["status"]) for row in board.rows]
    assert names == [
        ("a", "concat (one)", "ok"),
        ("a", "concat (two)", "ok"),
        ("b", "concat (one)", "ok"),
        ("b", "concat (two)", "missing"),
    ]


def test_one_who_failed_stands_beside_the_scored_whatever_it_does_not_say() -> None:
    assert len(conditions.groups([run(record(contender="broken", score=None), record())])) == 1
    foreign = record(contender="broken", score=None, environment={**ENVIRONMENT, "engine": "e2"})
    assert len(conditions.groups([run(foreign, record())])) == 2, "what it does say counts"


def test_a_gap_is_a_row_and_no_mean_passes_over_it() -> None:
    (board,) = made(
        run(record(), record("b"), record("a", "mine"), record("a", "broken"), record("b", "broken", score=None))
    )
    rows = {(row["task"], row["contender"]): row for row in board.rows}
    assert rows["b", "mine"]["status"] == "missing"
    assert rows["b", "mine"]["reason"] == "it has no record: not run, or not to its end"
    assert rows["b", "mine"]["rank"] is rows["b", "mine"]["plan"] is rows["b", "mine"]["run"] is None
    assert rows["b", "broken"]["status"] == "error"
    averages = {row["contender"]: row["average_rank"] for row in across(board.rows)}
    assert averages["concat"] is not None
    assert averages["mine"] is averages["broken"] is None
    for text in (
        report.markdown(board.rows),
        report.csv(board.rows),
        report.json(board.rows),
        report.latex(board.rows),
    ):
        assert "missing" in text
        assert "the loss became nan" in text
    for text in (report.markdown(board.rows), report.latex(board.rows)):
        assert "nothing is imputed" in text
    assert figures.POLICY in figures.notes(board.rows)


def test_what_the_suite_does_not_enter_is_no_gap() -> None:
    gated, only = record("a", "gated"), record("a", "only sound", modalities={"sound": "audio"})
    (board,) = made(run(record(), record("b"), gated, only))
    assert "missing" not in {row["status"] for row in board.rows}, "gated is for a only; b has no sound"
    (board,) = made(run(record(), record("b"), record("a", "only text", modalities={"text": "text"})))
    assert [(r["task"], r["contender"]) for r in board.rows if r["status"] == "missing"] == [("b", "only text")]


def test_what_was_never_run_is_said() -> None:
    (board,) = made(run(record()))
    assert "Of the suite, not run: contenders gated, only; tasks b." in board.notes


def test_a_cell_on_another_board_is_not_missing() -> None:
    newer = {**ENVIRONMENT, "engine": "e2"}
    found = made(run(record(), record("b"), record("a", "mine"), record("b", "mine", environment=newer)))
    assert [row["status"] for board in found for row in board.rows] == ["ok"] * 4


COSTS: dict[str, tuple[dict[str, Any], str]] = {
    "another processor": ({"environment": {**ENVIRONMENT, "processor": "Babbage"}}, "device Babbage, not Abacus"),
    "another device": ({"cost": {"latency_ms_p50": 0.1, "device": "GPU", "threads": 1}}, "device GPU, not Abacus"),
    "more threads": ({"cost": {"latency_ms_p50": 0.1, "device": "cpu", "threads": 8}}, "threads 8, not 1"),
    "another way of measuring": (
        {"cost": {"latency_ms_p50": 0.1, "device": "cpu", "threads": 1, "protocol": 2}},
        "cost protocol 2, not 1",
    ),
    "another library": (
        {"environment": {**ENVIRONMENT, "libraries": {"torch": "2.14.0"}}},
        "torch 2.14.0, not 2.13.0",
    ),
    "a device that is not said": (
        {"environment": {**ENVIRONMENT, "processor": None}},
        "device unknown, not Abacus",
    ),
}


@pytest.mark.parametrize("what", COSTS)
def test_costs_of_other_conditions_are_not_compared(what: str) -> None:
    change, said = COSTS[what]
    (board,) = made(run(record(), record(contender="gated"), record(contender="mine", **change)))
    rows = {row["contender"]: row for row in board.rows}
    assert rows["mine"]["rank"] is not None, "its score stands"
    assert set(rows["mine"]["cost"].values()) == {None}
    assert (rows["mine"]["spent"]["trials"], rows["mine"]["spent"]["seconds"]) == (8, None)
    assert rows["mine"]["cost_apart"]["conditions"] == said
    assert rows["mine"]["cost_apart"]["latency_ms_p50"] is not None
    assert rows["gated"]["cost"]["latency_ms_p50"] == 1.0
    assert "cost_apart" not in rows["gated"]
    note = f"Costs of mine on a were measured under other conditions ({said}) and are not compared."
    assert note in board.notes
    assert any(text.startswith("Scores come from more than one") for text in board.notes)


def test_odd_values_where_tables_belong_are_unknown() -> None:
    odd = record(environment={**ENVIRONMENT, "libraries": [1]}, dataset={"fingerprint": ["x"], "rows": 7})
    (board,) = made(run(odd))
    assert board.rows[0]["rank"] == 1


def test_runs_of_one_name_are_told_apart_by_their_folders() -> None:
    first = run(record(), name="lab-a/starter")
    second = run(record(contender="mine"), name="lab-b/starter")
    assert list(conditions.names([first, second]).values()) == ["nowhere/lab-a/starter", "nowhere/lab-b/starter"]
