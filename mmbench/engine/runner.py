"""The story of a run: data, features, searches and refits side by side, then every cell measured alone.

`run` is a generator of events; whoever drives it stores what must last before asking for the next one.
"""

import time
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmbench.api.parts import Part
from mmbench.api.record import History, Status, Trial
from mmbench.api.space import defaults
from mmbench.engine.data.features import Prepared
from mmbench.engine.data.shelf import Hold
from mmbench.engine.data.tables import Table, where
from mmbench.engine.events import (
    CellFinished,
    CellPaused,
    CellStarted,
    DataRead,
    Event,
    Progress,
    RefitFinished,
    TargetsKnown,
    TrialFinished,
    WorkerLost,
)
from mmbench.engine.executors.local import Pool, Running
from mmbench.engine.executors.starting import environ
from mmbench.engine.executors.worker import Assist, Job, LoadData, Measure, Prepare, Search, Setting
from mmbench.engine.jobs.evaluate import Referee
from mmbench.engine.outcome import Progressing, outcome, record
from mmbench.engine.plan import Plan
from mmbench.engine.space import Cell, encoder_code
from mmbench.errors import DataError, MMBenchError
from mmbench.plugins import Catalog

ATTEMPTS = 3  # how often a job is tried whose worker is killed from outside
GRACE = 5.0  # a process that is silent for twice a trial's limit and these seconds counts as hung


def run(
    plan: Plan,
    catalog: Catalog,
    *,
    cache: Path,
    done: frozenset[str] = frozenset(),
    history: Mapping[str, History] | None = None,
    begun: Mapping[str, float] | None = None,
    workers: int = 1,
    hidden: tuple[Path, ...] = (),
) -> Generator[Event]:
    """Run the plan's cells, those whose keys are in `done` left out, going on from `history`, {cell key: what is stored
    of it}, of which each is asked for once, when its search begins; `begun` has the seconds of its first trial. What it
    yields depends on the suite and the code alone, not on `workers`, but for the order and times.

    The first trials of all cells come first, so that what can't work shows at once; then the searches, those first that
    will take longest, so that no worker is left alone with one at the end.

    Workers are kept from reading what is below `hidden`. Raises MMBenchError if data or weights can't be had.
    """
    cells = [cell for cell in plan.cells if cell.key not in done]
    setting = Setting(
        cache,
        plan.device,
        catalog.sources,
        environ=environ(cache),
        hidden=(*hidden, *plan.files),
        sources=plan.sources,
    )
    yield from (CellFinished(c, record(plan, catalog, Progressing(c), "skipped", c.skip)) for c in cells if c.skip)
    cells = [cell for cell in cells if not cell.skip]
    if not cells:
        return
    with Pool(workers, setting, libraries=_libraries(cells, catalog, cache)) as pool:
        yield from _Run(plan, catalog, cache, pool, cells=cells, history=history or {}, begun=begun or {}).events()


class _Run:
    """The bookkeeping of one run: which jobs wait for which, and what each message means."""

    def __init__(
        self,
        plan: Plan,
        catalog: Catalog,
        cache: Path,
        pool: Pool,
        *,
        cells: Sequence[Cell],
        history: Mapping[str, History],
        begun: Mapping[str, float],
    ) -> None:
        self.plan, self.catalog, self.cache, self.pool = plan, catalog, cache, pool
        self.cells, self.history = cells, history
        self.expected = dict(begun)
        """Seconds of a trial, by cell."""
        self.states: dict[str, Progressing] = {}
        """The cells whose search has begun and whose record is not written, by key."""
        self.referees: dict[str, Referee] = {}
        self.waiting: dict[Job, set[Job]] = {}
        """Jobs not yet begun, in order, with the jobs that each waits for."""
        self.shared: dict[Prepare, int] = {}
        """Long preparations at work, and with how many more workers each could share its units."""
        self.holds: list[Hold] = []
        self.lost: Counter[Job] = Counter()
        """How often the worker of a preparing job was killed from outside."""

    def events(self) -> Iterator[Event]:
        for cell in self.cells:
            needs = self._needs(cell)
            self.waiting[Search(cell, scout=cell.key not in self.expected)] = needs
        yield from self._drain()
        for cell in self.cells:
            state = self.states[cell.key]
            state.settle()
            if state.failure is None and state.winner is not None:
                self.waiting = {Measure(cell, state.winner.params): set()}
                label = f"measure {cell.task.name}, {cell.contender}"
                yield Progress(label, 0, 1)
                yield from self._drain()  # alone: nothing else runs now
                yield Progress(label, 1, 1)
            yield CellFinished(cell, outcome(self.plan, self.catalog, self.cache, state))
            del self.states[cell.key]  # it is stored: a run of thousands of cells must not hold them all

    def _needs(self, cell: Cell) -> set[Job]:
        load = LoadData(cell.task.dataset, cell.fingerprint)
        self.waiting.setdefault(load, set())
        needs: set[Job] = {load}
        for modality, encoders in cell.encoders.items():
            for encoder in encoders:
                new = Prepare(cell, modality, encoder)
                job = next((j for j in self.waiting if isinstance(j, Prepare) and _same(j, new)), new)
                if job is new:
                    self.waiting[job] = {load}
                    self.holds.append(self._hold(job))
                needs.add(job)
        return needs

    def _hold(self, job: Prepare) -> Hold:
        """Keeps the run's own features in the store until it ends."""
        return Hold(_features(job.cell, job.modality, job.encoder, self.catalog, self.cache))

    def _drain(self) -> Iterator[Event]:
        """Run every waiting job, as many at once as the pool allows."""
        while self.waiting or self.pool.running:
            for job in self._next() if self.pool.free else []:
                del self.waiting[job]
                if isinstance(job, Search):
                    state = self._state(job.cell)
                    yield from self._referee(job.cell)
                    yield CellStarted(job.cell)
                    job = replace(job, trials=state.trials, refits=state.refits)
                self.pool.start(job)
            self._assist()
            for running, message in self.pool.messages(timeout=1.0):
                yield from self._hear(running, *message)
            self._kill_hung()

    def _next(self) -> list[Job]:
        """As many jobs as workers are free: data first, then the features that most cells wait for, then the cells."""
        ready = [job for job, needs in self.waiting.items() if not needs]
        return sorted(ready, key=self._turn)[: self.pool.free]

    def _turn(self, job: Job) -> tuple[int, float]:
        if isinstance(job, Search) and not job.scout:
            return 3, -self.expected[job.cell.key]
        return {LoadData: 0, Prepare: 1}.get(type(job), 2), 0.0

    def _state(self, cell: Cell) -> Progressing:
        """What is known of a cell: what is stored of it, if its search has not begun yet."""
        if cell.key not in self.states:
            stored = self.history.get(cell.key) or History()
            self.states[cell.key] = Progressing(cell, list(stored.trials), list(stored.refits))
        return self.states[cell.key]

    def _assist(self) -> None:
        """Workers that have nothing else to do take part in long preparations."""
        for job in list(self.shared):
            while self.pool.free and self.shared[job] > 1:
                self.shared[job] -= 1
                self.pool.start(Assist(job.cell, job.modality, job.encoder))

    def _hear(self, running: Running, kind: str, *content: Any) -> Iterator[Event]:
        job = running.job
        state = None if isinstance(job, LoadData) else self.states.get(job.cell.key)
        if kind == "progress":
            yield Progress(*content)
        elif kind == "read":
            yield DataRead(*content)
        elif isinstance(job, Assist):  # whatever befalls it befalls the job that it assists, which then says so
            if kind == "ended":
                self.shared = {at: units for at, units in self.shared.items() if not _same(at, job)}
        elif isinstance(job, Prepare) and kind == "units":
            self.shared[job] = content[0]
        elif kind == "ended":
            yield from self._ended(running, *content)
        elif kind == "failed":
            error, trace = content
            if state is None or isinstance(job, Prepare) or isinstance(error, DataError):
                raise error  # data are missing or the disk is full: no contender's fault
            state.failure = ("error", f"{error}" + (f" [{_last_line(trace)}]" if trace else ""))
        elif state is None:
            return
        elif kind == "begin":
            state.begun, state.since = content, time.monotonic()
        elif kind == "trial":
            state.begun, state.attempts = None, 0
            state.trials.append(content[0])
            yield TrialFinished(state.cell, content[0])
        elif kind == "paused":
            state.paused = True
        elif kind == "refit":
            refit, predictions = content
            state.begun, state.attempts = None, 0
            scored = self.referees[state.cell.task.name].score(state.cell, refit, predictions)
            state.refits.append(scored)
            yield RefitFinished(state.cell, scored, predictions)
        elif kind == "cost":
            state.cost = content[0]

    def _ended(self, running: Running, trouble: str | None) -> Iterator[Event]:
        job = running.job
        if isinstance(job, Prepare):
            self.shared.pop(job, None)
        if trouble is None:
            if isinstance(job, Search):
                yield from self._rested(self.states[job.cell.key])
            for needs in self.waiting.values():
                needs.discard(job)
            return
        if isinstance(job, LoadData | Prepare):
            self.lost[job] += 1
            if running.crashed or self.lost[job] >= ATTEMPTS:
                raise MMBenchError(f"{trouble} while preparing {_name(job)}; run again to go on")
            self.waiting = {job: set(), **self.waiting}
            return
        state = self.states[job.cell.key]
        if isinstance(job, Search) and running.hung:
            yield from self._charge(state, "timeout", "hung: no sign of life for twice its limit")
        elif isinstance(job, Search) and running.crashed:
            yield from self._charge(state, "error", trouble)
        else:
            state.attempts += 1
            if state.attempts < ATTEMPTS:
                yield WorkerLost(state.cell, trouble)
            else:
                status: Status = "oom" if "SIGKILL" in trouble else "error"
                yield from self._charge(state, status, f"{trouble}, {state.attempts} times")
        if state.failure is None:
            self.waiting = {job: set(), **self.waiting}

    def _rested(self, state: Progressing) -> Iterator[Event]:
        """A search has come to its end, or pauses until it is its turn."""
        if not state.paused:
            state.settle()
            return
        state.paused = False
        self.expected[state.cell.key] = sum(trial.seconds for trial in state.trials) / len(state.trials)
        self.waiting[Search(state.cell)] = set()
        yield CellPaused(state.cell)

    def _charge(self, state: Progressing, status: Status, reason: str) -> Iterator[Event]:
        """A trial that hangs, crashes or is killed again and again is the contender's own failure, as are those that
        train in one program with it; the search goes on after them. What befalls a refit, a measurement or the time
        between two trials ends the cell."""
        begun, together = state.begun or ((), 1)
        known = {trial.number for trial in state.trials}
        charged = [(number, params) for number, params in begun if number not in known]
        if not charged:
            state.failure = (status, reason)
            return
        limit = state.cell.budget.trial_seconds
        seconds = limit if status == "timeout" else min(limit, (time.monotonic() - state.since) / together)
        state.begun, state.attempts = None, 0
        for number, params in charged:
            key = state.cell.key
            trial = Trial(key, number, dict(params), status, reason, None, (), 0, seconds, together=together)
            state.trials.append(trial)
            yield TrialFinished(state.cell, trial)

    def _kill_hung(self) -> None:
        now = time.monotonic()
        for running in self.pool.running:
            job = running.job
            if isinstance(job, Search | Measure):
                _, together = self.states[job.cell.key].begun or ((), 1)
                if now - running.heard > 2 * together * job.cell.budget.trial_seconds + GRACE:
                    self.pool.kill(running)

    def _referee(self, cell: Cell) -> Iterator[Event]:
        if cell.task.name not in self.referees:
            referee = Referee.of(cell, self.catalog, self.cache)
            self.referees[cell.task.name] = referee
            yield TargetsKnown(cell.task.name, referee.truth)


def _features(cell: Cell, modality: str, encoder: str, catalog: Catalog, cache: Path) -> Path:
    """Where the features of an encoder's default preparation are kept."""
    dataset, part = catalog.datasets[cell.task.dataset], catalog.encoders[encoder]
    table = Table(dataset, where(dataset, cache, cell.fingerprint), cell.limit)
    return Prepared(table, modality, part, defaults(part.space, "prepare"), cache, encoder_code(cell, encoder)).folder


def _libraries(cells: Sequence[Cell], catalog: Catalog, cache: Path) -> list[str]:
    """What the workers of these cells will import, each once for all of them."""
    parts: list[Part] = [catalog.metrics[cell.task.metric] for cell in cells]
    slots = dict.fromkeys((slot.role, name) for cell in cells for slot in cell.slots for name in slot.parts)
    parts += [catalog.shelves()[f"{role}s"][name] for role, name in slots if role != "encoder"]
    prepared = {
        (cell.task.dataset, modality, name): cell
        for cell in cells
        for modality, names in cell.encoders.items()
        for name in names
    }
    parts += [catalog.encoders[name] for _, _, name in prepared]
    found = dict.fromkeys(name for part in parts for name in part.libraries)
    if not all(_features(cell, m, name, catalog, cache).exists() for (_, m, name), cell in prepared.items()):
        found["datasets"] = None  # raw rows are read with it
    return list(found)


def _same(one: Prepare, other: Prepare | Assist) -> bool:
    """Whether both make the same features, though perhaps for two cells."""
    a, b = ((j.cell.task.dataset, j.cell.limit, j.modality, j.encoder) for j in (one, other))
    return a == b


def _name(job: LoadData | Prepare) -> str:
    return job.dataset if isinstance(job, LoadData) else f"{job.cell.task.dataset}: {job.modality} by {job.encoder}"


def _last_line(trace: str) -> str:
    """Where an unexpected error arose."""
    places = [line.strip() for line in trace.splitlines() if line.strip().startswith("File ")]
    return places[-1] if places else ""
