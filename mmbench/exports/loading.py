"""Loads an export and predicts with it: rows of a file, a split of its data set, or values that a program has.

Only JSON and safetensors are read from the folder. The model is built by the installed parts that it names, and its
weights are put in; rows are prepared by what was learned of train, as they were in the run.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.torch import load as load_tensors

from mmbench import plugins as plugins_
from mmbench.api import columns
from mmbench.api.carrier import cache_folder
from mmbench.api.data import SPLITS
from mmbench.api.parts import Dataset, Encoder, Part
from mmbench.api.parts.dataset import NewRows
from mmbench.api.parts.head import Head
from mmbench.api.suite import OwnData
from mmbench.engine import identity
from mmbench.engine.data.features import CHUNK, PRESENT, one_thread
from mmbench.engine.data.tables import viewed
from mmbench.engine.data.view import View
from mmbench.engine.jobs.workspace import as_tensors
from mmbench.engine.learn.evaluation import filled
from mmbench.engine.learn.model import Inputs, Model, assemble, predict
from mmbench.engine.space import Fold
from mmbench.errors import DataError, MMBenchError, TrainingError, blamed, told, unknown
from mmbench.exports import manifest as manifests
from mmbench.exports.manifest import MANIFEST, STATES, WEIGHTS, Manifest
from mmbench.plugins import Catalog

Array: TypeAlias = np.ndarray[Any, Any]


def load_export(folder: str | Path, plugins: Sequence[str] = ()) -> "Export":
    """Load what `mmbench export` has written; `plugins` as of `mmbench.run`, where its parts are not installed.

        export = mmbench.load_export("exported")
        probabilities = export.predict({"image": pictures, "text": ["a cat", None]})

    Nothing of the folder is executed. Raises DataError if a file was altered, SuiteError if a part is not here.
    """
    path = Path(folder)
    manifest = manifests.read(path)
    catalog = plugins_.load((plugins,) if isinstance(plugins, str) else plugins)
    here, table = str(Path.cwd()), manifest.data.table
    own = {} if table is None else {manifest.data.name: OwnData(table, here)}
    encoders = {name: OwnData(table, here) for name, table in manifest.encoders.items()}
    catalog = catalog.with_own(own, encoders)
    return Export(path, manifest, catalog)


@dataclass(frozen=True)
class Predicted:
    """Predictions of some rows."""

    predictions: Array
    """As metrics take them."""
    rows: Sequence[int]
    """The number of each in its file, as its user counts them; in a split from 0."""


class Export:
    """An exported model, on the CPU."""

    def __init__(self, folder: Path, manifest: Manifest, catalog: Catalog) -> None:
        self.folder, self.manifest, self.catalog = folder, manifest, catalog
        self._states = self._read_states()
        self.model: Model = self._load()
        """The torch module: `mmbench.engine.learn.model.Model`."""

    @property
    def columns(self) -> Mapping[str, str]:
        """{modality: kind}"""
        return self.manifest.columns

    @property
    def classes(self) -> list[str] | None:
        """The names of the classes, if the target has any."""
        return self.manifest.classes

    @cached_property
    def differences(self) -> list[str]:
        """What is not as it was when it was trained, each in a few words: predictions may then be others."""
        now, versions = self._code()
        pairs = [(name, code, now.get(name)) for name, code in self.manifest.parts.items() if name in now]
        pairs += [(n, version, versions[n]) for n, version in self.manifest.libraries.items() if n in versions]
        return [f"{name}: {then} then, {here} now" for name, then, here in pairs if then != here]

    def predict(self, values: Mapping[str, Sequence[Any]]) -> Array:
        """Predictions of rows, {modality: a value for each, None where it is missing}, values as encoders get them: see
        `mmbench.api.data`. Raises DataError for what the model can't be given."""
        for modality in self.columns:
            if modality not in values:
                raise DataError(f"modality {modality!r} is not given; a row that lacks it has None")
        lengths = {len(values[modality]) for modality in self.columns}
        if len(lengths) > 1:
            raise DataError(f"modalities have unequal numbers of rows: {sorted(lengths)}")
        return self._predicted({m: iter(values[m]) for m in self.columns}, lengths.pop())

    def predict_file(self, file: str | Path) -> Predicted:
        """Predictions of a file's rows, which are read as those of the suite's `[task.data]` were. Raises DataError for
        a row that can't be read, with file, row and column."""
        found = self.dataset.read_rows(Path(file), self.manifest.data.learned)
        values = {modality: self._values(found, modality) for modality in self.columns}
        return Predicted(self._predicted(values, len(found.numbers)), found.numbers)

    def predict_split(self, split: str = "test") -> Predicted:
        """Predictions of a split of the data set that it was trained on, in its order. No label is read for those of
        test. Raises DataError if the data are not what they were."""
        if split not in SPLITS:
            raise DataError(unknown("split", split, SPLITS))
        data = self.manifest.data
        try:
            found = identity.fingerprint(self.dataset)
        except DataError as error:
            hint = "; its own data are looked for from the current folder" if data.table is not None else ""
            raise DataError(f"{error}{hint}") from error
        if found != data.fingerprint:
            raise DataError(f"the data of {data.name!r}, or the code that reads them, are not those it was trained on")
        try:
            fold = Fold(**data.fold) if data.fold else None
        except TypeError as error:
            raise DataError(f"{self.folder / MANIFEST}: data.fold is none: {told(error)}") from error
        table = viewed(View(data.name, data.fingerprint, data.limit, fold, data.size), self.dataset, cache_folder())
        own = {modality: table.values(split, modality) for modality in self.columns}
        rows = len(next(iter(own.values())))
        return Predicted(self._predicted({m: iter(column) for m, column in own.items()}, rows), range(rows))

    def answers(self, predictions: Array) -> dict[str, list[Any]]:
        """Predictions as columns of a table: the label and the probability of each class, the number, the text."""
        found: dict[str, list[Any]] = self.dataset.target.answers(predictions, self.classes)
        return found

    @property
    def dataset(self) -> Dataset:
        """The data set that it was trained on. Raises SuiteError if no plugin here has it."""
        return self.catalog.datasets[self.manifest.data.name]

    @property
    def head(self) -> Head:
        return self.catalog.heads[self.manifest.target]

    def batch(self, rows: int) -> dict[str, dict[str, torch.Tensor]]:
        """A batch of zeros with every array that the modules may be given."""
        return {
            modality: {name: _zeros(rows, one.dtype, one.shape) for name, one in arrays.items()}
            for modality, arrays in self.manifest.inputs.items()
        }

    def _encoder(self, modality: str) -> Encoder:
        return self.catalog.encoders[self.manifest.params[f"encoder.{modality}"]]

    def _read_states(self) -> dict[str, dict[str, Any]]:
        """{modality, or "" for the head: its state}"""
        found = {name: dict(state) for name, state in self.manifest.states.items()}
        for name, array in self._read(STATES, load_arrays).items():
            owner, _, key = name.rpartition(":")
            found.setdefault(owner, {})[key] = array
        return found

    def _read(self, name: str, load: Any) -> Any:
        try:
            return load(manifests.content(self.folder, self.manifest, name))
        except (SafetensorError, KeyError, ValueError) as error:
            raise DataError(f"{self.folder / name} is no safetensors file: {told(error)}") from error

    def _load(self) -> Model:
        states = {modality: self._states[modality] for modality in self.columns}
        try:
            sample = {m: {n: array for n, array in own.items() if n != PRESENT} for m, own in self.batch(2).items()}
            fresh = assemble(self.catalog, self.manifest.params, states, (self.head, self._states[""]), sample, seed=0)
            loaded = filled(fresh, self._read(WEIGHTS, load_tensors))
        except TrainingError as error:
            changed = f"; since then: {'; '.join(self.differences)}" if self.differences else ""
            raise DataError(f"{self.folder}: {error}{changed}") from error
        except MMBenchError:
            raise
        except Exception as error:  # a part of another version, or a file that somebody wrote
            raise DataError(f"{self.folder}: the model of {MANIFEST} can't be built: {blamed(error)}") from error
        assert isinstance(loaded, Model)
        return loaded.requires_grad_(False)

    def _code(self) -> tuple[dict[str, str], Mapping[str, str]]:
        """The hash of each part that it is made of, and the versions of what they import, as they are here."""
        shelves, found, libraries = self.catalog.shelves(), dict[str, str](), dict[str, str]()
        for full in self.manifest.parts:
            role, _, name = full.partition(".")
            shelf: Mapping[str, Part] = shelves.get(f"{role}s", {})
            if name in shelf:
                code = identity.source(shelf[name])
                found[full] = code.hash
                libraries |= code.libraries
        return found, {**libraries, **identity.libraries({}, self.columns.values())["engine"]}

    def _values(self, rows: NewRows, modality: str) -> Iterator[Any]:
        """One modality of rows of a file, decoded a few at a time."""
        kind, table = self.columns[modality], rows.columns.select_columns([modality]).with_format("arrow")
        for start in range(0, len(rows.numbers), CHUNK):
            wrong: list[columns.Unreadable] = []
            column = table[start : start + CHUNK].column(0)
            yield from columns.decode(
                column, modality, kind, first=start, background=self.dataset.background, unreadable=wrong
            )
            if wrong and self.dataset.unreadable == "refuse":
                row, why = wrong[0]
                more = f"; {len(wrong)} of {len(column)} rows are so" if len(wrong) > 1 else ""
                raise DataError(f"{rows.file}, row {rows.numbers[row]}, {modality!r}: {why}{more}")

    def _predicted(self, values: Mapping[str, Iterable[Any]], rows: int) -> Array:
        if not rows:
            raise DataError("there is no row to predict")
        with one_thread():
            arrays = {modality: self._arrays(modality, own, rows) for modality, own in values.items()}
        inputs = Inputs({modality: as_tensors(own) for modality, own in arrays.items()}, None, rows)
        found: Array = self.head.decode(self._states[""], predict(self.model, inputs).cpu().numpy())
        return found

    def _arrays(self, modality: str, values: Iterable[Any], rows: int) -> dict[str, Array]:
        """What the encoder makes of the values, as features are stored: rows without one are zeros."""
        shapes = self.manifest.inputs[modality]
        made = {n: np.zeros((rows, *one.shape), one.dtype) for n, one in shapes.items() if n != PRESENT}
        present = np.zeros(rows, bool)
        waiting: list[tuple[int, Any]] = []

        def fill() -> None:
            places = np.array([row for row, _ in waiting])
            try:
                new = self._encoder(modality).transform(self._states[modality], [value for _, value in waiting])
            except MMBenchError:
                raise
            except Exception as error:
                raise DataError(f"{modality!r}: its encoder can't read such values: {blamed(error)}") from error
            for name, array in new.items():
                if name not in made or array.shape[1:] != made[name].shape[1:]:
                    known = {n: own.shape[1:] for n, own in made.items()}
                    raise DataError(f"{modality!r}: {name!r} has rows of {array.shape[1:]}; the model takes {known}")
                made[name][places] = array
            present[places] = True
            waiting.clear()

        for row, value in enumerate(values):
            if value is not None:
                waiting.append((row, _plain(value)))
            if len(waiting) == CHUNK:
                fill()
        if waiting:
            fill()
        return {**made, PRESENT: present}


def _plain(value: Any) -> Any:
    """Lists of numbers as the arrays that encoders are given."""
    return np.asarray(value, np.float32) if isinstance(value, list | tuple) else value


def _zeros(rows: int, dtype: str, shape: Sequence[int]) -> torch.Tensor:
    """Numbers are 0, masks and flags are set: a row of padding alone would be no row."""
    made = np.ones if dtype == "bool" else np.zeros
    array = torch.from_numpy(made((rows, *shape), dtype))
    return array.float() if array.dtype == torch.float16 else array
