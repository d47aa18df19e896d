"""Modules of `mmbench_fusion.decision`; the equations and the handling of missing modalities stand there."""

import math
from collections.abc import Mapping
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmbench.api.parts import Epoch, Features, FeatureSpec, Fused
from mmbench_fusion.modules.layers import Projections, by_name, masked_mean, shares


class MeanLogits(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], outputs: int):
        super().__init__()
        self.heads = Projections(inputs, outputs)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        logits, present = self.heads(features)
        weights = shares(present.to(logits.dtype), present)
        return Fused(logits=masked_mean(logits, present), weights=by_name(self.heads.names, weights))


class Tmc(nn.Module):
    annealing: Tensor
    progress: Tensor

    def __init__(self, inputs: Mapping[str, FeatureSpec], outputs: int, annealing: float):
        super().__init__()
        self.heads = Projections(inputs, outputs)
        self.register_buffer("annealing", torch.tensor(float(annealing)), persistent=False)
        self.register_buffer("progress", torch.tensor(0.0), persistent=False)

    def on_epoch(self, epoch: Epoch) -> None:
        self.progress = torch.full_like(self.progress, epoch.progress)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        scores, present = self.heads(features)
        # In float32 also where the heads are in half precision: evidence is multiplied.
        evidence = F.softplus(scores.float()) * present.unsqueeze(-1)
        fused = combine(evidence)
        certainty = evidence.sum(-1) / (evidence.shape[-1] + evidence.sum(-1))
        return Fused(
            logits=torch.log1p(fused),
            weights=by_name(self.heads.names, shares(certainty, present)),
            extras={"evidence": evidence, "fused": fused, "present": present},
        )

    def loss(self, fused: Fused, target: Tensor) -> dict[str, Tensor]:
        rate = (self.progress / self.annealing).clamp(max=1)
        alone = evidential_loss(fused.extras["evidence"], target.unsqueeze(1), rate) * fused.extras["present"]
        return {"task": (evidential_loss(fused.extras["fused"], target, rate) + alone.sum(1)).mean()}


def combine(evidence: Tensor) -> Tensor:
    """Dempster's combination of the opinions that evidence [B, M, K] stands for, as evidence [B, K]."""
    outputs = evidence.shape[-1]
    return (reduce(torch.mul, (1 + evidence / outputs).unbind(1)) - 1) * outputs


def evidential_loss(evidence: Tensor, target: Tensor, rate: Tensor) -> Tensor:
    """L(alpha) of evidence [..., K] for the true classes target [...], [...]; `rate` weighs the KL term."""
    alpha = evidence + 1
    truth = (target.unsqueeze(-1) == torch.arange(alpha.shape[-1], device=alpha.device)).to(alpha.dtype)
    expected = (truth * (torch.digamma(alpha.sum(-1, keepdim=True)) - torch.digamma(alpha))).sum(-1)
    return expected + rate * divergence_from_uniform(truth + (1 - truth) * alpha)


def divergence_from_uniform(alpha: Tensor) -> Tensor:
    """KL(Dir(alpha) | Dir(1)) of alpha [..., K], [...]."""
    total = alpha.sum(-1)
    ratio = torch.lgamma(total) - math.lgamma(alpha.shape[-1]) - torch.lgamma(alpha).sum(-1)
    return ratio + ((alpha - 1) * (torch.digamma(alpha) - torch.digamma(total).unsqueeze(-1))).sum(-1)


class Dot(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], size: int, scale: float):
        super().__init__()
        self.names = sorted(inputs)
        self.project = nn.ModuleDict({m: nn.Linear(inputs[m].width, size, bias=False) for m in self.names})
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    def forward(self, features: Mapping[str, Features]) -> Fused:
        left, right = (F.normalize(self.project[m](features[m].pooled), dim=1) for m in self.names)
        cosine = (left * right).sum(1, keepdim=True)
        return Fused(logits=self.log_scale.exp() * cosine)
