"""Decides who is charged for a worker that ended badly: a trial, its cell, or nobody; then the job is retried."""

from collections.abc import Iterator

from mmbench.api.executor import End, Ending
from mmbench.api.record import Status, Trial
from mmbench.engine import clock
from mmbench.engine.events import Event, TrialFinished, WorkerLost
from mmbench.engine.executors.endings import sentence
from mmbench.engine.jobs.job import LoadData, Measure, Prepare, Search
from mmbench.engine.outcome import Progressing
from mmbench.errors import MMBenchError

STATUS: dict[Ending, Status] = {Ending.HUNG: "timeout", Ending.OUT_OF_MEMORY: "oom"}
ATTEMPTS = 3  # how often a job is tried whose worker is lost or killed from outside


def blame(job: Search | Measure, end: End, state: Progressing) -> Iterator[Event]:
    """Charge a bad end to whom it belongs. If it leaves the cell without a failure, the job is to be tried again.

    A crash, an exit or a hang in a search is the contender's fault and would happen again. A measurement does what a
    trial has done before without harm, so any failure of it counts as an accident first.
    """
    status = STATUS.get(end.ending, "error")
    if isinstance(job, Search) and end.ending.own_doing:
        yield from charge(state, status, sentence(end))
        return
    state.attempts += 1
    if state.attempts < ATTEMPTS:
        yield WorkerLost(state.cell, sentence(end))
    else:
        yield from charge(state, status, f"{sentence(end)}, {state.attempts} times")


def charge(state: Progressing, status: Status, reason: str) -> Iterator[Event]:
    """A trial that hangs, crashes or is killed again and again is the contender's own failure, as are those that
    train in one program with it; the search continues after them. What happens in a refit, a measurement or the time
    between two trials ends the cell."""
    known = {trial.number for trial in state.trials}
    charged = [(number, params) for number, params in state.begun if number not in known]
    if not charged:
        state.failure = (status, reason)
        return
    limit, together = state.cell.budget.trial_seconds, state.together
    seconds = limit if status == "timeout" else min(limit, (clock.seconds() - state.since) / together)
    state.rest()
    for number, params in charged:
        trial = Trial(state.cell.key, number, dict(params), status, reason, None, (), 0, seconds, together=together)
        state.trials.append(trial)
        yield TrialFinished(state.cell, trial)


def give_up(job: LoadData | Prepare, end: End, attempts: int) -> None:
    """Contenders share what prepares data and features: raises MMBenchError if it is not worth another try."""
    if end.ending.own_doing or attempts >= ATTEMPTS:
        raise MMBenchError(f"{sentence(end)} while preparing {_name(job)}; run again to resume")


def _name(job: LoadData | Prepare) -> str:
    return job.dataset if isinstance(job, LoadData) else f"{job.cell.task.dataset}: {job.modality} by {job.encoder}"
