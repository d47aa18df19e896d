"""Runs a plan: data, features, searches and refits in parallel, then measures every cell alone.

`run` is a generator of events; its caller stores what must last before asking for the next one. `run.schedule` orders
the jobs, `run.crew` runs them, `run.hearing` handles workers' messages, `run.charging` decides who is charged for what
goes wrong.
"""

from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
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
from mmbench.engine.run.derived import Kept
from mmbench.engine.run.features import libraries, parts_of
from mmbench.engine.run.hearing import Hearing
from mmbench.engine.run.schedule import Schedule
from mmbench.engine.run.scoring import Scoring
from mmbench.engine.space import Cell
from mmbench.plugins import Catalog, needed


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
    hidden: Callable[[], Iterable[Path]] = tuple,
    kept: Kept = lambda cell, seed: None,
    keep_weights: bool = False,
) -> Generator[Event]:
    """Run the plan's cells, those whose keys are in `done` left out, resuming from `history`, {cell key: what is stored
    of it}, of which each is asked for once, when its search begins; `begun` has the seconds of its first trial. What it
    yields depends on the suite and the code alone, not on `workers` and `executor`, but for the order and times.

    The first trials of all cells come first, so that what can't work shows at once; then the searches, those first that
    will take longest, so that no worker is left alone with one at the end.

    `kept` finds the weights of a refit where they are stored; with `keep_weights` those of every cell are to be stored,
    not only those from which others are derived. Workers are kept from reading what is below the places that `hidden`
    gives, which is asked again for each.

    Raises MMBenchError if data or weights can't be had.
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

    def setting(job: Job) -> Setting:
        own = needed(catalog, parts_of(job, catalog))
        return Setting(cache, plan.device, own, hidden=(*hidden(), *plan.files), sources=plan.sources)

    with make(request) as opened, Scoring(catalog, request.environ) as scoring:
        _import_beforehand(cells, catalog)
        crew, schedule = Crew(opened, setting), Schedule(catalog, cache, begun or {})
        hearing = Hearing(catalog, cache, schedule, crew, history or {}, kept, scoring.score)
        parents = {cell.parent.key: cell.parent for cell in cells if cell.parent}
        for cell in cells:
            if cell.parent:
                schedule.add_derived(cell)
            else:
                schedule.add_search(cell)
        for key, parent in parents.items():
            if key in done:
                schedule.release(parent, load=True)
        keep = {cell.key for cell in cells if keep_weights and not cell.parent} | set(parents)
        yield from _drain(crew, schedule, hearing, keep)
        origins = {cell.key: hearing.origin(cell) for cell in cells}
        for cell in cells:
            state, begun_from = hearing.state(cell), origins.pop(cell.key)
            state.settle()
            if isinstance(begun_from, str):
                yield CellFinished(cell, record(plan, catalog, state, "skipped", begun_from, executor=executor))
                hearing.forget(cell)
                continue
            if state.failure is None and state.winner is not None:
                schedule.add(Measure(cell, state.winner.params, begun_from))
                label = f"measure {cell.task.name}, {cell.contender}"
                yield Progress(label, 0, 1)
                yield from _drain(crew, schedule, hearing)  # alone: nothing else runs now
                yield Progress(label, 1, 1)
            yield CellFinished(cell, outcome(plan, catalog, cache, state, executor=executor))
            hearing.forget(cell)  # it is stored: a run of thousands of cells must not hold them all


def _drain(crew: Crew, schedule: Schedule, hearing: Hearing, keep: Collection[str] = frozenset()) -> Iterator[Event]:
    """Run every waiting job, as many at once as there are seats. keep: the cells whose weights are to be stored."""
    while schedule.waiting or crew.running:
        for job in schedule.take(len(crew.free)):
            if isinstance(job, Search):
                state, begun_from = hearing.state(job.cell), hearing.origin(job.cell)
                if isinstance(begun_from, str):
                    continue  # its record will say why
                yield from hearing.call_referee(job.cell)
                yield CellStarted(job.cell)
                kept = job.cell.key in keep
                job = replace(job, trials=state.trials, refits=state.refits, origin=begun_from, keep=kept)
            crew.start(job)
        for assist in schedule.take_assists(len(crew.free)):
            crew.start(assist)
        for running, said in crew.messages(timeout=1.0):
            yield from hearing.ended(running, said) if isinstance(said, End) else hearing.hear(running, said)
        crew.dismiss_hung(lambda running: _limit(running, hearing))


def _import_beforehand(cells: Sequence[Cell], catalog: Catalog) -> None:
    """What scoring will need, while another process imports what workers need: some seconds of every run. Not in a
    thread, which would disturb the start of processes."""
    own = [metric for name, metric in catalog.metrics.items() if catalog.metrics.origins[name].is_own]
    metrics = [metric for metric in own if any(metric.concerns(cell.task) for cell in cells)]
    for name in dict.fromkeys(["numpy", *(name for metric in metrics for name in metric.libraries)]):
        with suppress(Exception):  # whoever needs it will say so
            import_module(name)


def _limit(running: Running, hearing: Hearing) -> float | None:
    """The seconds after which a worker should have said something; None: preparations may take their time."""
    job: Job = running.job
    if not isinstance(job, Search | Measure):
        return None
    return hearing.state(job.cell).together * job.cell.budget.trial_seconds
