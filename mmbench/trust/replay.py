"""Asks a run's samplers again. A sampler is seeded, and what it asks for follows from the scores before: so each stored
trial must be the one that was asked for, each early end one that was due, and no trial may be missing. It also holds
what a record says of its parts against the key that was made of them.

Trains nothing. Needs the parts and the optuna that the run had; where they have changed a note says so. Used by
`verify`.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmbench.api.record import AFTER, FAILED, Record, Trial
from mmbench.api.suite import Suite, placed, task_of
from mmbench.engine import identity
from mmbench.engine import plan as planning
from mmbench.engine.space import Cell, is_structural
from mmbench.errors import MMBenchError
from mmbench.plugins import Catalog
from mmbench.trust.contents import Cell as Stored
from mmbench.trust.contents import Contents, place
from mmbench.trust.findings import Finding, altered, short
from mmbench.trust.trials import TRIALS

if TYPE_CHECKING:
    from mmbench.engine.jobs.sampling import Asked

MOST = 1_000
"""Trials of a cell: the sampler's time grows with their square."""
CLOSE = 1e-9
"""Relative: another processor may differ in the last digits."""
JOINED = 4
"""So many alike may have begun to train as one program, and failed: when they then ended is not to be told."""


@dataclass
class Replay:
    """Goes through a run's cells; notes why some could not be replayed."""

    contents: Contents
    suite: Suite
    catalog: Catalog
    replayed: int = 0
    """How many trials are those that were asked for."""
    _left: dict[str, list[str]] = field(default_factory=dict)
    """{why it can't be replayed: cells}"""
    _unmade: dict[str, list[str]] = field(default_factory=dict)
    """{why its key can't be made here: cells that were replayed all the same}"""
    _cells: dict[tuple[str, str], Cell] = field(default_factory=dict)
    _catalogs: dict[str, Catalog] = field(default_factory=dict)
    """{task: the catalog with what the suite describes}"""

    def check(self) -> Iterator[Finding]:
        problems = self._resolve()
        for stored in self.contents.cells.values():
            for where, record in stored.records[:1]:
                cell = self._cells.get((record.task, record.contender))
                if cell is None:
                    why = problems.get(task_of(record.task), "the suite makes no such contender here")
                    self._left.setdefault(why, []).append(place(record))
                elif not record.identity:
                    self._left.setdefault("made before results had a protocol", []).append(place(record))
                else:
                    yield from self._cell(where, stored, record, cell)

    def notes(self) -> list[str]:
        """What was not replayed, and why."""
        unmade = "keys not made again, so that limit, encoders and code are unchecked, as"
        found = [f"not asked again, as {why}: {_few(names)}" for why, names in self._left.items()]
        return found + [f"{unmade} {why}: {_few(names)}" for why, names in self._unmade.items()]

    def uncovered(self) -> list[str]:
        """Contenders of the suite that the run has nothing of."""
        latest = self.contents.latest()
        planned = {(cell.task, cell.contender) for _, plan in self.contents.plans for cell in plan.cells}
        names = [f"{task}/{contender}" for task, contender in self._cells if (task, contender) not in latest]
        missing = [name for name in names if tuple(name.split("/", 1)) not in planned]
        if not missing:
            return []
        return [f"suite.toml also asks for {_few(missing)}: never run here, or taken out of the run and its plan"]

    def _resolve(self) -> dict[str, str]:
        """Make the suite's cells here, task by task; gives {task: why it has none}."""
        problems: dict[str, str] = {}
        encoders = placed(self.suite.encoders, Path.cwd())
        for spec in self.suite.tasks:
            there = dict.fromkeys(r.contender for _, r in self.contents.records if task_of(r.task) == spec.name)
            marks = {spec.dataset: ""}  # each record has its own
            known: set[str] = set()
            for names in ([], *([name] for name in there)):  # those of the suite, then fusions that were added by name
                if known.issuperset(names) and names:
                    continue
                try:
                    catalog = self.catalog.with_own({spec.dataset: spec.data} if spec.data else {}, encoders)
                    found = planning.resolve(self.suite, catalog, tasks=[spec.name], contenders=names, marks=marks)
                except MMBenchError as error:
                    problems[spec.name] = str(error)
                    continue
                self._catalogs[spec.name] = catalog
                self._cells |= {(cell.task.name, cell.contender): cell for cell in found}
                known |= {cell.contender for cell in found}
        return problems

    def _cell(self, where: str, stored: Stored, record: Record, cell: Cell) -> Iterator[Finding]:
        device = record.environment.get("device")
        cell = replace(cell, fingerprint=str(record.dataset.get("fingerprint")))
        if cell.parent:
            cell = replace(cell, parent=replace(cell.parent, key=str(record.derived.get("cell"))))
        if identity.key(cell, str(device)) == record.cell:
            yield from self._authentic(where, record, cell)
        else:
            changed = identity.changes(cell, record)
            if changed == [identity.OTHER]:
                what = "its key is not the one that its suite, parts, libraries, data and device make"
                yield Finding("record", where, what)
            dataset, libraries = f"dataset.{cell.task.dataset}", record.identity.get("libraries") or {}
            if record.parts.get(dataset) == cell.parts[dataset]:
                yield from self._modalities(where, record, cell)
            same = record.parts == cell.parts and record.space_hash == cell.space_hash
            same &= record.identity.get("protocol") == identity.PROTOCOL
            if not same or libraries.get("optuna") != cell.libraries["engine"]["optuna"]:
                self._left.setdefault("; ".join(changed[:3]), []).append(place(record))
                return
            if changed != [identity.OTHER]:
                self._unmade.setdefault("; ".join(changed[:3]), []).append(place(record))
        if cell.skip or record.status == "skipped":
            if record.status != "skipped":
                yield Finding("record", where, f"ended as {record.status}, but is skipped here: {cell.skip}")
            elif cell.skip:
                yield from altered("record", where, [("its reason", record.reason, cell.skip)], against="suite.toml")
            elif not cell.parent:
                yield Finding("record", where, "is skipped, but it fits its task here")
            return
        if cell.budget.trials > MOST:
            self._left.setdefault(f"granted more than {MOST:,} trials", []).append(place(record))
            return
        yield from self._search(record, stored, cell)

    def _authentic(self, where: str, record: Record, cell: Cell) -> Iterator[Finding]:
        """The key was made of what is installed here, so what the record says of that must be so."""
        told = identity.told(cell)
        pairs: list[tuple[str, Any, Any]] = [("its search space", record.space_hash, cell.space_hash)]
        pairs += [(f"parts.{n}", record.parts.get(n), cell.parts.get(n)) for n in {**cell.parts, **record.parts}]
        names = {**told, **record.identity}.keys() - {identity.JUDGES}
        pairs += [(f"identity.{n}", record.identity.get(n), told.get(n)) for n in sorted(names)]
        yield from altered("record", where, pairs, against="what its key was made of")
        yield from self._modalities(where, record, cell)

    def _modalities(self, where: str, record: Record, cell: Cell) -> Iterator[Finding]:
        pairs = [("what it sees", dict(record.modalities), dict(cell.task.modalities))]
        yield from altered("suite", where, pairs, against="suite.toml")

    def _search(self, record: Record, stored: Stored, cell: Cell) -> Iterator[Finding]:
        trials = sorted((trial for _, trial in stored.trials), key=lambda trial: trial.number)
        if [trial.number for trial in trials] != list(range(len(trials))):
            return  # which `trials` has told of
        base = self._base(record, cell)
        if base is None:
            return  # which `cells` has told of
        reason = record.reason or ""
        whole = record.status == "ok" or bool(record.refits) or reason.startswith((FAILED, AFTER))
        problem: tuple[int, str] | None = (0, "")
        apart: set[int] = set()
        while problem:
            walk = _Walk(cell, self._catalogs[task_of(cell.task.name)], base, trials, apart)
            problem = walk.problem(whole)
            if problem is None or walk.leader is None or walk.leader in apart:
                break
            apart.add(walk.leader)  # that they look alike was chance: they were asked for one by one
        if problem is None:
            self.replayed += len(trials)
            return
        number, what = problem
        at = next((at for at, trial in stored.trials if trial.number == number), TRIALS)
        yield Finding("trials", f"{at}, {place(record)}" + (f", trial {number}" if at != TRIALS else ""), what)

    def _base(self, record: Record, cell: Cell) -> Mapping[str, Any] | None:
        """What a derived cell's configurations have of its parent's."""
        if cell.parent is None:
            return {}
        stored = self.contents.cells.get(str(record.derived.get("cell")))
        return stored.records[0][1].params if stored and stored.records else None


class _Walk:
    """One search from its first trial to its last. apart: the first ones of groups that are alike by chance."""

    def __init__(
        self, cell: Cell, catalog: Catalog, base: Mapping[str, Any], trials: Sequence[Trial], apart: set[int]
    ) -> None:
        from mmbench.engine.jobs.sampling import Rungs, Sampler
        from mmbench.engine.space import full_space

        self.cell, self.catalog, self.trials, self.apart = cell, catalog, trials, apart
        self.space = full_space(cell, catalog)
        self.leader: int | None = None
        """The first trial of the group in which the problem lies, if it was taken for one."""
        self._groups: list[int] = []
        self._asked = 0
        self.sampler: Sampler = Sampler(cell, catalog, base, self._joins)
        self.rungs: Rungs = Rungs(cell.budget, cell.direction)

    def problem(self, whole: bool) -> tuple[int, str] | None:
        """The first thing that can't be, and the trial's number. whole: the search came to its end."""
        from mmbench.engine.jobs.sampling import batches, hopeless, trials_due

        size = trials_due(self.cell, self.catalog)
        for numbers in batches(self.cell, size):
            if hopeless(self.cell, self.trials[: numbers.start]):
                size = numbers.start
                break
            if numbers.start >= len(self.trials):
                break
            self._asked, self._groups = numbers.start, []
            asked = self.sampler.ask(numbers)
            there = [self.trials[number] for number in numbers if number < len(self.trials)]
            for entry, trial in zip(asked, there, strict=False):
                odd = [n for n in {**entry.params, **trial.params} if not _alike(entry.params, trial.params, n)]
                if odd:
                    cohort = self.cell.budget.cohort
                    self.leader = next((one for one in self._groups if one <= trial.number < one + cohort), None)
                    stated, due = trial.params.get(odd[0]), entry.params.get(odd[0])
                    told = f"its {odd[0]} is {short(stated)}, but the sampler asks for {short(due)} after"
                    return trial.number, f"{told} the trials before it: it, or a score of theirs, was edited"
            if found := self._ends(there, asked):
                return found
            if len(there) < len(numbers):
                break
            for entry, trial in zip(asked, there, strict=True):
                self.sampler.tell(entry.handle, trial)
        if len(self.trials) > size or (whole and len(self.trials) < size):
            return -1, f"has {len(self.trials)} trials, but its search has {size}"
        return None

    def _joins(self, params: Mapping[str, Any], members: int) -> bool:
        """Whether those after this one have its structure because they were to train with it, by what is stored."""
        number = self._asked
        self._asked += self.cell.budget.cohort
        group = [self._structure(trial) for trial in self.trials[number : number + members]]
        if members < 2 or self.cell.parent or number in self.apart or any(shape != group[0] for shape in group):
            return False
        self._groups.append(number)
        return True

    def _structure(self, trial: Trial) -> dict[str, Any]:
        return {name: value for name, value in trial.params.items() if is_structural(self.space, name)}

    def _ends(self, trials: Sequence[Trial], asked: "Sequence[Asked]") -> tuple[int, str] | None:
        """Hold the early ends of a batch against the rule that made them."""
        if self.cell.budget.pruning == "none":
            return next(
                ((t.number, "was pruned, which this suite does not") for t in trials if t.status == "pruned"), None
            )
        start = 0
        while start < len(trials):
            together = max(1, trials[start].together)
            group = trials[start : start + together]
            shape = self._structure(trials[start])
            alike = [trial for trial in trials if self._structure(trial) == shape]
            told = together > 1 or len(alike) < JOINED
            for epoch in range(max(len(trial.curve) for trial in group)):
                for place_, trial in enumerate(group, start):
                    curve = trial.curve[: min(trial.epochs, epoch + 1)]
                    if len(curve) <= epoch:
                        continue
                    loses = self._loses(trial, curve, asked[place_])
                    ends = trial.status == "pruned" and len(curve) == trial.epochs
                    if told and loses != ends and not (trial.status not in ("ok", "pruned") and loses):
                        rule = "it was to be pruned" if loses else "it was not to be pruned"
                        return (
                            trial.number,
                            f"after {epoch + 1} epochs {rule}: a curve, its own or an earlier, was edited",
                        )
            start += together
        return None

    def _loses(self, trial: Trial, curve: Sequence[float], asked: "Asked") -> bool:
        if self.cell.budget.pruning == "halving":
            return self.rungs.loses(trial.number, curve)
        asked.handle.report(curve[-1], len(curve) - 1)
        return bool(asked.handle.should_prune())


def _alike(asked: Mapping[str, Any], stored: Mapping[str, Any], name: str) -> bool:
    one, other = asked.get(name), stored.get(name)
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=CLOSE)
    return name in asked and name in stored and one == other


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
