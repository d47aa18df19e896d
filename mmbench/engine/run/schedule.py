"""Orders the jobs: data first, then features, then first trials, then the searches, the longest first."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from mmbench.engine.data.shelf import Hold
from mmbench.engine.jobs.job import Assist, Job, LoadData, Prepare, Search, same
from mmbench.engine.run.features import features
from mmbench.engine.space import Cell
from mmbench.plugins import Catalog


class Schedule:
    """The jobs that have not begun yet."""

    def __init__(self, catalog: Catalog, cache: Path, begun: Mapping[str, float]) -> None:
        self.catalog, self.cache = catalog, cache
        self.expected = dict(begun)
        """Seconds of a trial, by cell."""
        self.waiting: dict[Job, set[Job]] = {}
        """In order, with the jobs that each waits for."""
        self.shared: dict[Prepare, int] = {}
        """Long preparations at work, and with how many more workers each could share its units."""
        self.derived: dict[str, list[Cell]] = {}
        """Cells whose search begins when that of their parent is over, by the parent's key."""
        self._preparing: dict[Path, Prepare] = {}
        """By where the features are kept: cells whose views have theirs in common wait for one."""
        self.holds: list[Hold] = []
        """Keep the run's own features in the store until it ends."""

    def add(self, job: Job, needs: set[Job] | None = None) -> None:
        self.waiting[job] = needs or set()

    def add_search(self, cell: Cell) -> None:
        """A cell's first trials, and before them the data and features that it needs; or its search, if its first
        trials were done before."""
        load = _load(cell)
        self.waiting.setdefault(load, set())
        needs: set[Job] = {load}
        for modality, encoders in cell.encoders.items():
            for encoder in encoders:
                folder = features(cell, modality, encoder, self.catalog, self.cache)
                job = self._preparing.get(folder)
                if job is None or job not in self.waiting:
                    job = self._preparing[folder] = Prepare(cell, modality, encoder)
                    self.add(job, set())
                    self.holds.append(Hold(folder))
                self.waiting[job].add(load)  # of the whole data set, or of each of its folds
                needs.add(job)
        self.add(Search(cell, scout=cell.key not in self.expected), needs)

    def add_derived(self, cell: Cell) -> None:
        """The search of a derived cell, once its parent is released."""
        assert cell.parent is not None
        self.derived.setdefault(cell.parent.key, []).append(cell)

    def release(self, parent: Cell, *, load: bool = False) -> None:
        """The search of a cell has ended well, and with it began what is derived from it. load: its data may not be
        there yet."""
        for cell in self.derived.pop(parent.key, ()):
            self.expected[cell.key] = 0.0
            needs: set[Job] = set()
            if load:
                data = _load(cell)
                self.waiting.setdefault(data, set())
                needs = {data}
            self.add(Search(cell), needs)

    def add_rest(self, cell: Cell, *, expected: float) -> None:
        """The rest of a search, of which a trial is expected to take so many seconds."""
        self.expected[cell.key] = expected
        self.add(Search(cell))

    def take(self, free: int) -> list[Job]:
        """As many jobs as seats are free. Of those that can begin: data, then the features that most cells wait for,
        then first trials, then the searches, the longest first."""
        ready = [job for job, needs in self.waiting.items() if not needs] if free else []
        taken = sorted(ready, key=self._turn)[:free]
        for job in taken:
            del self.waiting[job]
        return taken

    def _turn(self, job: Job) -> tuple[int, float]:
        if isinstance(job, Search) and not job.scout:
            return 3, -self.expected[job.cell.key]
        return {LoadData: 0, Prepare: 1}.get(type(job), 2), 0.0

    def take_assists(self, free: int) -> list[Assist]:
        """What seats do that nothing else waits for: take part in long preparations."""
        found: list[Assist] = []
        for job in self.shared:
            while len(found) < free and self.shared[job] > 1:
                self.shared[job] -= 1
                found.append(Assist(job.cell, job.modality, job.encoder))
        return found

    def share(self, job: Prepare, units: int) -> None:
        self.shared[job] = units

    def unshare(self, job: Prepare | Assist) -> None:
        """Nothing is left to share of that preparation."""
        self.shared = {at: units for at, units in self.shared.items() if not same(at, job)}

    def done(self, job: Job) -> None:
        """Whoever waited for it waits no longer."""
        for needs in self.waiting.values():
            needs.discard(job)

    def again(self, job: Job) -> None:
        """It is to be done once more, before all others."""
        self.waiting = {job: set(), **self.waiting}


def _load(cell: Cell) -> LoadData:
    """The job that makes the cell's data ready."""
    return LoadData(cell.task.dataset, cell.fingerprint, replace(cell.fold, number=1) if cell.fold else None)
