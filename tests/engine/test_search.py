"""The search of one cell in this process: what is asked, who goes on, and that a run which goes on asks the same."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmbench import plugins
from mmbench.api.record import Refit, Trial
from mmbench.api.suite import Budget, ContenderSpec, Suite, TaskSpec
from mmbench.engine import identity, plan
from mmbench.engine.jobs.evaluate import best, refits, schedule
from mmbench.engine.jobs.sampling import Rungs
from mmbench.engine.jobs.search import search
from mmbench.engine.jobs.workspace import Workspace
from mmbench.engine.space import full_space, is_structural

CATALOG = plugins.load([str(Path(__file__).parents[1] / "toys.py")])
BUDGET = Budget(trials=9, batch=9, epochs=9, patience=9, refit_seeds=2, trial_seconds=60, pruning="median")


def workspace(cache: Path, budget: Budget = BUDGET, fusion: str = "sum", **task: Any) -> Workspace:
    suite = Suite(
        name="t",
        version=1,
        budget=budget,
        tasks=(TaskSpec(name="toy", dataset="toy", metric="accuracy", **task),),
        contenders=(ContenderSpec(name="it", fusion=(fusion,)),),
    )
    (cell,) = plan.make(suite, CATALOG).cells
    return Workspace(cell, CATALOG, cache)


def go(place: Workspace, history: Sequence[Trial] = ()) -> tuple[list[Trial], list[Trial]]:
    """All trials, and those that were new."""
    new: list[Trial] = []
    return search(place, history, begin=lambda trials: None, finished=new.append), new


def plain(trials: Sequence[Trial]) -> list[Trial]:
    return [replace(trial, seconds=0.0) for trial in trials]


HALVING = replace(BUDGET, pruning="halving")
TOGETHER = replace(BUDGET, trials=8, batch=8, cohort=4, epochs=6)


def test_the_first_trial_is_the_default(cache: Path) -> None:
    trials, new = go(workspace(cache, replace(BUDGET, trials=3, epochs=2)))
    assert [trial.number for trial in trials] == [0, 1, 2]
    assert trials == new
    assert trials[0].params["train.lr"] == 2e-3
    assert len({trial.params["train.lr"] for trial in trials}) == 3


def test_halving_asks_twice() -> None:
    assert sorted(Rungs(HALVING, "max").seen) == [3, 5]
    assert sorted(Rungs(replace(HALVING, epochs=20), "max").seen) == [5, 10]
    assert sorted(Rungs(replace(HALVING, epochs=2), "max").seen) == [1]


def test_only_the_better_half_goes_on() -> None:
    rungs = Rungs(replace(HALVING, epochs=2), "min")
    assert [rungs.loses(number, [loss]) for number, loss in enumerate([5.0, 6.0, 7.0, 4.0, 4.5])] == [
        False,  # the first two have nothing to be compared with
        False,
        True,
        False,
        False,
    ]
    assert not rungs.loses(5, [5.0]), "two of six are better"
    assert rungs.loses(6, [5.5]), "four of seven are better"
    assert not rungs.loses(6, [5.5, 9.0]), "asked after the first epoch only"


def test_halving_is_asked_of_the_best_score_so_far() -> None:
    rungs = Rungs(replace(HALVING, epochs=4), "max")
    for number in range(4):
        assert not rungs.loses(number, [0.5])
        rungs.loses(number, [0.5, 0.6])
    assert rungs.loses(4, [0.4])
    assert not rungs.loses(5, [0.9])
    assert not rungs.loses(5, [0.9, 0.1])


def test_one_that_begins_again_alone_is_not_compared_with_itself() -> None:
    rungs = Rungs(replace(HALVING, epochs=2), "max")
    for number in range(3):
        rungs.loses(number, [0.1 * number])
    once = {rung: dict(seen) for rung, seen in rungs.seen.items()}
    for number in range(3):
        rungs.loses(number, [0.1 * number])
    assert rungs.seen == once


def test_halving_keeps_what_comes_through_as_it_would_be_without(cache: Path) -> None:
    trials, _ = go(workspace(cache, HALVING))
    pruned = [trial for trial in trials if trial.status == "pruned"]
    assert {trial.epochs for trial in pruned} <= {3, 5}
    assert 0 < len(pruned) < 8
    assert all(f"not in the better half after {trial.epochs} epochs" == trial.reason for trial in pruned)
    alone = go(workspace(cache, replace(BUDGET, pruning="none")))[0]
    for trial in trials:
        assert alone[trial.number].curve[: trial.epochs] == trial.curve
    winner = best(trials, "max")
    assert winner is not None
    assert winner.epochs == 9


@pytest.mark.parametrize(
    "budget",
    [
        *(pytest.param(budget, marks=pytest.mark.slow) for budget in (BUDGET, HALVING, TOGETHER)),
        replace(TOGETHER, pruning="halving"),
    ],
)
def test_a_search_that_was_cut_off_goes_on_to_the_same_trials(cache: Path, budget: Budget) -> None:
    budget = replace(budget, trials=min(budget.trials, 8), batch=4)
    whole, _ = go(workspace(cache, budget))
    for cut in (1, 3, 5, 7):
        trials, new = go(workspace(cache, budget), whole[:cut])
        assert plain(trials) == plain(whole)
        assert plain(new) == plain(whole[cut:])


def test_a_cohort_shares_its_structure_and_nothing_else(cache: Path) -> None:
    place = workspace(cache, TOGETHER, fusion="gated")
    trials, _ = go(place)
    space = full_space(place.cell, CATALOG)
    shapes = [{n: v for n, v in t.params.items() if is_structural(space, n)} for t in trials]
    for four in (slice(0, 4), slice(4, 8)):
        together = {t.together for t in trials[four]}
        assert together in ({4}, {1})
        alike = all(shape == shapes[four][0] for shape in shapes[four])
        assert alike == (together == {4})
    assert len({t.params["train.lr"] for t in trials}) == 8
    assert any(t.together == 4 for t in trials)


def test_trials_that_would_not_train_together_share_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmbench.engine.learn.cohort.LARGEST", 0)
    place = workspace(cache, TOGETHER, fusion="gated")
    trials, _ = go(place)
    space = full_space(place.cell, CATALOG)
    shapes = {str([v for n, v in t.params.items() if is_structural(space, n)]) for t in trials}
    assert len(shapes) > 2
    assert {t.together for t in trials} == {1}


def test_a_fusion_that_says_no_is_trained_one_by_one(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(CATALOG.fusions["sum"]), "cohort", False)
    trials, _ = go(workspace(cache, TOGETHER))
    assert {trial.together for trial in trials} == {1}


def test_what_cannot_be_batched_falls_back_to_one_by_one(cache: Path) -> None:
    trials, _ = go(workspace(cache, TOGETHER, fusion="branches"))
    assert {(trial.status, trial.together) for trial in trials} == {("ok", 1)}


def test_one_that_fails_takes_no_other_with_it(cache: Path) -> None:
    trials, _ = go(workspace(cache, TOGETHER, fusion="explodes"))
    failed = [trial for trial in trials if trial.status == "error"]
    assert failed
    assert all("loss became nan" in str(trial.reason) for trial in failed)
    assert any(trial.status == "ok" for trial in trials)


def test_giving_up_is_the_suites_to_allow(cache: Path) -> None:
    budget = replace(BUDGET, trials=8, batch=2, epochs=2)
    assert len(go(workspace(cache, budget, give_up=1.01))[0]) == 4
    assert len(go(workspace(cache, budget, give_up=0.0))[0]) == 8
    assert len(go(workspace(cache, budget))[0]) == 8


def test_the_default_may_be_refitted_with_fewer_seeds(cache: Path) -> None:
    """Ranks hang on the tuned ones; absent, the key changes no schedule."""
    place = workspace(cache, replace(BUDGET, trials=2, batch=1, epochs=1, refit_seeds=3, default_seeds=1))
    trials, _ = go(place)
    ahead = [replace(trials[0], score=0.1, status="ok"), replace(trials[1], score=0.9, status="ok")]
    wanted = [(role, seed) for role, seed, _ in schedule(place.cell, ahead, CATALOG, place.base)]
    assert wanted == [("tuned", 0), ("tuned", 1), ("tuned", 2), ("default", 0)]
    without = replace(place.cell, budget=replace(place.cell.budget, default_seeds=None))
    assert len(schedule(without, ahead, CATALOG, place.base)) == 6
    assert identity.key(without, "cpu") != identity.key(place.cell, "cpu")


def test_refits_of_many_seeds_train_together_and_resume_alike(cache: Path) -> None:
    place = workspace(cache, replace(BUDGET, trials=1, epochs=3, refit_seeds=5))
    trials, _ = go(place)
    wanted = schedule(place.cell, trials, CATALOG, place.base)
    counts: list[int] = []

    def results(done: set[tuple[str, int]]) -> dict[int, Refit]:
        found = refits(place, wanted, done=done, begin=counts.append)
        return {refit.seed: replace(refit, seconds=0, train_throughput=0) for refit, _, _ in found}

    whole = results(set())
    assert counts == [5]
    assert results({("tuned", 0), ("tuned", 3)}) == {seed: whole[seed] for seed in (1, 2, 4)}
    assert results({("tuned", seed) for seed in range(5)}) == {}
    assert counts == [5, 5], "a group that is known is not trained again"
