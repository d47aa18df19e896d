"""Runs a plan: data, features, searches and refits in parallel, then measures every cell alone.

`run` is a generator of events; its caller stores what must last before asking for the next one. `run.schedule` orders
the jobs, `run.crew` runs them, `run.hearing` handles workers' messages, `run.charging` decides who is charged for what
goes wrong.
"""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from mmbench.api.executor import End, Request
from mmbench.api.record import History
from mmbench.engine.events import CellFinished, CellStarted, Event, Progress
from mmbench.engine.executors.starting import WORKER, environ
from mmbench.engine.executors.worker import Setting
from mmbench.engine.jobs.job import Job, Measure, Search
from mmbench.engine.outcome import Progressing, outcome, record
from mmbench.engine.plan import Plan
from mmbench.engine.run.crew import Crew, Running
from mmbench.engine.run.features import libraries
from mmbench.engine.run.hearing import Hearing
from mmbench.engine.run.schedule import Schedule
from mmbench.plugins import Catalog


def run(
    plan: Plan,
    catalog: Catalog,
    *,
    cache: Path,
    done: frozenset[str] = frozenset(),
    history: Mapping[str, History] | None = None,
    begun: Mapping[str, float] | None = None,
    workers: int | None = None,
    executor: str = "local",
    hidden: tuple[Path, ...] = (),
) -> Generator[Event]:
    """Run the plan's cells, those whose keys are in `done` left out, resuming from `history`, {cell key: what is stored
    of it}, of which each is asked for once, when its search begins; `begun` has the seconds of its first trial. What it
    yields depends on the suite and the code alone, not on `workers` and `executor`, but for the order and times.

    The first trials of all cells come first, so that what can't work shows at once; then the searches, those first that
    will take longest, so that no worker is left alone with one at the end.

    Workers are kept from reading what is below `hidden`. Raises MMBenchError if data or weights can't be had.
    """
    make = catalog.executors[executor]
    cells = [cell for cell in plan.cells if cell.key not in done]
    skipped = [cell for cell in cells if cell.skip]
    for cell in skipped:
        state = Progressing(cell)
        yield CellFinished(cell, record(plan, catalog, state, "skipped", cell.skip, executor=executor))
    cells = [cell for cell in cells if not cell.skip]
    if not cells:
        return
    loaded = libraries(cells, catalog, cache)
    request = Request(plan.device, workers, environ=environ(cache), first=WORKER, libraries=loaded)
    setting = Setting(cache, plan.device, catalog.sources, hidden=(*hidden, *plan.files), sources=plan.sources)
    with make(request) as opened:
        crew, schedule = Crew(opened, setting), Schedule(catalog, cache, begun or {})
        hearing = Hearing(catalog, cache, schedule, crew, history or {})
        for cell in cells:
            schedule.add_search(cell)
        yield from _drain(crew, schedule, hearing)
        for cell in cells:
            state = hearing.state(cell)
            state.settle()
            if state.failure is None and state.winner is not None:
                schedule.add(Measure(cell, state.winner.params))
                label = f"measure {cell.task.name}, {cell.contender}"
                yield Progress(label, 0, 1)
                yield from _drain(crew, schedule, hearing)  # alone: nothing else runs now
                yield Progress(label, 1, 1)
            yield CellFinished(cell, outcome(plan, catalog, cache, state, executor=executor))
            hearing.forget(cell)  # it is stored: a run of thousands of cells must not hold them all


def _drain(crew: Crew, schedule: Schedule, hearing: Hearing) -> Iterator[Event]:
    """Run every waiting job, as many at once as there are seats."""
    while schedule.waiting or crew.running:
        for job in schedule.take(len(crew.free)):
            if isinstance(job, Search):
                state = hearing.state(job.cell)
                yield from hearing.call_referee(job.cell)
                yield CellStarted(job.cell)
                job = replace(job, trials=state.trials, refits=state.refits)
            crew.start(job)
        for assist in schedule.take_assists(len(crew.free)):
            crew.start(assist)
        for running, said in crew.messages(timeout=1.0):
            yield from hearing.ended(running, said) if isinstance(said, End) else hearing.hear(running, said)
        crew.dismiss_hung(lambda running: _limit(running, hearing))


def _limit(running: Running, hearing: Hearing) -> float | None:
    """The seconds after which a worker should have said something; None: preparations may take their time."""
    job: Job = running.job
    if not isinstance(job, Search | Measure):
        return None
    return hearing.state(job.cell).together * job.cell.budget.trial_seconds
