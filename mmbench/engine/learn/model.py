"""The model of one configuration: an encoder for each modality, a fusion, a head, perhaps an objective.

`assemble` builds it from parts; train and evaluate call `encode` and `fuse`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self, TypeAlias

import torch
from torch import Tensor, nn

from mmbench.api.parts import Features, FeatureSpec, Fused, State, gather
from mmbench.api.parts.head import Head
from mmbench.api.space import Params
from mmbench.engine.data.features import MASK, PRESENT
from mmbench.engine.learn.dropout import Dropout
from mmbench.engine.learn.naming import inner_names
from mmbench.engine.learn.objectives import joined
from mmbench.engine.learn.recurrent import GRU
from mmbench.engine.space import settings, together
from mmbench.errors import PluginError
from mmbench.plugins import Catalog

Batch: TypeAlias = Mapping[str, Mapping[str, Tensor]]
"""{modality: {array name: [B, ...]}}"""
FeatureMap: TypeAlias = Mapping[str, Features]
BLOCK = 2**21
"""How many bytes of arrays are evaluated or gathered at once, about."""
CONVOLUTIONS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


@dataclass(eq=False)
class Inputs:
    """One split of a task on the device: arrays for each modality, and the encoded truth (None for test)."""

    arrays: dict[str, dict[str, Tensor]]
    """{modality: {array: [N, ...]}}; an array PRESENT, bool [N], only where some rows lack the modality."""
    target: Tensor | None
    n: int

    def blocks(self, rows: int | None = None) -> list[slice]:
        """The split in pieces for evaluation: vectors in large ones, pictures in small ones, whose activations then
        stay where the processor has them at hand."""
        rows = rows or min(512, max(32, BLOCK // self.row_bytes))
        return [slice(start, start + rows) for start in range(0, self.n, rows)]

    @cached_property
    def row_bytes(self) -> int:
        """What a row takes, as floats; at least 1."""
        return max(1, 4 * sum(a[:1].numel() for arrays in self.arrays.values() for a in arrays.values()))

    @property
    def device(self) -> torch.device:
        return next(iter(next(iter(self.arrays.values())).values())).device

    def batch(self, rows: Tensor | slice) -> dict[str, dict[str, Tensor]]:
        """What modules are given of some rows. A mask that leaves out no step of the split is not among it: one that
        is there costs a recurrent encoder a tenth of a step."""
        return {m: {name: _some(array, rows) for name, array in arrays.items()} for m, arrays in self._given.items()}

    @cached_property
    def _given(self) -> dict[str, dict[str, Tensor]]:
        return {
            m: {name: array for name, array in arrays.items() if name != MASK or not array.all()}
            for m, arrays in self.arrays.items()
        }


def _some(array: Tensor, rows: Tensor | slice) -> Tensor:
    """Some rows. Arrays too large to be held in single precision are widened here."""
    some = gather(array, rows) if isinstance(rows, Tensor) else array[rows]
    return some.float() if some.dtype == torch.float16 else some


class Model(nn.Module):
    """Encoders, fusion, head and objective as one module; the parameters' names say whose they are.

    `result` is what a bare tensor of the fusion's stands for, "vector" or "logits"; `most_rows` the largest batch.
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        fusion: nn.Module,
        head: nn.Module,
        *,
        result: str = "vector",
        most_rows: int = Head.most_rows,
    ) -> None:
        super().__init__()
        self.modalities = {name: modality for modality, name in inner_names(encoders).items()}
        """{the name that parts are given: the modality}"""
        self.encoders = nn.ModuleDict({name: encoders[modality] for name, modality in self.modalities.items()})
        self.fusion = fusion
        self.head: Any = head
        self.result, self.most_rows = result, most_rows
        self.objective: nn.Module | None = None

    def encode(self, batch: Batch) -> dict[str, Features]:
        encoders = ((name, self.modalities[name], encoder) for name, encoder in self.encoders.items())
        return {name: _features(encoder, batch[modality], modality) for name, modality, encoder in encoders}

    def arrange(self, features: FeatureMap, target: Tensor) -> tuple[FeatureMap, Tensor]:
        """What the fusion judges in training: the rows as they are, unless the head says otherwise."""
        if not hasattr(self.head, "arrange"):
            return features, target
        arranged: tuple[FeatureMap, Tensor] = self.head.arrange(features, target)
        return arranged

    def fuse(self, features: FeatureMap) -> Fused:
        """Fuse rows (or pairs of rows), with what the head adds, such as logits."""
        fused: Any = self.fusion(features)
        if isinstance(fused, Tensor):
            fused = Fused(logits=fused) if self.result == "logits" else Fused(vector=fused)
        if not isinstance(fused, Fused):
            raise PluginError(f"the fusion gives {type(fused).__name__}, not a tensor or mb.Fused")
        decided: Fused = self.head(fused)
        return decided

    def forward(self, batch: Batch) -> Tensor:
        """The decision for a batch: logits, or where the head makes none what it predicts. Of a target about pairs, row
        i's left with row i's right."""
        fused = self.fuse(self.encode(batch))
        decision: Tensor = self.head.predict(fused) if fused.logits is None else fused.logits
        return decision

    def predict(self, batch: Batch) -> Tensor:
        """What the head predicts of a batch."""
        predictions: Tensor = self.head.predict(self.fuse(self.encode(batch)))
        return predictions

    def together(self) -> Self:
        """The same modules for a cohort: the head in the form that is fastest for many models at once."""
        head = self.head.together() if hasattr(self.head, "together") else self.head
        encoders = {self.modalities[name]: encoder for name, encoder in self.encoders.items()}
        twin = type(self)(encoders, self.fusion, head, result=self.result, most_rows=self.most_rows)
        twin.objective = self.objective
        return twin


@contextmanager
def kernels(model: nn.Module) -> Iterator[None]:
    """Without oneDNN unless the model has convolutions or an LSTM (trained in a third of the time): of what is left it
    does only GELU, and takes several times as long to set up as the other kernel takes for a batch of vectors."""
    onednn: Any = torch.backends.mkldnn
    before = onednn.enabled
    onednn.enabled = before and any(isinstance(module, (*CONVOLUTIONS, nn.LSTM)) for module in model.modules())
    try:
        yield
    finally:
        onednn.enabled = before


def predict(model: Model, inputs: Inputs, *, batch_size: int | None = None, pool: int | None = None) -> Tensor:
    """Predictions for a whole split, in evaluation mode, without gradients: what metrics score.

    batch_size: by default what the arrays' size suggests. pool: where rows meet, each among so many only, not all.
    """
    model.eval()
    with torch.inference_mode(), kernels(model):
        blocks = inputs.blocks(batch_size)
        if hasattr(model.head, "compare"):
            parts = [model.encode(inputs.batch(block)) for block in blocks]
            features = {m: _join([part[m] for part in parts]) for m in parts[0]}
            found: Tensor = model.head.compare(features, model.fuse, pool)
        else:
            found = torch.cat([model.predict(inputs.batch(block)) for block in blocks])
        return found.float() if found.is_floating_point() else found


def _join(parts: list[Features]) -> Features:
    """The rows of several batches as one."""
    return Features(
        torch.cat([p.tokens for p in parts]),
        None if all(p.whole for p in parts) else torch.cat([p.mask for p in parts]),
        [torch.cat(layers) for layers in zip(*(p.layers for p in parts), strict=True)],
    )


def assemble(
    catalog: Catalog, params: Params, states: Mapping[str, Params], task: tuple[Head, State], sample: Batch, seed: int
) -> Model:
    """Build the model of one configuration, its weights drawn under `seed`.

    `states` are the encoders' fitted states, `task` the head and its own, and `sample` a few rows, which show each
    encoder's output shape.
    """
    torch.manual_seed(seed)
    encoders = {}
    for modality, state in states.items():
        prefix = f"encoder.{modality}"
        encoder = catalog.encoders[params[prefix]]
        encoders[modality] = encoder.build(state, settings(encoder, params, f"{prefix}.{encoder.name}"))
    device = next(iter(next(iter(sample.values())).values())).device
    names = inner_names(encoders)
    inputs = {names[m]: _spec(encoder.to(device), sample[m], m) for m, encoder in encoders.items()}
    fusion = catalog.fusions[params["fusion"]]
    own = settings(fusion, params, f"fusion.{fusion.name}")
    head, state = task
    state = head.renamed(state, names)
    width = params["model.width"] if fusion.level == "feature" else None
    module = fusion.build(inputs, state["outputs"] if width is None else width, own)
    dropout = 0.0 if width is None else params["model.dropout"]
    decider = head.build(state, width, dropout, settings(head, params, f"head.{head.name}"))
    result = "logits" if width is None else "vector"
    model = Model(encoders, module, decider, result=result, most_rows=head.most_rows)
    if "objective" in params:
        chosen = {name: catalog.objectives[name] for name in together(params["objective"])}
        model.objective = joined(
            {
                name: objective.build(inputs, state["outputs"], settings(objective, params, f"objective.{name}"))
                for name, objective in chosen.items()
            }
        )
    return settle(model, device)


def settle(model: Model, device: torch.device) -> Model:
    """The model on its device, in the form that trains fastest there: on a CPU with our dropout and our GRU (a GPU has
    kernels of its own for them), and with convolutions whose channels lie together, which nearly halves pooled ones."""
    if device.type == "cpu":
        put_in(model)
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.data = module.weight.data.to(memory_format=torch.channels_last)
    return model.to(device)


def put_in(module: nn.Module) -> None:
    """Make every dropout and GRU of torch's inside `module` one of ours. Their class is all that changes: what they
    hold, who holds them and the hooks on them stay. Subclasses are left alone."""
    for part in module.modules():
        if type(part) is nn.Dropout:
            part.__class__ = Dropout
        elif type(part) is nn.GRU:
            part.__class__ = GRU


def _features(encoder: nn.Module, arrays: Mapping[str, Tensor], modality: str) -> Features:
    present = arrays.get(PRESENT)
    out = encoder(arrays if present is None else {name: array for name, array in arrays.items() if name != PRESENT})
    if isinstance(out, Tensor):
        out = Features(out)
    shape = out.shape if isinstance(out, Features) else ()
    if not isinstance(out, Features) or len(shape) != 3 or not (out.whole or out.mask.shape == shape[:2]):
        raise PluginError(f"the encoder of {modality!r} must give Features with tokens [B, T, D] and mask [B, T]")
    if present is None and out.whole:
        return out
    mask = out.mask if present is None else out.mask & present.unsqueeze(1)
    return Features(torch.where(mask.unsqueeze(-1), out.tokens, 0.0), mask, out.given[2])


def _spec(encoder: nn.Module, arrays: Mapping[str, Tensor], modality: str) -> FeatureSpec:
    """Run two rows to see the shape, so that no author has to declare it."""
    encoder.eval()
    with torch.no_grad():
        _, tokens, width = _features(encoder, {name: array[:2] for name, array in arrays.items()}, modality).shape
    encoder.train()
    return FeatureSpec(width=width, tokens=tokens)
