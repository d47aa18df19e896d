"""The model of one configuration: an encoder for each modality, a fusion, a head, perhaps an objective.

`assemble` builds it from parts; train and evaluate call `encode` and `fuse`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn

from mmbench.api.parts import Features, FeatureSpec, Fused
from mmbench.api.space import Params
from mmbench.engine.data.features import MASK, PRESENT
from mmbench.engine.learn.dropout import Dropout
from mmbench.engine.learn.heads import NEVER, PAIRS, FeatureMap, Head, MatchHead, gather, join
from mmbench.engine.learn.naming import inner_names
from mmbench.engine.learn.objectives import joined
from mmbench.engine.learn.recurrent import GRU
from mmbench.engine.space import settings, together
from mmbench.errors import PluginError
from mmbench.plugins import Catalog

Batch: TypeAlias = Mapping[str, Mapping[str, Tensor]]
"""{modality: {array name: [B, ...]}}"""
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
    """Encoders, fusion, output layer and objective as one module; the parameters' names say whose they are."""

    def __init__(
        self, encoders: Mapping[str, nn.Module], fusion: nn.Module, output: nn.Module | None, head: Head
    ) -> None:
        super().__init__()
        self.modalities = {name: modality for modality, name in inner_names(encoders).items()}
        """{the name that parts are given: the modality}"""
        self.encoders = nn.ModuleDict({name: encoders[modality] for name, modality in self.modalities.items()})
        self.fusion = fusion
        self.output = output
        self.head = head
        self.objective: nn.Module | None = None

    def encode(self, batch: Batch) -> dict[str, Features]:
        encoders = ((name, self.modalities[name], encoder) for name, encoder in self.encoders.items())
        return {name: _features(encoder, batch[modality], modality) for name, modality, encoder in encoders}

    def fuse(self, features: FeatureMap) -> Fused:
        """Fuse rows (or pairs of rows) and give logits."""
        fused: Any = self.fusion(features)
        if isinstance(fused, Tensor):
            fused = Fused(vector=fused) if self.output is not None else Fused(logits=fused)
        if not isinstance(fused, Fused):
            raise PluginError(f"the fusion gives {type(fused).__name__}, not a tensor or mb.Fused")
        if self.output is not None:
            if fused.vector is None:
                raise PluginError("the fusion gives no vector: return a tensor [B, width], or Fused(vector=...)")
            fused.logits = self.output(fused.vector)
        if fused.logits is None or fused.logits.dim() != 2 or fused.logits.shape[1] != self.head.outputs:
            shape = None if fused.logits is None else tuple(fused.logits.shape)
            raise PluginError(f"the fusion gives logits of shape {shape}, not [B, {self.head.outputs}]")
        return fused

    def logits(self, features: FeatureMap) -> Tensor:
        """The decision for rows (or pairs of rows), [B, outputs]."""
        return cast(Tensor, self.fuse(features).logits)  # fuse has checked it

    def forward(self, batch: Batch) -> Tensor:
        """The decision for a batch; for retrieval, of row i's left with row i's right."""
        return self.logits(self.encode(batch))


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

    batch_size: by default what the arrays' size suggests. pool: for retrieval, ask for each match among so many
    candidates only (rows that follow each other), not all.
    """
    model.eval()
    with torch.inference_mode(), kernels(model):
        blocks = inputs.blocks(batch_size)
        if not isinstance(model.head, MatchHead):
            return torch.cat([model.head.decode(model(inputs.batch(block))) for block in blocks]).float()
        parts = [model.encode(inputs.batch(block)) for block in blocks]
        features = {m: join([part[m] for part in parts]) for m in parts[0]}
        return _pair_scores(model, model.head, features, inputs.n, pool or inputs.n)


def _pair_scores(model: Model, head: MatchHead, features: FeatureMap, n: int, pool: int) -> Tensor:
    scores = torch.full((n, n), NEVER, device=next(iter(features.values())).tokens.device)
    step = max(1, PAIRS // pool)
    for first in range(0, n, pool):
        columns = torch.arange(first, min(first + pool, n))
        for rows in columns.split(step):
            logits = model.logits(head.pair(features, rows, columns))
            scores[rows[0] : rows[-1] + 1, first : first + pool] = head.decode(logits).view(len(rows), len(columns))
    return scores


def assemble(
    catalog: Catalog, params: Params, states: Mapping[str, Params], head: Head, sample: Batch, seed: int
) -> Model:
    """Build the model of one configuration, its weights drawn under `seed`.

    `states` are the encoders' fitted states and `sample` a few rows, which show each encoder's output shape.
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
    if isinstance(head, MatchHead):
        head = replace(head, left=tuple(names[m] for m in head.left if m in names))
    fusion = catalog.fusions[params["fusion"]]
    own = settings(fusion, params, f"fusion.{fusion.name}")
    output = None
    if fusion.level == "feature":
        width = params["model.width"]
        module = fusion.build(inputs, width, own)
        output = nn.Sequential(
            nn.LayerNorm(width), nn.GELU(), nn.Dropout(params["model.dropout"]), nn.Linear(width, head.outputs)
        )
    else:
        module = fusion.build(inputs, head.outputs, own)
    model = Model(encoders, module, output, head)
    if "objective" in params:
        chosen = {name: catalog.objectives[name] for name in together(params["objective"])}
        model.objective = joined(
            {
                name: objective.build(inputs, head.outputs, settings(objective, params, f"objective.{name}"))
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
