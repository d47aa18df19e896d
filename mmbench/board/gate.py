"""The comparability gate: which records may stand on one board, and whose costs may be compared.

Scores are compared only under one suite (its budget, seeds and limit), one engine, one data set with one split, the
same test targets and one metric. Costs, besides, only from one device with as many threads and the same libraries.
What a record does not say is unknown, which is a condition of its own: nothing is taken for granted. `leaderboard`,
`publish` and the end of `run` draw the boards that `boards` makes.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from mmbench.api.parts import Metric
from mmbench.api.record import Record
from mmbench.api.suite import Suite
from mmbench.board.store import RunData
from mmbench.board.suitefile import suite_hash
from mmbench.errors import MMBenchError

Row: TypeAlias = dict[str, Any]
UNKNOWN = "unknown"
FEW = 4  # how many differences a line names


@dataclass(frozen=True)
class Conditions:
    """What a record's score depends on besides its contender. None: the record does not say."""

    suite: str
    engine: str | None
    task: str
    metric: str
    data: str | None
    split: str | None
    targets: str | None

    def apart(self, other: "Conditions") -> str:
        """In what they differ, by the names of the fields; empty where they are the same."""
        mine, theirs = asdict(self), asdict(other)
        return ", ".join(
            f"{key} {mine[key] or UNKNOWN}; {theirs[key] or UNKNOWN}" for key in mine if mine[key] != theirs[key]
        )

    def allow(self, other: "Conditions") -> bool:
        """Whether a record without a score, which says less, may stand beside one under these."""
        pairs = zip(asdict(self).values(), asdict(other).values(), strict=True)
        return all(mine == theirs or theirs is None for mine, theirs in pairs)


@dataclass(frozen=True)
class Difference:
    """What sets one group apart from another: a setting, and its value in each."""

    what: str
    mine: str
    theirs: str

    def __str__(self) -> str:
        return f"{self.what} ({self.mine}; {self.theirs})"


@dataclass(frozen=True)
class Group:
    """Records that may stand on one board: the runs they are from, each with these records only."""

    runs: tuple[RunData, ...]
    conditions: tuple[Conditions, ...]
    """One for each task."""
    suite: Suite


@dataclass(frozen=True)
class Board:
    """One leaderboard, with what a reader must be told about it."""

    title: str
    """What sets it apart from the other boards; empty where there is only one."""
    runs: tuple[RunData, ...]
    """Where the rows are from, each with the records on this board, under the names that they have here."""
    rows: list[Row]
    notes: list[str] = field(default_factory=list)


def conditions(record: Record, run: RunData) -> Conditions:
    """What the score of a record of `run` depends on."""
    environment, dataset = record.environment, record.dataset
    version = environment.get("mmbench")
    engine = environment.get("engine")
    split = dataset.get("rows")
    return Conditions(
        suite=str(record.suite.get("hash") or suite_hash(run.suite)),
        engine=f"{version or UNKNOWN} (engine {engine})" if engine else None,
        task=record.task,
        metric=record.metric,
        data=dataset.get("fingerprint"),
        split=", ".join(f"{name} {rows}" for name, rows in split.items()) if split else None,
        targets=run.targets.get(record.task, {}).get("sha256"),
    )


def cost_conditions(record: Record) -> dict[str, str]:
    """What the record's costs depend on besides its contender: device, threads, and each library."""
    environment, cost = record.environment, record.cost
    device = cost.get("device") or environment.get("device")
    if device == "cpu":
        device = environment.get("processor")
    threads = cost.get("threads") or environment.get("threads")
    libraries = environment.get("libraries") or {}
    found = {"device": str(device or UNKNOWN), "threads": str(threads or UNKNOWN)}
    return found | {name: str(version) for name, version in sorted(libraries.items())}


def groups(runs: Sequence[RunData]) -> list[Group]:
    """The records of `runs` in groups that may stand on one board, in the order in which they are found.

    Records that were scored make the groups; one that was not (failed, skipped) joins the first that it fits.
    """
    found: list[dict[str, Conditions]] = []
    """For each group {task: its conditions}."""
    members: list[list[tuple[int, Record]]] = []
    every = [(place, record) for place, run in enumerate(runs) for record in run.records]
    scored = [item for item in every if item[1].status == "ok"]
    for place, record in scored + [item for item in every if item[1].status != "ok"]:
        mine = conditions(record, runs[place])
        at = next((i for i, known in enumerate(found) if _fits(mine, known, record.status == "ok")), len(found))
        if at == len(found):
            found.append({})
            members.append([])
        found[at].setdefault(record.task, mine)
        members[at].append((place, record))
    return [_group(runs, own, tuple(known.values())) for own, known in zip(members, found, strict=True)]


def _fits(mine: Conditions, known: Mapping[str, Conditions], scored: bool) -> bool:
    """Whether a record may join a group: suite and engine are the group's own, the rest belongs to the task."""
    first = next(iter(known.values()))
    if first.suite != mine.suite or (first.engine != mine.engine and (scored or mine.engine is not None)):
        return False
    same = known.get(mine.task)
    return same is None or same == mine or (not scored and same.allow(mine))


def _group(runs: Sequence[RunData], members: Sequence[tuple[int, Record]], known: tuple[Conditions, ...]) -> Group:
    order = {id(record): number for number, record in enumerate(r for run in runs for r in run.records)}
    chosen = sorted(members, key=lambda member: order[id(member[1])])
    places = list(dict.fromkeys(place for place, _ in chosen))
    own = tuple(replace(runs[p], records=tuple(record for place, record in chosen if place == p)) for p in places)
    return Group(own, known, runs[places[0]].suite)


def names(runs: Sequence[RunData]) -> dict[Path, str]:
    """What each run is called on a board: its folder's name, or its whole path where two have the same name."""
    short = [run.path.resolve().name for run in runs]
    return {run.path: name if short.count(name) == 1 else str(run.path) for run, name in zip(runs, short, strict=True)}


def check(runs: Sequence[RunData]) -> None:
    """Raises MMBenchError, in one line, where several runs can't stand on one board."""
    found, called = groups(runs), names(runs)
    for group in found[1:]:
        known = {run.path for run in found[0].runs}
        if new := [run for run in group.runs if run.path not in known]:
            pair = f"{called[found[0].runs[0].path]} and {called[new[0].path]}"
            apart = _few(differences(found[0], group))
            raise MMBenchError(
                f"{pair} can't stand on one board: they differ in {apart}; --separate gives each its own"
            )


def differences(first: Group, other: Group) -> list[Difference]:
    """Everything in which two groups differ."""
    mine, theirs = first.conditions[0], other.conditions[0]
    found = []
    if mine.suite != theirs.suite:
        found = suite_differences(first.suite, other.suite) or [_brief("suite", mine.suite, theirs.suite)]
    if mine.engine != theirs.engine:
        found.append(_brief("mmbench", mine.engine, theirs.engine))
    by_task = {known.task: known for known in first.conditions}
    for known in other.conditions:
        same = by_task.get(known.task, known)
        task = known.task
        every = [
            _brief(f"metric of {task}", same.metric, known.metric),
            _brief(f"data set of {task}", same.data, known.data),
            _brief(f"split of {task}", same.split, known.split),
            _brief(f"test targets of {task}", same.targets, known.targets),
        ]
        found += [difference for difference in every if difference.mine != difference.theirs]
    return found


def _brief(what: str, mine: str | None, theirs: str | None) -> Difference:
    """The first 8 digits of hashes, other values whole."""
    short = [
        UNKNOWN if value is None else value[:8] if re.fullmatch("[0-9a-f]{16,}", value) else value
        for value in (mine, theirs)
    ]
    return Difference(what, *(short if short[0] != short[1] or mine == theirs else map(str, (mine, theirs))))


def suite_differences(first: Suite, other: Suite) -> list[Difference]:
    """Which settings of two suites differ; of tasks and contenders, the names."""
    one, two = _settings(first), _settings(other)
    if first.name != other.name:
        return [Difference("suite", first.name, other.name)]
    found = [Difference(key, str(one[key]), str(two[key])) for key in one if one[key] != two[key]]
    for kind, mine, theirs in (
        ("tasks", first.tasks, other.tasks),
        ("contenders", first.contenders, other.contenders),
    ):
        specs = [{spec.name: spec for spec in side} for side in (mine, theirs)]
        if specs[0] != specs[1]:
            found.append(Difference(kind, _own(specs[0], specs[1]), _own(specs[1], specs[0])))
    return found


def _settings(suite: Suite) -> dict[str, Any]:
    flat = {key: getattr(suite, key) for key in ("name", "version", "seed", "limit")}
    return flat | {f"budget.{key}": value for key, value in asdict(suite.budget).items()}


def _own(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """What one suite has that the other has not."""
    new = [name for name in mine if name not in theirs]
    changed = [name for name in mine if name in theirs and mine[name] != theirs[name]]
    text = [f"with {_few(new)}"] if new else []
    text += [f"its own {_few(changed)}"] if changed else []
    return ", ".join(text) or f"without {_few([name for name in theirs if name not in mine])}"


def _few(items: Sequence[object]) -> str:
    """The first of them, and how many more there are."""
    shown = ", ".join(map(str, items[:FEW]))
    return shown if len(items) <= FEW else f"{shown} and {len(items) - FEW} more"


def boards(runs: Sequence[RunData], metrics: Mapping[str, Metric]) -> list[Board]:
    """A board for each group of records that may be compared.

    Rows are those of `rank.leaderboard`, with `run` (its name) and `board` (the title); a contender that two runs
    have bears its run's name. A cell without a record is a row of status "missing". Costs that were measured under
    other conditions than most of their task are in `cost_apart`, and `cost` is left empty: nothing compares them.
    """
    every, called = groups(runs), names(runs)
    return [_board(group, every, called, metrics) for group in every]


def _board(group: Group, every: Sequence[Group], called: Mapping[Path, str], metrics: Mapping[str, Metric]) -> Board:
    from mmbench.board import rank
    from mmbench.board.trust import registration, seal

    title = _title(group, every, called) if len(every) > 1 else ""
    runs = _distinct(group.runs, called)
    missing = {(record.task, record.contender): record for record in _missing(runs, group, every)}
    known = {
        (new.task, new.contender): (run, old)
        for run, renamed in zip(group.runs, runs, strict=True)
        for old, new in zip(run.records, renamed.records, strict=True)
    }
    last = replace(runs[-1], records=(*runs[-1].records, *missing.values()))
    rows = rank.leaderboard([*runs[:-1], last], metrics)
    for row in rows:
        key = row["task"], row["contender"]
        row |= {"run": None, "board": title}
        if key in missing:
            row |= {"status": "missing", "plan": None}
        else:
            run, record = known[key]
            row["run"] = called[run.path]
            if record.contender != row["contender"]:
                row["plan"] = registration.standing(run)(record)
    records = {key: record for key, (_, record) in known.items()}
    notes = [*_set_costs_apart(rows, records), *_mixed(list(records.values())), *_never_run(group, every)]
    notes += seal.notes({run.path: called[run.path] for run in runs})
    return Board(title, runs, rows, notes)


def _title(group: Group, every: Sequence[Group], called: Mapping[Path, str]) -> str:
    """The group's runs, and its side of what sets it apart from the first group (the first, from the second)."""
    apart = differences(group, every[1] if group is every[0] else every[0])
    own = " + ".join(called[run.path] for run in group.runs)
    return f"{own}: {_few([f'{difference.what} {difference.mine}' for difference in apart])}"


def _distinct(runs: Sequence[RunData], called: Mapping[Path, str]) -> tuple[RunData, ...]:
    """The runs with a name of its own for each: a contender that two of them have on one task bears its run's name."""
    count = Counter((record.task, record.contender) for run in runs for record in run.records)
    double = {contender for (_, contender), times in count.items() if times > 1}
    return tuple(
        replace(
            run,
            records=tuple(
                replace(record, contender=_called(record.contender, called[run.path]))
                if record.contender in double
                else record
                for record in run.records
            ),
        )
        for run in runs
    )


def _called(contender: str, run: str) -> str:
    return f"{contender} ({run})"


def _missing(runs: Sequence[RunData], group: Group, every: Sequence[Group]) -> Iterator[Record]:
    """A stand-in for each cell of a contender that was run on another task, but has no record here or elsewhere."""
    tasks: dict[str, list[Record]] = {}
    for record in (record for run in runs for record in run.records):
        tasks.setdefault(record.task, []).append(record)
    here = {(record.task, record.contender) for records in tasks.values() for record in records}
    elsewhere = {(r.task, r.contender) for other in every for run in other.runs for r in run.records}
    for task, records in tasks.items():
        modalities = {m for record in records for m in record.modalities}
        for contender in dict.fromkeys(name for _, name in sorted(here)):
            there = (task, contender) in here or (task, contender) in elsewhere
            if not there and _entered(group.suite, contender, task, modalities):
                yield replace(
                    records[0],
                    contender=contender,
                    status="skipped",
                    reason="it has no record: not run, or not to its end",
                    modalities={},
                    refits=(),
                    cost={},
                    spent={},
                )


def _entered(suite: Suite, contender: str, task: str, modalities: Collection[str]) -> bool:
    """Whether the suite has that contender on that task; one that it does not name at all was chosen for all."""
    for spec in suite.contenders:
        own = {f"{spec.name} {m}" for m in modalities} if spec.each_modality else {spec.name}
        if contender in own:
            return spec.tasks is None or task in spec.tasks
        if spec.each_modality and contender.startswith(f"{spec.name} "):
            return False
    return True


def _never_run(group: Group, every: Sequence[Group]) -> list[str]:
    """The tasks and contenders of the suite that have no record at all."""
    records = [record for other in every for run in other.runs for record in run.records]
    contenders, tasks = {r.contender for r in records}, {r.task for r in records}
    absent = [
        spec.name
        for spec in group.suite.contenders
        if spec.name not in contenders
        and not (spec.each_modality and any(name.startswith(f"{spec.name} ") for name in contenders))
    ]
    found = {"contenders": absent, "tasks": [spec.name for spec in group.suite.tasks if spec.name not in tasks]}
    text = "; ".join(f"{kind} {', '.join(own)}" for kind, own in found.items() if own)
    return [f"Of the suite, not run: {text}."] if text else []


def _set_costs_apart(rows: Sequence[Row], records: Mapping[tuple[str, str], Record]) -> list[str]:
    """Empty the costs that were measured under other conditions than most of their task, and say so."""
    notes: dict[str, list[str]] = {}
    for task in dict.fromkeys(row["task"] for row in rows):
        own = [row for row in rows if row["task"] == task and row["status"] == "ok"]
        found = [tuple(cost_conditions(records[task, row["contender"]]).items()) for row in own]
        most = dict(Counter(found).most_common(1)[0][0]) if found else {}
        for row, conditions_ in zip(own, map(dict, found), strict=True):
            apart = _apart(conditions_, most)
            if apart:
                notes.setdefault(apart, []).append(f"{row['contender']} on {task}")
                row["cost_apart"] = {**row["cost"], "seconds": row["spent"]["seconds"], "conditions": apart}
                row["cost"] = dict.fromkeys(row["cost"])
                row["spent"] = {**row["spent"], "seconds": None}
    return [
        f"Costs of {', '.join(names)} were measured under other conditions ({apart}) and are not compared."
        for apart, names in notes.items()
    ]


def _apart(mine: Mapping[str, str], most: Mapping[str, str]) -> str:
    keys = [key for key in {**most, **mine} if mine.get(key, UNKNOWN) != most.get(key, UNKNOWN)]
    return ", ".join(f"{key} {mine.get(key, UNKNOWN)}, not {most.get(key, UNKNOWN)}" for key in keys)


def _mixed(records: Sequence[Record]) -> list[str]:
    """What the scores of a board may depend on slightly, where it is not the same for all."""
    found: dict[str, dict[str, None]] = {}
    for record in (record for record in records if record.status == "ok"):
        libraries = record.environment.get("libraries") or {}
        for key, value in {"device": record.environment.get("device"), **libraries}.items():
            found.setdefault(key, {})[str(value or UNKNOWN)] = None
    mixed = [f"{key} ({', '.join(values)})" for key, values in found.items() if len(values) > 1]
    return [f"Scores were computed with more than one {', '.join(mixed)}, which can change them slightly."] * bool(
        mixed
    )
