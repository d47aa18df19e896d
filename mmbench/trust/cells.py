"""Holds a cell's record against the trials and refits that it was made of: the counts, the choice of the winner, the
budget, one look at test a seed. Used by `verify`; `scores` recomputes the scores themselves.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmbench.api.record import AFTER, FAILED, Record, Refit, Trial
from mmbench.api.suite import Suite, TaskSpec, fold_of, on_board
from mmbench.engine.identity import digest
from mmbench.errors import StoreError
from mmbench.store import suitefile
from mmbench.store.reading import load_weights
from mmbench.trust import trials
from mmbench.trust.contents import Cell, Contents, place
from mmbench.trust.findings import Finding, altered, short

NETWORK = "train.batch_size"
"""A parameter of every configuration that trains a network, and of no other."""
GRANTED = ("trials", "epochs", "refit_seeds", "trial_seconds")
"""What a record says of the budget."""


def check(contents: Contents, suite: Suite) -> Iterator[Finding]:
    """Everything about the run's cells but their scores."""
    for key, cell in contents.cells.items():
        yield from _counted_once(key, cell)
        for where, record in cell.records[:1]:
            yield from _check_suite(where, record, suite)
            yield from trials.check(cell, record, suite)
            yield from _check_winner(where, cell, record)
            yield from _check_refits(where, cell, record, suite)
            yield from trials.check_spent(where, cell, record)
            yield from _check_ending(where, cell, record, suite)
            yield from _check_modalities(where, record, suite)
            yield from _check_parent(where, record, contents, suite)
        yield from _check_weights(contents.folder, cell)
    yield from _without_record(contents)


def notes(contents: Contents, suite: Suite) -> Iterator[str]:
    """What its rows can neither show nor deny."""
    for cell in contents.cells.values():
        for _, record in cell.records[:1]:
            if record.status not in ("ok", "skipped"):
                name, told = place(record), short(record.reason)
                after = " after good refits" if _whole(cell, record, suite) else ""
                yield f"{name} ended as {record.status}{after}, by its own word: {told}; reproduce it"


def _counted_once(key: str, cell: Cell) -> Iterator[Finding]:
    """No trial is stored twice, no seed scored twice on test, no record written twice."""
    name = cell.name or f"cell {key}"
    tried: dict[int, str] = {}
    for where, trial in cell.trials:
        if trial.number in tried:
            what = f"trial {trial.number} stands in {tried[trial.number]} already"
            yield Finding("budget", f"{where}, {name}", what)
        tried.setdefault(trial.number, where)
    tested: dict[tuple[str, int], str] = {}
    for where, refit in cell.refits:
        if refit.status == "ok":
            seed = (refit.role, refit.seed)
            if seed in tested:
                what = f"test was scored before with this seed, in {tested[seed]}: a second look"
                yield Finding("refits", _at(where, name, refit), what)
            tested.setdefault(seed, where)
    for where, again in cell.records[1:]:
        if again == cell.records[0][1]:
            continue  # it was asked for again, after another of its name
        yield Finding("record", where, f"is a second record of the same cell; the first stands in {cell.records[0][0]}")


def _check_suite(where: str, record: Record, suite: Suite) -> Iterator[Finding]:
    due = suitefile.suite_hash(suite)
    stated = record.suite.get("hash")
    if stated != due:
        what = f"it was made for a suite of hash {short(stated)}; suite.toml's is {due}: one of them was changed"
        yield Finding("suite", where, what)
    budget: dict[str, Any] = asdict(suite.budget)
    names = dict.fromkeys((*GRANTED, *record.budget, *(["default_seeds"] if suite.budget.default_seeds else [])))
    pairs = [(name, record.budget.get(name), budget.get(name)) for name in names]
    yield from altered("budget", where, pairs, against="suite.toml")
    task = _task(suite, record)
    if task is None:
        yield Finding("suite", where, f"suite.toml has no task {record.task!r}")
        return
    facts = [("the metric", record.metric, task.metric), ("the data set", record.dataset.get("name"), task.dataset)]
    yield from altered("suite", where, facts, against="suite.toml")


def _task(suite: Suite, record: Record) -> TaskSpec | None:
    """The suite's task that a record is of; one with folds or train sizes has records of these, and of nothing else."""
    name, number = fold_of(record.task)
    task = next((task for task in suite.tasks if name in on_board(task)), None)
    if task is None or (number is None) != (task.folds is None) or (number or 0) > (task.folds or 0):
        return None
    return task


def _check_winner(where: str, cell: Cell, record: Record) -> Iterator[Finding]:
    """The record's parameters are those of the best trial on validation, and trial 0 is the default."""
    winner = trials.winner(cell, record)
    if record.params != (dict(winner.params) if winner else {}):
        of = (
            f"trial {winner.number}, of the configuration that is the best on validation ({winner.score!r})"
            if winner
            else "no trial: none ended well"
        )
        yield Finding("record", where, f"its parameters are not those of {of}: {_differing(record.params, winner)}")
    first = next((trial for _, trial in cell.trials if trial.number == 0), None)
    if first and first.params != record.default_params:
        what = f"its default parameters are not those of trial 0: {_differing(record.default_params, first)}"
        yield Finding("record", where, what)


def _check_refits(where: str, cell: Cell, record: Record, suite: Suite) -> Iterator[Finding]:
    stored = {(refit.role, refit.seed, refit.status): (at, refit) for at, refit in cell.refits}
    for refit in record.refits:
        at, other = stored.pop((refit.role, refit.seed, refit.status), ("", None))
        if other is None:
            yield Finding("refits", f"{where}, {_seed(refit)}", f"{trials.TRIALS} has no such refit")
            continue
        pairs = _flat(asdict(refit), asdict(other))
        yield from altered("refits", f"{where}, {_seed(refit)}", pairs, against=at)
    for at, refit in stored.values():
        yield Finding("refits", _at(at, place(record), refit), "is not in the cell's record")
    due = _due(cell, record, suite) if record.status == "ok" else set()
    for role, seed in sorted(due - {(refit.role, refit.seed) for refit in record.refits}):
        yield Finding("refits", where, f"the refit {role} seed {seed} is missing")
    for refit in record.refits:
        if (refit.status == "ok") != isinstance(refit.valid, float | int):
            what = f"ended as {refit.status}, but its score on validation is {refit.valid!r}"
            yield Finding("refits", f"{where}, {_seed(refit)}", what)
        if refit.epochs > suite.budget.epochs:
            what = f"trained {refit.epochs} epochs; suite.toml grants {suite.budget.epochs}"
            yield Finding("budget", f"{where}, {_seed(refit)}", what)
        if record.status == "ok" and (refit.role, refit.seed) not in due:
            yield Finding("refits", f"{where}, {_seed(refit)}", "no such refit was due")
        own = record.params if refit.role == "tuned" else record.default_params
        if refit.params != own:
            differing = _different(refit.params, own)
            yield Finding("refits", f"{where}, {_seed(refit)}", f"its parameters are not the record's: {differing}")
        if record.status == "ok" and refit.role == "tuned" and refit.status != "ok":
            yield Finding("record", where, f"is ok, but {_seed(refit)} ended as {refit.status}")


def _check_ending(where: str, cell: Cell, record: Record, suite: Suite) -> Iterator[Finding]:
    """What did not end well says why, and its rows show it; what they can't show comes after its refits."""
    if record.status == "ok":
        return
    if record.status == "skipped":
        if record.space_hash != digest({}) and not record.derived:
            yield Finding("record", where, "is skipped, but has a search space: what is skipped has none")
        return
    if record.params and _whole(cell, record, suite):
        if not (record.reason or "").startswith(AFTER):
            what = f"ended as {record.status}, though its trials and refits ended well: a reason begins {AFTER!r} then"
            yield Finding("record", where, what)
        if record.cost:
            yield Finding("record", where, f"ended as {record.status}, but its costs were measured, which comes last")
        return
    said = record.reason or ""
    first = next((trial for _, trial in cell.trials if trial.number == 0), None)
    broken = next((refit for refit in record.refits if refit.role == "tuned" and refit.status != "ok"), None)
    due: tuple[str, str] | None = None
    if said.startswith(FAILED):
        failed = first if trials.winner(cell, record) is None else None
        due = (failed.status, f"{FAILED}; the default: {failed.reason}") if failed else ("ok", "")
    elif said.startswith("refit "):
        due = (broken.status, f"refit {broken.seed}: {broken.reason}") if broken else ("ok", "")
    elif said.startswith(AFTER):
        due = ("ok", "")
    if due and due != (record.status, said):
        due_ = f"{due[0]}, {short(due[1])}" if due[1] else "no such end"
        yield Finding("record", where, f"ended as {record.status}, {short(said)}; its rows show {due_}")


def _whole(cell: Cell, record: Record, suite: Suite) -> bool:
    """Whether every refit that was due ended well."""
    well = {(refit.role, refit.seed) for refit in record.refits if refit.status == "ok"}
    return trials.winner(cell, record) is not None and _due(cell, record, suite) <= well


def _check_modalities(where: str, record: Record, suite: Suite) -> Iterator[Finding]:
    """Those that the suite lets a contender see, as far as it names them; `replay` knows the data set's."""
    names = set(record.modalities)
    for spec in suite.contenders:
        rest = record.contender.removeprefix(f"{spec.name} ")
        only = {rest} if spec.each_modality and rest != record.contender else set(spec.only or ())
        if (spec.each_modality or spec.name == record.contender) and only and names != only:
            seen, due = ", ".join(sorted(names)), ", ".join(sorted(only))
            yield Finding("suite", where, f"it sees {seen or 'nothing'}, but {due} by suite.toml")


def _due(cell: Cell, record: Record, suite: Suite) -> set[tuple[str, int]]:
    winner = trials.winner(cell, record)
    roles = ("tuned", "default") if winner is not None and winner.number else ("tuned",)
    return {(role, seed) for role in roles for seed in suite.budget.seeds(role)}


def _check_parent(where: str, record: Record, contents: Contents, suite: Suite) -> Iterator[Finding]:
    """What is derived takes the winner of the contender that the suite names, as it is."""
    due = next((spec.of for spec in suite.contenders if spec.name == record.contender), None)
    stated = record.derived.get("of")
    yield from altered("suite", where, [("what it is derived from", stated, due)], against="suite.toml")
    if stated is None:
        return
    key = record.derived.get("cell")
    records = contents.cells[key].records if key in contents.cells else []
    parent = next((one for _, one in records if (one.task, one.contender) == (record.task, stated)), None)
    if record.status == "skipped":
        trained = parent is not None and parent.status == "ok" and NETWORK in parent.params
        if trained and record.space_hash != digest({}):
            yield Finding("record", where, f"is skipped, though {stated!r}, whose models it takes, ended well")
        return
    if parent is None:
        yield Finding("record", where, f"is derived from {stated!r}, cell {short(key)}, which has no record")
        return
    taken = {name: value for name, value in record.params.items() if name in parent.params}
    if record.params and taken != dict(parent.params):
        yield Finding("record", where, f"its parameters are not those of {stated!r}, from which it is derived")


def _check_weights(folder: Path, cell: Cell) -> Iterator[Finding]:
    """Weights that were kept are what was kept; that they are gone is no fault, for no score is made of them."""
    for where, refit in cell.refits:
        try:
            load_weights(folder, refit)
        except StoreError as error:
            yield Finding("weights", _at(where, cell.name or f"cell {refit.cell}", refit), str(error))


def _without_record(contents: Contents) -> Iterator[Finding]:
    """Rows of a cell that no record speaks of: unless it was left for another version of the same contender."""
    named = {cell.cell: (cell.task, cell.contender) for _, plan in contents.plans for cell in plan.cells}
    recorded = set(contents.latest())
    for key, cell in contents.cells.items():
        if not cell.records and named.get(key) not in recorded:
            name = "/".join(named.get(key, (f"cell {key}",)))
            count = f"{len(cell.trials)} trials and {len(cell.refits)} refits"
            what = f"has {count}, but no record: the run is not at its end, or the record was dropped"
            yield Finding("record", f"records.jsonl, {name}", what)


def _differing(params: Mapping[str, Any], trial: Trial | None) -> str:
    return _different(params, trial.params if trial else {})


def _different(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return "; ".join(f"{name} is {short(one.get(name))}, not {short(other.get(name))}" for name in names[:3])


def _flat(one: Any, other: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(dotted name, value, value) of each entry of two alike structures."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for name in {**one, **other}:
            yield from _flat(one.get(name), other.get(name), f"{prefix}.{name}" if prefix else str(name))
    elif one != one and other != other:
        return  # both are NaN
    else:
        yield prefix, _listed(one), _listed(other)


def _listed(value: Any) -> Any:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_listed(entry) for entry in value]
    return value


def _seed(refit: Refit) -> str:
    return f"{refit.role} seed {refit.seed}"


def _at(where: str, name: str, refit: Refit) -> str:
    return f"{where}, {name}, {_seed(refit)}"
