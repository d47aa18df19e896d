"""Boards of what may be compared: `rank`'s rows for each group, with what is missing or set apart made visible."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

from mmbench.api.parts import Metric
from mmbench.api.record import Record
from mmbench.api.suite import Suite, task_of
from mmbench.board.gate.conditions import UNKNOWN, Group, cost_conditions, differences, few, groups, names
from mmbench.store.reading import RunData

Row: TypeAlias = dict[str, Any]
Key: TypeAlias = tuple[str, str]
"""A task, and a contender under the name that it has on the board."""


@dataclass(frozen=True)
class Board:
    """One leaderboard, with what a reader must be told about it."""

    title: str
    """What sets it apart from the other boards; empty where there is only one."""
    runs: tuple[RunData, ...]
    """Where the rows are from, each with the records on this board, under the names that they have here."""
    rows: list[Row]
    notes: list[str] = field(default_factory=list)
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    """The parts that scored the rows, as far as they are installed here; they say what of them a table shows."""


@dataclass(frozen=True)
class _Origin:
    """Where a row is from, and what its costs were measured under."""

    run: str
    scored: bool
    costs: tuple[tuple[str, str], ...]
    plan: str | None
    """How it stands to its run's plan, where `rank` can't tell because it bears another name."""


def boards(runs: Sequence[RunData], metrics: Mapping[str, Metric]) -> list[Board]:
    """A board for each group of records that may be compared.

    Rows are those of `rank.leaderboard`, with `run` (its name) and `board` (the title); a contender that two runs
    have bears its run's name. A cell without a record is a row of status "missing". Costs that were measured under
    other conditions than most of their task are in `cost_apart`, and `cost` is left empty: nothing compares them.
    """
    from mmbench.board.folds import joined

    runs = [joined(run, metrics) for run in runs]
    every, called = groups(runs), names(runs)
    cells = {cell for run in runs for cell in run.cells}
    return [_board(group, every, called, cells, metrics) for group in every]


def _board(
    group: Group,
    every: Sequence[Group],
    called: Mapping[Path, str],
    cells: Collection[Key],
    metrics: Mapping[str, Metric],
) -> Board:
    from mmbench.board import rank
    from mmbench.board.stats import learning
    from mmbench.trust import seal

    title = _title(group, every, called) if len(every) > 1 else ""
    runs = _distinct(group.runs, called)
    origins, modalities = _origins(group.runs, runs, called)
    missing = _missing(modalities, [run.suite for run in group.runs], origins, cells)
    rows = rank.leaderboard([*runs, *_stand_ins(runs, missing)], metrics)
    for row in rows:
        origin = origins.get((row["task"], row["contender"]))
        row |= {"run": origin.run if origin else None, "board": title}
        if origin is None:
            row |= {"status": "missing", "plan": None}
        elif origin.plan is not None:
            row["plan"] = origin.plan
    learning.mark(rows)
    notes = [*_set_costs_apart(rows, origins), *_mixed(origins.values()), *_never_run(group.runs, cells)]
    notes += seal.notes({run.path: called[run.path] for run in runs})
    return Board(title, runs, rows, notes, metrics)


def _title(group: Group, every: Sequence[Group], called: Mapping[Path, str]) -> str:
    """The group's runs, and its side of what sets it apart from the first group (the first, from the second)."""
    apart = differences(group, every[1] if group is every[0] else every[0])
    own = " + ".join(called[run.path] for run in group.runs)
    return f"{own}: {few([f'{difference.what} {difference.mine}' for difference in apart])}"


def _distinct(runs: tuple[RunData, ...], called: Mapping[Path, str]) -> tuple[RunData, ...]:
    """The runs, each with its own name: a contender that two of them have on one task carries its run's name."""
    if len(runs) == 1:
        return runs
    count = Counter(cell for run in runs for cell in run.cells)
    double = {contender for (_, contender), times in count.items() if times > 1}

    def renamed(contender: str, run: str) -> str:
        return f"{contender} ({run})" if contender in double else contender

    return tuple(run.part(range(len(run.records)), called=partial(renamed, run=called[run.path])) for run in runs)


def _origins(
    runs: Sequence[RunData], renamed: Sequence[RunData], called: Mapping[Path, str]
) -> tuple[dict[Key, _Origin], dict[str, set[str]]]:
    """Where each row is from, and the modalities that each task's records name; each record is looked at once."""
    from mmbench.trust.registration import standing

    same: dict[_Origin, _Origin] = {}
    origins: dict[Key, _Origin] = {}
    modalities: dict[str, set[str]] = {}
    for run, other in zip(runs, renamed, strict=True):
        stands = standing(run)
        for record, cell in zip(run.records, other.cells, strict=True):
            plan = stands(record) if cell[1] != record.contender else None
            costs = tuple(cost_conditions(record).items())
            origin = _Origin(called[run.path], record.status == "ok", costs, plan)
            origins[cell] = same.setdefault(origin, origin)
            modalities.setdefault(record.task, set()).update(record.modalities)
    return origins, modalities


def _missing(
    modalities: Mapping[str, Collection[str]], suites: Sequence[Suite], here: Collection[Key], cells: Collection[Key]
) -> dict[str, list[str]]:
    """{task: contenders that were run on another task, but have no record on this one, on any board}."""
    contenders = sorted({contender for _, contender in here})
    return {
        task: [
            contender
            for contender in contenders
            if (task, contender) not in here
            and (task, contender) not in cells
            and any(_entered(suite, contender, task, seen) for suite in suites)
        ]
        for task, seen in modalities.items()
    }


def _entered(suite: Suite, contender: str, task: str, modalities: Collection[str]) -> bool:
    """Whether the suite has that contender on that task; one that it does not name at all was chosen for all."""
    for spec in suite.contenders:
        own = {f"{spec.name} {m}" for m in modalities} if spec.each_modality else {spec.name}
        if contender in own:
            return spec.tasks is None or task_of(task) in spec.tasks
        if spec.each_modality and contender.startswith(f"{spec.name} "):
            return False
    return True


def _stand_ins(runs: Sequence[RunData], missing: Mapping[str, Sequence[str]]) -> Iterator[RunData]:
    """A run of records that say that there are none, for `rank` to make rows of."""
    wanted = {task for task, contenders in missing.items() if contenders}
    models: dict[str, Record] = {}
    for record in chain.from_iterable(run.records for run in runs) if wanted else ():
        models.setdefault(record.task, record)
    made = [
        replace(
            models[task],
            contender=contender,
            status="skipped",
            reason="it has no record: not run, or not to its end",
            modalities={},
            refits=(),
            cost={},
            spent={},
        )
        for task in wanted
        for contender in missing[task]
    ]
    if made:
        yield replace(runs[0], records=made)


def _never_run(runs: Sequence[RunData], cells: Collection[Key]) -> list[str]:
    """The tasks and contenders of the suites that have no record at all."""
    tasks, contenders = {task_of(task) for task, _ in cells}, {contender for _, contender in cells}
    absent = [
        spec.name
        for run in runs
        for spec in run.suite.contenders
        if spec.name not in contenders
        and not (spec.each_modality and any(name.startswith(f"{spec.name} ") for name in contenders))
    ]
    unseen = [spec.name for run in runs for spec in run.suite.tasks if spec.name not in tasks]
    found = {"contenders": dict.fromkeys(absent), "tasks": dict.fromkeys(unseen)}
    text = "; ".join(f"{kind} {', '.join(own)}" for kind, own in found.items() if own)
    return [f"Of the suite, not run: {text}."] if text else []


def _set_costs_apart(rows: Sequence[Row], origins: Mapping[Key, _Origin]) -> list[str]:
    """Empty the costs that were measured under other conditions than most of their task, and say so."""
    notes: dict[str, list[str]] = {}
    by_task: dict[str, list[Row]] = {}
    for row in rows:
        if row["status"] == "ok":
            by_task.setdefault(row["task"], []).append(row)
    for task, own in by_task.items():
        found = [origins[task, row["contender"]].costs for row in own]
        most = Counter(found).most_common(1)[0][0]
        for row, costs in zip(own, found, strict=True):
            if costs == most:
                continue
            apart = _apart(dict(costs), dict(most))
            notes.setdefault(apart, []).append(f"{row['contender']} on {task}")
            row["cost_apart"] = {**row["cost"], "seconds": row["spent"]["seconds"], "conditions": apart}
            row["cost"] = dict.fromkeys(row["cost"])
            row["spent"] = {**row["spent"], "seconds": None}
    return [
        f"Costs of {few(rows_)} were measured under other conditions ({apart}) and are not compared."
        for apart, rows_ in notes.items()
    ]


def _apart(mine: Mapping[str, str], most: Mapping[str, str]) -> str:
    keys = [key for key in {**most, **mine} if mine.get(key, UNKNOWN) != most.get(key, UNKNOWN)]
    return ", ".join(f"{key} {mine.get(key, UNKNOWN)}, not {most.get(key, UNKNOWN)}" for key in keys)


def _mixed(origins: Collection[_Origin]) -> list[str]:
    """What the scores of a board may depend on slightly, where it is not the same for all."""
    found: dict[str, dict[str, None]] = {}
    for costs in dict.fromkeys(origin.costs for origin in origins if origin.scored):
        for key, value in costs:
            found.setdefault(key, {})[value] = None
    mixed = [f"{key} ({', '.join(values)})" for key, values in found.items() if len(values) > 1]
    return [f"Scores come from more than one {', '.join(mixed)}, which can change them slightly."] if mixed else []
