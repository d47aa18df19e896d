"""What a search tries next, and which trainings it ends early: all of it follows from the cell and the scores so far.

Trial k is asked with a sampler seeded from (suite seed, task, contender, k), after exactly the batches before it, so a
run that was killed resumes as if it had not been, and `verify` can hold stored trials against what would have been
asked. Trains nothing and imports no torch.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import optuna
from optuna.trial import TrialState

from mmbench.api.parts.scores import sign
from mmbench.api.record import Trial
from mmbench.api.space import Choice, Int, Parameter, Params
from mmbench.api.suite import Budget
from mmbench.engine.space import Cell, configure, default_params, derive_seed, full_space, is_structural, open_params
from mmbench.plugins import Catalog

Joins: TypeAlias = Callable[[Params, int], bool]
"""joins(a configuration, how many): whether so many that differ from it in nothing structural train as one program."""


def trials_due(cell: Cell, catalog: Catalog) -> int:
    """How many trials the cell's search has: where nothing is to be tuned, one says it all."""
    return cell.budget.trials if open_params(cell, catalog) else 1


def batches(cell: Cell, size: int) -> list[range]:
    """The numbers of the trials that are asked together."""
    return [range(start, min(start + cell.budget.batch, size)) for start in range(0, size, cell.budget.batch)]


def hopeless(cell: Cell, trials: Sequence[Trial]) -> bool:
    """Whether half of the trials are done and the suite lets a cell give up that did so badly."""
    if cell.give_up is None or len(trials) < cell.budget.trials / 2:
        return False
    better = sign(cell.direction)
    return not any(trial.score is not None and better * trial.score >= better * cell.give_up for trial in trials)


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
class Asked:
    """What the sampler wants tried."""

    handle: optuna.Trial
    params: Params


class Sampler:
    """The study of one cell, in memory. base: what a derived cell's configurations have of its parent's."""

    def __init__(self, cell: Cell, catalog: Catalog, base: Params, joins: Joins) -> None:
        self.cell, self.catalog, self.base, self.joins = cell, catalog, base, joins
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(
            direction="maximize" if cell.direction == "max" else "minimize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=max(2, cell.budget.epochs // 4)),
        )
        self.study.enqueue_trial(default_params(cell, catalog))
        self._space = full_space(cell, catalog)

    def ask(self, numbers: range) -> list[Asked]:
        """Ask for a batch; of each `budget.cohort` trials in it, the later ones have the first one's structure, if they
        can then train together."""
        cohort = self.cell.budget.cohort
        asked: list[Asked] = []
        shared: dict[str, Any] = {}
        for place, number in enumerate(numbers):
            leads = place % cohort == 0
            if shared and not leads:
                self.study.enqueue_trial(shared)
            asked.append(self._ask(number))
            if leads:
                members = min(cohort, len(numbers) - place)
                chosen = asked[-1].handle.params
                structure = {n: v for n, v in chosen.items() if is_structural(self._space, n)}
                shared = structure if self.joins(asked[-1].params, members) else {}
        return asked

    def _ask(self, number: int) -> Asked:
        cell = self.cell
        seed = derive_seed(cell.seed, cell.task.name, cell.contender, "sampler", number)
        # With the usual ten random trials a small budget would be random search.
        startup = min(10, max(4, cell.budget.trials // 4))
        self.study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup)
        handle = self.study.ask()
        own = configure(cell, self.catalog, lambda name, parameter: _suggest(handle, name, parameter))
        return Asked(handle, {**self.base, **own})

    def tell(self, handle: optuna.Trial, trial: Trial) -> None:
        """Tell how a trial ended."""
        reported = self.study.trials[handle.number].intermediate_values
        for epoch, score in enumerate(trial.curve):
            if epoch not in reported:  # a trial from the store, or one that nobody watched
                handle.report(score, epoch)
        if trial.status == "ok":
            self.study.tell(handle, trial.score)
        else:
            self.study.tell(handle, state=TrialState.PRUNED if trial.status == "pruned" else TrialState.FAIL)


def _suggest(handle: optuna.Trial, name: str, parameter: Parameter) -> Any:
    if isinstance(parameter, Choice):
        return handle.suggest_categorical(name, list(parameter.options))
    if isinstance(parameter, Int):
        return handle.suggest_int(name, parameter.low, parameter.high, log=parameter.log)
    return handle.suggest_float(name, parameter.low, parameter.high, log=parameter.log)
