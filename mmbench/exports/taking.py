"""Makes an export of a run's cell: the weights of one refit, and all that is needed to use them elsewhere.

What is written is loaded again and predicts test before it is handed out: its predictions are the stored ones, or there
is no export. No test label is read for it.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from safetensors.numpy import save as save_arrays
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from mmbench import __version__, reproduce
from mmbench.api import record as records
from mmbench.api.parts.scores import sign
from mmbench.api.record import Record
from mmbench.board import rank
from mmbench.engine import identity
from mmbench.engine.data.features import PRESENT
from mmbench.engine.events import Event
from mmbench.engine.jobs.workspace import Workspace
from mmbench.engine.plan import Plan
from mmbench.engine.run.scoring import apart
from mmbench.engine.space import Cell
from mmbench.errors import DataError, MMBenchError, StoreError
from mmbench.exports import graphs, loading, manifest, readme
from mmbench.exports.manifest import README, SCHEMA, STATES, WEIGHTS, Data, Input, Manifest, Refit
from mmbench.plugins import Catalog
from mmbench.store import reading
from mmbench.store.reading import RunData
from mmbench.trust import seal

Array: TypeAlias = np.ndarray[Any, Any]
CLOSE = 1e-4
"""How far an export's predictions may be from the stored ones, relative to the largest: another machine rounds."""
ALTERED = 0.01
"""How many of its texts may be others: one rounding is another word."""


def take(
    run: RunData,
    catalog: Catalog,
    name: str,
    to: Path,
    *,
    cache: Path,
    seed: int | None = None,
    formats: Sequence[str] = (),
    retrain: bool = False,
    device: str = "cpu",
    on_event: Callable[[Event], None] = lambda event: None,
) -> "tuple[loading.Export, list[str]]":
    """Export the refit of a cell, "TASK/CONTENDER" or its key, to the folder `to`; give it loaded, and what to tell.

    seed: which refit of the winner; by default that with the best score on validation. formats: "onnx" and "torch"
    beside the safetensors. retrain: train a refit again whose weights were not kept.
    Raises StoreError if there is no such cell, refit or weights, DataError if the export does not predict what was
    stored.
    """
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise StoreError(f"{to} is there already: name a folder with --to that is not")
    graphs.check(formats)
    (record,) = reproduce.choose(run, [name])
    refit = _refit(run, record, seed)
    catalog = reproduce.with_data(run, catalog)
    if record.derived:
        said = f"{name} is made of the models of {record.derived['of']!r}: export that, which has weights of its own"
        raise StoreError(said)
    if catalog.fusions[refit.params["fusion"]].level == "estimator":
        said = f"the winner of {name} is {refit.params['fusion']}, which scikit-learn fits: it has no weights to take"
        raise StoreError(said)
    weights = reading.load_weights(run.path, refit)
    if weights is None and not retrain:
        raise StoreError(
            f"the weights of {name} were not kept: add --retrain to train seed {refit.seed} again; a suite with "
            "keep_weights = true keeps them"
        )
    plan, cell = _planned(run, catalog, record, device)
    if weights is None:
        weights = _again(run, catalog, record, replace(plan, cells=(cell,)), refit, cache, on_event)
        refit = replace(refit, weights=None)
    draft = to.with_name(f".{to.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
    except OSError as error:
        raise StoreError(f"{to} can't be written: {error.strerror}") from error
    try:
        made = _written(draft, run, catalog, record, refit, cell, cache, load_tensors(weights))
        export = loading.Export(draft, made, catalog)
        made = replace(made, refit=replace(made.refit, difference=_difference(run, export, refit)))
        export.manifest = made
        notes = graphs.write(export, formats)
        made = replace(made, files={name: manifest.digest(draft / name) for name in _names(draft)})
        manifest.write(draft, made)
        export.manifest = made
        (draft / README).write_text(readme.text(made, export.dataset, _names(draft)), encoding="utf-8")
        if to.exists():
            to.rmdir()
        draft.rename(to)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    export.folder = to
    return export, notes


def _names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def _refit(run: RunData, record: Record, seed: int | None) -> records.Refit:
    """The winner's refit of that seed, or the one that is best on validation."""
    tuned = [refit for refit in record.refits if refit.role == "tuned" and refit.status == "ok"]
    where = f"{run.path}: {record.task}/{record.contender}"
    if seed is not None:
        found = [refit for refit in tuned if refit.seed == seed]
        if not found:
            raise StoreError(f"{where} has no refit of seed {seed}: there are {[refit.seed for refit in tuned]}")
        return found[0]
    if not tuned:
        raise StoreError(f"{where} has no refit that ended well")
    better = sign(record.directions[record.metric])
    return max(tuned, key=lambda refit: (better * (refit.valid or 0.0), -refit.seed))


def _planned(run: RunData, catalog: Catalog, record: Record, device: str) -> tuple[Plan, Cell]:
    try:
        plan, cell = reproduce.planned(run, catalog, record, device)
    except DataError as error:
        hint = "; the data of [task.data] are looked for from this folder: go to that of the suite's file"
        raise DataError(f"{error}{hint if record.dataset.get('name') in run.suite.own else ''}") from error
    if cell.skip:
        raise StoreError(f"{record.task}/{record.contender} can't be built here: {cell.skip}")
    return plan, cell


def _again(
    run: RunData,
    catalog: Catalog,
    record: Record,
    plan: Plan,
    refit: records.Refit,
    cache: Path,
    on_event: Callable[[Event], None],
) -> bytes:
    """The weights of a refit that is trained again, in a worker, as it was. Raises DataError if it comes out otherwise
    on validation."""
    name = f"{record.task}/{record.contender}, seed {refit.seed}"
    try:
        found = reproduce.train(
            run, catalog, record, plan, [refit.seed], cache=cache, on_event=on_event, keep_weights=True
        )[refit.seed]
    except reproduce.FailedError as error:
        raise MMBenchError(f"{name} can't be trained again: {error}") from error
    then, now = refit.valid or 0.0, found.refit.valid or 0.0
    if abs(then - now) > CLOSE * max(1.0, abs(then)):
        (cell,) = plan.cells
        changed = reproduce.differences(record, cell, catalog, plan.device)
        since = f"; since then: {'; '.join(changed)}" if changed else ""
        raise DataError(f"{name}: training it again gives {now:.6g} on validation, not {then:.6g} as recorded{since}")
    assert found.weights is not None
    return found.weights


def _written(
    folder: Path,
    run: RunData,
    catalog: Catalog,
    record: Record,
    refit: records.Refit,
    cell: Cell,
    cache: Path,
    weights: Mapping[str, Any],
) -> Manifest:
    """Write the weights and states to the folder, and give what export.json is to say."""
    params = {name: value for name, value in refit.params.items() if not name.startswith("objective")}
    place = Workspace(cell, catalog, cache)
    prepared = place.prepared(refit.params)
    states = {modality: one.state() for modality, one in prepared.items()} | {"": dict(place.state)}
    kept = {name: value for name, value in weights.items() if not name.startswith("objective.")}
    (folder / WEIGHTS).write_bytes(save_tensors(kept))
    own = {f"{n}:{k}": v for n, state in states.items() for k, v in state.items() if isinstance(v, np.ndarray)}
    (folder / STATES).write_bytes(save_arrays({n: np.ascontiguousarray(array) for n, array in own.items()}))
    used = {"fusion": params["fusion"], "head": cell.task.target.type, "dataset": cell.task.dataset}
    parts = [f"{role}.{name}" for role, name in used.items()]
    parts += [f"encoder.{params[f'encoder.{modality}']}" for modality in prepared]
    dataset = catalog.datasets[cell.task.dataset]
    learned = dict(dataset.learn_rows(cache))
    spec = next((spec for spec in run.suite.own if spec == dataset.name), None)
    return Manifest(
        schema=SCHEMA,
        mmbench=__version__,
        protocol=identity.PROTOCOL,
        suite=record.suite,
        seal=seal.name(run.path),
        task=record.task,
        contender=record.contender,
        cell=record.cell,
        metric=record.metric,
        scores=_scores(run, catalog, record),
        refit=Refit(refit.seed, refit.valid or 0.0, refit.metrics, retrained=refit.weights is None),
        data=Data(
            name=dataset.name,
            fingerprint=cell.fingerprint,
            licence=dataset.licence,
            limit=cell.limit,
            fold=asdict(cell.fold) if cell.fold else None,
            size=cell.size,
            table=run.suite.own[spec].table if spec else None,
            learned=learned,
        ),
        columns={modality: cell.task.modalities[modality] for modality in prepared},
        target=cell.task.target.type,
        classes=place.table.facts["classes"] or learned.get("classes") or None,
        params=params,
        parts={name: record.parts[name] for name in dict.fromkeys(parts) if name in record.parts},
        libraries=dict(record.identity.get("libraries") or {}),
        inputs={modality: _inputs(place, modality, refit.params) for modality in prepared},
        states={n: {k: v for k, v in s.items() if not isinstance(v, np.ndarray)} for n, s in states.items()},
        files={name: manifest.digest(folder / name) for name in (WEIGHTS, STATES)},
        encoders={name: own.table for name, own in run.suite.encoders.items() if f"encoder.{name}" in parts},
    )


def _inputs(place: Workspace, modality: str, params: Mapping[str, Any]) -> dict[str, Input]:
    """The arrays that the modality's module is given; PRESENT only where a row of train or test lacks it."""
    found: dict[str, Input] = {}
    for split in ("train", "test"):
        stored = place.prepared(params)[modality].arrays(split)
        if stored[PRESENT].all():
            del stored[PRESENT]
        found |= {name: Input(str(array.dtype), list(array.shape[1:])) for name, array in stored.items()}
    return found


def _scores(run: RunData, catalog: Catalog, record: Record) -> dict[str, dict[str, float | None]]:
    """{metric: mean and interval on test}"""
    beside = [other for other in run.records if other.task == record.task]  # an interval leans on the whole board
    rows = rank.leaderboard(replace(run, records=beside), apart(catalog), intervals=list(record.directions))
    row = next(row for row in rows if row["contender"] == record.contender)
    return {n: {key: found[key] for key in ("mean", "low", "high")} for n, found in row["metrics"].items()}


def _difference(run: RunData, export: loading.Export, refit: records.Refit) -> float | None:
    """The largest difference of what it predicts of test from what was stored, relative to the largest number; of texts
    the share that is another. None if nothing is stored. Raises DataError if it is too large."""
    if refit.predictions is None or not (run.path / reading.PREDICTIONS / refit.predictions["file"]).is_file():
        return None
    stored = reading.load_predictions(run.path, refit)["test"]
    found = export.predict_split("test").predictions
    if found.shape != stored.shape:
        raise DataError(f"the export predicts {found.shape} of test, and {stored.shape} is stored")
    if stored.dtype.kind not in "biuf":
        share, most = float((found != stored).mean()), ALTERED
    else:
        share, most = float(np.abs(found - stored).max() / max(1.0, float(np.abs(stored).max()))), CLOSE
    if not share <= most:
        changed = f"; since then: {'; '.join(export.differences)}" if export.differences else ""
        raise DataError(f"the export does not predict what was stored of test: they differ by {share:.3g}{changed}")
    return share
