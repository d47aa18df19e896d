"""Boards by the metrics as they are here: those of plugins in a process of their own, changed ones asked again.

A cell's key holds the code of the metric that is tuned; of the others the record names the hash. So an edited metric
trains nothing again, and leaves no score of its former self standing on a board: it is what the code that is here gives
of the stored predictions. Called by session and cli.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mmbench.api.parts import Metric
from mmbench.api.parts.scores import scored
from mmbench.api.record import Record, Refit
from mmbench.board.gate import boards as gate
from mmbench.board.gate.boards import Board
from mmbench.engine import identity
from mmbench.errors import StoreError
from mmbench.plugins import Catalog
from mmbench.store.reading import RunData


def judges(catalog: Catalog) -> Mapping[str, Metric]:
    """The metrics as boards ask them: those of plugins score in a process of their own, which may hang or crash."""
    from mmbench.engine.run.scoring import apart

    return apart(catalog)


def boards(runs: Sequence[RunData], catalog: Catalog) -> list[Board]:
    """The boards of these runs; a note says which metrics have changed."""
    metrics = judges(catalog)
    current = [rescored(run, catalog, metrics) for run in runs]
    notes = [note for _, said in current for note in said]
    made = gate.boards([run for run, _ in current], metrics)
    return [replace(board, notes=[*board.notes, *notes]) for board in made]


def changed(records: Sequence[Record], catalog: Catalog) -> dict[str, tuple[str, str]]:
    """{metric: (hash then, hash now)} of those that are here, with other code than when some record was scored."""
    now: dict[str, str] = {}
    found: dict[str, tuple[str, str]] = {}
    for record in records:
        for name, then in identity.judged_by(record).items():
            if name == record.metric or name not in catalog.metrics:
                continue
            if name not in now:
                now[name] = identity.source(catalog.metrics[name]).hash
            if then != now[name]:
                found[name] = then, now[name]
    return found


def rescored(run: RunData, catalog: Catalog, judges: Mapping[str, Metric]) -> tuple[RunData, list[str]]:
    """The run with the scores that changed metrics give of its stored predictions; and a note for each of them.

    A score that can't be had again is none, with the reason.
    """
    stale = changed(run.records, catalog)
    if not stale:
        return run, []
    truths: dict[str, Any] = {}
    records = tuple(_rescored(run, record, stale, judges, truths) for record in run.records)
    notes = [
        f"{name}: its code has changed since {run.path.name} was scored ({then} then, {now} now); its scores are those "
        "of the code that is here, of the stored predictions"
        for name, (then, now) in sorted(stale.items())
    ]
    return replace(run, records=records), notes


def _rescored(
    run: RunData,
    record: Record,
    stale: Mapping[str, tuple[str, str]],
    judges: Mapping[str, Metric],
    truths: dict[str, Any],
) -> Record:
    then = identity.judged_by(record)
    names = [name for name, (old, _) in stale.items() if then.get(name) == old and name in record.directions]
    names = [name for name in names if name != record.metric]
    if not names:
        return record
    if record.task not in truths:
        truths[record.task] = run.truth(record.task) if record.task in run.targets else None
    refits = tuple(_refit(run, refit, [judges[name] for name in names], truths[record.task]) for refit in record.refits)
    directions = {**record.directions, **{name: judges[name].direction for name in names}}
    return replace(record, refits=refits, directions=directions)


def _refit(run: RunData, refit: Refit, metrics: Sequence[Metric], truth: Any) -> Refit:
    if refit.status != "ok":
        return refit
    gone = "failed: its code has changed, and the stored predictions can't be had"
    try:
        prediction = run.predictions(refit).get("test") if truth is not None else None
    except StoreError:
        prediction = None
    found = {m.name: gone if prediction is None else scored(m, truth, prediction) for m in metrics}
    kept = {name: score for name, score in refit.metrics.items() if name not in found}
    why = {name: reason for name, reason in refit.unscored.items() if name not in found}
    good = {name: score for name, score in found.items() if not isinstance(score, str)}
    bad = {name: reason for name, reason in found.items() if isinstance(reason, str)}
    return replace(refit, metrics={**kept, **good}, unscored={**why, **bad})
