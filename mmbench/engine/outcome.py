"""What is known of a cell while it is worked on, and the record that is made of it in the end. Used by runner."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmbench.api.record import AFTER, FAILED, Record, Refit, Status, Trial
from mmbench.api.space import Params
from mmbench.engine import clock, identity
from mmbench.engine.data.tables import planned, viewed
from mmbench.engine.data.view import View
from mmbench.engine.environment import environment
from mmbench.engine.jobs.evaluate import best, fitting_metrics
from mmbench.engine.plan import Plan
from mmbench.engine.space import Cell, default_params
from mmbench.plugins import Catalog


@dataclass
class Progressing:
    """What is known of a cell while it is worked on."""

    cell: Cell
    trials: list[Trial] = field(default_factory=list)
    refits: list[Refit] = field(default_factory=list)
    paused: bool = False
    attempts: int = 0
    """How often its worker was killed from outside since it last finished something."""
    begun: Sequence[tuple[int, Mapping[str, Any]]] = ()
    """The trials at work, each with its parameters; none while refits are, and in between."""
    together: int = 1
    """How many trainings are at work as one program."""
    since: float = field(default_factory=clock.seconds)
    """When they began."""
    owed: set[int] = field(default_factory=set)
    """The numbers of the trials that have begun and were not told of since."""
    failure: tuple[Status, str] | None = None
    cost: Mapping[str, Any] = field(default_factory=dict)
    base: Params = field(default_factory=dict)
    """What a derived cell's configurations have of its parent's."""
    first: Trial | None = None
    winner: Trial | None = None
    spent: dict[str, Any] = field(default_factory=dict)
    """What the search came to, once it is over."""

    def begin(self, trials: Sequence[tuple[int, Mapping[str, Any]]], together: int) -> None:
        """These trainings are at work now."""
        self.begun, self.together, self.since = trials, together, clock.seconds()
        self.owed = {number for number, _ in trials}

    def rest(self) -> None:
        """A training has ended well or was charged: the next accident is the first again."""
        self.begun, self.together, self.attempts = (), 1, 0

    def settle(self) -> None:
        """The search is over: of the trials only what the record says of them is still remembered."""
        if not self.spent:
            self.first, self.winner = next(iter(self.trials), None), best(self.trials, self.cell.direction)
            self.spent = {
                "trials": len(self.trials),
                "pruned": sum(t.status == "pruned" for t in self.trials),
                "failed": sum(t.status not in ("ok", "pruned") for t in self.trials),
                "epochs": sum(t.epochs for t in self.trials),
                "seconds": sum(t.seconds for t in self.trials),
            }
            self.trials.clear()  # also for the job of the search, whose list it is


def outcome(plan: Plan, catalog: Catalog, cache: Path, state: Progressing, *, executor: str) -> Record:
    """The final word on a cell: its first failure, or its scores."""
    failure = state.failure
    if failure is None and state.winner is None and state.first is not None:
        failure = state.first.status, f"{FAILED}; the default: {state.first.reason}"
    broken = [r for r in state.refits if r.role == "tuned" and r.status != "ok"]
    if failure is None and broken:
        failure = broken[0].status, f"refit {broken[0].seed}: {broken[0].reason}"
    if failure is not None and not broken and _refitted(state):
        failure = failure[0], f"{AFTER}: {failure[1]}"
    if failure is not None:
        return record(plan, catalog, state, *failure, executor=executor, cache=cache)
    return record(plan, catalog, state, "ok", None, executor=executor, cache=cache)


def _refitted(state: Progressing) -> bool:
    """Whether every refit that was due ended well: what failed is its measurement, or the end of its process."""
    roles = {"tuned"} | ({"default"} if state.winner and state.winner.number else set())
    due = {(role, seed) for role in roles for seed in state.cell.budget.seeds(role)}
    return state.winner is not None and due <= {(r.role, r.seed) for r in state.refits if r.status == "ok"}


def record(
    plan: Plan,
    catalog: Catalog,
    state: Progressing,
    status: Status,
    reason: str | None,
    *,
    executor: str,
    cache: Path | None = None,
) -> Record:
    """What is stored of a cell that has ended; `cache`: where its data lie, to say how many rows there are and what to
    beware of in them."""
    cell = state.cell
    dataset = catalog.datasets[cell.task.dataset]
    state.settle()
    winner = state.winner
    fitting = fitting_metrics(cell, catalog)
    about: dict[str, Any] = {"rows": None}
    if cache and status == "ok":
        about["rows"] = viewed(View.of(cell), dataset, cache).facts["rows"]
    if cache:
        table = planned(View.of(cell), dataset, cache)
        about |= {"warnings": found} if (found := table.warnings(tuple(cell.task.modalities))) else {}
    return Record(
        cell=cell.key,
        suite={"name": plan.suite.name, "version": plan.suite.version},
        task=cell.task.name,
        contender=cell.contender,
        status=status,
        reason=reason,
        metric=cell.task.metric,
        directions={metric.name: metric.direction for metric in fitting},
        dataset={"name": dataset.name, "fingerprint": cell.fingerprint, "licence": dataset.licence} | about,
        modalities=dict(cell.task.modalities),
        params=dict(winner.params) if winner else {},
        default_params={**state.base, **default_params(cell, catalog)} if status != "skipped" else {},
        space_hash=cell.space_hash,
        parts=dict(cell.parts),
        identity={**identity.told(cell), **identity.judges(fitting)},
        refits=tuple(state.refits),
        cost=dict(state.cost),
        budget={
            "trials": cell.budget.trials,
            "epochs": cell.budget.epochs,
            "refit_seeds": cell.budget.refit_seeds,
            "trial_seconds": cell.budget.trial_seconds,
            **({"default_seeds": fewer} if (fewer := cell.budget.default_seeds) is not None else {}),
        },
        spent={
            **state.spent,
            "seconds": state.spent["seconds"] + sum(r.seconds for r in state.refits),
            "test_accesses": sum(r.status == "ok" for r in state.refits),
        },
        environment=environment(plan.device, executor, catalog),
        derived={"of": cell.parent.contender, "cell": cell.parent.key} if cell.parent else {},
    )
