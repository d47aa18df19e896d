"""Holds a cell's trials against the suite and against themselves: how many there are, what each curve says, what was
spent. Used by `cells`; `replay` holds them against what the sampler would have asked.
"""

import math
from collections import Counter
from collections.abc import Iterator

from mmbench.api.parts.scores import sign
from mmbench.api.record import Record, Trial
from mmbench.api.record import winner as best
from mmbench.api.suite import Budget, Suite, task_of
from mmbench.trust.contents import Cell, place
from mmbench.trust.findings import Finding, altered

TRIALS = "trials.jsonl"
SPENT = ("trials", "pruned", "failed", "epochs", "seconds", "test_accesses")


def check(cell: Cell, record: Record, suite: Suite) -> Iterator[Finding]:
    """Their numbers, and each one's score and length."""
    name = place(record)
    numbers = sorted({trial.number for _, trial in cell.trials})
    there = set(numbers)  # a number may be as large as anyone likes: no list is made of those below it
    gaps = [number for number in range(len(numbers)) if number not in there]
    if gaps:
        yield Finding("budget", f"{TRIALS}, {name}", f"trials are missing: {', '.join(map(str, gaps))}")
    granted = suite.budget.trials
    if len(numbers) > granted:
        yield Finding("budget", f"{TRIALS}, {name}", f"has {len(numbers)} trials; suite.toml grants {granted}")
    # A contender with nothing to tune needs one trial; others use all, unless the suite lets them give up.
    gives_up = any(task.name == task_of(record.task) and task.give_up is not None for task in suite.tasks)
    if record.status == "ok" and 1 < len(numbers) < granted and not gives_up:
        yield Finding("budget", f"{TRIALS}, {name}", f"has {len(numbers)} trials of {granted}: some were dropped")
    if record.status == "skipped" and (numbers or cell.refits):
        yield Finding("record", f"{TRIALS}, {name}", "was skipped by its record, but has trials or refits")
    better = _sign(record)
    for where, trial in cell.trials:
        if trial.epochs > suite.budget.epochs:
            what = f"trained {trial.epochs} epochs; suite.toml grants {suite.budget.epochs}"
            yield Finding("budget", f"{where}, {name}, trial {trial.number}", what)
        best = max((value for value in trial.curve if value == value), key=lambda v: better * v, default=None)
        if trial.status == "ok" and trial.score is not None and best is not None and trial.score != best:
            what = f"its score is {trial.score!r}, but the best of its curve is {best!r}"
            yield Finding("trials", f"{where}, {name}, trial {trial.number}", what)
        if problem := _length_problem(trial, suite.budget, better):
            yield Finding("trials", f"{where}, {name}, trial {trial.number}", problem)


def _length_problem(trial: Trial, budget: Budget, better: int) -> str | None:
    """Why its curve can't be so long: a training ends after its last epoch, or when the patience is at an end."""
    done = len(trial.curve)
    if trial.epochs == 0 and done <= 1:
        return None  # an estimator, or what is derived: one score and no epochs
    if trial.epochs != done:
        return f"trained {trial.epochs} epochs, but its curve has {done}"
    best = 0
    for epoch, score in enumerate(trial.curve):
        best = epoch if better * score > better * trial.curve[best] else best
        over = epoch + 1 >= budget.epochs or epoch - best >= budget.patience
        if over and epoch + 1 < done:
            return f"trained {done} epochs, but by its curve its patience was at an end after {epoch + 1}"
        if not over and epoch + 1 == done and trial.status == "ok":
            return f"ended after {done} epochs, but by its curve it had more to do"
    return None


def check_spent(where: str, cell: Cell, record: Record) -> Iterator[Finding]:
    """What the record says was spent is the sum of the rows."""
    trials, refits = [trial for _, trial in cell.trials], [refit for _, refit in cell.refits]
    ended = Counter(trial.status for trial in trials)
    due = {
        "trials": len(trials),
        "pruned": ended["pruned"],
        "failed": len(trials) - ended["ok"] - ended["pruned"],
        "test_accesses": sum(refit.status == "ok" for refit in refits),
    }
    if "epochs" in record.spent or record.identity:  # older records did not say
        due["epochs"] = sum(trial.epochs for trial in trials)
    took = [(at, trial.seconds) for at, trial in cell.trials] + [(at, refit.seconds) for at, refit in cell.refits]
    for at, seconds in took:
        if not 0 <= seconds < math.inf:
            yield Finding("budget", f"{at}, {place(record)}", f"took {seconds!r} seconds, which nothing can")
    for name in sorted(set(record.spent) - set(SPENT)):
        yield Finding("budget", where, f"has a field spent.{name[:80]}, which mmbench does not write")
    pairs = [(f"spent.{name}", record.spent.get(name), count) for name, count in due.items()]
    yield from altered("budget", where, pairs, against=f"the rows of {TRIALS}")
    seconds = sum(trial.seconds for trial in trials) + sum(refit.seconds for refit in refits)
    stated = record.spent.get("seconds")
    if (
        not isinstance(stated, int | float)
        or abs(stated) > 1e100
        or not math.isclose(stated, seconds, rel_tol=1e-9, abs_tol=1e-9)
    ):
        yield from altered("budget", where, [("spent.seconds", stated, seconds)], against=f"the rows of {TRIALS}")


def winner(cell: Cell, record: Record) -> Trial | None:
    """The first trial of the configuration that won."""
    return best((trial for _, trial in cell.trials), sign=_sign(record))


def _sign(record: Record) -> int:
    return sign(record.directions.get(record.metric, "max"))
