"""Modules of `mmbench_objective.representation`; the equations stand there."""

from collections.abc import Mapping

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from mmbench.api.parts import Features, FeatureSpec, Fused
from mmbench_objective.modules.balance import error
from mmbench_objective.modules.heads import logits_of


class Reconstruction(nn.Module):
    weight: Tensor

    def __init__(self, inputs: Mapping[str, FeatureSpec], weight: float, size: int):
        super().__init__()
        self.names = sorted(inputs)
        self.narrow = nn.ModuleDict({m: nn.Linear(inputs[m].width, size) for m in self.names})
        self.widen = nn.ModuleDict({m: nn.Linear(size, inputs[m].width) for m in self.names})
        self.register_buffer("weight", torch.tensor(float(weight)), persistent=False)

    def loss(self, features: Mapping[str, Features], fused: Fused, target: Tensor) -> dict[str, Tensor]:
        pooled = {m: features[m].pooled.float() for m in self.names}
        present = torch.stack([features[m].present for m in self.names])
        codes = torch.stack([self.narrow[m](pooled[m]).float() for m in self.names])
        seen, counted = self.seen(codes, present)
        rebuilt = {m: self.widen[m](F.gelu(code)) for m, code in zip(self.names, seen, strict=True)}
        each = torch.stack([(rebuilt[m].float() - pooled[m].detach()).square().mean(1) for m in self.names])
        means = torch.where(counted, each, 0.0).sum(1) / counted.sum(1).clamp(min=1)
        return {"reconstruction": self.weight * means.mean()}

    def seen(self, codes: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """What each modality is rebuilt from, [M, B, size], and in which rows, [M, B]."""
        return codes, present


class MaskedReconstruction(Reconstruction):
    def seen(self, codes: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        there = present.unsqueeze(2)
        own = torch.where(there, codes, 0.0)
        others = present.sum(0) - present.int()
        return (own.sum(0) - own) / others.clamp(min=1).unsqueeze(2), present & (others > 0)


class FeatureMixup(nn.Module):
    def __init__(self, alpha: int):
        super().__init__()
        self.alpha = alpha
        self.share, self.order = torch.ones(()), torch.zeros(0, dtype=torch.long)

    def on_features(self, features: Mapping[str, Features], generator: Generator) -> dict[str, Features]:
        first = next(iter(features.values()))
        rows, device = first.shape[0], first.tokens.device
        # Of 2 alpha - 1 uniform numbers the one in the middle is Beta(alpha, alpha).
        drawn = torch.rand(2 * self.alpha - 1, generator=generator, device=device)
        self.share = drawn.sort().values[self.alpha - 1]
        self.order = torch.randperm(rows, generator=generator, device=device)
        return {m: self._mixed(f) for m, f in features.items()}

    def _mixed(self, features: Features) -> Features:
        def mix(x: Tensor) -> Tensor:
            return self.share * x + (1 - self.share) * x[self.order]

        mask = None if features.whole else features.mask | features.mask[self.order]
        return Features(mix(features.tokens), mask, [mix(layer) for layer in features.layers])

    def task_loss(self, fused: Fused, target: Tensor) -> Tensor:
        logits = logits_of(fused)
        if len(self.order) != len(target):  # features that were not mixed
            return error(logits, target).mean()
        return (self.share * error(logits, target) + (1 - self.share) * error(logits, target[self.order])).mean()
