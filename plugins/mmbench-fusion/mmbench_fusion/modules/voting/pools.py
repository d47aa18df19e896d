"""Modules of `mmbench_fusion.voting.pools`; equations and the handling of missing modalities stand there."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmbench.api.parts import Epoch, Features, FeatureSpec, Fused
from mmbench_fusion.modules.decision import evidential_loss
from mmbench_fusion.modules.layers import Projections, by_name, masked_mean, masked_softmax, shares
from mmbench_fusion.modules.voting.quality import class_losses, means


class LearnedVote(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], outputs: int):
        super().__init__()
        self.heads = Projections(inputs, outputs)
        # Of a modality that is alone the say is 1, whatever is learned.
        self.say = nn.Parameter(torch.zeros(outputs, len(inputs))) if len(inputs) > 1 else None

    def forward(self, features: Mapping[str, Features]) -> Fused:
        logits, present = self.heads(features)
        if self.say is None:
            return Fused(logits=masked_mean(logits, present))
        say = masked_softmax(self.say.expand(len(logits), -1, -1), present.unsqueeze(1))
        weights = by_name(self.heads.names, shares(say.mean(1), present))
        return Fused(logits=(say.transpose(1, 2) * logits).sum(1), weights=weights)


class ProductOfExperts(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], outputs: int):
        super().__init__()
        self.heads = Projections(inputs, outputs)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        scores, present = self.heads(features)
        logs = scores.float().log_softmax(-1)
        entropy = -(logs.exp() * logs).sum(-1).detach()
        power = (1 - entropy / max(math.log(logs.shape[-1]), 1e-6)).clamp(min=1e-6) * present
        fused = (power.unsqueeze(-1) * logs).sum(1)
        weights = by_name(self.heads.names, shares(power, present))
        return Fused(logits=fused, weights=weights, extras={"alone": logs, "present": present, "fused": fused})

    def loss(self, fused: Fused, target: Tensor) -> dict[str, Tensor]:
        alone = means(class_losses(fused.extras["alone"], target), fused.extras["present"])
        return {"task": F.cross_entropy(fused.extras["fused"], target) + alone.sum()}


class Ecml(nn.Module):
    annealing: Tensor
    conflict: Tensor
    progress: Tensor

    def __init__(self, inputs: Mapping[str, FeatureSpec], outputs: int, annealing: float, conflict: float):
        super().__init__()
        self.heads = Projections(inputs, outputs)
        self.register_buffer("annealing", torch.tensor(float(annealing)), persistent=False)
        self.register_buffer("conflict", torch.tensor(float(conflict)), persistent=False)
        self.register_buffer("progress", torch.tensor(0.0), persistent=False)

    def on_epoch(self, epoch: Epoch) -> None:
        self.progress = torch.full_like(self.progress, epoch.progress)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        scores, present = self.heads(features)
        evidence = F.softplus(scores.float()) * present.unsqueeze(-1)
        fused = masked_mean(evidence, present)
        extras = {"evidence": evidence, "fused": fused, "present": present}
        return Fused(logits=torch.log1p(fused), extras=extras)

    def loss(self, fused: Fused, target: Tensor) -> dict[str, Tensor]:
        rate = (self.progress / self.annealing).clamp(max=1)
        evidence, present = fused.extras["evidence"], fused.extras["present"]
        alone = masked_mean(evidential_loss(evidence, target.unsqueeze(1), rate), present)
        return {
            "task": (evidential_loss(fused.extras["fused"], target, rate) + alone).mean(),
            "conflict": self.conflict * conflicts(evidence, present).mean(),
        }


def conflicts(evidence: Tensor, present: Tensor) -> Tensor:
    """How much the present opinions of evidence [B, M, K] contradict each other, [B]."""
    strength = (evidence + 1).sum(-1, keepdim=True)
    belief, certainty = (evidence + 1) / strength, 1 - evidence.shape[-1] / strength.squeeze(-1)
    apart = (belief.unsqueeze(1) - belief.unsqueeze(2)).abs().sum(-1) / 2
    both = apart * certainty.unsqueeze(1) * certainty.unsqueeze(2)  # a vacuous opinion has no certainty
    count = present.sum(1)
    return both.sum((1, 2)) / (count * (count - 1)).clamp(min=1)
