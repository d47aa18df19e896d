"""What a worker needs of one cell, in memory: tables, prepared features, tensors on the device, the metric.

The truth of the test split is never opened here: only the referee, in the parent process, reads it.
"""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmbench.api.parts import Encoder, State
from mmbench.api.parts.head import Head
from mmbench.api.parts.scores import scored
from mmbench.api.space import Params, defaults
from mmbench.api.suite import CorruptionSpec
from mmbench.engine.data.features import PRESENT, Prepared
from mmbench.engine.data.tables import Table, viewed
from mmbench.engine.data.view import View
from mmbench.engine.jobs.job import Origin
from mmbench.engine.learn.model import Inputs, Model, assemble
from mmbench.engine.learn.optimizer import rule_of
from mmbench.engine.learn.train import Augment, Lesson, Recipe
from mmbench.engine.space import Cell, encoder_code, part_params
from mmbench.errors import TrainingError
from mmbench.plugins import Catalog

WIDENED = 2**27  # bytes of an array of half precision that is kept in single precision


class Workspace:
    """One cell's data and parts. Everything is loaded once and kept."""

    def __init__(
        self, cell: Cell, catalog: Catalog, cache_folder: Path, device: str = "cpu", origin: Origin | None = None
    ) -> None:
        self.cell, self.catalog, self.cache_folder, self.origin = cell, catalog, cache_folder, origin
        self.device = torch.device(device)
        self.table: Table = viewed(View.of(cell), catalog.datasets[cell.task.dataset], cache_folder)
        self.truth = {split: self.table.targets(split) for split in ("train", "validation")}
        target = cell.task.target
        self.head: Head = catalog.heads[target.type]
        self.state: State = self.head.fit(target, self.truth["train"], self.table.facts["classes"])
        """What the head knows of the train rows."""
        self.weights: dict[int, dict[str, Tensor]] = {}
        """Those of a derived cell's parent, by the seed number of its refit."""
        self._inputs = cache(self._load_inputs)
        self._prepared = cache(self._prepare)

    @property
    def base(self) -> Params:
        """What a derived cell's configurations all have in common: its parent's winner."""
        return self.origin.params if self.origin else {}

    def score(self, predictions: "np.ndarray[Any, Any]") -> float:
        """The tuned metric on validation. Raises TrainingError if it has no score there."""
        metric = self.catalog.metrics[self.cell.task.metric]
        found = scored(metric, self.truth["validation"], predictions)
        if isinstance(found, str):
            raise TrainingError(f"{metric.name} has no score on validation: {found}")
        return found

    def decoded(self, predictions: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
        """What a model predicts, as metrics score it."""
        return self.head.decode(self.state, predictions)

    def is_trained(self, params: Params) -> bool:
        """Whether the configuration is a torch model; if not, it is a scikit-learn estimator."""
        return self.catalog.fusions[params["fusion"]].level != "estimator"

    def prepared(self, params: Params) -> dict[str, Prepared]:
        """{modality: its prepared features}, computed now if they aren't there."""
        return {m: self._prepared(m, *self._preparation(m, params)) for m in self.cell.encoders}

    def prepare_default(self, modality: str, encoder: str, begun: Callable[[int], None] = lambda units: None) -> None:
        """Compute the features of an encoder's default preparation ahead of the search.

        `begun(units)` is called when there is something to do in which others can `assist`.
        """
        self._default(modality, encoder).ensure(begun)

    def assist(self, modality: str, encoder: str) -> None:
        """Take part in `prepare_default`, which another process is at."""
        self._default(modality, encoder).assist()

    def _default(self, modality: str, encoder: str) -> Prepared:
        stored = defaults(self.catalog.encoders[encoder].space, "prepare")
        return self._features(modality, encoder, tuple(sorted(stored.items())))

    def inputs(self, params: Params, split: str) -> Inputs:
        """One split as tensors on the device; those of test have no target."""
        arrays = {m: self._inputs(m, *self._preparation(m, params), split) for m in self.cell.encoders}
        target = self._target(split) if split in self.truth else None
        n = len(next(iter(next(iter(arrays.values())).values())))
        return Inputs(arrays, target, n)

    def lesson(self, params: Params) -> Lesson:
        """What a training of this configuration learns from and is judged by."""
        train, valid = self.inputs(params, "train"), self.inputs(params, "validation")
        return Lesson(
            train, valid, lambda found: self.score(self.decoded(found)), self.cell.direction, self.augment(params)
        )

    def damaged(self, params: Params, spec: CorruptionSpec, severity: float) -> Inputs:
        """The test split with one modality damaged."""
        clean = self.inputs(params, "test")
        corruption = self.catalog.corruptions[spec.name]
        arrays = self.prepared(params)[spec.modality].damaged(
            corruption, spec, severity, code=self.cell.parts[f"corruption.{spec.name}"], seed=self.cell.seed
        )
        return Inputs({**clean.arrays, spec.modality: self._tensors(arrays)}, None, clean.n)

    def summaries(self, params: Params, inputs: Inputs) -> "dict[str, np.ndarray[Any, Any]]":
        """{modality: [N, D]} for estimators; rows of a missing modality are zero."""
        found = {}
        for modality, prepared in self.prepared(params).items():
            arrays = {name: tensor.cpu().numpy() for name, tensor in inputs.arrays[modality].items()}
            present = arrays.pop(PRESENT, None)
            summary = prepared.encoder.summary(prepared.state(), arrays)
            found[modality] = summary if present is None else summary * present[:, None]
        return found

    def model(self, params: Params, seed: int) -> Model:
        states = {m: prepared.state() for m, prepared in self.prepared(params).items()}
        sample = self.inputs(params, "train").batch(slice(0, 2))
        return assemble(self.catalog, params, states, (self.head, self.state), sample, seed)

    def recipe(self, params: Params, seed: int) -> Recipe:
        """How a configuration is trained."""
        budget = self.cell.budget
        return Recipe(
            epochs=budget.epochs,
            patience=budget.patience,
            batch_size=params["train.batch_size"],
            seed=seed,
            rule=rule_of(self.catalog, params),
            seconds=budget.trial_seconds,
            clip=params.get("train.clip", 0.0),
            accumulate=params.get("train.accumulate", 1),
        )

    def augment(self, params: Params) -> dict[str, Augment]:
        """The encoders that change training batches."""
        encoders = {m: self.catalog.encoders[params[f"encoder.{m}"]] for m in self.cell.encoders}
        return {m: _augment(e.augment) for m, e in encoders.items() if type(e).augment is not Encoder.augment}

    def _target(self, split: str) -> Tensor:
        return torch.from_numpy(self.head.encode(self.state, self.truth[split])).to(self.device)

    def _preparation(self, modality: str, params: Params) -> tuple[str, tuple[tuple[str, Any], ...]]:
        encoder = self.catalog.encoders[params[f"encoder.{modality}"]]
        given = part_params(params, f"encoder.{modality}.{encoder.name}")
        stored = {name: value for name, value in given.items() if encoder.space[name].stage == "prepare"}
        return encoder.name, tuple(sorted(stored.items()))

    def _prepare(self, modality: str, encoder: str, params: tuple[tuple[str, Any], ...]) -> Prepared:
        prepared = self._features(modality, encoder, params)
        prepared.ensure()
        return prepared

    def _features(self, modality: str, encoder: str, params: tuple[tuple[str, Any], ...]) -> Prepared:
        return Prepared(
            table=self.table,
            modality=modality,
            encoder=self.catalog.encoders[encoder],
            params=dict(params),
            cache=self.cache_folder,
            code=encoder_code(self.cell, encoder),
        )

    def _load_inputs(
        self, modality: str, encoder: str, params: tuple[tuple[str, Any], ...], split: str
    ) -> dict[str, Tensor]:
        return self._tensors(self._prepared(modality, encoder, params).arrays(split))

    def _tensors(self, arrays: "Mapping[str, np.ndarray[Any, Any]]") -> dict[str, Tensor]:
        """The mapped arrays as they are, without a copy. Half precision saves disk, not arithmetic: it becomes single
        here, or where that would be large a batch at a time. That all rows are present needs no array."""
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        if tensors[PRESENT].all():
            del tensors[PRESENT]
        for name, tensor in tensors.items():
            if tensor.dtype == torch.float16 and 4 * tensor.numel() <= WIDENED:
                tensors[name] = tensor.float()
        return {name: tensor.to(self.device) for name, tensor in tensors.items()}


def _augment(change: Augment) -> Augment:
    """Keep the mask of present rows away from encoders."""

    def augment(arrays: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        kept = {name: array for name, array in arrays.items() if name == PRESENT}
        rest = {name: array for name, array in arrays.items() if name != PRESENT}
        return {**change(rest, generator), **kept}

    return augment
