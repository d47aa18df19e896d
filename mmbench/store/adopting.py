"""Takes over cells that an earlier run has finished, where the change of a suite did not touch them.

A cell's key holds all that its result depends on, so what another folder has under the same key need not be computed
again. Used by session, which opens the store.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmbench.api.suite import Suite
from mmbench.errors import StoreError
from mmbench.store import reading
from mmbench.store.writing import Store


def donors(results: Path, folder: Path, suite: Suite, wanted: Collection[str]) -> dict[Path, frozenset[str]]:
    """{run folder: which of the `wanted` cells it has a record of}, of the runs beside `folder` whose suite has that
    name; each cell once. A folder that can't be read is passed over."""
    found: dict[Path, frozenset[str]] = {}
    left = set(wanted)
    for path in sorted(results.glob(f"*/{reading.SUITE}")):
        if path.parent == folder or not left or ".old-" in path.parent.name:
            continue
        try:
            other = reading.suite_of(path.parent)
            own = reading.finished(path.parent) & left if other and other.name == suite.name else frozenset()
        except StoreError:
            continue
        if own:
            found[path.parent] = own
            left -= own
    return found


def adopt(writer: Store, source: Path, cells: Collection[str], suite: Mapping[str, Any]) -> None:
    """Store the trials, refits, predictions, weights and records that `source` has of these cells, as those of `suite`.

    Raises StoreError if they are damaged there.
    """
    run, histories = reading.read_run(source), reading.history(source)
    for record in run.records:
        if record.cell not in cells:
            continue
        if record.task in run.targets:
            writer.add_targets(record.task, reading.load_run_targets(run, record.task))
        kept = histories.get(record.cell)
        for trial in kept.trials if kept else ():
            writer.add_trial(trial)
        stored = {}
        for refit in kept.refits if kept else ():
            arrays = reading.load_predictions(source, refit) if refit.predictions else None
            weights = reading.load_weights(source, refit)
            bare = replace(refit, predictions=None, weights=None)
            stored[refit.role, refit.seed] = writer.add_refit(bare, arrays, weights)
        refits = tuple(stored.get((refit.role, refit.seed), refit) for refit in record.refits)
        writer.add_record(replace(record, refits=refits, suite=dict(suite)))
