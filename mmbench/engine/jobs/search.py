"""The search of one cell: ask a batch of configurations, train each, tell their validation scores.

The study lives in memory and is replayed from the stored trials: trial k is asked with a sampler seeded from
(suite seed, task, contender, k), after exactly the batches before it, so a run that was killed resumes as if it had
not been.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import optuna
from optuna.trial import TrialState

from mmbench.api.parts.scores import sign
from mmbench.api.record import Trial
from mmbench.api.space import Choice, Int, Parameter, Params
from mmbench.api.suite import Budget
from mmbench.engine.jobs.attempt import Attempt, PrunedError, groups, train_together
from mmbench.engine.jobs.workspace import Workspace
from mmbench.engine.space import configure, default_params, derive_seed, full_space, is_structural, open_params

Begin: TypeAlias = Callable[[Sequence[tuple[int, Params]]], None]
"""Hears which trials are trained now."""


def trials_of(workspace: Workspace) -> int:
    """How many trials the cell's search has: where nothing is to be tuned, one says it all."""
    return workspace.cell.budget.trials if open_params(workspace.cell, workspace.catalog) else 1


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
    size = trials_of(workspace)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize" if cell.direction == "max" else "minimize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=max(2, cell.budget.epochs // 4)),
    )
    study.enqueue_trial(default_params(cell, workspace.catalog))
    rungs = Rungs(cell.budget, cell.direction)
    trials: list[Trial] = []
    for start in range(0, size, cell.budget.batch):
        if _hopeless(workspace, trials):
            break
        asked = _ask_batch(study, workspace, range(start, min(start + cell.budget.batch, size)))
        batch = _Batch(workspace, asked, known, rungs, begin=begin, finished=finished).run()
        for entry, trial in zip(asked, batch, strict=True):
            _tell(study, entry.handle, trial)
        trials += batch
        if enough(trials):
            break
    return trials


class Rungs:
    """Successive halving without waiting (the stopping form of ASHA, arXiv:1810.05934): after a quarter and after
    half of the epochs a training continues if its best score is in the better half of all that ever came so far."""

    def __init__(self, budget: Budget, direction: str) -> None:
        self.sign = sign(direction)
        self.seen: dict[int, dict[int, float]] = {math.ceil(budget.epochs / 2**k): {} for k in (2, 1)}
        """{epochs: {number of a trial: its best score by then}}; larger is better."""

    def loses(self, number: int, curve: Sequence[float]) -> bool:
        """Hear of each epoch of a trial; gives whether it ends here. The first two at a rung never do."""
        if len(curve) == 1:  # what began together and failed begins again, alone
            for seen in self.seen.values():
                seen.pop(number, None)
        if len(curve) not in self.seen:
            return False
        seen, best = self.seen[len(curve)], max(self.sign * score for score in curve)
        better = sum(other > best for other in seen.values())
        seen[number] = best
        return len(seen) > 2 and better >= math.ceil(len(seen) / 2)


@dataclass(frozen=True)
class _Asked:
    """What the sampler wants tried."""

    handle: optuna.Trial
    params: Params


class _Batch:
    """The trials that are asked together, from configurations to scores."""

    def __init__(
        self,
        workspace: Workspace,
        asked: Sequence[_Asked],
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


def _hopeless(workspace: Workspace, trials: Sequence[Trial]) -> bool:
    """Whether half of the trials are done and the suite lets a cell give up that did so badly."""
    cell = workspace.cell
    if cell.give_up is None or len(trials) < cell.budget.trials / 2:
        return False
    better = sign(cell.direction)
    return not any(trial.score is not None and better * trial.score >= better * cell.give_up for trial in trials)


def _ask_batch(study: optuna.Study, workspace: Workspace, numbers: range) -> list[_Asked]:
    """Ask for a batch; of each `budget.cohort` trials in it, the later ones have the first one's structure, if they can
    then train together."""
    cell = workspace.cell
    space = full_space(cell, workspace.catalog)
    asked: list[_Asked] = []
    shared: dict[str, Any] = {}
    for place, number in enumerate(numbers):
        leads = place % cell.budget.cohort == 0
        if shared and not leads:
            study.enqueue_trial(shared)
        asked.append(_ask(study, workspace, number))
        if leads:
            members = min(cell.budget.cohort, len(numbers) - place)
            structure = {n: v for n, v in asked[-1].handle.params.items() if is_structural(space, n)}
            shared = structure if train_together(workspace, asked[-1].params, members) else {}
    return asked


def _ask(study: optuna.Study, workspace: Workspace, number: int) -> _Asked:
    cell = workspace.cell
    seed = derive_seed(cell.seed, cell.task.name, cell.contender, "sampler", number)
    # With the usual ten random trials a small budget would be random search.
    study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=min(10, max(4, cell.budget.trials // 4)))
    handle = study.ask()
    own = configure(cell, workspace.catalog, lambda name, parameter: _suggest(handle, name, parameter))
    return _Asked(handle, {**workspace.base, **own})


def _suggest(handle: optuna.Trial, name: str, parameter: Parameter) -> Any:
    if isinstance(parameter, Choice):
        return handle.suggest_categorical(name, list(parameter.options))
    if isinstance(parameter, Int):
        return handle.suggest_int(name, parameter.low, parameter.high, log=parameter.log)
    return handle.suggest_float(name, parameter.low, parameter.high, log=parameter.log)


def _tell(study: optuna.Study, handle: optuna.Trial, trial: Trial) -> None:
    reported = study.trials[handle.number].intermediate_values
    for epoch, score in enumerate(trial.curve):
        if epoch not in reported:  # a trial from the store, or one that nobody watched
            handle.report(score, epoch)
    if trial.status == "ok":
        study.tell(handle, trial.score)
    else:
        study.tell(handle, state=TrialState.PRUNED if trial.status == "pruned" else TrialState.FAIL)
