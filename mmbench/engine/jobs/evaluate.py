"""After the search: refit the winner and the default with each seed, predict test once, let the referee score it.

`refits` runs in a worker, which has the test inputs and no test truth. `Referee` lives in the parent, which has the
truth and runs no plugin's training code; the metrics of plugins score in a process of their own (`run.scoring`).
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from mmbench.api.parts import Metric
from mmbench.api.parts.scores import curve_point, sign
from mmbench.api.record import Refit, Trial, winner
from mmbench.api.space import Params
from mmbench.api.suite import CorruptionSpec
from mmbench.engine.data.tables import viewed
from mmbench.engine.data.view import View
from mmbench.engine.space import Cell, default_params, refit_seed
from mmbench.errors import TrainingError, blamed
from mmbench.plugins import Catalog

if TYPE_CHECKING:
    import numpy as np

    from mmbench.engine.jobs.attempt import Attempt
    from mmbench.engine.jobs.workspace import Workspace

Predictions: TypeAlias = "dict[str, np.ndarray[Any, Any]]"
Role: TypeAlias = Literal["tuned", "default"]
Score: TypeAlias = float | str
"""A metric's score, or why there is none."""
Judge: TypeAlias = "Callable[[Sequence[Metric], np.ndarray[Any, Any], np.ndarray[Any, Any], float], dict[str, Score]]"
"""(metrics, truth, predictions, the seconds that each may take) -> {metric: its score}"""
TEST = "test"


def fitting_metrics(cell: Cell, catalog: Catalog) -> list[Metric]:
    """The metrics that score the cell's task. One that raises when it is asked is taken at what it says it scores."""

    def fits(metric: Metric) -> bool:
        try:
            return metric.concerns(cell.task) and metric.supports(cell.task) is None
        except (Exception, SystemExit):  # anyone's code; whether it scores will be seen
            return cell.task.target.type in metric.targets

    return [metric for metric in catalog.metrics.values() if fits(metric)]


def best(trials: Sequence[Trial], direction: str) -> Trial | None:
    """The first trial of the configuration that won."""
    return winner(trials, sign=sign(direction))


def schedule(cell: Cell, trials: Sequence[Trial], catalog: Catalog, base: Params) -> list[tuple[Role, int, Params]]:
    """Which refits a cell needs: (role, seed number, parameters). The default is refitted too, unless it won. base:
    what a derived cell's configurations have of its parent's."""
    first = best(trials, cell.direction)
    if first is None:
        return []
    wanted: list[tuple[Role, int, Params]] = [("tuned", seed, first.params) for seed in cell.budget.seeds("tuned")]
    if first.number != 0:
        default = {**base, **default_params(cell, catalog)}
        wanted += [("default", seed, default) for seed in cell.budget.seeds("default")]
    return wanted


def refits(
    workspace: "Workspace",
    wanted: Sequence[tuple[Role, int, Params]],
    *,
    done: Collection[tuple[str, int]],
    begin: Callable[[int], None],
    keep: bool = False,
) -> Iterator[tuple[Refit, Predictions, bytes | None]]:
    """Train each with its seed on train (stopping by validation), predict test and its damaged copies.

    Those of one role differ in their seeds only, and train as one program where that is faster: a group is left out if
    all of it is `done`, {(role, seed number)}. `begin` hears how many are trained now. keep: give the
    weights of the winner's models, too, as a safetensors file.
    """
    from torch.nn import Module

    from mmbench.engine.jobs.attempt import Attempt, groups
    from mmbench.engine.jobs.derived import weights

    cell = workspace.cell
    for role in dict.fromkeys(role for role, _, _ in wanted):
        chosen = [(number, params) for r, number, params in wanted if r == role]
        attempts = {Attempt(p, refit_seed(cell, n), refit=n): n for n, p in chosen}
        for group in groups(workspace, list(attempts)):
            missing = [attempt for attempt in group.attempts if (role, attempts[attempt]) not in done]
            if missing:
                begin(len(group.attempts))
                group.run()
            for attempt in missing:
                kept = keep and role == "tuned" and isinstance(attempt.model, Module)
                yield *_tested(workspace, role, attempts[attempt], attempt), weights(attempt.model) if kept else None


def _tested(workspace: "Workspace", role: Role, number: int, attempt: "Attempt") -> tuple[Refit, Predictions]:
    cell = workspace.cell
    predictions: Predictions = {}
    if attempt.status == "ok":
        try:
            predictions = _predictions(workspace, role, attempt)
        except TrainingError as error:
            attempt.end("error", blamed(error))
    fine = attempt.status == "ok"
    return Refit(
        cell=cell.key,
        role=role,
        seed=number,
        params=dict(attempt.params),
        status=attempt.status,
        reason=attempt.reason,
        valid=attempt.fit.score if fine else None,
        metrics={},
        curves={},
        predictions=None,
        epochs=len(attempt.fit.curve) if fine else 0,
        seconds=attempt.seconds,
        train_throughput=attempt.fit.throughput if fine else None,
    ), predictions


def unlike(cell: Cell, refit: Refit, sent: Collection[str]) -> str | None:
    """Why a worker can't have sent this refit with predictions of these names, or None. Scores are not its to give."""
    if refit.role not in get_args(Role) or refit.seed not in cell.budget.seeds(refit.role):
        return f"a refit {refit.seed} of {refit.role} that it should not do"
    if refit.metrics or refit.curves or refit.unscored or refit.predictions or refit.weights:
        return "scores of its own making"
    damaged = {_name(spec, severity) for spec in cell.corruptions for severity in spec.severities}
    due = {TEST, *(damaged if refit.role == "tuned" else ())} if refit.status == "ok" else set()
    return None if due == set(sent) else f"a refit that ended as {refit.status} with predictions {sorted(sent)[:3]}"


def _predictions(workspace: "Workspace", role: Role, attempt: "Attempt") -> Predictions:
    """Of test and its damaged copies, by a model that is built anew and has the weights of the trained one."""
    from mmbench.engine.learn.evaluation import left_as_it_was, loaded_from

    model, params = attempt.model, attempt.params
    if workspace.is_trained(params) and not workspace.origin:
        model = loaded_from(model, workspace.model(params, attempt.seed))
    with left_as_it_was(model, closely=True) if workspace.is_trained(params) else nullcontext():
        found = {TEST: _predict(workspace, params, model, None, 0.0)}
        for spec in workspace.cell.corruptions if role == "tuned" else ():
            for severity in spec.severities:
                found[_name(spec, severity)] = _predict(workspace, params, model, spec, severity)
    return found


@dataclass(frozen=True)
class Referee:
    """Scores predictions of one task's test split; the only one who knows the truth."""

    catalog: Catalog
    truth: "np.ndarray[Any, Any]"

    @classmethod
    def of(cls, cell: Cell, catalog: Catalog, cache: Path) -> "Referee":
        table = viewed(View.of(cell), catalog.datasets[cell.task.dataset], cache)
        return cls(catalog, table.targets("test"))

    def score(self, cell: Cell, refit: Refit, predictions: "Mapping[str, np.ndarray[Any, Any]]", judge: Judge) -> Refit:
        """The refit with its metrics and curves filled in."""
        if TEST not in predictions:
            return refit
        limit = cell.budget.trial_seconds
        found = judge(fitting_metrics(cell, self.catalog), self.truth, predictions[TEST], limit)
        tuned = self.catalog.metrics[cell.task.metric]
        curves: dict[str, list[tuple[float, float | None]]] = {}
        for spec in cell.corruptions if refit.role == "tuned" else ():
            curve = f"{spec.name} {spec.modality}"
            for severity in spec.severities:
                score = judge([tuned], self.truth, predictions[_name(spec, severity)], limit)[tuned.name]
                curves.setdefault(curve, []).append((severity, None if isinstance(score, str) else score))
                if isinstance(score, str):
                    found[curve_point(tuned.name, severity, curve)] = score
        metrics = {name: score for name, score in found.items() if not isinstance(score, str)}
        unscored = {name: why for name, why in found.items() if isinstance(why, str)}
        return replace(refit, metrics=metrics, curves=curves, unscored=unscored)


def _name(spec: CorruptionSpec, severity: float) -> str:
    return f"{spec.name}/{spec.modality}/{severity:g}"


def _predict(
    workspace: "Workspace", params: Params, model: Any, spec: CorruptionSpec | None, severity: float
) -> "np.ndarray[Any, Any]":
    from mmbench.engine.jobs.estimator import predict_estimator
    from mmbench.engine.learn.model import predict

    inputs = workspace.damaged(params, spec, severity) if spec else workspace.inputs(params, "test")
    if workspace.is_trained(params):
        return workspace.decoded(predict(model, inputs).cpu().numpy())
    return predict_estimator(workspace, params, model, inputs)
