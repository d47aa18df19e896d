"""Modules of `mmbench_fusion.generative.split`; equations and the handling of missing modalities stand there."""

from collections.abc import Mapping
from itertools import combinations, permutations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmbench.api.parts import Features, FeatureSpec, Fused
from mmbench_fusion.modules.layers import Projections, masked_mean, presence


class ShaSpec(nn.Module):
    alignment: Tensor
    domain: Tensor

    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int, alignment: float, domain: float):
        super().__init__()
        self.project = Projections(inputs, width)
        self.shared = nn.Linear(width, width)
        self.specific = nn.ModuleDict({m: nn.Linear(width, width) for m in self.project.names})
        self.fuse = nn.Linear(2 * width, width)
        self.classify = nn.Linear(width, len(inputs)) if len(inputs) > 1 else None
        self.join = nn.Linear(len(inputs) * width, width)
        self.register_buffer("alignment", torch.tensor(float(alignment)), persistent=False)
        self.register_buffer("domain", torch.tensor(float(domain)), persistent=False)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        projected, present = self.project(features)
        shared = F.gelu(self.shared(projected))
        own = zip(self.project.names, projected.unbind(1), strict=True)
        specific = torch.stack([F.gelu(self.specific[m](u)) for m, u in own], dim=1)
        whole = shared + self.fuse(torch.cat([shared, specific], dim=-1))
        stand_in = masked_mean(shared, present).unsqueeze(1)
        met = torch.where(present.unsqueeze(-1), whole, stand_in.to(whole.dtype))
        extras = {"shared": shared, "specific": specific, "present": present}
        return Fused(self.join(met.flatten(1)), extras=extras)

    def loss(self, fused: Fused, target: Tensor) -> dict[str, Tensor]:
        shared, present = fused.extras["shared"].float(), fused.extras["present"]
        if self.classify is None:
            return {"alignment": 0 * shared.sum()}
        apart = []
        for a, b in combinations(range(shared.shape[1]), 2):
            apart.append(row_mean((shared[:, a] - shared[:, b]).abs().mean(-1), present[:, a] & present[:, b]))
        scores = self.classify(fused.extras["specific"]).float()
        wrong = -torch.diagonal(scores.log_softmax(-1), dim1=1, dim2=2)
        return {
            "alignment": self.alignment * torch.stack(apart).mean(),
            "domain": self.domain * row_mean(wrong.flatten(), present.flatten()),
        }


class Mfm(nn.Module):
    reconstruction: Tensor
    prior: Tensor

    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int, size: int, reconstruction: float, prior: float):
        super().__init__()
        self.names = sorted(inputs)
        self.all = nn.Linear(sum(spec.width for spec in inputs.values()), width)
        self.own = Projections(inputs, size)
        self.decode = nn.ModuleDict(
            {
                m: nn.Sequential(nn.Linear(width + size, width), nn.GELU(), nn.Linear(width, inputs[m].width))
                for m in self.names
            }
        )
        self.register_buffer("reconstruction", torch.tensor(float(reconstruction)), persistent=False)
        self.register_buffer("prior", torch.tensor(float(prior)), persistent=False)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        given = {m: features[m].pooled for m in self.names}
        factor = self.all(torch.cat(list(given.values()), dim=1))
        if not self.training:  # what only the losses need is no cost of a prediction
            return Fused(factor)
        own, present = self.own(features)
        pairs = zip(given.items(), own.unbind(1), strict=True)
        errors = [
            (self.decode[m](torch.cat([factor, alone], dim=1)) - x.detach()).float().square().mean(1)
            for (m, x), alone in pairs
        ]
        extras = {"factor": factor, "own": own, "present": present, "errors": torch.stack(errors, dim=1)}
        return Fused(factor, extras=extras)

    def loss(self, fused: Fused, target: Tensor) -> dict[str, Tensor]:
        present, own, factor = fused.extras["present"], fused.extras["own"], fused.extras["factor"]
        alone = [discrepancy(f, rows) for f, rows in zip(own.unbind(1), present.unbind(1), strict=True)]
        far = discrepancy(factor, present.any(1)) + torch.stack(alone).mean()
        return {
            "reconstruction": self.reconstruction * row_mean(fused.extras["errors"].flatten(), present.flatten()),
            "prior": self.prior * far,
        }


class Mctn(nn.Module):
    translation: Tensor
    cycle: Tensor

    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int, translation: float, cycle: float):
        super().__init__()
        self.encode = Projections(inputs, width)
        self.decode = nn.ModuleDict({m: nn.Linear(width, inputs[m].width) for m in self.encode.names})
        self.join = nn.Linear(width, width)
        self.register_buffer("translation", torch.tensor(float(translation)), persistent=False)
        self.register_buffer("cycle", torch.tensor(float(cycle)), persistent=False)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        names = self.encode.names
        present = presence(features, names)
        told = self.encode.vectors(features).tanh()
        vector = self.join(masked_mean(told, present))
        if not self.training:
            return Fused(vector)
        given = {m: features[m].pooled.detach() for m in names}
        there, back, both = [], [], []
        for a, b in list(permutations(range(len(names)), 2)) or [(0, 0)]:
            m, n = names[a], names[b]
            translated = self.decode[n](told[:, a])
            again = self.decode[m](self.encode.linear[n](translated).tanh())
            there.append((translated - given[n]).float().square().mean(1))
            back.append((again - given[m]).float().square().mean(1))
            both.append(present[:, a] & present[:, b])
        extras = {"there": torch.stack(there, 1), "back": torch.stack(back, 1), "both": torch.stack(both, 1)}
        return Fused(vector, extras=extras)

    def loss(self, fused: Fused, target: Tensor) -> dict[str, Tensor]:
        both = fused.extras["both"].flatten()
        return {
            "translation": self.translation * row_mean(fused.extras["there"].flatten(), both),
            "cycle": self.cycle * row_mean(fused.extras["back"].flatten(), both),
        }


def row_mean(values: Tensor, rows: Tensor) -> Tensor:
    """The mean of values [N] where rows [N] is True; 0 where none is."""
    return (values * rows).sum() / rows.sum().clamp(min=1)


def discrepancy(sample: Tensor, rows: Tensor) -> Tensor:
    """The squared maximum mean discrepancy of the `rows` [B] of a sample [B, N] to the normal distribution.

    The kernel is exp(-|a - b|^2 / 2 N); its means over the normal are known in closed form.
    """
    sample, size = sample.float(), sample.shape[1]
    weight = rows / rows.sum().clamp(min=1)
    apart = (sample.unsqueeze(1) - sample.unsqueeze(0)).square().sum(-1)
    within = weight @ torch.exp(-apart / (2 * size)) @ weight
    shrink = (size / (size + 1)) ** (size / 2)
    between = shrink * (weight * torch.exp(-sample.square().sum(-1) / (2 * (size + 1)))).sum()
    normal: float = (size / (size + 2)) ** (size / 2)
    result: Tensor = (within - 2 * between + normal) * rows.any()
    return result
