"""Modules of `mmbench_objective.heads`: what begins with a linear head for each modality. The equations stand there."""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmbench.api.parts import Features, FeatureSpec, Fused
from mmbench.errors import PluginError
from mmbench_objective.modules.balance import error, likelihood

SMALLEST = 1e-8


class Heads(nn.Module):
    """A linear head for each modality, by sorted names; settings are buffers."""

    def __init__(self, inputs: Mapping[str, FeatureSpec], outputs: int, **settings: float):
        super().__init__()
        self.names = sorted(inputs)
        self.heads = nn.ModuleDict({m: nn.Linear(inputs[m].width, outputs) for m in self.names})
        for name, value in settings.items():
            self.register_buffer(name, torch.tensor(float(value)), persistent=False)

    def scores(self, features: Mapping[str, Features], *, stopped: bool = False) -> Tensor:
        """What each head says, [M, B, outputs]; `stopped`: the encoders don't feel it."""
        pooled = {m: features[m].pooled.float() for m in self.names}
        return torch.stack([self.heads[m](x.detach() if stopped else x).float() for m, x in pooled.items()])

    def present(self, features: Mapping[str, Features]) -> Tensor:
        """[M, B]"""
        return torch.stack([features[m].present for m in self.names])

    def errors(self, scores: Tensor, target: Tensor, present: Tensor) -> Tensor:
        """The mean loss of each head over the rows that have its modality, [M]."""
        each = torch.stack([error(score, target) for score in scores])
        return (each * present).sum(1) / present.sum(1).clamp(min=1)

    def strengths(self, features: Mapping[str, Features], target: Tensor) -> Tensor:
        """The mean likelihood of the truth under each head, [M]."""
        present = self.present(features)
        each = torch.stack([likelihood(score, target) for score in self.scores(features, stopped=True)])
        return (each * present).sum(1) / present.sum(1).clamp(min=1)


class AuxiliaryHeads(Heads):
    weight: Tensor

    def loss(self, features: Mapping[str, Features], fused: Fused, target: Tensor) -> dict[str, Tensor]:
        return {"heads": self.weight * self.errors(self.scores(features), target, self.present(features)).sum()}


class Consistency(Heads):
    weight: Tensor

    def loss(self, features: Mapping[str, Features], fused: Fused, target: Tensor) -> dict[str, Tensor]:
        scores, present = self.scores(features), self.present(features)
        apart = disagreement(scores, present, target)
        return {
            "heads": self.weight * self.errors(scores, target, present).sum(),
            "consistency": self.weight * apart.sum() / (present.sum(0) > 1).sum().clamp(min=1),
        }


def disagreement(scores: Tensor, present: Tensor, target: Tensor) -> Tensor:
    """Of each row, [B]: the Jensen-Shannon divergence of the present heads, or of numbers their variance."""
    share = (present / present.sum(0).clamp(min=1)).unsqueeze(-1)
    if target.ndim == 1 and target.is_floating_point():
        middle = (share * scores).sum(0)
        return (share * (scores - middle).square()).sum(0).squeeze(-1)
    found = scores.softmax(-1) if target.ndim == 1 else torch.stack([scores.sigmoid(), (-scores).sigmoid()], -1)
    share = share if target.ndim == 1 else share.unsqueeze(-1)
    apart = _entropy((share * found).sum(0)) - (share.squeeze(-1) * _entropy(found)).sum(0)
    apart = apart if target.ndim == 1 else apart.mean(-1)
    return torch.where(present.any(0), apart, 0.0)


def _entropy(p: Tensor) -> Tensor:
    return -(p * p.clamp(min=SMALLEST).log()).sum(-1)


class MMCosine(nn.Module):
    weight: Tensor
    scale: Tensor

    def __init__(self, inputs: Mapping[str, FeatureSpec], outputs: int, weight: float, scale: float):
        super().__init__()
        self.names = sorted(inputs)
        self.heads = nn.ModuleDict({m: nn.Linear(inputs[m].width, outputs, bias=False) for m in self.names})
        self.register_buffer("weight", torch.tensor(float(weight)), persistent=False)
        self.register_buffer("scale", torch.tensor(float(scale)), persistent=False)

    def loss(self, features: Mapping[str, Features], fused: Fused, target: Tensor) -> dict[str, Tensor]:
        cosines = [
            F.normalize(features[m].pooled.float(), dim=1)
            @ F.normalize(cast(Tensor, self.heads[m].weight).float(), dim=1).T
            for m in self.names
        ]
        return {"mmcosine": self.weight * error(self.scale * torch.stack(cosines).sum(0), target).mean()}


class CML(Heads):
    weight: Tensor

    def loss(self, features: Mapping[str, Features], fused: Fused, target: Tensor) -> dict[str, Tensor]:
        scores, present = self.scores(features, stopped=True), self.present(features)
        surer = (scores.softmax(-1).amax(-1) - logits_of(fused).softmax(-1).amax(-1)).clamp(min=0)
        more = present & (present.sum(0) > 1)
        return {
            "heads": self.errors(scores, target, present).sum(),
            "confidence": self.weight * (surer * more).sum() / more.sum().clamp(min=1),
        }


class MutualDistillation(Heads):
    weight: Tensor
    temperature: Tensor

    def loss(self, features: Mapping[str, Features], fused: Fused, target: Tensor) -> dict[str, Tensor]:
        scores, present = self.scores(features), self.present(features)
        each = (scores / self.temperature).log_softmax(-1)
        whole = (logits_of(fused) / self.temperature).log_softmax(-1)
        share = present / present.sum(0).clamp(min=1)
        mean = (share.unsqueeze(-1) * each.exp()).sum(0).detach()
        down = (share * _divergence(whole.detach(), each)).sum(0)
        up = (mean * (mean.clamp(min=SMALLEST).log() - whole)).sum(-1)
        taught = torch.where(present.any(0), down + up, 0.0).mean()
        return {
            "heads": self.errors(scores, target, present).sum(),
            "distillation": self.weight * self.temperature.square() * taught,
        }


def _divergence(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) of log-probabilities [..., C], [...]."""
    return (p.exp() * (p - q)).sum(-1)


def logits_of(fused: Fused) -> Tensor:
    if fused.logits is None:
        raise PluginError("the head gives no logits, which this objective holds against each modality's")
    return fused.logits.float()
