"""Features on disk: an encoder's preprocessor, fitted on train, run once over each split, kept by content hash.

The key is made of the data, the encoder's code and parameters, and the library versions: change any and it is a miss.
A missing value never reaches an encoder; its row is zero and `present` is False.

Rows are read and written a few at a time, between files that are mapped into memory, so that memory does not grow with
the data. Each array is a separate file, SPLIT.NAME.npy. While it is made the folder is called KEY.BOOT.draft: any
number of processes work on it together, each on a unit of rows at a time (`units`), and what one that was killed had
finished stays. The last one to finish gives the folder its name.
"""

import hashlib
import json
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from mmbench.api.data import SPLITS
from mmbench.api.files import check_readable, file_lock, remedy, share
from mmbench.api.parts import Corruption, Encoder
from mmbench.api.progress import report
from mmbench.api.suite import CorruptionSpec
from mmbench.engine.data import shelf
from mmbench.engine.data.building import building, sync
from mmbench.engine.data.column import Column
from mmbench.engine.data.tables import Table
from mmbench.engine.data.units import Units
from mmbench.errors import DataError, PluginError

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

FORM = 4  # of the files, and of what raw values are decoded to; part of the key
CHUNK = 64  # rows that an encoder is given at once
PRESENT = "present"
MASK = "mask"  # which steps of each row are there, where rows have steps
LAYOUT = "layout.json"


@dataclass(frozen=True)
class Prepared:
    """One modality of one dataset, prepared by one encoder with one set of "prepare" parameters."""

    table: Table
    modality: str
    encoder: Encoder
    params: Mapping[str, Any]
    cache: Path
    code: tuple[str, Mapping[str, str]]
    """The encoder's hash, and the versions of what it and the decoders of its kind import."""

    @cached_property
    def stored(self) -> "Prepared":
        """As which the features are kept: for an encoder that learns from no row all views of a data set have theirs
        among the same ones."""
        whole = self.table.whole
        return replace(self, table=whole) if self._independent and self.table != whole else self

    @property
    def _independent(self) -> bool:
        """Whether the encoder learns from no row."""
        return self.encoder.frozen or type(self.encoder).fit is Encoder.fit

    @cached_property
    def folder(self) -> Path:
        """Where they are kept, if they are not among those of `stored`."""
        ingredients = [
            FORM,
            self.table.folder.name,
            self.table.limit,
            self.modality,
            self.encoder.name,
            self.code,
            sorted(self.params.items()),
        ]
        if self.table.fold:
            ingredients.append({name: value for name, value in asdict(self.table.fold).items() if value is not None})
        if self.table.size is not None:
            ingredients.append(self.table.size)
        digest = hashlib.sha256(json.dumps(ingredients).encode()).hexdigest()[:24]
        return self.cache / "features" / digest

    @cached_property
    def label(self) -> str:
        fold = f", fold {self.table.fold.number}" if self.table.fold else ""
        size = f", {self.table.size:,} train rows" if self.table.size is not None else ""
        return f"{self.table.dataset.name}{fold}{size}: {self.modality} by {self.encoder.name}"

    @property
    def _draft(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.{boot()}{shelf.DRAFT}")

    @cached_property
    def _held(self) -> dict[Path, shelf.Hold]:
        return {}

    def _hold(self, folder: Path) -> None:
        """From now on, until this object goes, nobody deletes the folder."""
        if folder not in self._held:
            self._held[folder] = shelf.Hold(folder)

    def ensure(self, begun: Callable[[int], None] = lambda units: None) -> None:
        """Compute what is not there yet, together with whoever else is at it: nothing is computed twice.

        `begun(units)` is called when the encoder is fitted: from then on others can `assist` with so many units.
        """
        if self.stored is not self:
            self.stored.ensure(begun)
            return
        self._hold(self.folder)
        while not self.folder.exists():
            with self._making(), one_thread():
                if self._lay_out():
                    units = Units.open(self._draft, self._rows)
                    begun(len(units))
                    self._compute(units, wait=True)
                    self._finish()
        check_readable(self.folder)

    def assist(self) -> None:
        """Take part in what another process has begun, for as long as it has units that nobody works on."""
        if self.stored is not self:
            self.stored.assist()
            return
        self._hold(self.folder)
        with self._making(), one_thread():
            if (self._draft / LAYOUT).exists():
                self._compute(Units.open(self._draft, self._rows), wait=False)

    def state(self) -> dict[str, Any]:
        """What `Encoder.fit` gave."""
        return _state(self.stored.folder)

    def arrays(self, split: str) -> "dict[str, np.ndarray[Any, Any]]":
        """{name: [N, ...]} with `present` [N] among them, mapped into memory, or for a view that has its rows among
        others' a copy: what is written to them is not kept."""
        import numpy as np

        stored = self.stored
        stored._hold(stored.folder)
        if stored is self:
            return _arrays(self.folder, split)
        found = [(_arrays(stored.folder, name), rows) for name, rows in self.table.among(split).items()]
        return {name: np.concatenate([arrays[name][rows] for arrays, rows in found]) for name in found[0][0]}

    def damaged(
        self, corruption: Corruption, spec: CorruptionSpec, severity: float, *, code: str, seed: int
    ) -> "dict[str, Any]":
        """The test split's arrays after `corruption`; only rows whose value changed are computed again."""
        import numpy as np

        if (
            self.stored is not self and self.stored.table.fold == self.table.fold
        ):  # its test rows are those of this view
            return self.stored.damaged(corruption, spec, severity, code=code, seed=seed)
        parameters = {name: parameter.default for name, parameter in corruption.space.items()} | dict(spec.params)
        key = json.dumps([spec.name, code, severity, sorted(parameters.items()), seed])
        folder = self.folder.with_name(f"{self.folder.name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}")
        self._hold(folder)
        if folder.exists():
            return _arrays(folder, "test")
        with building(folder) as draft, one_thread():
            if draft:
                clean = list(self.table.values("test", self.modality))
                generator = np.random.default_rng([seed, *self.modality.encode()])
                values = corruption.apply(clean, severity, generator, parameters)
                changed = [i for i, (old, new) in enumerate(zip(clean, values, strict=True)) if new is not old]
                for name, array in self.arrays("test").items():
                    np.save(draft / f"test.{name}.npy", array)
                self._overwrite(
                    draft, np.array(changed, int), [values[i] for i in changed], f"{self.label}, {spec.name}"
                )
                shelf.write_meta(draft, self._meta() | {"what": f"{self.label}, {spec.name} {severity:g}"})
        return _arrays(folder, "test")

    @cached_property
    def _rows(self) -> dict[str, int]:
        rows: dict[str, int] = self.table.facts["rows"]
        return {split: rows[split] for split in SPLITS}

    @contextmanager
    def _making(self) -> Iterator[None]:
        """What comes of an error: a draft that has gone is somebody else's doing, any other is of no use any more."""
        try:
            yield
        except FileNotFoundError:
            if (self._draft / LAYOUT).exists():
                raise
        except Exception as error:
            shutil.rmtree(self._draft, ignore_errors=True)
            if isinstance(error, OSError):
                raise DataError(f"can't write {self._draft}: {error.strerror or error}{remedy(error)}") from error
            raise
        finally:
            if self.folder.exists():
                shutil.rmtree(self._draft, ignore_errors=True)

    def _lay_out(self) -> bool:
        """Fit, and make room for the arrays, unless somebody has; False if it is all there."""
        import numpy as np
        from safetensors.numpy import save_file

        draft = self._draft
        with file_lock(self.folder.with_name(f"{self.folder.name}.lock")):
            if self.folder.exists() or (draft / LAYOUT).exists():
                return not self.folder.exists()
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
            train = self.table.values("train", self.modality)
            seen = train.only(train.present)
            if not len(seen):
                raise DataError(f"dataset {self.table.dataset.name!r}: {self.modality!r} is missing in every train row")
            report(f"{self.label}, fit", 0, 1)
            state = dict(self.encoder.fit([] if self._independent else seen, self.params))
            plain = {name: value for name, value in state.items() if not isinstance(value, np.ndarray)}
            try:
                (draft / "state.json").write_text(json.dumps(plain))
            except TypeError as error:
                raise PluginError(
                    f"encoder {self.encoder.name!r}: its state must be arrays and JSON: {error}"
                ) from error
            arrays = {name: np.ascontiguousarray(value) for name, value in state.items() if name not in plain}
            save_file(arrays, draft / "state.safetensors")
            sample = self.encoder.transform(_state(draft), seen[:1])  # for the shape of a row
            for split, n in self._rows.items():
                for name, array in sample.items():
                    self._check(name, array, 1, array[0])
                    _create(draft / f"{split}.{name}.npy", array.dtype, (n, *array.shape[1:]))
                np.save(draft / f"{split}.{PRESENT}.npy", self.table.values(split, self.modality).present)
            Units.create(draft, self._rows)
            (draft / LAYOUT).write_text(json.dumps(sorted(sample)))
            return True

    def _compute(self, units: Units, *, wait: bool) -> None:
        state = _state(self._draft)
        columns = {split: self.table.values(split, self.modality) for split in self._rows}
        arrays = {split: _arrays(self._draft, split, mode="r+") for split in self._rows}
        report(self.label, *units.rows)
        with closing(units.claim(wait=wait)) as claimed:
            for split, start, stop in claimed:
                present = arrays[split][PRESENT][start:stop]
                self._transform(state, columns[split], start + present.nonzero()[0], arrays[split])
                done, total = units.rows
                report(self.label, min(done + stop - start, total), total)

    def _transform(
        self, state: Mapping[str, Any], column: Column, rows: "Array", arrays: "Mapping[str, Array]"
    ) -> None:
        """Fill some rows of the arrays."""
        for chunk in (rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)):
            self._fill(arrays, chunk, self.encoder.transform(state, column.only(chunk)[:]))

    def _overwrite(self, draft: Path, rows: "Array", values: Sequence[Any], label: str) -> None:
        """Put other values in some rows of the test split; None takes a row away."""
        arrays, state = _arrays(draft, "test", mode="r+"), self.state()
        gone = [value is None for value in values]
        for array in arrays.values():
            array[rows[gone]] = 0
        left = [value for value in values if value is not None]
        kept = rows[[not absent for absent in gone]]
        arrays[PRESENT][kept] = True
        for start in range(0, len(kept), CHUNK):
            new = self.encoder.transform(state, left[start : start + CHUNK])
            self._fill(arrays, kept[start : start + CHUNK], new)
            report(label, min(start + CHUNK, len(kept)), len(kept))

    def _fill(self, arrays: "Mapping[str, Array]", rows: "Array", new: "Mapping[str, Array]") -> None:
        if set(new) != set(arrays) - {PRESENT}:
            raise PluginError(f"encoder {self.encoder.name!r}: transform gives other arrays for some rows: {set(new)}")
        for name, array in new.items():
            self._check(name, array, len(rows), arrays[name][0])
            arrays[name][rows] = array

    def _check(self, name: str, array: Any, n: int, like: "Array") -> None:
        import numpy as np

        where = f"encoder {self.encoder.name!r}: transform's array {name!r}"
        if name == PRESENT:
            raise PluginError(f"{where}: this name is kept for the engine")
        if not re.fullmatch(r"\w+", name, flags=re.ASCII):
            raise PluginError(f"{where}: a name is made of letters, digits and _")
        if len(array) != n:
            raise PluginError(f"{where} has {len(array)} rows for {n} values")
        if array.shape[1:] != like.shape or array.dtype != like.dtype:
            raise PluginError(f"{where} has rows of {array.dtype}{array.shape[1:]}, others of {like.dtype}{like.shape}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise PluginError(f"{where} is not finite")

    def _finish(self) -> None:

        draft = self._draft
        with file_lock(self.folder.with_name(f"{self.folder.name}.lock")):
            if self.folder.exists() or not Units.open(draft, self._rows).complete:
                return
            shelf.write_meta(draft, self._meta())
            Units.remove(draft)
            (draft / LAYOUT).unlink()
            share(draft)
            sync(draft)
            draft.replace(self.folder)
        shelf.trim(self.cache)

    def _meta(self) -> dict[str, Any]:
        return {
            "what": self.label,
            "dataset": self.table.dataset.name,
            "modality": self.modality,
            "encoder": self.encoder.name,
            "params": dict(self.params),
            "limit": self.table.limit,
            "rows": self._rows,
            "libraries": dict(self.code[1]),
        }


@contextmanager
def one_thread() -> Iterator[None]:
    """How a sum is split over threads changes its last digits: features are made by one, whoever makes them."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


@cache
def boot() -> str:
    """Which boot of which machine this is: half-written files of another one can't be trusted."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        import psutil

        text = f"{platform.node()} {psutil.boot_time():.0f}"
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _state(folder: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    state: dict[str, Any] = json.loads((folder / "state.json").read_text())
    return {**state, **load_file(folder / "state.safetensors")}


def _arrays(folder: Path, split: str, mode: Literal["c", "r+"] = "c") -> "dict[str, Array]":
    import numpy as np

    found = {path.name: path for path in sorted(folder.glob(f"{split}.*.npy"))}
    return {name.split(".")[1]: np.asarray(np.load(path, mmap_mode=mode)) for name, path in found.items()}


def _create(path: Path, dtype: "np.dtype[Any]", shape: tuple[int, ...]) -> None:
    """A file of zeros, its room on the disk taken at once: a full disk is met here, not in the middle of writing."""
    import numpy as np

    np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
