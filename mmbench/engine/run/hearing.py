"""Handles what workers send: what each message means for its cell, and a worker's end for the run."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmbench.api.executor import End, Ending
from mmbench.api.record import History, Refit, Trial, unpack
from mmbench.engine.events import CellPaused, DataRead, Event, Progress, RefitFinished, TargetsKnown, TrialFinished
from mmbench.engine.executors.messages import (
    Array,
    CostMeasured,
    DataExamined,
    Done,
    Doubled,
    Failed,
    Message,
    Paused,
    Progressed,
    RefitEnded,
    RefitsBegun,
    TrialEnded,
    TrialsBegun,
    UnitsCounted,
)
from mmbench.engine.executors.wire import GarbledError
from mmbench.engine.jobs.evaluate import Judge, Referee, unlike
from mmbench.engine.jobs.job import Assist, Job, LoadData, Measure, Origin, Prepare, Search
from mmbench.engine.outcome import Progressing
from mmbench.engine.run.charging import blame, give_up
from mmbench.engine.run.crew import Crew, Running
from mmbench.engine.run.derived import Kept, origin
from mmbench.engine.run.schedule import Schedule
from mmbench.engine.space import Cell
from mmbench.errors import DataError, MMBenchError
from mmbench.plugins import Catalog

if TYPE_CHECKING:
    import numpy as np


class Hearing:
    """Listens to the workers of one run."""

    def __init__(
        self,
        catalog: Catalog,
        cache: Path,
        schedule: Schedule,
        crew: Crew,
        history: Mapping[str, History],
        kept: Kept,
        judge: Judge,
    ) -> None:
        self.catalog, self.cache, self.schedule, self.crew, self.history = catalog, cache, schedule, crew, history
        self.kept, self.judge = kept, judge
        self.origins: dict[str, Origin | str] = {}
        """What derived cells begin from, or why they can't, by key."""
        self.states: dict[str, Progressing] = {}
        """The cells whose search has begun and whose record is not written, by key."""
        self.referees: dict[str, Referee] = {}
        self.lost: Counter[Job] = Counter()
        """How often the worker of a preparing job was lost or killed from outside."""

    def state(self, cell: Cell) -> Progressing:
        """What is known of a cell: what is stored of it, if its search has not begun yet."""
        if cell.key not in self.states:
            stored = self.history.get(cell.key) or History()
            self.states[cell.key] = Progressing(cell, list(stored.trials), list(stored.refits))
        return self.states[cell.key]

    def origin(self, cell: Cell) -> Origin | str | None:
        """The trained models that a derived cell changes, or why there are none: known once its parent's search is
        over. None of a cell that trains its own."""
        if cell.parent is None:
            return None
        if cell.key not in self.origins:
            found = origin(self.state(cell.parent), self.catalog, self.kept)
            self.origins[cell.key] = found
            self.state(cell).base = found.params if isinstance(found, Origin) else {}
        return self.origins[cell.key]

    def forget(self, cell: Cell) -> None:
        """Its record is written."""
        self.states.pop(cell.key, None)
        self.origins.pop(cell.key, None)

    def call_referee(self, cell: Cell) -> Iterator[Event]:
        """See to it that somebody can score the cell's refits."""
        if cell.task.name not in self.referees:
            referee = Referee.of(cell, self.catalog, self.cache)
            self.referees[cell.task.name] = referee
            yield TargetsKnown(cell.task.name, referee.truth)

    def hear(self, running: Running, message: Message) -> Iterator[Event]:
        """What a worker says. Who says what can't be is ended, and charged as for a crash."""
        match message:
            case Progressed(label, done, total):
                yield Progress(label, done, total)
            case Done():
                pass  # its end is what counts
            case Doubled():
                self._doubled(running)
            case Failed():
                self._failed(running.job, message)
            case DataExamined(dataset, lines) if isinstance(running.job, LoadData):
                yield DataRead(dataset, tuple(lines))
            case UnitsCounted(units) if isinstance(running.job, Prepare):
                self.schedule.share(running.job, units)
            case CostMeasured(cost) if isinstance(running.job, Measure):
                self.states[running.job.cell.key].cost = cost
            case _ if isinstance(running.job, Search):
                try:
                    yield from self._searched(self.states[running.job.cell.key], message)
                except GarbledError as error:
                    self.crew.dismiss(running, str(error))
            case _:
                self._odd(running, message)

    def _odd(self, running: Running, message: Message) -> None:
        self.crew.dismiss(running, f"{type(message).__name__} is not said by who does {type(running.job).__name__}")

    def _failed(self, job: Job, message: Failed) -> None:
        if isinstance(job, Assist):
            return  # what fails here fails in the job that it assists, which then says so
        error = DataError if message.fault == "data" else MMBenchError
        if message.fault == "data" or isinstance(job, LoadData | Prepare):
            raise error(message.reason)  # data are missing or the disk is full: no contender's fault
        self.states[job.cell.key].failure = ("error", message.reason)

    def _doubled(self, running: Running) -> None:
        """It ends the cell: which of its trials was at work when the copy spoke is a matter of chance."""
        why = "a part has forked its process, and the copy went on in its name"
        self.crew.dismiss(running, why)
        if isinstance(running.job, Search | Measure):
            self.states[running.job.cell.key].failure = ("error", why)

    def _searched(self, state: Progressing, message: Message) -> Iterator[Event]:
        """What a search says. Raises GarbledError if it can't be true."""
        match message:
            case TrialsBegun(trials):
                if beyond := [number for number, _ in trials if not 0 <= number < state.cell.budget.trials]:
                    raise GarbledError(f"it began a trial {beyond[0]} of {state.cell.budget.trials}")
                state.begin(trials, len(trials))
            case RefitsBegun(together):
                state.begin((), together)
            case Paused():
                state.paused = True
            case TrialEnded(trial):
                self._check_trial(state, trial)
                state.rest()
                state.owed.discard(trial.number)
                state.trials.append(trial)
                yield TrialFinished(state.cell, trial)
            case RefitEnded(refit, sent, weights):
                referee = self.referees[state.cell.task.name]
                predictions = self._received(sent)
                self._check_refit(state, refit, predictions)
                if any(len(array) != len(referee.truth) for array in predictions.values() if array.ndim):
                    raise GarbledError(f"it sent predictions for other than the {len(referee.truth)} rows of test")
                state.rest()
                scored = referee.score(state.cell, refit, predictions, self.judge)
                state.refits.append(scored)
                yield RefitFinished(state.cell, scored, predictions, weights)
            case _:
                raise GarbledError(f"{type(message).__name__} is not said by who searches")

    def _received(self, sent: Mapping[str, Array]) -> "dict[str, np.ndarray[Any, Any]]":
        try:
            return unpack({name: array.array() for name, array in sent.items()})
        except ValueError as error:
            raise GarbledError(f"it sent predictions that can't be read: {error}") from error

    def _check_trial(self, state: Progressing, trial: Trial) -> None:
        if trial.cell != state.cell.key or trial.number not in state.owed:
            raise GarbledError(f"it sent a trial {trial.number} that it had not begun")

    def _check_refit(self, state: Progressing, refit: Refit, predictions: "Mapping[str, np.ndarray[Any, Any]]") -> None:
        known = {(one.role, one.seed) for one in state.refits}
        if refit.cell != state.cell.key or (refit.role, refit.seed) in known:
            raise GarbledError(f"it sent a refit {refit.seed} of {refit.role} that it should not do")
        if what := unlike(state.cell, refit, predictions):
            raise GarbledError(f"it sent {what}")

    def ended(self, running: Running, end: End) -> Iterator[Event]:
        """A worker is gone: its job is done, tried again, or charged."""
        job = running.job
        if isinstance(job, Prepare | Assist):
            self.schedule.unshare(job)
        if isinstance(job, Assist):
            return
        if end.ending is Ending.DONE:
            if isinstance(job, Search):
                yield from self._rested(self.states[job.cell.key])
            self.schedule.done(job)
            return
        if isinstance(job, LoadData | Prepare):
            self.lost[job] += 1
            give_up(job, end, self.lost[job])
            self.schedule.again(job)
            return
        state = self.states[job.cell.key]
        if state.failure is None:
            yield from blame(job, end, state)
        if state.failure is None:
            self.schedule.again(job)

    def _rested(self, state: Progressing) -> Iterator[Event]:
        """A search has come to its end, or pauses until it is its turn."""
        if not state.paused:
            state.settle()
            self.schedule.release(state.cell)
            return
        state.paused = False
        seconds = sum(trial.seconds for trial in state.trials) / len(state.trials)
        self.schedule.add_rest(state.cell, expected=seconds)
        yield CellPaused(state.cell)
