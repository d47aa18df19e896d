"""Features on disk: an encoder's preprocessor, fitted on train, run once over each split, kept by content hash.

The key is made of the data, the encoder's code and parameters, and the library versions: change any and it is a miss.
A missing value never reaches an encoder; its row is zero and `present` is False.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmbench.api.parts import Corruption, Encoder
from mmbench.api.progress import report
from mmbench.api.suite import CorruptionSpec
from mmbench.engine.data.tables import Table, building
from mmbench.engine.plan import libraries
from mmbench.errors import DataError, PluginError
from mmbench.plugins import source_hash

if TYPE_CHECKING:
    import numpy as np

CHUNK = 64  # rows between two reports of progress
PRESENT = "present"


@dataclass(frozen=True)
class Prepared:
    """One modality of one dataset, prepared by one encoder with one set of "prepare" parameters."""

    table: Table
    modality: str
    encoder: Encoder
    params: Mapping[str, Any]
    seed: int
    cache: Path

    @cached_property
    def folder(self) -> Path:
        ingredients = [
            self.table.folder.name,
            self.table.limit,
            self.modality,
            self.encoder.name,
            source_hash(self.encoder),
            sorted(self.params.items()),
            self.seed,
            libraries(),
        ]
        digest = hashlib.sha256(json.dumps(ingredients).encode()).hexdigest()[:24]
        return self.cache / "features" / digest

    @cached_property
    def label(self) -> str:
        return f"{self.table.dataset.name}: {self.modality} by {self.encoder.name}"

    def ensure(self) -> None:
        """Compute what is not there yet; two processes at once compute it once."""
        if self.folder.exists():
            return
        with building(self.folder) as draft:
            if draft:
                self._compute(draft)

    def state(self) -> dict[str, Any]:
        """What `Encoder.fit` gave."""
        from safetensors.numpy import load_file

        state: dict[str, Any] = json.loads((self.folder / "state.json").read_text())
        return {**state, **load_file(self.folder / "state.safetensors")}

    def arrays(self, split: str) -> "dict[str, np.ndarray[Any, Any]]":
        """{name: [N, ...]} with `present` [N] among them."""
        from safetensors.numpy import load_file

        return dict(load_file(self.folder / f"{split}.safetensors"))

    def damaged(self, corruption: Corruption, spec: CorruptionSpec, severity: float) -> "dict[str, Any]":
        """The test split's arrays after `corruption`; only rows whose value changed are computed anew."""
        import numpy as np
        from safetensors.numpy import load_file, save_file

        parameters = {name: parameter.default for name, parameter in corruption.space.items()} | dict(spec.params)
        name = json.dumps([spec.name, source_hash(corruption), severity, sorted(parameters.items()), self.seed])
        folder = self.folder.with_name(f"{self.folder.name}-{hashlib.sha256(name.encode()).hexdigest()[:16]}")
        with building(folder) as draft:
            if draft:
                clean = self.table.values("test", self.modality)
                generator = np.random.default_rng([self.seed, *self.modality.encode()])
                values = corruption.apply(clean, severity, generator, parameters)
                arrays = {name: array.copy() for name, array in self.arrays("test").items()}
                changed = [i for i, (old, new) in enumerate(zip(clean, values, strict=True)) if new is not old]
                fresh = self._transform(self.state(), [values[i] for i in changed], f"{self.label}, {spec.name}")
                for array, new in ((arrays[name], fresh.get(name)) for name in arrays):
                    array[changed] = 0 if new is None else new
                save_file(arrays, draft / "test.safetensors")
        return dict(load_file(folder / "test.safetensors"))

    def _compute(self, draft: Path) -> None:
        import numpy as np
        from safetensors.numpy import save_file

        columns = {split: self.table.values(split, self.modality) for split in ("train", "validation", "test")}
        seen = [value for value in columns["train"] if value is not None]
        if not seen:
            raise DataError(f"dataset {self.table.dataset.name!r}: {self.modality!r} is missing in every train row")
        report(f"{self.label}, fit", 0, 1)
        state = dict(self.encoder.fit(seen, self.params, self.seed))
        plain = {name: value for name, value in state.items() if not isinstance(value, np.ndarray)}
        try:
            (draft / "state.json").write_text(json.dumps(plain))
        except TypeError as error:
            raise PluginError(f"encoder {self.encoder.name!r}: its state must be arrays and JSON: {error}") from error
        arrays = {name: np.ascontiguousarray(value) for name, value in state.items() if name not in plain}
        save_file(arrays, draft / "state.safetensors")
        total, done = sum(map(len, columns.values())), 0
        for split, column in columns.items():
            save_file(self._transform(state, column, self.label, done, total), draft / f"{split}.safetensors")
            done += len(column)

    def _transform(
        self, state: Mapping[str, Any], column: Sequence[Any], label: str, done: int = 0, total: int | None = None
    ) -> "dict[str, np.ndarray[Any, Any]]":
        import numpy as np

        present = np.array([value is not None for value in column], dtype=bool)
        rows = np.flatnonzero(present)
        arrays: dict[str, np.ndarray[Any, Any]] = {}
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK]
            for name, array in self.encoder.transform(state, [column[i] for i in chunk]).items():
                self._check(name, array, len(chunk))
                if name not in arrays:
                    arrays[name] = np.zeros((len(column), *array.shape[1:]), array.dtype)
                arrays[name][chunk] = array
            report(label, done + int(chunk[-1]) + 1, total or len(column))
        return arrays | {PRESENT: present}

    def _check(self, name: str, array: Any, n: int) -> None:
        where = f"encoder {self.encoder.name!r}: transform's array {name!r}"
        if name == PRESENT:
            raise PluginError(f"{where}: this name is kept for the engine")
        if len(array) != n:
            raise PluginError(f"{where} has {len(array)} rows for {n} values")
        if array.dtype.kind == "f":
            import numpy as np

            if not np.isfinite(array).all():
                raise PluginError(f"{where} is not finite")
