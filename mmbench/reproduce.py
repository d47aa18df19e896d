"""Trains a run's recorded refits again, here and now, and says how far the scores drift.

No search: the recorded parameters and seeds, on this machine's data, by the runner that every run goes through, so that
the process that trains has no test labels, and the referee scores. Writes nothing into the run. Called by
`mmbench reproduce`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from mmbench.api.record import History, Record, Refit, Trial
from mmbench.api.suite import placed, task_of
from mmbench.board import rank
from mmbench.engine import identity
from mmbench.engine import plan as planning
from mmbench.engine.events import CellFinished, Event, RefitFinished
from mmbench.engine.plan import Plan
from mmbench.engine.run.scoring import apart
from mmbench.engine.space import Cell
from mmbench.errors import MMBenchError, StoreError, SuiteError, unknown
from mmbench.plugins import Catalog
from mmbench.store import reading
from mmbench.store.reading import RunData

if TYPE_CHECKING:
    import numpy as np

    Predictions: TypeAlias = Mapping[str, np.ndarray[Any, Any]]

TEST = "test"
SETTING = ("mmbench", "protocol", "engine", "python", "platform", "processor", "device", "threads")


@dataclass(frozen=True)
class Drift:
    """One metric, then and now: the mean over all seeds, those that were trained again in place of the recorded."""

    metric: str
    recorded: float
    again: float
    low: float | None
    """The recorded 95% interval; None where the run has no predictions to make one of."""
    high: float | None

    @property
    def drift(self) -> float:
        return self.again - self.recorded

    @property
    def within(self) -> bool | None:
        """Whether the new mean lies within the recorded interval."""
        if self.low is None or self.high is None:
            return None
        return self.low <= self.again <= self.high or self.again == self.recorded


@dataclass
class Reproduction:
    """One record, trained again."""

    record: Record
    seeds: tuple[int, ...]
    differences: list[str]
    """What is not as it was: code, data, libraries, machine."""
    drifts: list[Drift] = field(default_factory=list)
    identical: bool = False
    """Whether the new predictions on test are the stored ones, bit for bit."""
    failure: str | None = None

    @property
    def reproduced(self) -> bool:
        """Whether the tuned metric lies within its interval."""
        tuned = next((drift for drift in self.drifts if drift.metric == self.record.metric), None)
        return self.failure is None and tuned is not None and tuned.within is not False

    def json(self) -> dict[str, Any]:
        drifts = [
            {
                "metric": d.metric,
                "recorded": d.recorded,
                "again": d.again,
                "drift": d.drift,
                "low": d.low,
                "high": d.high,
                "within": d.within,
            }
            for d in self.drifts
        ]
        named = {"task": self.record.task, "contender": self.record.contender, "cell": self.record.cell}
        facts = {"seeds": list(self.seeds), "reproduced": self.reproduced, "identical": self.identical}
        return {**named, **facts, "failure": self.failure, "differences": self.differences, "metrics": drifts}


def choose(run: RunData, names: Sequence[str] = (), *, every: bool = False) -> list[Record]:
    """The records to reproduce: those named (a cell's key, or TASK/CONTENDER), or all, or the cheapest of each task.

    The cheapest are chosen among those that train parameters, if there are some. Raises StoreError for a name that the
    run doesn't have, or that has no scores.
    """
    scored = [record for record in run.records if record.status == "ok"]
    if names:
        known = {key: record for record in run.records for key in (f"{record.task}/{record.contender}", record.cell)}
        for name in names:
            if name not in known:
                raise StoreError(f"{run.path}: {unknown('cell', name, known)}")
            if known[name].status != "ok":
                raise StoreError(f"{run.path}: {name} has no scores: {known[name].status}: {known[name].reason}")
        return list({known[name].cell: known[name] for name in names}.values())
    if every:
        return scored
    cheapest: dict[str, Record] = {}
    for record in sorted(scored, key=_cost):
        cheapest.setdefault(record.task, record)
    return list(cheapest.values())


def _cost(record: Record) -> tuple[bool, float, str]:
    return (
        not record.cost.get("parameters") or bool(record.derived),
        sum(refit.seconds for refit in _tuned(record)),
        record.contender,
    )


def _tuned(record: Record) -> list[Refit]:
    return [refit for refit in record.refits if refit.role == "tuned"]


def reproduce(
    run: RunData,
    catalog: Catalog,
    records: Iterable[Record],
    *,
    cache: Path,
    device: str,
    seed: int | None = None,
    on_event: Callable[[Event], None] = lambda event: None,
) -> Iterator[Reproduction]:
    """Train each record's refits again (of one seed only, if `seed` is given), one record after the other.

    Raises SuiteError if a part that a record needs is not here, StoreError if the run lacks what it takes.
    """
    catalog = catalog.with_own(placed(run.suite.own, Path.cwd()), placed(run.suite.encoders, Path.cwd()))
    for record in records:
        seeds = tuple(refit.seed for refit in _tuned(record) if seed in (None, refit.seed))
        if not seeds:
            have = ", ".join(str(refit.seed) for refit in _tuned(record))
            raise StoreError(f"{record.task}/{record.contender} has no refit of seed {seed}: there are {have}")
        plan, cell = _planned(run, catalog, record, device)
        found = Reproduction(record, seeds, differences(record, cell, catalog, device))
        if cell.skip:
            found.failure = f"it can't run here: {cell.skip}"
            yield found
            continue
        try:
            again = _train(run, catalog, record, replace(plan, cells=(cell,)), seeds, cache=cache, on_event=on_event)
        except FailedError as error:
            found.failure = str(error)
        else:
            found.drifts = _drifts(run, catalog, record, {number: refit for number, (refit, _) in again.items()})
            found.identical = all(_identical(run, record, number, again[number][1]) for number in seeds)
        yield found


class FailedError(Exception):
    """A training ended badly; the message says how."""


def _planned(run: RunData, catalog: Catalog, record: Record, device: str) -> tuple[Plan, Cell]:
    """The record's cell as it is made of today's code, and the plan that it is of."""
    try:
        plan = planning.make(
            run.suite, catalog, tasks=[task_of(record.task)], contenders=[record.contender], device=device
        )  # fmt: skip
    except SuiteError as error:
        raise SuiteError(f"{record.task}/{record.contender}: {error}") from error
    mine = (record.task, record.contender)
    return plan, next(cell for cell in plan.cells if (cell.task.name, cell.contender) == mine)


def differences(record: Record, cell: Cell, catalog: Catalog, device: str) -> list[str]:
    """What is not as it was when the record was made, each in a few words; none if the result must be the same."""
    from mmbench.engine.environment import environment

    here = environment(device, "local", catalog)
    pairs: list[tuple[str, Any, Any]] = [(name, record.environment.get(name), here.get(name)) for name in SETTING]
    then, now = record.environment.get("libraries") or {}, here["libraries"]
    pairs += [(name, then.get(name), now.get(name)) for name in {**then, **now}]
    pairs += [(name, record.parts.get(name), cell.parts.get(name)) for name in {**record.parts, **cell.parts}]
    dataset = catalog.datasets[cell.task.dataset]
    pairs.append((f"data of {dataset.name}", record.dataset.get("fingerprint"), identity.fingerprint(dataset)))
    pairs.append(("search space", record.space_hash, cell.space_hash))
    return [f"{name}: {_value(old)} then, {_value(new)} now" for name, old, new in pairs if old != new]


def _value(value: Any) -> str:
    return "none" if value is None else str(value)


def _train(
    run: RunData,
    catalog: Catalog,
    record: Record,
    plan: Plan,
    seeds: Sequence[int],
    *,
    cache: Path,
    on_event: Callable[[Event], None],
) -> "dict[int, tuple[Refit, Predictions]]":
    """{seed: the refit, its predictions} of the plan's one cell. Raises FailedError if one ended badly.

    The runner is given a cell whose one trial is done, that of the recorded parameters: what is left to do is its
    refits. The costs, which it would measure after them, are not waited for.
    """
    from mmbench.engine import runner

    (cell,) = plan.cells
    budget = replace(cell.budget, trials=1, batch=1)
    others = [replace(refit, cell=cell.key) for refit in _tuned(record) if refit.seed not in seeds]
    history = {cell.key: History([_chosen(run, record, cell)], others)}
    cells = [replace(cell, budget=budget)]
    if cell.parent:  # it is trained again, too
        first = replace(cell.parent, budget=budget)
        parent = next((one for one in run.records if one.cell == record.derived.get("cell")), None)
        if parent is None:
            raise StoreError(f"{run.path}: {record.task}/{record.contender} is derived from what has no record")
        history[first.key] = History([_chosen(run, parent, first)], [])
        cells = [first, replace(cells[0], parent=first)]
    found: dict[int, tuple[Refit, Predictions]] = {}
    events = runner.run(
        replace(plan, cells=tuple(cells)),
        catalog,
        cache=cache,
        history=history,
        hidden=partial(reading.runs_around, run.path),
    )
    with closing(events):
        for event in events:
            on_event(event)
            if isinstance(event, CellFinished):
                raise FailedError(f"{event.record.status}: {event.record.reason}")
            if isinstance(event, RefitFinished) and event.cell.key == cell.key:
                if event.refit.status != "ok":
                    raise FailedError(f"seed {event.refit.seed}: {event.refit.status}: {event.refit.reason}")
                found[event.refit.seed] = event.refit, event.predictions
                if set(found) == set(seeds):
                    return found
    raise MMBenchError(f"{record.task}/{record.contender}: the runner ended before all seeds were trained")


def _chosen(run: RunData, record: Record, cell: Cell) -> Trial:
    """The trial whose parameters were refitted, as the only one of `cell`."""
    stored = reading.history(run.path).get(record.cell)
    found = next((t for t in (stored.trials if stored else ()) if dict(t.params) == dict(record.params)), None)
    if found is None:
        raise StoreError(f"{run.path}: {record.task}/{record.contender} has no trial of its parameters")
    return replace(found, cell=cell.key, number=0)


def _drifts(run: RunData, catalog: Catalog, record: Record, again: Mapping[int, Refit]) -> list[Drift]:
    task = [other for other in run.records if other.task == record.task]  # an interval leans on the whole board
    rows = rank.leaderboard(replace(run, records=task), apart(catalog), intervals=list(record.directions))
    row = next(row for row in rows if row["contender"] == record.contender)
    found = []
    for metric, summary in row["metrics"].items():
        then = {refit.seed: refit.metrics[metric] for refit in _tuned(record) if metric in refit.metrics}
        now = {seed: refit.metrics[metric] for seed, refit in again.items() if metric in refit.metrics}
        if now and then and summary["mean"] is not None:
            mixed = {**then, **now}
            means = [sum(scores.values()) / len(scores) for scores in (then, mixed)]
            found.append(Drift(metric, means[0], means[1], summary["low"], summary["high"]))
    return found


def _identical(run: RunData, record: Record, seed: int, predictions: "Predictions") -> bool:
    import numpy as np

    refit = next(refit for refit in _tuned(record) if refit.seed == seed)
    if refit.predictions is None:
        return False
    return bool(np.array_equal(reading.load_predictions(run.path, refit)[TEST], predictions[TEST]))
