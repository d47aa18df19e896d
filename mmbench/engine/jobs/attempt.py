"""Configurations in training, together or one by one: how far each came and how it ended.

Search and refits use it. Whatever a part does wrong becomes the attempt's status.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, TypeAlias

import torch

from mmbench.api.files import disk_full
from mmbench.api.record import Status
from mmbench.api.space import Params
from mmbench.engine import clock
from mmbench.engine.jobs.derived import derived
from mmbench.engine.jobs.estimator import fit_estimator
from mmbench.engine.jobs.workspace import Workspace
from mmbench.engine.learn.cohort import FEWEST, Cohort, pays
from mmbench.engine.learn.optimizer import rule_of
from mmbench.engine.learn.train import Fit, TimeUpError, Training
from mmbench.engine.space import full_space, is_structural, settings, together
from mmbench.errors import DataError, MMBenchError, blamed, told


class PrunedError(Exception):
    """The attempt is not worth continuing; the message says why."""


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
    refit: int = 0
    """Which of its parent's refits a derived one changes, by seed number."""

    def begin_anew(self) -> None:
        self.status, self.reason, self.model = "ok", None, None
        self.fit, self.together = Fit(), 1

    def end(self, status: Status, reason: str) -> None:
        """Note that it did not end well."""
        self.status, self.reason = status, reason


Watch: TypeAlias = Callable[[Attempt], None]
"""Called after each epoch of an attempt; may raise PrunedError."""


class Group:
    """Attempts that are trained in one program; most often a single one."""

    def __init__(self, workspace: Workspace, attempts: Sequence[Attempt]) -> None:
        self.workspace, self.attempts = workspace, tuple(attempts)

    def run(self, watch: Watch = lambda attempt: None) -> None:
        """Train every attempt to its end."""
        if len(self.attempts) == 1:
            self._run_alone(self.attempts[0], watch)
        elif not self._run_together(watch):
            for attempt in self.attempts:
                attempt.begin_anew()
                self._run_alone(attempt, watch)

    def _run_alone(self, attempt: Attempt, watch: Watch) -> None:
        started = clock.seconds()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a part's warnings are not the user's business in mid-search
                self._train(attempt, watch)
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
        attempt.seconds += clock.seconds() - started

    def _train(self, attempt: Attempt, watch: Watch) -> None:
        workspace = self.workspace
        if workspace.origin:
            attempt.model, attempt.fit = derived(workspace, attempt.params, attempt.refit)
            return
        if not workspace.is_trained(attempt.params):
            attempt.model, attempt.fit = fit_estimator(workspace, attempt.params, attempt.seed)
            return
        lesson, recipe = workspace.lesson(attempt.params), workspace.recipe(attempt.params, attempt.seed)
        training = Training(workspace.model(attempt.params, attempt.seed), recipe, lesson)
        attempt.fit = training.fit
        while not training.over:
            training.advance()
            watch(attempt)
        attempt.model = training.model

    def _run_together(self, watch: Watch) -> bool:
        """False if the attempts can't be trained as one program; what was done then does not count."""
        started = clock.seconds()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._train_cohort(_cohort(self.workspace, self.attempts), watch)
        except TimeUpError:
            for attempt in self.attempts:
                if attempt.status == "ok" and attempt.model is None:
                    attempt.end("timeout", f"longer than {self.workspace.cell.budget.trial_seconds:g} seconds")
        except Exception:  # no batching rule, no memory for all, or a fault of the part's own: one by one will tell
            return False
        for attempt in self.attempts:
            attempt.seconds += (clock.seconds() - started) / len(self.attempts)
        return True

    def _train_cohort(self, cohort: Cohort, watch: Watch) -> None:
        for attempt, fit in zip(self.attempts, cohort.fits, strict=True):
            attempt.fit, attempt.together = fit, len(self.attempts)
        while not cohort.over:
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
                    attempt.end("pruned", str(error))
                    cohort.stop(k)
                    continue
                if k not in cohort.alive:
                    attempt.model = cohort.model(k)


def groups(workspace: Workspace, attempts: Sequence[Attempt]) -> list[Group]:
    """Which attempts are trained together. It follows from their configurations alone, so that it is the same in a run
    that is resumed as in one that was never stopped."""
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


def train_together(workspace: Workspace, params: Params, members: int) -> bool:
    """Whether so many configurations of one structure would train as one program, by all that is known beforehand."""
    if members < FEWEST or not _may_join(workspace, params):
        return False
    try:
        model = workspace.model(params, seed=0)
    except (Exception, SystemExit):  # its trial will tell
        return False
    return pays([model] * members, params["train.batch_size"])


def _may_join(workspace: Workspace, params: Params) -> bool:
    """Whether nothing that is known beforehand keeps such configurations from training as one."""
    if workspace.origin or not workspace.is_trained(params):
        return False
    if params.get("train.clip", 0.0) > 0 or params.get("train.accumulate", 1) > 1:
        return False  # a cohort does neither
    catalog = workspace.catalog
    parts: list[Any] = [workspace.head, catalog.fusions[params["fusion"]], rule_of(catalog, params).optimizer]
    encoders = {m: catalog.encoders[params[f"encoder.{m}"]] for m in workspace.cell.encoders}
    parts += [catalog.objectives[name] for name in together(params["objective"])] if "objective" in params else []
    joining = (e.together(settings(e, params, f"encoder.{m}.{e.name}")) for m, e in encoders.items())
    return all(part.cohort for part in parts) and all(joining)


def _cohort(workspace: Workspace, attempts: Sequence[Attempt]) -> Cohort:
    models = [workspace.model(attempt.params, attempt.seed) for attempt in attempts]
    recipes = [workspace.recipe(attempt.params, attempt.seed) for attempt in attempts]
    if not pays(models, recipes[0].batch_size):
        raise MMBenchError("one by one is as fast")
    return Cohort(models, recipes, workspace.lesson(attempts[0].params))


def _out_of_memory(error: Exception) -> bool:
    """torch has no error class for this on a CPU."""
    return isinstance(error, RuntimeError) and (
        "DefaultCPUAllocator" in told(error) or "not enough memory" in told(error)
    )
