"""Modules of `mmbench_fusion.voting.quality`; equations and the handling of missing modalities stand there."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmbench.api.parts import Features, FeatureSpec, Fused
from mmbench_fusion.modules.layers import Projections, by_name, masked_softmax


class Qmf(nn.Module):
    ranking: Tensor

    def __init__(self, inputs: Mapping[str, FeatureSpec], outputs: int, ranking: float):
        super().__init__()
        self.heads = Projections(inputs, outputs)
        self.register_buffer("ranking", torch.tensor(float(ranking)), persistent=False)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        scores, present = self.heads(features)
        alone = scores.float()
        quality = alone.logsumexp(-1) / 10
        fused = (alone * (quality.detach() * present).unsqueeze(-1)).sum(1)
        return Fused(logits=fused, extras={"alone": alone, "quality": quality, "present": present, "fused": fused})

    def loss(self, fused: Fused, target: Tensor) -> dict[str, Tensor]:
        losses = class_losses(fused.extras["alone"], target)
        present, quality = fused.extras["present"], fused.extras["quality"]
        right = torch.exp(-losses).detach()
        better = right - right.roll(-1, 0)
        ahead = quality - quality.roll(-1, 0)
        ranked = (better.abs() - better.sign() * ahead).clamp(min=0)
        return {
            "task": F.cross_entropy(fused.extras["fused"], target) + means(losses, present).sum(),
            "ranking": self.ranking * means(ranked, present & present.roll(-1, 0)).sum(),
        }


class Pdf(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], outputs: int):
        super().__init__()
        self.heads, self.sureness = Projections(inputs, outputs), Projections(inputs, 1)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        scores, present = self.heads(features)
        alone, there = scores.float(), present.float()
        logs = F.logsigmoid(self.sureness.vectors(features).squeeze(-1).float())
        weights = masked_softmax(belief(alone.detach(), logs.detach(), there), present)
        fused = (alone * weights.unsqueeze(-1)).sum(1)
        extras = {"alone": alone, "confidence": logs.exp(), "present": present, "fused": fused}
        return Fused(logits=fused, extras=extras, weights=by_name(self.heads.names, _summing_to_one(weights)))

    def loss(self, fused: Fused, target: Tensor) -> dict[str, Tensor]:
        losses = class_losses(fused.extras["alone"], target)
        error = (fused.extras["confidence"] - torch.exp(-losses).detach()).square()
        alone = means(losses + error, fused.extras["present"])
        return {"task": F.cross_entropy(fused.extras["fused"], target) + alone.sum()}


def belief(alone: Tensor, logs: Tensor, there: Tensor) -> Tensor:
    """The calibrated co-belief of logits [B, M, K] and log confidences [B, M], [B, M]; there [B, M] of 0 and 1."""
    total = (logs * there).sum(1, keepdim=True)
    holo = (total - logs * there) / total.clamp(max=-1e-6)
    spread = (alone.softmax(-1) - 1 / alone.shape[-1]).abs().mean(-1) * there
    others = (there.sum(1, keepdim=True) - there).clamp(min=0)
    average = (spread.sum(1, keepdim=True) - spread) / others.clamp(min=1)
    relative = torch.where(others > 0, (spread / average.clamp(min=1e-6)).clamp(max=1), torch.ones_like(spread))
    return relative * (logs.exp() + torch.where(others > 0, holo, torch.zeros_like(holo)))


def class_losses(alone: Tensor, target: Tensor) -> Tensor:
    """The cross-entropy of each modality's logits [B, M, K], [B, M]."""
    return torch.stack([F.cross_entropy(logits, target, reduction="none") for logits in alone.unbind(1)], dim=1)


def means(values: Tensor, there: Tensor) -> Tensor:
    """The mean over rows of values [B, M] where there [B, M] is True, [M]; 0 where no row is."""
    return (values * there).sum(0) / there.sum(0).clamp(min=1)


def _summing_to_one(weights: Tensor) -> Tensor:
    return weights / weights.sum(1, keepdim=True).clamp(min=1e-6)
