"""What a run's searches chose, as a suite of its own: each contender with its winning parameters fixed, one trial each.

`mmbench leaderboard RUN --best` writes it, for others to run without a search. A contender that chose alike on all its
tasks stays one; else there is one for each task.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mmbench.api.record import Record
from mmbench.api.suite import ContenderSpec, Suite, TaskSpec
from mmbench.errors import MMBenchError
from mmbench.store.names import name_problem
from mmbench.store.reading import RunData

ROLES = ("fusion", "objective", "optimizer", "schedule", "compressor")
"""The parts that a contender names by a key of its own; all else that was chosen is among its `params`."""


def winners(run: RunData) -> Suite:
    """The suite of the winners: those that ended well, in the order of the run.

    Raises MMBenchError if there is none; tasks with folds or train sizes are left out, as each has winners of its own.
    """
    tasks = {task.name: task for task in run.suite.tasks if task.name not in left_out(run)}
    records = [record for record in run.records if record.task in tasks and record.status == "ok"]
    if not records:
        raise MMBenchError(
            f"{run.path}: no contender of a task without folds and train sizes ended well: there is no winner to write"
        )
    here = list(dict.fromkeys(record.task for record in records))
    chosen: dict[str, dict[str, ContenderSpec]] = {}
    names: dict[str, dict[str, str]] = {}
    for record in sorted(records, key=lambda record: bool(record.derived)):  # parents first: they give their names
        spec = _fixed(record, run.suite)
        if spec.of:
            parent = names.get(spec.of, {}).get(record.task)
            if parent is None:
                continue  # its parent did not end well, and there is nothing to take
            spec = replace(spec, of=parent)
        own = chosen.setdefault(record.contender, {})
        own[record.task] = spec
        names[record.contender] = _names(record.contender, own)
    contenders = []
    for name, own in chosen.items():
        for called in dict.fromkeys(names[name].values()):
            on = tuple(task for task in here if names[name].get(task) == called)
            contenders.append(replace(own[on[0]], name=called, tasks=None if on == tuple(here) else on))
    return Suite(
        name=_name(f"{run.suite.name}-best"),
        version=1,
        budget=replace(run.suite.budget, trials=1, batch=1, cohort=1),
        tasks=tuple(_scored_only(tasks[task]) for task in here),
        contenders=tuple(contenders),
        description=f"What the searches of {run.suite.name} (version {run.suite.version}) chose on validation, fixed.",
        seed=run.suite.seed,
        limit=run.suite.limit,
    )


def left_out(run: RunData) -> list[str]:
    """The tasks with folds or train sizes, which have no single winner."""
    return [task.name for task in run.suite.tasks if task.folds or task.train_sizes]


def _scored_only(task: TaskSpec) -> TaskSpec:
    return replace(task, give_up=None)  # there is no second half of the trials


def _names(name: str, own: Mapping[str, ContenderSpec]) -> dict[str, str]:
    """{task: what the contender is called there}: one name where it is the same everywhere."""
    alike = all(spec == next(iter(own.values())) for spec in own.values())
    return {task: name if alike else _name(f"{name} on {task}") for task in own}


def _name(name: str) -> str:
    if problem := name_problem(name):
        raise MMBenchError(problem)
    return name


def _fixed(record: Record, suite: Suite) -> ContenderSpec:
    """The contender as its winner was, on one task."""
    params = dict(record.params)
    if record.derived:
        own = {key: value for key, value in params.items() if key.startswith("compressor.")}
        compressor = (params["compressor"],)
        return ContenderSpec(name=record.contender, of=record.derived["of"], compressor=compressor, params=own)
    roles: dict[str, Any] = {role: (params.pop(role),) for role in ROLES if role in params}
    return ContenderSpec(name=record.contender, only=_only(record, suite), params=params, **roles)


def _only(record: Record, suite: Suite) -> tuple[str, ...] | None:
    """The modalities that the suite lets it see, where these are not all."""
    for spec in suite.contenders:
        single = spec.each_modality and len(record.modalities) == 1
        if single and record.contender == f"{spec.name} {next(iter(record.modalities))}":
            return tuple(record.modalities)
        if spec.name == record.contender and not spec.each_modality:
            return spec.only
    return None
