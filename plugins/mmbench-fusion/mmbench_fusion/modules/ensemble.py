"""Modules of `mmbench_fusion.ensemble`; the equations and the handling of missing modalities stand there."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmbench.api.parts import Epoch, Features, FeatureSpec, Fused
from mmbench_fusion.modules.decision import combine, evidential_loss
from mmbench_fusion.modules.layers import Projections, by_name, masked_mean, shares


class Ume(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], outputs: int):
        super().__init__()
        self.heads = Projections(inputs, outputs)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        logits, present = self.heads(features)
        weights = shares(present.to(logits.dtype), present)
        extras = {"alone": logits, "present": present}
        return Fused(logits=masked_mean(logits, present), weights=by_name(self.heads.names, weights), extras=extras)

    def loss(self, fused: Fused, target: Tensor) -> dict[str, Tensor]:
        alone, present = fused.extras["alone"].float(), fused.extras["present"]
        losses = torch.stack([row_losses(logits, target) for logits in alone.unbind(1)], dim=1)
        return {"task": ((losses * present).sum(0) / present.sum(0).clamp(min=1)).sum()}


def row_losses(logits: Tensor, target: Tensor) -> Tensor:
    """The loss of each row's logits [B, K]: of a class, of labels or of a number, as the target's form tells; [B]."""
    if not target.is_floating_point():
        return F.cross_entropy(logits, target, reduction="none")
    if target.ndim == 2:
        return F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(1)
    return (logits.squeeze(1) - target).square()


class Etmc(nn.Module):
    annealing: Tensor
    progress: Tensor

    def __init__(self, inputs: Mapping[str, FeatureSpec], outputs: int, annealing: float):
        super().__init__()
        self.heads = Projections(inputs, outputs)
        self.joined = nn.Linear(sum(spec.width for spec in inputs.values()), outputs)
        self.register_buffer("annealing", torch.tensor(float(annealing)), persistent=False)
        self.register_buffer("progress", torch.tensor(0.0), persistent=False)

    def on_epoch(self, epoch: Epoch) -> None:
        self.progress = torch.full_like(self.progress, epoch.progress)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        scores, present = self.heads(features)
        together = self.joined(torch.cat([features[m].pooled for m in self.heads.names], dim=1))
        views = torch.cat([scores, together.unsqueeze(1)], dim=1)
        there = torch.cat([present, present.any(1, keepdim=True)], dim=1)
        # In float32 also where the heads are in half precision: evidence is multiplied.
        evidence = F.softplus(views.float()) * there.unsqueeze(-1)
        fused = combine(evidence)
        return Fused(logits=torch.log1p(fused), extras={"evidence": evidence, "fused": fused, "there": there})

    def loss(self, fused: Fused, target: Tensor) -> dict[str, Tensor]:
        rate = (self.progress / self.annealing).clamp(max=1)
        alone = evidential_loss(fused.extras["evidence"], target.unsqueeze(1), rate) * fused.extras["there"]
        return {"task": (evidential_loss(fused.extras["fused"], target, rate) + alone.sum(1)).mean()}
