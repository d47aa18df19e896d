"""Configurations on their way: what is to be trained, together or one by one, how far each came and how it ended.

Search and refits use it. A `Group` trains its attempts up to an epoch and stands still; whatever a part does wrong
becomes the attempt's status.
"""

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, TypeAlias

import torch

from mmbench.api.record import Status
from mmbench.api.space import Params
from mmbench.engine.data.tables import disk_full
from mmbench.engine.data.workspace import Workspace
from mmbench.engine.learn.cohort import FEWEST, Cohort, pays
from mmbench.engine.learn.estimator import fit_estimator
from mmbench.engine.learn.heads import MatchHead
from mmbench.engine.learn.train import Fit, Recipe, TimeUpError, Training
from mmbench.engine.space import full_space, is_structural, part_params
from mmbench.errors import DataError, MMBenchError, blamed


class PrunedError(Exception):
    """The attempt is not worth going on with; the message says why."""


@dataclass(eq=False)
class Attempt:
    """One configuration under one seed."""

    params: Params
    seed: int
    status: Status = "ok"
    reason: str | None = None
    fit: Fit = field(default_factory=Fit)
    model: Any = None
    """The trained model or estimator, once it has ended well."""
    seconds: float = 0.0
    together: int = 1
    """How many were trained as one program with it, itself included."""
    ended: bool = False

    def begin_anew(self) -> None:
        self.status, self.reason, self.ended = "ok", None, False
        self.fit, self.together = Fit(), 1

    def end(self, status: Status = "ok", reason: str | None = None) -> None:
        self.status, self.reason, self.ended = status, reason, True


Watch: TypeAlias = Callable[[Attempt], None]
"""Called after each epoch of an attempt; may raise PrunedError."""


class Group:
    """Attempts that are trained in one program; most often a single one."""

    def __init__(self, workspace: Workspace, attempts: Sequence[Attempt]) -> None:
        self.workspace, self.attempts = workspace, tuple(attempts)
        self._cohort: Cohort | None = None
        self._training: Training | None = None
        self._rest: list[Group] | None = None
        """The attempts one by one, where it turned out that they can't go together."""

    def advance(self, until: int, watch: Watch = lambda attempt: None) -> None:
        """Train every attempt that has not ended up to epoch `until`."""
        if all(attempt.ended for attempt in self.attempts):
            return
        if self._rest is None and len(self.attempts) > 1 and not self._advance_together(until, watch):
            self._rest = [Group(self.workspace, [attempt]) for attempt in self.attempts]
        if self._rest is not None:
            for group in self._rest:
                group.advance(until, watch)
        elif len(self.attempts) == 1:
            self._advance_alone(self.attempts[0], until, watch)

    def prune(self, attempt: Attempt, reason: str) -> None:
        """Go on without this one."""
        attempt.end("pruned", reason)
        if self._cohort:
            self._cohort.stop(self.attempts.index(attempt))

    def _advance_alone(self, attempt: Attempt, until: int, watch: Watch) -> None:
        started = time.monotonic()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a part's warnings are not the user's business in mid-search
                self._train(attempt, until, watch)
        except PrunedError as error:
            attempt.end("pruned", str(error))
        except TimeUpError:
            attempt.end("timeout", f"longer than {self.workspace.cell.budget.trial_seconds:g} seconds")
        except (MemoryError, torch.OutOfMemoryError) as error:
            attempt.end("oom", blamed(error))
        except SystemExit as error:
            attempt.end("error", f"a part called sys.exit({error.code!r})")
        except Exception as error:  # a part's failure is charged to its contender, and shown
            if isinstance(error, DataError) or disk_full(error):
                raise  # data are missing or the disk is full: no contender's fault
            attempt.end("oom" if _out_of_memory(error) else "error", blamed(error))
        attempt.seconds += time.monotonic() - started
        if attempt.ended:
            self._training = None

    def _train(self, attempt: Attempt, until: int, watch: Watch) -> None:
        workspace = self.workspace
        if not workspace.is_trained(attempt.params):
            attempt.model, attempt.fit = fit_estimator(workspace, attempt.params, attempt.seed)
            attempt.end()
            return
        if self._training is None:
            lesson, recipe = workspace.lesson(attempt.params), _recipe(workspace, attempt)
            self._training = Training(workspace.model(attempt.params, attempt.seed), recipe, lesson)
        training, attempt.fit = self._training, self._training.fit
        while not training.over and len(attempt.fit.curve) < until:
            training.advance()
            watch(attempt)
        if training.over:
            attempt.model = training.model
            attempt.end()

    def _advance_together(self, until: int, watch: Watch) -> bool:
        """False if the attempts can't be trained as one program; then nothing has happened to them."""
        started, living = time.monotonic(), [attempt for attempt in self.attempts if not attempt.ended]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._cohort = self._cohort or _cohort(self.workspace, self.attempts)
                self._train_cohort(self._cohort, until, watch)
        except TimeUpError:
            for attempt in (attempt for attempt in living if not attempt.ended):
                attempt.end("timeout", f"longer than {self.workspace.cell.budget.trial_seconds:g} seconds")
        except Exception:  # no batching rule, no memory for all, or a fault of the part's own: one by one will tell
            for attempt in living:
                attempt.begin_anew()
            return False
        for attempt in living:
            attempt.seconds += (time.monotonic() - started) / len(living)
        return True

    def _train_cohort(self, cohort: Cohort, until: int, watch: Watch) -> None:
        for attempt, fit in zip(self.attempts, cohort.fits, strict=True):
            attempt.fit, attempt.together = fit, len(self.attempts)
        while any(len(cohort.fits[k].curve) < until for k in cohort.alive):
            members = list(cohort.alive)
            cohort.advance()
            for k in members:
                attempt = self.attempts[k]
                if k in cohort.failures:
                    attempt.end("error", f"TrainingError: {cohort.failures[k]}")
                    continue
                try:
                    watch(attempt)
                except PrunedError as error:
                    self.prune(attempt, str(error))
                    continue
                if k not in cohort.alive:
                    attempt.model = cohort.model(k)
                    attempt.end()


def groups(workspace: Workspace, attempts: Sequence[Attempt]) -> list[Group]:
    """Which attempts are trained together. It follows from their configurations alone, so that it is the same in a run
    that goes on as in one that was never stopped."""
    space = full_space(workspace.cell, workspace.catalog)

    def structure(attempt: Attempt) -> list[tuple[str, Any]]:
        shape = {n: v for n, v in attempt.params.items() if is_structural(space, n)}
        return sorted(shape.items())

    found: list[Group] = []
    for _, alike in groupby(attempts, key=structure):
        together = list(alike)
        whole = len(together) >= FEWEST and _may_join(workspace, together[0].params)
        found += [Group(workspace, part) for part in ([together] if whole else [[one] for one in together])]
    return found


def _may_join(workspace: Workspace, params: Params) -> bool:
    """Whether nothing that is known beforehand keeps such configurations from training as one."""
    if not workspace.is_trained(params) or isinstance(workspace.head, MatchHead):
        return False
    catalog = workspace.catalog
    parts: list[Any] = [catalog.fusions[params["fusion"]]]
    parts += [catalog.encoders[params[f"encoder.{m}"]] for m in workspace.cell.encoders]
    parts += [catalog.objectives[params["objective"]]] if "objective" in params else []
    return all(part.cohort for part in parts)


def _cohort(workspace: Workspace, attempts: Sequence[Attempt]) -> Cohort:
    models = [workspace.model(attempt.params, attempt.seed) for attempt in attempts]
    recipes = [_recipe(workspace, attempt) for attempt in attempts]
    if not pays(models, recipes[0].batch_size):
        raise MMBenchError("one by one is as fast")
    return Cohort(models, recipes, workspace.lesson(attempts[0].params))


def _recipe(workspace: Workspace, attempt: Attempt) -> Recipe:
    budget = workspace.cell.budget
    tuned = part_params(attempt.params, "train")
    return Recipe(
        epochs=budget.epochs, patience=budget.patience, seed=attempt.seed, seconds=budget.trial_seconds, **tuned
    )


def _out_of_memory(error: Exception) -> bool:
    """torch has no class of its own for this on a CPU."""
    return isinstance(error, RuntimeError) and (
        "DefaultCPUAllocator" in str(error) or "not enough memory" in str(error)
    )
