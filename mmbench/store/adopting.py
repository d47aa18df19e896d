"""Takes over cells that an earlier run has finished, where the change of a suite did not touch them.

A cell's key holds all that its result depends on, so what another folder has under the same key need not be computed
again. Used by session, which opens the store.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmbench.api.record import History, Record, Refit
from mmbench.api.suite import Suite
from mmbench.errors import StoreError
from mmbench.store import reading
from mmbench.store.reading import RunData
from mmbench.store.writing import Store


def donors(results: Path, folder: Path, suite: Suite, wanted: Collection[str]) -> dict[Path, frozenset[str]]:
    """{run folder: which of the `wanted` cells it has a record of}, of the runs beside `folder` whose suite has that
    name; each cell once. What can't be read is passed over: a folder, or a cell whose predictions were deleted; so is
    a cell that `folder` has begun by itself."""
    found: dict[Path, frozenset[str]] = {}
    left = set(wanted)
    for path in sorted(results.glob(f"*/{reading.SUITE}")):
        if path.parent == folder or not left or ".old-" in path.parent.name:
            continue
        try:
            other = reading.suite_of(path.parent)
            own = reading.finished(path.parent) & left if other and other.name == suite.name else frozenset()
            if own:
                begun, run, kept = reading.history(folder), reading.read_run(path.parent), reading.history(path.parent)
                here = {record.cell: record for record in run.records if record.cell in own}
                own = frozenset(cell for cell, record in here.items() if _whole(run, record, kept, begun.get(cell)))
        except StoreError:
            continue
        if own:
            found[path.parent] = own
            left -= own
    return found


def _whole(run: RunData, record: Record, kept: Mapping[str, History], begun: History | None) -> bool:
    """Whether all of a cell can be taken over, and what is there of it (by a process that was stopped) is just that."""
    own = kept.get(record.cell) or History()
    if begun and not (
        all(trial in own.trials for trial in begun.trials)
        and all(_bare(refit) in map(_bare, own.refits) for refit in begun.refits)
    ):
        return False
    try:
        if record.task in run.targets:
            reading.load_run_targets(run, record.task)
        for refit in own.refits:
            if refit.predictions:
                reading.load_predictions(run.path, refit)
            reading.load_weights(run.path, refit)
    except StoreError:
        return False
    return True


def _bare(refit: Refit) -> Refit:
    return replace(refit, predictions=None, weights=None)


def adopt(writer: Store, source: Path, cells: Collection[str], suite: Mapping[str, Any]) -> list[Record]:
    """Store the trials, refits, predictions, weights and records that `source` has of these cells, as those of `suite`.
    What an earlier call had stored when it was stopped is not stored again. Gives the records.

    Raises StoreError if they are damaged there.
    """
    run, histories, adopted = reading.read_run(source), reading.history(source), list[Record]()
    for record in run.records:
        if record.cell not in cells:
            continue
        if record.task in run.targets:
            writer.add_targets(record.task, reading.load_run_targets(run, record.task))
        kept, begun = histories.get(record.cell) or History(), writer.history.get(record.cell) or History()
        for trial in kept.trials:
            if trial not in begun.trials:
                writer.add_trial(trial)
        stored = {(refit.role, refit.seed): refit for refit in begun.refits}
        for refit in kept.refits:
            if (refit.role, refit.seed) not in stored:
                arrays = reading.load_predictions(source, refit) if refit.predictions else None
                weights = reading.load_weights(source, refit)
                stored[refit.role, refit.seed] = writer.add_refit(_bare(refit), arrays, weights)
        refits = tuple(stored.get((refit.role, refit.seed), refit) for refit in record.refits)
        adopted.append(replace(record, refits=refits, suite=dict(suite)))
        writer.add_record(adopted[-1])
    return adopted
