"""The search of one cell: ask a batch of configurations, train each, tell their validation scores.

What is asked, `sampling` says: it follows from the trials before, whether they are stored or new.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from mmbench.api.record import Trial
from mmbench.api.space import Params
from mmbench.engine.jobs.attempt import Attempt, PrunedError, groups, train_together
from mmbench.engine.jobs.sampling import Asked, Rungs, Sampler, batches, hopeless, trials_due
from mmbench.engine.jobs.workspace import Workspace
from mmbench.engine.space import derive_seed

Begin: TypeAlias = Callable[[Sequence[tuple[int, Params]]], None]
"""Hears which trials are trained now."""


def trials_of(workspace: Workspace) -> int:
    """How many trials the cell's search has: where nothing is to be tuned, one says it all."""
    return trials_due(workspace.cell, workspace.catalog)


def search(
    workspace: Workspace,
    history: Sequence[Trial],
    *,
    begin: Begin,
    finished: Callable[[Trial], None],
    enough: Callable[[Sequence[Trial]], bool] = lambda trials: False,
) -> list[Trial]:
    """Try the budget's trials, those in `history` not again. `begin` and `finished` hear of each new one; after a batch
    `enough` may say that it is enough for now."""
    cell = workspace.cell
    known = {trial.number: trial for trial in history}
    catalog = workspace.catalog
    sampler = Sampler(cell, catalog, workspace.base, lambda params, count: train_together(workspace, params, count))
    rungs = Rungs(cell.budget, cell.direction)
    trials: list[Trial] = []
    for numbers in batches(cell, trials_of(workspace)):
        if hopeless(cell, trials):
            break
        asked = sampler.ask(numbers)
        batch = _Batch(workspace, asked, known, rungs, begin=begin, finished=finished).run()
        for entry, trial in zip(asked, batch, strict=True):
            sampler.tell(entry.handle, trial)
        trials += batch
        if enough(trials):
            break
    return trials


class _Batch:
    """The trials that are asked together, from configurations to scores."""

    def __init__(
        self,
        workspace: Workspace,
        asked: Sequence[Asked],
        known: Mapping[int, Trial],
        rungs: Rungs,
        *,
        begin: Begin,
        finished: Callable[[Trial], None],
    ) -> None:
        self.workspace, self.known, self.rungs, self.begin, self.finished = workspace, known, rungs, begin, finished
        cell = workspace.cell
        self.handles = [entry.handle for entry in asked]
        seeds = [derive_seed(cell.seed, cell.task.name, cell.contender, h.number) for h in self.handles]
        self.attempts = [Attempt(entry.params, seed) for entry, seed in zip(asked, seeds, strict=True)]
        self.handle_of = dict(zip(self.attempts, self.handles, strict=True))

    def run(self) -> list[Trial]:
        """Train what is not known yet. A group of trials lands whole: it is left out only if all of it is known."""
        for group in groups(self.workspace, self.attempts):
            if all(self._number(attempt) in self.known for attempt in group.attempts):
                for number in map(self._number, group.attempts):
                    curve = self.known[number].curve[: self.known[number].epochs]
                    for epoch in range(len(curve)):
                        self.rungs.loses(number, curve[: epoch + 1])
                continue
            self.begin([(self._number(attempt), dict(attempt.params)) for attempt in group.attempts])
            group.run(self._watch)
            for attempt in group.attempts:
                if self._number(attempt) not in self.known:
                    self.finished(self._trial(attempt))
        return [self._trial(attempt) for attempt in self.attempts]

    def _watch(self, attempt: Attempt) -> None:
        pruning, curve = self.workspace.cell.budget.pruning, attempt.fit.curve
        if pruning == "halving" and self.rungs.loses(self._number(attempt), curve):
            raise PrunedError(f"not in the better half after {len(curve)} epochs")
        if pruning == "median":
            handle = self.handle_of[attempt]
            handle.report(curve[-1], len(curve) - 1)
            if handle.should_prune():
                raise PrunedError("worse than the median at this epoch")

    def _trial(self, attempt: Attempt) -> Trial:
        number, fit = self._number(attempt), attempt.fit
        if number in self.known:
            return self.known[number]
        score = fit.score if attempt.status == "ok" else None
        return Trial(
            cell=self.workspace.cell.key,
            number=number,
            params=dict(attempt.params),
            status=attempt.status,
            reason=attempt.reason,
            score=score,
            curve=list(fit.curve) or ([score] if score is not None else []),
            epochs=len(fit.curve),
            seconds=attempt.seconds,
            together=attempt.together,
        )

    def _number(self, attempt: Attempt) -> int:
        number: int = self.handle_of[attempt].number
        return number
