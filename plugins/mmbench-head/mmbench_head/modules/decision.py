"""Modules of the heads that decide by logits: one layer on the fusion's vector, unless the fusion decides itself."""

from copy import copy
from typing import Self, cast

import torch.nn.functional as F
from torch import Tensor, nn

from mmbench.api.parts import Fused
from mmbench.errors import PluginError


class Decision(nn.Module):
    """Gives logits [B, outputs]; `width` None: the fusion has given them."""

    def __init__(self, outputs: int, width: int | None, dropout: float) -> None:
        super().__init__()
        self.outputs = outputs
        self.output = None
        if width is not None:
            self.output = nn.Sequential(nn.LayerNorm(width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, outputs))

    def forward(self, fused: Fused) -> Fused:
        if self.output is not None:
            if fused.vector is None:
                raise PluginError("the fusion gives no vector: return a tensor [B, width], or Fused(vector=...)")
            fused.logits = self.output(fused.vector)
        if fused.logits is None or fused.logits.dim() != 2 or fused.logits.shape[1] != self.outputs:
            shape = None if fused.logits is None else tuple(fused.logits.shape)
            raise PluginError(f"the fusion gives logits of shape {shape}, not [B, {self.outputs}]")
        return fused


class Label(Decision):
    many = False
    """Whether many models are trained as one."""

    def loss(self, fused: Fused, target: Tensor) -> Tensor:
        logits = logits_of(fused).float()
        if self.many:
            # `vmap` takes cross-entropy apart into many small operations; and a softmax over few classes is several
            # times faster where the rows, not the classes, lie side by side.
            return -logits.t().log_softmax(0).gather(0, target.unsqueeze(0)).mean()
        return F.cross_entropy(logits, target)

    def predict(self, fused: Fused) -> Tensor:
        return logits_of(fused).softmax(-1)

    def together(self) -> Self:
        twin = copy(self)
        twin.many = True
        return twin


class Labels(Decision):
    def loss(self, fused: Fused, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits_of(fused).float(), target)

    def predict(self, fused: Fused) -> Tensor:
        return logits_of(fused).sigmoid()


class Number(Decision):
    def __init__(self, width: int | None, dropout: float, *, mean: float, deviation: float) -> None:
        super().__init__(1, width, dropout)
        self.mean, self.deviation = mean, deviation

    def loss(self, fused: Fused, target: Tensor) -> Tensor:
        return F.mse_loss(logits_of(fused).float().squeeze(-1), target)

    def predict(self, fused: Fused) -> Tensor:
        return logits_of(fused).squeeze(-1) * self.deviation + self.mean


def logits_of(fused: Fused) -> Tensor:
    """What `forward` has checked."""
    return cast(Tensor, fused.logits)
