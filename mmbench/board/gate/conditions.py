"""What scores and costs depend on besides the contender, and the groups of records in which it is the same.

Scores are compared only under the same terms (budget, seeds and limit, and what is asked on the task), one protocol,
one data set with one split, the same test targets and one metric. It need not be one suite: a contender that was added
later, or in a separate file, may stand beside the others. Costs, besides, are compared only from one device with as
many threads and the same libraries.
What a record does not say is unknown, which is a separate condition: nothing is taken for granted.
"""

import re
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmbench.api.record import Record
from mmbench.api.suite import Suite, task_of
from mmbench.errors import MMBenchError
from mmbench.store.reading import RunData
from mmbench.store.suitefile import suite_hash, task_terms, terms

UNKNOWN = "unknown"
FEW = 4  # how many differences a line names


@dataclass(frozen=True)
class Conditions:
    """What a record's score depends on besides its contender. None: the record does not say."""

    terms: str
    protocol: str | None
    task: str
    asked: str
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

    @property
    def suite(self) -> Suite:
        """That of its first run; others have the same terms."""
        return self.runs[0].suite


def conditions(record: Record, run: RunData) -> Conditions:
    """What the score of a record of `run` depends on."""
    number, version, engine = map(record.environment.get, ("protocol", "mmbench", "engine"))
    before = f"{version or UNKNOWN} (engine {engine})" if engine else None  # of a time without protocols
    stated, whole = record.suite.get("hash"), suite_hash(run.suite)
    own = stated is None or stated == whole
    fingerprint, split = record.dataset.get("fingerprint"), mapping(record.dataset.get("rows"))
    return Conditions(
        terms=terms(run.suite) if own else str(stated),
        protocol=str(number) if number is not None else before,
        task=record.task,
        asked=task_terms(run.suite, task_of(record.task)) if own else "",
        metric=record.metric,
        data=None if fingerprint is None else str(fingerprint),
        split=", ".join(f"{name} {rows}" for name, rows in split.items()) or None,
        targets=run.targets.get(record.task, {}).get("sha256"),
    )


def cost_conditions(record: Record) -> dict[str, str]:
    """What the record's costs depend on besides its contender: the way of measuring, device, threads, libraries."""
    environment, cost = record.environment, record.cost
    device = cost.get("device") or environment.get("device")
    if device == "cpu":
        device = environment.get("processor")
    threads = cost.get("threads") or environment.get("threads")
    found = {"device": str(device or UNKNOWN), "threads": str(threads or UNKNOWN)}
    if cost:
        found["cost protocol"] = str(cost.get("protocol", 1))
    libraries = mapping(environment.get("libraries"))
    return found | {str(name): str(version) for name, version in sorted(libraries.items())}


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is a table, else an empty one: a record may hold anything in these places."""
    return value if isinstance(value, Mapping) else {}


def groups(runs: Sequence[RunData]) -> list[Group]:
    """The records of `runs` in groups that may stand on one board, in the order in which they are found.

    Records that were scored make the groups; one that was not (failed, skipped) joins the first that it fits. Each
    record is looked at once and not kept, as a run may have more than fit into memory.
    """
    found: list[dict[str, Conditions]] = []
    """For each group {task: its conditions}."""
    members: list[list[array[int]]] = []
    """For each group and run, the places of its records."""
    unscored: list[tuple[int, int, Conditions]] = []

    def join(run: int, place: int, mine: Conditions, *, scored: bool) -> None:
        at = next((i for i, known in enumerate(found) if _fits(mine, known, scored=scored)), len(found))
        if at == len(found):
            found.append({})
            members.append([array("q") for _ in runs])
        found[at].setdefault(mine.task, mine)
        members[at][run].append(place)

    for number, run in enumerate(runs):
        for place, record in enumerate(run.records):
            mine = conditions(record, run)
            if record.status == "ok":
                join(number, place, mine, scored=True)
            else:
                unscored.append((number, place, mine))
    for number, place, mine in unscored:
        join(number, place, mine, scored=False)
    return [_group(runs, own, tuple(known.values())) for own, known in zip(members, found, strict=True)]


def _fits(mine: Conditions, known: Mapping[str, Conditions], *, scored: bool) -> bool:
    """Whether a record may join a group: terms and protocol are the group's own, the rest belongs to the task."""
    first = next(iter(known.values()))
    if first.terms != mine.terms or (first.protocol != mine.protocol and (scored or mine.protocol is not None)):
        return False
    same = known.get(mine.task)
    return same is None or same == mine or (not scored and same.allow(mine))


def _group(runs: Sequence[RunData], members: Sequence[Sequence[int]], known: tuple[Conditions, ...]) -> Group:
    own = tuple(
        run if len(places) == len(run.records) else run.part(sorted(places))
        for run, places in zip(runs, members, strict=True)
        if places
    )
    return Group(own, known)


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
            apart = few(differences(found[0], group))
            raise MMBenchError(
                f"{pair} can't stand on one board: they differ in {apart}; --separate gives each its own"
            )


def differences(first: Group, other: Group) -> list[Difference]:
    """Everything in which two groups differ."""
    mine, theirs = first.conditions[0], other.conditions[0]
    found = []
    if mine.terms != theirs.terms:
        found = _term_differences(first.suite, other.suite) or [_brief("suite", mine.terms, theirs.terms)]
    if mine.protocol != theirs.protocol:
        numbered = all(str(side.protocol).isdigit() for side in (mine, theirs))
        found.append(_brief("protocol" if numbered else "mmbench", mine.protocol, theirs.protocol))
    by_task = {known.task: known for known in first.conditions}
    for known in other.conditions:
        same = by_task.get(known.task, known)
        task = known.task
        every = [
            _brief(f"what is asked on {task}", same.asked, known.asked),
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


def _term_differences(first: Suite, other: Suite) -> list[Difference]:
    """Which terms of two suites differ."""
    one, two = _settings(first), _settings(other)
    return [Difference(key, str(one[key]), str(two[key])) for key in one if one[key] != two[key]]


def _settings(suite: Suite) -> dict[str, Any]:
    budget = {f"budget.{key}": value for key, value in asdict(suite.budget).items()}
    return {"seed": suite.seed, "limit": suite.limit} | budget


def few(items: Sequence[object]) -> str:
    """The first of them, and how many more there are."""
    shown = ", ".join(map(str, items[:FEW]))
    return shown if len(items) <= FEW else f"{shown} and {len(items) - FEW} more"
