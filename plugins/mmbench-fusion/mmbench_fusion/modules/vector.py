"""Modules of `mmbench_fusion.vector`; the equations and the handling of missing modalities stand there."""

from collections.abc import Mapping, Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from mmbench.api.parts import Features, FeatureSpec, Fused
from mmbench_fusion.modules.layers import Projections, by_name, masked_mean, masked_softmax, shares


class Concat(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int):
        super().__init__()
        self.names = sorted(inputs)
        self.linear = nn.Linear(sum(spec.width for spec in inputs.values()), width)

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        joined: Tensor = self.linear(torch.cat([features[m].pooled for m in self.names], dim=1))
        return joined


class Sum(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int):
        super().__init__()
        self.project = Projections(inputs, width)

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        projected, present = self.project(features)
        fused: Tensor = (projected * present.unsqueeze(-1)).sum(1)
        return fused


class Mean(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int):
        super().__init__()
        self.project = Projections(inputs, width)

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        return masked_mean(*self.project(features))


class Weighted(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int):
        super().__init__()
        self.project = Projections(inputs, width)
        self.scores = nn.Parameter(torch.zeros(len(inputs)))

    def forward(self, features: Mapping[str, Features]) -> Fused:
        projected, present = self.project(features)
        return weighted_sum(projected, masked_softmax(self.scores.expand(present.shape), present), self.project.names)


class Gated(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int, gate: str):
        super().__init__()
        self.gate, self.width = gate, width
        self.project = Projections(inputs, width)
        # All modalities' gates read the same input, so they are one linear layer.
        self.gates = nn.Linear(sum(spec.width for spec in inputs.values()), len(inputs) * width)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        names = self.project.names
        projected, present = self.project(features)
        joined = torch.cat([features[m].pooled for m in names], dim=1)
        scores = self.gates(joined).unflatten(1, (len(names), self.width))
        if self.gate == "softmax":
            gates = masked_softmax(scores.transpose(1, 2), present.unsqueeze(1)).transpose(1, 2)
        else:
            gates = scores.sigmoid() * present.unsqueeze(-1)
        vector = (gates * projected.tanh()).sum(1)
        return Fused(vector, weights=by_name(names, shares(gates.mean(-1), present)))


class Attention(nn.Module):
    temperature: Tensor

    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int, hidden: int, temperature: float):
        super().__init__()
        self.project = Projections(inputs, width)
        self.hidden, self.score = nn.Linear(width, hidden), nn.Linear(hidden, 1, bias=False)
        self.register_buffer("temperature", torch.tensor(float(temperature)), persistent=False)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        projected, present = self.project(features)
        scores = self.score(self.hidden(projected).tanh()).squeeze(-1) / self.temperature
        return weighted_sum(projected, masked_softmax(scores, present), self.project.names)


class LowRank(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int, rank: int):
        super().__init__()
        self.rank, self.width = rank, width
        # A linear layer's bias is the column of its factor that meets the appended 1.
        self.factors = Projections(inputs, rank * width)
        for name, parameter in self.factors.named_parameters():
            if name.endswith("bias"):
                nn.init.ones_(parameter)
        self.weights = nn.Parameter(torch.randn(rank, 1) * (2 / (1 + rank)) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        factors, _ = self.factors(features)
        product = reduce(torch.mul, factors.unbind(1)).unflatten(1, (self.rank, self.width))
        fused: Tensor = (product * self.weights).sum(1) + self.bias
        return fused


def weighted_sum(values: Tensor, weights: Tensor, names: Sequence[str]) -> Fused:
    """Values [B, M, width] by weights [B, M], as a vector [B, width] with its weights."""
    return Fused((values * weights.unsqueeze(-1)).sum(1), weights=by_name(names, weights))
