"""The search of one cell: ask a batch of configurations, train each, tell their validation scores.

The study lives in memory and is replayed from the stored trials: trial k is asked with a sampler seeded from
(suite seed, task, contender, k), after exactly the batches before it, so a run that was killed goes on as if it had
not been.
"""

import errno
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import optuna
import torch
from optuna.trial import TrialState

from mmbench.api.record import Status, Trial
from mmbench.api.space import Choice, Int, Parameter, Params
from mmbench.engine.data.workspace import Workspace
from mmbench.engine.learn.estimator import fit_estimator
from mmbench.engine.learn.train import Fit, Recipe, TimeUpError, fit
from mmbench.engine.space import configure, default_params, derive_seed, part_params
from mmbench.errors import DataError, MMBenchError

Begin: TypeAlias = Callable[[int, Params], None]


class PrunedError(Exception):
    """The trial is worse than most at this epoch."""


@dataclass(frozen=True)
class Outcome:
    """How one training ended, whoever asked for it."""

    status: Status
    reason: str | None
    fit: Fit | None
    seconds: float


def search(
    workspace: Workspace, history: Sequence[Trial], *, begin: Begin, finished: Callable[[Trial], None]
) -> list[Trial]:
    """Try the budget's trials, those in `history` not again. `begin` and `finished` hear of each new one."""
    cell = workspace.cell
    known = {trial.number: trial for trial in history}
    size = cell.budget.trials if _is_open(workspace) else 1  # nothing to tune: one trial says it all
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize" if cell.direction == "max" else "minimize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=max(2, cell.budget.epochs // 4)),
    )
    study.enqueue_trial(default_params(cell, workspace.catalog))
    trials: list[Trial] = []
    for start in range(0, size, cell.budget.batch):
        asked = [_ask(study, workspace, number) for number in range(start, min(start + cell.budget.batch, size))]
        batch = []
        for handle, params in asked:
            trial = known.get(handle.number)
            if trial is None:
                begin(handle.number, params)
                trial = _try(workspace, handle, params)
                finished(trial)
            batch.append(trial)
        for (handle, _), trial in zip(asked, batch, strict=True):
            _tell(study, handle, trial)
        trials += batch
    return trials


def run(
    workspace: Workspace, params: Params, seed: int, *, report: Callable[[int, float], None] | None = None
) -> tuple[Outcome, Any]:
    """Train one configuration; gives how it ended and the trained model or estimator (None if it failed)."""
    budget = workspace.cell.budget
    started = time.monotonic()
    model: Any = None
    result: Fit | None = None
    status: Status = "ok"
    reason = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a part's warnings are not the user's business in the middle of a search
            train, valid = workspace.inputs(params, "train"), workspace.inputs(params, "validation")
            if workspace.is_trained(params):
                model = workspace.model(params, seed)
                recipe = Recipe(
                    epochs=budget.epochs,
                    patience=budget.patience,
                    seed=seed,
                    deadline=started + budget.trial_seconds,
                    **part_params(params, "train"),
                )
                result = fit(
                    model,
                    train,
                    recipe,
                    valid=valid,
                    score=workspace.score,
                    direction=workspace.cell.direction,
                    augment=workspace.augment(params),
                    report=report or (lambda epoch, score: None),
                )
            else:
                model, result = fit_estimator(workspace, params, train, valid, seed)
    except PrunedError:
        status, reason = "pruned", "worse than the median at this epoch"
    except TimeUpError:
        status, reason = "timeout", f"longer than {budget.trial_seconds:g} seconds"
    except (MemoryError, torch.OutOfMemoryError) as error:
        status, reason = "oom", _line(error)
    except SystemExit as error:
        status, reason = "error", f"a part called sys.exit({error.code!r})"
    except DataError:  # the disk is full or weights are missing: no contender's fault
        raise
    except Exception as error:  # a part's failure is charged to its contender, and shown
        if _disk_full(error):
            raise DataError(f"no space is left on the disk: {_line(error)}; free some and run again") from error
        if _out_of_memory(error):
            status, reason = "oom", _line(error)
        else:
            status, reason = "error", _line(error)
    ended = status == "ok"
    return Outcome(status, reason, result if ended else None, time.monotonic() - started), model if ended else None


def _try(workspace: Workspace, handle: optuna.Trial, params: Params) -> Trial:
    curve: list[float] = []

    def report(epoch: int, score: float) -> None:
        curve.append(score)
        handle.report(score, epoch)
        if handle.should_prune():
            raise PrunedError

    cell = workspace.cell
    seed = derive_seed(cell.seed, cell.task.name, cell.contender, handle.number)
    outcome, _ = run(workspace, params, seed, report=report)
    score = outcome.fit.score if outcome.fit else None
    return Trial(
        cell=cell.key,
        number=handle.number,
        params=dict(params),
        status=outcome.status,
        reason=outcome.reason,
        score=score,
        curve=curve or ([score] if score is not None else []),
        epochs=len(curve),
        seconds=outcome.seconds,
    )


def _ask(study: optuna.Study, workspace: Workspace, number: int) -> tuple[optuna.Trial, dict[str, Any]]:
    cell = workspace.cell
    seed = derive_seed(cell.seed, cell.task.name, cell.contender, "sampler", number)
    # With the usual ten random trials a small budget would be random search.
    study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=min(10, max(4, cell.budget.trials // 4)))
    handle = study.ask()
    return handle, configure(cell, workspace.catalog, lambda name, parameter: _suggest(handle, name, parameter))


def _suggest(handle: optuna.Trial, name: str, parameter: Parameter) -> Any:
    if isinstance(parameter, Choice):
        return handle.suggest_categorical(name, list(parameter.options))
    if isinstance(parameter, Int):
        return handle.suggest_int(name, parameter.low, parameter.high, log=parameter.log)
    return handle.suggest_float(name, parameter.low, parameter.high, log=parameter.log)


def _tell(study: optuna.Study, handle: optuna.Trial, trial: Trial) -> None:
    reported = study.trials[handle.number].intermediate_values
    for epoch, score in enumerate(trial.curve):
        if epoch not in reported:  # a trial from the store, not run by this process
            handle.report(score, epoch)
    if trial.status == "ok":
        study.tell(handle, trial.score)
    else:
        study.tell(handle, state=TrialState.PRUNED if trial.status == "pruned" else TrialState.FAIL)


def _is_open(workspace: Workspace) -> bool:
    """Whether any parameter of the cell is left to tune."""
    asked: list[str] = []

    def choose(name: str, parameter: Parameter) -> Any:
        asked.append(name)
        return parameter.default

    configure(workspace.cell, workspace.catalog, choose)
    return bool(asked)


def _out_of_memory(error: Exception) -> bool:
    """torch has no class of its own for this on a CPU."""
    return isinstance(error, RuntimeError) and (
        "DefaultCPUAllocator" in str(error) or "not enough memory" in str(error)
    )


def _disk_full(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or "no message"
    return text if isinstance(error, MMBenchError) else f"{type(error).__name__}: {text}"[:500]
