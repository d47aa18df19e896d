"""Modules of `mmbench_fusion.experts.mixture`; equations and the handling of missing modalities stand there."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmbench.api.parts import Features, FeatureSpec, Fused
from mmbench_fusion.modules.layers import Projections, masked_softmax


class Moe(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int, experts: int, dropout: float):
        super().__init__()
        self.names = sorted(inputs)
        self.project = nn.Linear(sum(spec.width for spec in inputs.values()), width)
        self.places = nn.Parameter(torch.randn(experts, width))
        self.wider = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(experts))
        self.narrower = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(experts))
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        joined = self.project(join(features, self.names))
        gaps = (joined.float().unsqueeze(1) - self.places).square().sum(-1)
        gates = (-(gaps + 1e-12).sqrt()).softmax(1)
        pairs = zip(self.wider, self.narrower, strict=True)
        found = torch.stack([back(self.dropout(F.gelu(out(joined)))) for out, back in pairs], dim=1)
        fused: Tensor = (gates.to(found.dtype).unsqueeze(-1) * found).sum(1)
        return fused


class I2moe(nn.Module):
    interaction: Tensor

    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int, size: int, interaction: float):
        super().__init__()
        self.names = sorted(inputs)
        total, several = sum(spec.width for spec in inputs.values()), len(inputs) > 1
        count = len(inputs) + 2 if several else 1
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(total, size), nn.ReLU(), nn.Linear(size, width)) for _ in range(count)
        )
        self.weigh = nn.Linear(total, count) if several else None
        self.register_buffer("interaction", torch.tensor(float(interaction)), persistent=False)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        joined = join(features, self.names)
        found = torch.stack([expert(joined) for expert in self.experts], dim=1)
        if self.weigh is None:
            return Fused(found[:, 0], extras={"found": found})
        vector = (self.weigh(joined).softmax(1).unsqueeze(-1) * found).sum(1)
        if not self.training:
            return Fused(vector, extras={"found": found})
        pooled = [features[m].pooled for m in self.names]
        lacking = []
        for lost in range(len(pooled)):
            rest = torch.cat([x * (number != lost) for number, x in enumerate(pooled)], dim=1)
            lacking.append(torch.stack([expert(rest) for expert in self.experts], dim=1))
        complete = torch.stack([features[m].present for m in self.names], dim=1).all(1)
        extras = {"found": found, "lacking": torch.stack(lacking, dim=1), "complete": complete}
        return Fused(vector, extras=extras)

    def loss(self, fused: Fused, target: Tensor) -> dict[str, Tensor]:
        if "lacking" not in fused.extras:
            return {"interaction": 0 * fused.extras["found"].sum()}
        found, lacking = fused.extras["found"].float(), fused.extras["lacking"].float()
        count = lacking.shape[1]
        moved = ((found.unsqueeze(1) - lacking).square().sum(-1) + 1e-12).sqrt()  # [B, lost modality, expert]
        terms = []
        for m in range(count):
            others = [(moved[:, n, m] - moved[:, m, m] + 1).clamp(min=0) for n in range(count) if n != m]
            terms.append(torch.stack(others).mean(0))
        synergy = F.cosine_similarity(found[:, None, -2], lacking[:, :, -2], dim=-1, eps=1e-6).mean(1)
        redundancy = 1 - F.cosine_similarity(found[:, None, -1], lacking[:, :, -1], dim=-1, eps=1e-6).mean(1)
        rows, complete = torch.stack([*terms, synergy, redundancy]).mean(0), fused.extras["complete"]
        return {"interaction": self.interaction * (rows * complete).sum() / complete.sum().clamp(min=1)}


class DynMm(nn.Module):
    temperature: Tensor
    thrift: Tensor

    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int, temperature: float, thrift: float):
        super().__init__()
        self.project = Projections(inputs, width)
        total = sum(spec.width for spec in inputs.values())
        self.all = nn.Sequential(nn.Linear(total, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))
        self.gate = nn.Sequential(nn.Linear(total, 2 * width), nn.ReLU(), nn.Linear(2 * width, len(inputs) + 1))
        self.register_buffer("temperature", torch.tensor(float(temperature)), persistent=False)
        self.register_buffer("thrift", torch.tensor(float(thrift)), persistent=False)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        projected, present = self.project(features)
        joined = join(features, self.project.names)
        branches = torch.cat([projected, self.all(joined).unsqueeze(1)], dim=1)
        allowed = torch.cat([present, torch.ones_like(present[:, :1])], dim=1)
        scores = self.gate(joined).float()
        if self.training:
            noise = -torch.log(-torch.log(torch.rand_like(scores).clamp(1e-6, 1 - 1e-6)))
            gates = masked_softmax((scores + noise) / self.temperature, allowed)
        else:
            best = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min).argmax(1, keepdim=True)
            gates = (torch.arange(scores.shape[1], device=best.device) == best).to(scores.dtype)
        vector = (gates.to(branches.dtype).unsqueeze(-1) * branches).sum(1)
        return Fused(vector, extras={"gates": gates})

    def loss(self, fused: Fused, target: Tensor) -> dict[str, Tensor]:
        return {"thrift": self.thrift * fused.extras["gates"][:, -1].mean()}


def join(features: Mapping[str, Features], names: list[str]) -> Tensor:
    """[x_1; ...; x_M], [B, sum of D_m]."""
    return torch.cat([features[m].pooled for m in names], dim=1)
