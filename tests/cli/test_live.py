"""What a run shows: the state that events add up to, the plain lines, the live board."""

import io
import re
import time
from typing import Any

import pytest
from rich.console import Console

from mmbench.api.data import Label, Task
from mmbench.api.record import Record, Refit, Trial
from mmbench.api.suite import Budget
from mmbench.cli import live
from mmbench.engine.events import (
    CellFinished,
    CellPaused,
    CellStarted,
    Progress,
    RefitFinished,
    TrialFinished,
    WorkerLost,
)
from mmbench.engine.space import Cell


def cell(contender: str = "gated", direction: str = "max") -> Cell:
    return Cell(
        key=f"key of {contender}",
        task=Task("toy", "toy", {"left": "tabular"}, Label("label"), "accuracy"),
        contender=contender,
        slots=(),
        params={},
        corruptions=(),
        budget=Budget(trials=2, refit_seeds=2),
        seed=0,
        limit=None,
        direction=direction,
        give_up=None,
        skip=None,
        parts={},
        libraries={},
        sources={},
        space_hash="",
        fingerprint="",
    )


def trial(of: Cell, number: int, score: float | None, status: Any = "ok") -> TrialFinished:
    return TrialFinished(of, Trial(of.key, number, {"width": number}, status, None, score, (), 1, 1.5))


def refit(of: Cell, role: Any, seed: int, accuracy: float) -> RefitFinished:
    done = Refit(of.key, role, seed, {}, "ok", None, None, {"accuracy": accuracy}, {}, None, 1, 2.0, None)
    return RefitFinished(of, done, {})


def record(of: Cell, status: Any = "ok", reason: str | None = None) -> CellFinished:
    empty = ("suite", "directions", "dataset", "modalities", "params", "default_params", "parts")
    given: dict[str, Any] = {name: {} for name in empty}
    made = Record(
        **given,
        cell=of.key,
        task="toy",
        contender=of.contender,
        status=status,
        reason=reason,
        metric="accuracy",
        space_hash="",
        refits=[refit(of, "tuned", seed, 0.5).refit for seed in (0, 1)] if status == "ok" else [],
    )
    return CellFinished(of, made)


def heard(*events: Any, cells: int = 4, before: int = 1) -> live.State:
    state = live.State(cells=cells, before=before, began=0.0)
    for event in events:
        state.hear(event, 10.0)
    return state


def test_the_best_trial_is_the_best_that_ended_well() -> None:
    one = cell()
    state = heard(CellStarted(one), trial(one, 0, 0.5), trial(one, 1, 0.9, "pruned"))
    assert state.active[one.key].best == (0, 0.5)
    assert state.active[one.key].stage == "trial 2/2"
    low = cell(direction="min")
    assert heard(trial(low, 0, 0.5), trial(low, 1, 0.4)).active[low.key].best == (1, 0.4)


def test_a_search_ends_with_the_last_refit_of_the_default() -> None:
    one = cell()
    trials = [trial(one, 0, 0.5), trial(one, 1, 0.9)]
    tuned = [refit(one, "tuned", seed, 0.7) for seed in (0, 1)]
    assert one.key in heard(*trials, *tuned).active
    state = heard(*trials, *tuned, refit(one, "default", 0, 0.1), refit(one, "default", 1, 0.1))
    assert not state.active
    assert state.searched[one.key].result == "toy, gated: test accuracy 0.7000 (2 seeds), 11 s"
    assert state.told == 2


def test_a_default_that_won_is_not_refitted_twice() -> None:
    one = cell()
    events = [trial(one, 0, 0.9), trial(one, 1, 0.5), refit(one, "tuned", 0, 0.7), refit(one, "tuned", 1, 0.7)]
    assert one.key in heard(*events).searched


def test_a_cell_whose_trials_all_failed_is_no_longer_active() -> None:
    one = cell()
    assert not heard(trial(one, 0, None, "error"), trial(one, 1, None, "oom")).active


def test_the_time_left_follows_what_is_done() -> None:
    one = cell()
    assert heard().left(10.0) is None
    ended = (CellStarted(one), trial(one, 0, 0.5), record(one))
    assert heard(*ended, cells=3, before=1).left(10.0) == pytest.approx(10.0), "another like it"
    assert heard(*ended, cells=2, before=1).left(10.0) == 0
    assert heard(record(one, "skipped"), cells=2, before=1).left(10.0) is None


def test_the_time_left_knows_costly_cells_from_cheap_ones() -> None:
    cheap, costly = cell("cheap"), cell("costly")
    first, second = (Trial(costly.key, number, {}, "ok", None, 0.5, (), 1, 100.0) for number in (0, 1))
    scouted = (trial(cheap, 0, 0.5), CellPaused(cheap), TrialFinished(costly, first), CellPaused(costly))
    state = heard(*scouted, cells=2, before=0)
    assert not state.active
    half = state.left(10.0)
    assert half is not None
    assert half == pytest.approx(10 * (1 / (live.TRIALS / 2) - 1)), "a trial of two each is done"
    state.hear(CellStarted(costly), 10.0)
    state.hear(TrialFinished(costly, second), 10.0)
    assert state.active[costly.key].trials == 2
    assert set(state.paused) == {cheap.key}
    after = state.left(10.0)
    assert after is not None
    assert after < half / 2, "only the cheap one is still at its beginning"


def test_only_work_heard_of_lately_is_drawn() -> None:
    state = heard(Progress("old", 1, 2), Progress("done", 2, 2))
    state.hear(Progress("new", 1, 4), 20.0)
    assert state.moving(20.0) == [("new", 1, 4)]


def test_of_works_in_one_step_only_the_newest_is_drawn() -> None:
    state = heard(Progress("fit a", 0, 1), Progress("fit b", 0, 1), Progress("fetch", 1, 9))
    assert state.moving(10.0) == [("fit b", 0, 1), ("fetch", 1, 9)]


def plain(*events: Any) -> list[str]:
    file = io.StringIO()
    display = live.Lines(4, 0, title="toy → results/toy", console=Console(file=file, width=1000))
    with display:
        for event in events:
            display(event)
    return file.getvalue().splitlines()


def test_plain_lines_tell_of_first_trials_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = cell(), cell("costly")
    events = [e for of in (one, two) for e in (CellStarted(of), trial(of, 0, 0.9), CellPaused(of))]
    assert plain(*events) == ["toy → results/toy: 4 cells, 0 done before"], "not at once"
    monkeypatch.setattr(live, "PAUSE", 0.0)
    assert plain(*events)[1:] == ["first trials: 25%", "first trials: 50%"]


def test_plain_lines_tell_each_outcome_once() -> None:
    one, two = cell(), cell("nan")
    assert plain(
        CellStarted(one),
        trial(one, 0, 0.9),
        trial(one, 1, 0.5),
        refit(one, "tuned", 0, 0.7),
        refit(one, "tuned", 1, 0.8),
        WorkerLost(two, "killed"),
        record(one),
        record(two, "error", "the loss became NaN"),
    ) == [
        "toy → results/toy: 4 cells, 0 done before",
        "[1/4] toy, gated: test accuracy 0.7500 (2 seeds), 7 s",
        "toy, nan: killed; it will be tried again",
        "[2/4] toy, nan: error: the loss became NaN",
    ]


def test_lines_are_numbered_as_they_come() -> None:
    """A cell whose trials all failed is known before it is told, and one that fails once more keeps its number."""
    one, bad = cell(), cell("nan")
    lines = plain(
        trial(bad, 0, None, "error"),
        trial(bad, 1, None, "error"),
        trial(one, 0, 0.9),
        trial(one, 1, 0.5),
        refit(one, "tuned", 0, 0.7),
        refit(one, "tuned", 1, 0.8),
        record(bad, "error", "the loss became NaN"),
        record(one, "oom", "no memory to measure it"),
    )
    assert [line.partition("]")[0] for line in lines[1:]] == ["[1/4", "[2/4", "[2/4"]


def test_the_board_fits_80_columns() -> None:
    file = io.StringIO()
    console = Console(file=file, width=80)
    board = live.Board(146, 0, title="toy", console=console)
    board.state.began = time.monotonic() - 10_000
    for event in (CellStarted(cell()), trial(cell(), 0, 0.875)):
        board(event)
    console.print(board.draw())
    assert re.search(r"^ +0/146 cells, .* left *$", file.getvalue(), flags=re.MULTILINE), file.getvalue()


def test_a_cell_that_an_earlier_run_searched_is_told_when_it_is_measured() -> None:
    assert plain(record(cell()))[1:] == ["[1/4] toy, gated: test accuracy 0.5000 (2 seeds)"]


def test_progress_is_said_now_and_then_only(monkeypatch: pytest.MonkeyPatch) -> None:
    progress = [Progress("openmoji", done, 100) for done in range(100)]
    assert len(plain(*progress)) == 1
    monkeypatch.setattr(live, "PAUSE", 0.0)
    assert plain(Progress("openmoji", 31, 100), Progress("fit", 0, 1))[1:] == ["openmoji: 31%", "fit"]


def test_the_board_shows_who_is_at_what() -> None:
    file = io.StringIO()
    console = Console(file=file, width=100)
    board = live.Board(4, 1, title="toy → results/toy", console=console)
    one = cell()
    for event in (CellStarted(one), trial(one, 0, 0.875), Progress("openmoji", 31, 100)):
        board(event)
    console.print(board.draw())
    drawn = " ".join(file.getvalue().split())
    assert "toy → results/toy" in drawn
    assert "1/4 cells, 0 done" not in drawn
    assert "1/4 cells, 1 measured" in drawn
    assert "toy gated trial 1/2 accuracy 0.8750" in drawn
    assert "31% openmoji" in drawn


def test_the_display_follows_the_output() -> None:
    cells = [cell(), cell("concat")]
    display = live.display(cells, {cells[0].key}, title="toy", quiet=False)
    assert type(display) is live.Lines
    assert display.state.before == 1
    assert type(live.display(cells, (), title="toy", quiet=True)) is live.Silent
