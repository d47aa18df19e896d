"""Runs a suite from end to end: puts catalog, suite, plan, store and engine together.

The command line and `mmbench.run` use it. It prints nothing: what happens is reported as events.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmbench import plugins as plugins_
from mmbench.api.record import Record, Refit
from mmbench.api.suite import Suite
from mmbench.engine import plan as planning
from mmbench.engine.events import CellFinished, Event, RefitFinished, TargetsKnown, TrialFinished
from mmbench.engine.plan import Plan
from mmbench.errors import StoreError, SuiteError
from mmbench.plugins import Catalog
from mmbench.store import adopting, reading, suitefile
from mmbench.store.names import MOST
from mmbench.store.reading import RunData
from mmbench.store.writing import Store
from mmbench.trust import registration as registrations
from mmbench.trust import seal
from mmbench.trust.registration import PlannedCell, Registration

if TYPE_CHECKING:
    import pandas as pd

    from mmbench.board.gate.boards import Board

Listener = Callable[[Event], None]


@dataclass(frozen=True, repr=False)
class Run:
    """A run folder, to be read."""

    folder: Path
    suite: Suite
    data: RunData

    def __repr__(self) -> str:
        """One line, as a notebook shows it: all that `data` holds would fill pages."""
        return f"Run({str(self.folder)!r}: {len(self.data.records)} cells, {len(self.failed)} failed)"

    @property
    def failed(self) -> list[Record]:
        """The cells that ended badly; those that were skipped, with a reason, are no failures."""
        return [record for record in self.data.records if record.status not in ("ok", "skipped")]

    def rows(self, catalog: Catalog) -> list[dict[str, Any]]:
        """The leaderboard, a row for each task and contender, as `mmbench leaderboard --format json` prints it."""
        return [row for board in self.boards(catalog) for row in board.rows]

    def boards(self, catalog: Catalog) -> "list[Board]":
        """The rows in boards of what may be compared: more than one if another mmbench resumed the run."""
        from mmbench.rescoring import boards

        return boards([self.data], catalog)

    def leaderboard(self, plugins: Sequence[str] = ()) -> "pd.DataFrame":
        """The leaderboard as a table: nested figures become columns such as "metrics.accuracy.mean".

        plugins: those that bring the run's metrics, where these are not installed.
        """
        import pandas as pd

        from mmbench.board.report import columns

        table = pd.json_normalize(self.rows(plugins_.load(plugins)))
        return table[columns(table.columns)]


@dataclass(frozen=True)
class Session:
    """A run that is ready: everything is checked, nothing has started."""

    catalog: Catalog
    suite: Suite
    plan: Plan
    folder: Path
    note: str | None
    """What the user should know before it starts, such as that a changed suite makes a new run."""
    done: frozenset[str]
    """The keys of the cells that have a record."""
    fresh: bool = False
    registered: Registration | None = None
    """The plan that was registered before, if one is to be held to."""
    donors: Mapping[Path, frozenset[str]] = field(default_factory=dict)
    """Runs beside this one that have finished some of its cells, and which; they are among `done`."""
    executor: str = "local"
    keep_weights: bool = False

    def registration(self) -> Registration:
        """The plan as it is registered."""
        from mmbench import __version__

        return Registration(
            suite=self.suite.name,
            suite_hash=suitefile.suite_hash(self.suite),
            cells=tuple(PlannedCell(c.task.name, c.contender, c.key, c.space_hash) for c in self.plan.cells),
            device=self.plan.device,
            mmbench=__version__,
            date=registrations.now(),
        )

    def execute(self, *, workers: int | None = None, on_event: Listener = lambda event: None) -> Run:
        """Run what is to do and store all of it; `on_event` is called with every event, in order, on this thread.

        workers: processes at work side by side; by default one for each core that may be used, or each GPU.
        Raises MMBenchError where the user can help; KeyboardInterrupt leaves a run that can be resumed.
        """
        with Store.open(self.folder, self.suite, fresh=self.fresh) as writer:
            self.catalog.manager.hook.mmbench_run_started(suite=self.suite, folder=self.folder)
            earlier: list[Record] = []
            for donor, cells in self.donors.items():
                earlier += adopting.adopt(writer, donor, cells, self._said_of_suite())
            for record in reading.superseded(self.folder, {cell.key for cell in self.plan.cells}):
                writer.add_record(record)  # what is asked for now is what counts
                earlier.append(record)
            if earlier:
                writer.set_environment(earlier[-1].environment)  # it is that of the last record
            planned = [self.registered] if self.registered else []
            for plan in [*planned, *([self.registration()] if self._todo() else [])]:
                registrations.register(self.folder, plan, self.suite)
            if self._todo():
                self._work(writer, workers, on_event)
            seal.write(self.folder)
        return find_run(str(self.folder))

    def _said_of_suite(self) -> dict[str, Any]:
        """What every record says of its suite."""
        digest = suitefile.suite_hash(self.suite)
        return {"name": self.suite.name, "version": self.suite.version, "hash": digest}

    def _todo(self) -> set[str]:
        return {cell.key for cell in self.plan.cells} - self.done

    def _work(self, writer: Store, workers: int | None, on_event: Listener) -> None:
        from mmbench.api.carrier import cache_folder
        from mmbench.engine import runner
        from mmbench.engine.environment import environment

        writer.set_environment(environment(self.plan.device, self.executor, self.catalog))
        hook = self.catalog.manager.hook
        events = runner.run(
            self.plan,
            self.catalog,
            cache=cache_folder(),
            done=self.done,
            history=writer.history,
            begun=writer.history.begun(self._todo()),
            workers=workers,
            executor=self.executor,
            hidden=partial(reading.runs_around, self.folder),
            kept=writer.weights,
            keep_weights=self.keep_weights,
        )
        stored: dict[str, list[Refit]] = {}
        with closing(events):
            for event in events:
                if isinstance(event, TrialFinished):
                    writer.add_trial(event.trial)
                    hook.mmbench_trial_finished(cell=event.cell, trial=event.trial)
                elif isinstance(event, RefitFinished):
                    refit = writer.add_refit(event.refit, event.predictions, event.weights)
                    stored.setdefault(event.cell.key, []).append(refit)
                elif isinstance(event, TargetsKnown):
                    writer.add_targets(event.task, event.targets)
                elif isinstance(event, CellFinished):
                    new = stored.pop(event.cell.key, [])  # as the record's last ones, but with their predictions
                    known = len(event.record.refits) - len(new)
                    refits = (*event.record.refits[:known], *new)
                    record = replace(event.record, refits=refits, suite=self._said_of_suite())
                    writer.add_record(record)
                    hook.mmbench_record_written(record=record)
                    event = CellFinished(event.cell, record)
                on_event(event)


def open_run(
    suite: str | Path | Suite,
    *,
    plugins: Sequence[str] = (),
    tasks: Sequence[str] = (),
    contenders: Sequence[str] = (),
    trials: int | None = None,
    limit: int | None = None,
    seed: int | None = None,
    results: str | Path = "results",
    name: str | None = None,
    fresh: bool = False,
    device: str = "auto",
    executor: str = "local",
    registered: str | Path | None = None,
    keep_weights: bool = False,
) -> Session:
    """Check everything that a run needs, and start nothing.

    suite: a name, a file, or a Suite. `tasks` and `contenders` choose among the suite's own (a contender may also be
    the name of any fusion); `trials`, `limit` and `seed` change the suite, which makes it another run.
    plugins: modules or .py files. A single name may stand for a list of one.
    executor: what runs the jobs, "local" or one from a plugin; results don't depend on it.
    keep_weights: store the weights of all winners' refits, as safetensors.
    `registered`: a file of `mmbench plan --register`, which the run is held to.
    Raises MMBenchError for the first thing that is wrong.
    """
    tasks, contenders, plugins = ((one,) if isinstance(one, str) else one for one in (tasks, contenders, plugins))
    catalog = plugins_.load(plugins)
    catalog.executors[executor]  # SuiteError if there is none of that name
    spec = suite if isinstance(suite, Suite) else suitefile.read(suitefile.find(str(suite)))
    spec = _changed(spec, trials=trials, limit=limit, seed=seed)
    catalog = catalog.with_own(spec.own, spec.encoders)
    plan = planning.make(spec, catalog, tasks=tasks, contenders=contenders, device=pick_device(device))
    folder, note = Store.resolve(Path(results), spec, name, fresh=fresh)
    done = frozenset() if fresh else reading.finished(folder)
    donors = {} if fresh else adopting.donors(Path(results), folder, spec, {c.key for c in plan.cells} - done)
    taken = frozenset().union(*donors.values())
    if taken:
        names = ", ".join(str(donor) for donor in donors)
        told = f"{len(taken)} of its {len(plan.cells)} cells are taken over from {names}: nothing of theirs has changed"
        note = f"{note}; {told}" if note else told
    done |= taken
    before = registrations.load(Path(registered)) if registered else None
    if before:
        registrations.check(before, spec, () if fresh else registrations.read(folder), begun=bool(done))
    return Session(catalog, spec, plan, folder, note, done, fresh, before, donors, executor, keep_weights)


def run(
    suite: str | Path | Suite, *, workers: int | None = None, on_event: Listener = lambda event: None, **options: Any
) -> Run:
    """Run a suite and give the finished Run, whose `leaderboard()` is a table.

        run = mmbench.run("starter", tasks=["uci_mfeat"], contenders=["concat", "gated"], trials=4)

    options are those of `open_run`. workers: processes side by side; one for each core, or GPU, if None. on_event hears
    of every trial and cell. What an earlier run has stored is not done again. Raises MMBenchError for what is wrong.
    """
    return open_run(suite, **options).execute(workers=workers, on_event=on_event)


def find_run(run: str, results: str | Path = "results") -> Run:
    """An earlier run, by its folder or by its name below `results`. Raises StoreError if there is none."""
    folder = find_folder(run, results)
    data = reading.read_run(folder)
    return Run(folder=folder, suite=data.suite, data=data)


def find_folder(run: str, results: str | Path = "results") -> Path:
    """The folder of an earlier run, unread. Raises StoreError if there is none."""
    for folder in (Path(run), Path(results) / run):
        if (folder / reading.SUITE).is_file():
            return folder
    found = sorted(path.parent.name for path in Path(results).glob(f"*/{reading.SUITE}"))
    have = f"{results} has {', '.join(found)}" if found else "start one with `mmbench run starter`"
    raise StoreError(f"no run {run!r} here: {have}")


def begun(session: Session) -> dict[str, tuple[int, int]]:
    """{cell key: how many trials and refits are stored} of the plan's cells that have some, but no record yet.

    Raises StoreError if what is stored is damaged.
    """
    counts, records = reading.history(session.folder).counts(), reading.finished(session.folder)
    open_ = [cell.key for cell in session.plan.cells if cell.key not in records]
    return {key: counts[key] for key in open_ if key in counts}


def estimate(session: Session) -> list[dict[str, Any]]:
    """What `execute` would do at most: for each cell {"task", "contender", "status", "why" (what has changed since its
    last record), "trials", "trainings" (that are left), "parameters" (to tune), "fusions"}."""
    from mmbench.engine.identity import changes
    from mmbench.engine.space import open_params

    rows = []
    before, stored = _before(session), {} if session.fresh else begun(session)
    for cell in session.plan.cells:
        status, why = "to do", ""
        if (last := before.get((cell.task.name, cell.contender))) and cell.key not in session.done and not cell.skip:
            why = "; ".join(changes(cell, last))
        if cell.key in session.done:
            status = "done"
        elif cell.skip:
            status = f"skipped: {cell.skip}"
        elif cell.key in stored:
            status = f"begun: {said(*stored[cell.key])} stored"
        open_ = set() if cell.skip else open_params(cell, session.catalog)
        trials = cell.budget.trials if open_ else 1
        roles = ("tuned", "default") if open_ else ("tuned",)  # the default is refitted, too
        most = trials + sum(len(cell.budget.seeds(role)) for role in roles)
        rows.append(
            {
                "task": cell.task.name,
                "contender": cell.contender,
                "status": status,
                "why": why,
                "trials": trials,
                "trainings": 0 if cell.parent else max(0, most - sum(stored.get(cell.key, ()))),
                "parameters": len(open_),
                "fusions": list(cell.options("fusion")),
            }
        )
    return rows


def said(trials: int, refits: int) -> str:
    """Both numbers in words: "1 trial and 2 refits"."""
    return f"{trials} trial{'s' * (trials != 1)} and {refits} refit{'s' * (refits != 1)}"


def _before(session: Session) -> dict[tuple[str, str], Record]:
    """The last record of each task and contender that the run folder, or another of this suite, has."""
    found: dict[tuple[str, str], Record] = {}
    for folder in (session.folder, session.folder.with_name(session.suite.name)):
        if (folder / reading.SUITE).is_file():
            found = {(r.task, r.contender): r for r in reading.read_run(folder).records} | found
    return found


def _changed(suite: Suite, *, trials: int | None, limit: int | None, seed: int | None) -> Suite:
    for option, value, least in (("trials", trials, 1), ("limit", limit, 10), ("seed", seed, 0)):
        if value is not None and value < least:
            raise SuiteError(f"--{option} must be at least {least}, not {value}")
        if value is not None and value > MOST[option]:  # or what is stored could not be read again
            raise SuiteError(f"--{option} must be at most {MOST[option]:,}")
    if trials is not None:
        budget = replace(suite.budget, trials=trials, batch=min(suite.budget.batch, trials))
        suite = replace(suite, budget=budget)
    if limit is not None:
        suite = replace(suite, limit=limit)
    return replace(suite, seed=seed) if seed is not None else suite


def pick_device(device: str) -> str:
    """The device to use; torch is asked only where a GPU's driver is to be seen."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", device):
        raise SuiteError(f"device {device[:50]!r}: write auto, cpu, cuda or cuda:N")
    if device != "auto":
        return device
    if not Path("/proc/driver/nvidia/version").exists():
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
