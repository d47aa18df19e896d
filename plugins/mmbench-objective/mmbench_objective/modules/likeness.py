"""Modules of `mmbench_objective.likeness`; the equations and the handling of missing modalities stand there."""

from collections.abc import Mapping
from itertools import combinations
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmbench.api.parts import Features, FeatureSpec, Fused
from mmbench_objective.modules.alignment import info_nce

SMALLEST = 1e-8
MOMENTS = 5
BANDS = (0.25, 0.5, 1.0, 2.0, 4.0)


class Projected(nn.Module):
    """A linear projection of each modality's pooled features to one size; settings are buffers."""

    def __init__(self, inputs: Mapping[str, FeatureSpec], size: int, **settings: float):
        super().__init__()
        self.names, self.size = sorted(inputs), size
        self.project = nn.ModuleDict({m: nn.Linear(inputs[m].width, size, bias=False) for m in self.names})
        for name, value in settings.items():
            self.register_buffer(name, torch.tensor(float(value)), persistent=False)

    def found(self, features: Mapping[str, Features]) -> Tensor:
        """[M, B, size]"""
        return torch.stack([self.project[m](features[m].pooled).float() for m in self.names])

    def present(self, features: Mapping[str, Features]) -> Tensor:
        """[M, B]"""
        return torch.stack([features[m].present for m in self.names])


class SupervisedContrastive(Projected):
    weight: Tensor
    temperature: Tensor

    def loss(self, features: Mapping[str, Features], fused: Fused, target: Tensor) -> dict[str, Tensor]:
        z = F.normalize(self.found(features), dim=2).flatten(0, 1)
        there, classes = self.present(features).flatten(), target.repeat(len(self.names))
        other = ~torch.eye(len(z), dtype=torch.bool, device=z.device) & there
        scores = (z @ z.T).float() / self.temperature
        scores = scores.masked_fill(~other, torch.finfo(scores.dtype).min)
        alike = other & (classes.unsqueeze(0) == classes.unsqueeze(1))
        found = torch.where(alike, scores.log_softmax(1), 0.0).sum(1) / alike.sum(1).clamp(min=1)
        counted = there & alike.any(1)
        loss = -torch.where(counted, found, 0.0).sum() / counted.sum().clamp(min=1)
        return {"supervised_contrastive": self.weight * loss}


class CCA(Projected):
    weight: Tensor
    ridge: Tensor

    def loss(self, features: Mapping[str, Features], fused: Fused, target: Tensor) -> dict[str, Tensor]:
        z, present = self.found(features), self.present(features)
        terms = [self._pair(z[a], z[b], present[a] & present[b]) for a, b in combinations(range(len(z)), 2)]
        return {"cca": self.weight * torch.stack(terms).mean()}

    def _pair(self, a: Tensor, b: Tensor, rows: Tensor) -> Tensor:
        share = (rows / rows.sum().clamp(min=1)).unsqueeze(1)
        a, b = a - (share * a).sum(0), b - (share * b).sum(0)
        ridge = torch.eye(self.size, device=a.device)
        within_a, within_b = ((share * x).T @ x for x in (a, b))
        within_a, within_b = (w + (self.ridge * w.diagonal().mean() + SMALLEST) * ridge for w in (within_a, within_b))
        across = (share * a).T @ b
        shared = torch.linalg.solve(within_a, across) @ torch.linalg.solve(within_b, across.T)
        return torch.where(rows.any(), 1 - shared.diagonal().sum() / self.size, 0.0)


class CMD(Projected):
    weight: Tensor

    def loss(self, features: Mapping[str, Features], fused: Fused, target: Tensor) -> dict[str, Tensor]:
        z, share = self.found(features).tanh(), self.present(features).float()
        share = (share / share.sum(1, keepdim=True).clamp(min=1)).unsqueeze(2)
        middle = (share * z).sum(1, keepdim=True)
        moments = [middle.squeeze(1)] + [(share * (z - middle) ** k).sum(1) for k in range(2, MOMENTS + 1)]
        both = self.present(features).any(1)
        terms = []
        for a, b in combinations(range(len(z)), 2):
            apart = sum(_norm(m[a] - m[b]) / 2**k for k, m in enumerate(moments, start=1))
            terms.append(torch.where(both[a] & both[b], apart, 0.0))
        return {"cmd": self.weight * torch.stack(terms).mean()}


def _norm(x: Tensor) -> Tensor:
    return (x.square().sum() + SMALLEST).sqrt()


class MMD(Projected):
    weight: Tensor

    def loss(self, features: Mapping[str, Features], fused: Fused, target: Tensor) -> dict[str, Tensor]:
        z, present = F.layer_norm(self.found(features), (self.size,)), self.present(features)
        share = present / present.sum(1, keepdim=True).clamp(min=1)
        terms = []
        for a, b in combinations(range(len(z)), 2):
            apart = (
                share[a] @ self._kernel(z[a], z[a]) @ share[a]
                + share[b] @ self._kernel(z[b], z[b]) @ share[b]
                - 2 * share[a] @ self._kernel(z[a], z[b]) @ share[b]
            )
            terms.append(torch.where(present[a].any() & present[b].any(), apart, 0.0))
        return {"mmd": self.weight * torch.stack(terms).mean()}

    def _kernel(self, x: Tensor, y: Tensor) -> Tensor:
        distances = (x.unsqueeze(1) - y.unsqueeze(0)).square().sum(2) / self.size
        return torch.stack([torch.exp(-distances / (2 * band)) for band in BANDS]).mean(0)


class Symile(Projected):
    weight: Tensor
    temperature: Tensor

    def loss(self, features: Mapping[str, Features], fused: Fused, target: Tensor) -> dict[str, Tensor]:
        z, present = F.normalize(self.found(features), dim=2), self.present(features)
        rows, own = present.all(0), torch.eye(present.shape[1], dtype=torch.bool, device=z.device)
        together = (z.prod(0)).sum(1)
        terms = []
        for place in range(len(z)):
            others = [n for n in range(len(z)) if n != place]
            mixed = torch.stack([z[n].roll(shift, 0) for shift, n in enumerate(others, start=1)]).prod(0)
            there = torch.stack([present[n].roll(shift, 0) for shift, n in enumerate(others, start=1)]).all(0)
            scores = torch.where(own, together.unsqueeze(1), z[place] @ mixed.T) / self.temperature
            scores = scores.masked_fill(~(there | own), torch.finfo(scores.dtype).min)
            found = scores.log_softmax(1).diagonal()
            terms.append(-torch.where(rows, found, 0.0).sum() / rows.sum().clamp(min=1))
        return {"symile": self.weight * torch.stack(terms).mean()}


class GRAM(Projected):
    weight: Tensor
    temperature: Tensor
    ridge: Tensor

    def loss(self, features: Mapping[str, Features], fused: Fused, target: Tensor) -> dict[str, Tensor]:
        z, rows = F.normalize(self.found(features), dim=2), self.present(features).all(0)
        scores = -self.volumes(z) / self.temperature
        return {"gram": self.weight * info_nce(scores, rows)}

    def volumes(self, z: Tensor) -> Tensor:
        """Of each row's first modality with each row's others, [B, B]."""
        count, rows, _ = z.shape
        anchor, others = z[0], z[1:].transpose(0, 1)
        first = torch.einsum("id,jnd->ijn", anchor, others)
        rest = (others @ others.transpose(1, 2)).unsqueeze(0).expand(rows, -1, -1, -1)
        corner = anchor.square().sum(1).view(rows, 1, 1, 1).expand(-1, rows, -1, -1)
        top = torch.cat([corner, first.unsqueeze(2)], dim=3)
        below = torch.cat([first.unsqueeze(3), rest], dim=3)
        gram = torch.cat([top, below], dim=2) + self.ridge * torch.eye(count, device=z.device)
        return cast(Tensor, torch.linalg.det(gram)).clamp(min=SMALLEST).sqrt()


class Adversarial(Projected):
    weight: Tensor
    reversal: Tensor

    def __init__(self, inputs: Mapping[str, FeatureSpec], size: int, weight: float, reversal: float):
        super().__init__(inputs, size, weight=weight, reversal=reversal)
        self.judge = nn.Sequential(nn.Linear(size, size), nn.GELU(), nn.Linear(size, len(inputs)))

    def loss(self, features: Mapping[str, Features], fused: Fused, target: Tensor) -> dict[str, Tensor]:
        z, present = self.found(features), self.present(features)
        turned = (1 + self.reversal) * z.detach() - self.reversal * z  # z's value, its gradient turned round
        logs = self.judge(turned).float().log_softmax(2).diagonal(dim1=0, dim2=2).T
        return {"adversarial": -self.weight * torch.where(present, logs, 0.0).sum() / present.sum().clamp(min=1)}
