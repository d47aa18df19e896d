"""All that a run folder holds, read for examination: what can't be read is a finding, and the rest is still examined.

Used by `verify`.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from mmbench.api.record import Record, Refit, Trial
from mmbench.api.suite import Suite
from mmbench.errors import SuiteError
from mmbench.store import rows, suitefile
from mmbench.store.chain import decode, no_row
from mmbench.store.reading import RECORDS, SUITE, TRIALS
from mmbench.trust import lines, registration
from mmbench.trust.findings import Finding, short
from mmbench.trust.lines import Line, Lines

T = TypeVar("T")


@dataclass
class Cell:
    """What is stored of one cell, each with the place where it stands."""

    trials: list[tuple[str, Trial]] = field(default_factory=list)
    refits: list[tuple[str, Refit]] = field(default_factory=list)
    records: list[tuple[str, Record]] = field(default_factory=list)

    @property
    def name(self) -> str | None:
        """ "task/contender", which only a record says."""
        return place(self.records[-1][1]) if self.records else None


@dataclass
class Contents:
    """A run folder's files, and what is wrong with their form."""

    folder: Path
    suite: Suite | None
    chains: dict[str, Lines]
    plans: list[tuple[str, registration.Registration]] = field(default_factory=list)
    targets: dict[str, tuple[str, dict[str, str]]] = field(default_factory=dict)
    """{task: (where, {"file", "sha256"})}; of several rows the last."""
    cells: dict[str, Cell] = field(default_factory=dict)
    records: list[tuple[str, Record]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def latest(self) -> dict[tuple[str, str], tuple[str, Record]]:
        """{(task, contender): where its last record stands, and the record}: those that a leaderboard shows."""
        return {(record.task, record.contender): (where, record) for where, record in self.records}


def _names(kind: type[Any]) -> frozenset[str]:
    return frozenset(field.name for field in fields(kind))


def place(record: Record) -> str:
    return f"{record.task}/{record.contender}"


def read(folder: Path) -> Contents:
    """Read everything but predictions. Raises StoreError if a file can't be opened at all."""
    chains = {name: lines.read(folder / name) for name in (registration.PLAN, TRIALS, RECORDS)}
    found = Contents(folder, None, chains)
    try:
        found.suite = suitefile.read(folder / SUITE)
    except SuiteError as error:
        found.findings.append(Finding("suite", SUITE, f"can't be read, so scores were not checked: {error}"))
    for chain in chains.values():
        found.findings += chain.findings
        found.findings += _strange(chain)
    _plans(found)
    _trials(found)
    _records(found)
    return found


_FIELDS: Mapping[str, Mapping[str, frozenset[str]]] = {
    registration.PLAN: {"plan": _names(registration.Registration) | {"schema", "hash"}},
    TRIALS: {"trial": _names(Trial), "refit": _names(Refit)},
    RECORDS: {
        "record": _names(Record),
        "targets": frozenset({"task", "file", "sha256"}),
        "said": frozenset({"id", "value"}),
    },
}
"""{file: {kind of row: what it may say}}"""
_WITHIN = {"refits": _names(Refit), "cells": _names(registration.PlannedCell)}
"""{field: what each entry of its list may say}"""


def _strange(chain: Lines) -> Iterator[Finding]:
    """Rows and fields that mmbench does not write, which whoever reads the file by other means might believe."""
    for line in chain.rows:
        where = chain.where(line)
        known = _FIELDS[chain.name].get(line.kind)
        if known is None:
            yield Finding("chain", where, f"is of kind {line.kind!r}, which mmbench does not write")
            continue
        twice: list[str] = []
        try:
            row = json.loads(line.raw, object_pairs_hook=partial(_paired, twice))
        except (ValueError, RecursionError):
            continue  # it is no row at all, which is said of it elsewhere
        if not isinstance(row, dict):
            continue
        names = sorted(set(row) - known)
        for field_, inner in _WITHIN.items():
            entries = row.get(field_)
            for entry in entries if isinstance(entries, list) else ():
                names += sorted(set(entry) - inner) if isinstance(entry, dict) else []
        for name in dict.fromkeys(names):
            yield Finding("chain", where, f"has a field {short(name)}, which mmbench does not write")
        for name in dict.fromkeys(twice):
            yield Finding("chain", where, f"has the field {short(name)} twice")
        if line.kind == "said" and row.get("id") != rows.identity(row.get("value")):
            yield Finding("chain", where, f"is called {short(row.get('id'))}, which is not the hash of its value")


def _paired(twice: list[str], pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice += [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    return found


def _decoded(found: Contents, where: str, line: Line, decoder: Callable[[bytes], T]) -> T | None:
    try:
        return decoder(line.raw)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        found.findings.append(Finding("chain", where, no_row(error)))
        return None


def _plans(found: Contents) -> None:
    chain = found.chains[registration.PLAN]
    for line in chain.rows:
        plan = _decoded(found, chain.where(line), line, lambda raw: registration.from_json(decode(raw)))
        if plan is not None:
            found.plans.append((chain.where(line), plan))


def _trials(found: Contents) -> None:
    chain = found.chains[TRIALS]
    for line in chain.rows:
        where = chain.where(line)
        if line.kind == "trial":
            trial = _decoded(found, where, line, rows.trial)
            if trial is not None:
                found.cells.setdefault(trial.cell, Cell()).trials.append((where, trial))
        elif line.kind == "refit":
            refit = _decoded(found, where, line, rows.refit)
            if refit is not None:
                found.cells.setdefault(refit.cell, Cell()).refits.append((where, refit))


def _records(found: Contents) -> None:
    chain, said = found.chains[RECORDS], rows.Said()
    readers: dict[str, Callable[[bytes], Any]] = {"record": said.record, "targets": rows.targets, "said": said.hear}
    for line in chain.rows:
        where = chain.where(line)
        row = _decoded(found, where, line, readers[line.kind]) if line.kind in readers else None
        if isinstance(row, Record):
            where = f"{where}, {place(row)}"
            found.cells.setdefault(row.cell, Cell()).records.append((where, row))
            found.records.append((where, row))
        elif isinstance(row, rows.Targets):
            found.targets[row.task] = (where, {"file": row.file, "sha256": row.sha256})
