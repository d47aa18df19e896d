"""`verify`: whether a run folder is what an honest, finished run leaves, as far as its files can say.

Chains, seal and signature say whether anything was changed since; recomputation says whether the parts agree with each
other; the plan says what was meant to be run. docs/trust.md has the attacks that each withstands, and those that none
does. Called by `mmbench verify`, and by `mmbench sign` before it signs. Changes nothing.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmbench.api.record import Record
from mmbench.api.suite import Suite
from mmbench.errors import MMBenchError, StoreError
from mmbench.plugins import Catalog
from mmbench.store import suitefile
from mmbench.store.chain import content_of
from mmbench.store.reading import TRIALS
from mmbench.trust import cells, contents, seal, signature
from mmbench.trust.contents import Contents, place
from mmbench.trust.findings import Finding, Report, short
from mmbench.trust.registration import CHANGED, LATER, PLAN, Registration, Standing
from mmbench.trust.replay import Replay
from mmbench.trust.scores import Examiner

ENVIRONMENT = "environment.json"
UNSEALED = (
    "there is no seal: that rows were dropped at the end, or all was recomputed, can't be told; "
    "`mmbench sign`, or the same `mmbench run` again, seals it"
)
UNPUBLISHED = "the seal is only as good as your copy of it: compare it with one that was published (--seal), or signed"


def verify(
    folder: Path,
    catalog: Catalog,
    *,
    published: str | None = None,
    signers: Path | None = None,
    registered: Registration | str | None = None,
) -> Report:
    """Check all that the run folder holds.

    published: a seal, or its first digits, from elsewhere. signers: a file of public keys, one of which must have
    signed. registered: a registration made before, or its hash, to which the run is held. Raises StoreError if the
    folder can't be read at all, MMBenchError if the signers can't.
    """
    from mmbench.engine.run.scoring import apart

    found = contents.read(folder)
    report = Report(findings=list(found.findings))
    if found.suite is not None:
        report.add(_check_plans(found, found.suite, report, registered))
        report.add(cells.check(found, found.suite))
        examiner = Examiner(found, found.suite, catalog.metrics, apart(catalog))
        report.add(examiner.check())
        report.notes += [f"{name}: {how}" for name, how in examiner.changed.items()]
        report.notes += [f"predictions/{name} is in no row" for name in examiner.strangers()]
        report.counts["scores"] = examiner.recomputed
        report.notes += examiner.notes
        replay = Replay(found, found.suite, catalog)
        report.add(replay.check())
        report.notes += [*replay.notes(), *replay.uncovered(), *cells.notes(found, found.suite)]
        report.counts["replays"] = replay.replayed
    report.add(_check_environment(found, report))
    report.notes += list(_versions(found))
    _check_seal(found, report, published=published, signers=signers)
    rows = {"trials": "trials", "refits": "refits", "records": "records"}
    for name, what in rows.items():
        report.counts[name] = sum(len(getattr(cell, what)) for cell in found.cells.values())
    return report


def _check_seal(found: Contents, report: Report, *, published: str | None, signers: Path | None) -> None:
    content = seal.stored(found.folder)
    report.add(seal.check(found.folder, list(found.chains.values())))
    if content is not None:
        report.seal = hashlib.sha256(content).hexdigest()
    elif found.plans:  # a run that wrote its plan down is sealed at its end
        report.add([Finding("seal", seal.SEAL, "is missing: the run is not at its end, or its seal was dropped")])
    else:
        report.notes.append(UNSEALED)
    if published is not None:
        report.add(seal.check_published(found.folder, published))
    report.add(_check_signature(found.folder, content, signers, report))
    if content is not None and published is None and signers is None:
        report.notes.append(UNPUBLISHED)


def _check_signature(folder: Path, content: bytes | None, signers: Path | None, report: Report) -> Iterator[Finding]:
    allowed = None if signers is None else {signature.fingerprint(key) for key in signature.allowed_keys(signers)}
    armoured = signature.stored(folder)
    if armoured is None or content is None:
        if allowed is not None:
            yield Finding("signature", signature.SIGNATURE, "is missing: the run is not signed")
        return
    try:
        key = signature.verify(content, armoured)
    except ValueError as error:
        yield Finding("signature", signature.SIGNATURE, str(error))
        return
    except MMBenchError as error:
        report.notes.append(f"{signature.SIGNATURE} was not checked: {error}")
        return
    report.signer = signature.fingerprint(key)
    if allowed is None:
        report.notes.append(f"signed by {report.signer}: whose key that is, --signer can say")
    elif report.signer not in allowed:
        yield Finding("signature", signature.SIGNATURE, f"is by {report.signer}, a key that is not in {signers}")


def _check_plans(
    found: Contents, suite: Suite, report: Report, registered: Registration | str | None
) -> Iterator[Finding]:
    digest, trials = suitefile.suite_hash(suite), found.chains[TRIALS]
    for where, plan in found.plans:
        if plan.suite_hash != digest:
            yield Finding("plan", where, f"is the plan of a suite of hash {plan.suite_hash[:64]}, not of suite.toml")
        rows, checksum = plan.after or (-1, "")
        there = rows == 0 or (0 < rows <= len(trials.checksums) and trials.checksums[rows - 1] == checksum)
        if not there:
            yield Finding("plan", where, f"was written when trials.jsonl had {rows} rows, which are not its first now")
    if found.plans:
        report.plan = found.plans[0][1].hash
        yield from _check_planned(found, suite, report)
    else:
        report.notes.append("no plan was written down before the first trial: what was added later can't be told")
    if registered is not None:
        yield from _check_registered(found, registered, report)


def _check_planned(found: Contents, suite: Suite, report: Report) -> Iterator[Finding]:
    plans = [plan for _, plan in found.plans]
    planned = {cell.cell: cell for plan in plans for cell in plan.cells}
    latest = found.latest()
    pairs = dict.fromkeys((cell.task, cell.contender) for cell in planned.values())
    for task, contender in pairs:
        if (task, contender) not in latest:
            what = "was planned, and has no record: the run is not at its end, or its record was dropped"
            yield Finding("plan", f"records.jsonl, {task}/{contender}", what)
    began = plans[0].after == (0, "0" * 64)
    if not began:
        report.notes.append(f"{PLAN} was begun when there were results already: it registers nothing")
    standing = Standing(plans, suite)
    for where, record in latest.values():
        cell = planned.get(record.cell)
        if cell is None and began:
            yield Finding("plan", where, f"its cell {record.cell} is in no row of {PLAN}")
        elif cell is not None and (cell.task, cell.contender) != (record.task, record.contender):
            yield Finding("plan", where, f"its cell was planned as {cell.task}/{cell.contender}")
        elif cell is not None and cell.space != record.space_hash:
            what = f"its search space {short(record.space_hash)} is not the planned {short(cell.space)}"
            yield Finding("plan", where, what)
        if standing(record) == LATER:
            report.notes.append(f"{place(record)} was added later: it is not in the plan that the run began with")
        elif standing(record) == CHANGED:
            report.notes.append(f"{place(record)} has changed since the plan that the run began with")


def _check_registered(found: Contents, registered: Registration | str, report: Report) -> Iterator[Finding]:
    wanted = registered if isinstance(registered, str) else registered.hash
    if report.plan != wanted:
        began = f"with plan {report.plan}" if report.plan else "without a plan"
        yield Finding("plan", PLAN, f"the run began {began}, not with the registered {wanted}")
        if isinstance(registered, str):
            return  # what it holds is not known
    if isinstance(registered, str):  # the hash is that of the cells' keys, which the run's own first plan names
        registered = found.plans[0][1]
    planned = {(cell.task, cell.contender): cell for cell in registered.cells}
    latest = found.latest()
    for pair, (where, record) in latest.items():
        if pair not in planned:
            yield Finding("plan", where, "is not in the registration: an unplanned contender")
        elif planned[pair].cell != record.cell:
            yield Finding("plan", where, "is not what was registered: its code, space, data or libraries have changed")
    for task, contender in planned:
        if (task, contender) not in latest:
            yield Finding("plan", f"records.jsonl, {task}/{contender}", "was registered, and has no record")


def _check_environment(found: Contents, report: Report) -> Iterator[Finding]:
    """environment.json is what the last record was made in; that there were several is worth a note."""
    if not found.records:
        return
    where, last = found.records[-1]
    path = found.folder / ENVIRONMENT
    try:
        stored: Any = json.loads(content_of(path) or b"")
    except (StoreError, ValueError, RecursionError) as error:
        yield Finding("environment", ENVIRONMENT, f"can't be read: {error}")
        return
    if not isinstance(stored, Mapping) or dict(stored) != dict(last.environment):
        odd = _odd(stored, last.environment) if isinstance(stored, Mapping) else "it is no table"
        yield Finding("environment", ENVIRONMENT, f"is not the environment of the last record, {where}: {odd}")
    ways = {json.dumps(record.environment, sort_keys=True): record for _, record in found.latest().values()}
    if len(ways) > 1:
        named = sorted({name for record in ways.values() for name in _names(record, last)})
        report.notes.append(f"records were made in {len(ways)} environments, which differ in {', '.join(named)}")


def _odd(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return "; ".join(f"{name} is {short(one.get(name))}, not {short(other.get(name))}" for name in names[:3])


def _names(one: Record, other: Record) -> list[str]:
    pair = {**one.environment, **other.environment}
    return [name for name in pair if one.environment.get(name) != other.environment.get(name)]


def _versions(found: Contents) -> Iterator[str]:
    """Contenders that were run again after a change: test has been looked at by each version."""
    times = Counter((record.task, record.contender) for _, record in found.records)
    for (task, contender), count in times.items():
        if count > 1:
            yield f"{task}/{contender}: {count} versions of it were scored on test; the last one counts"
