"""Modules of `mmbench_fusion.vector`; the equations and the handling of missing modalities stand there."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmbench.api.parts import Features, FeatureSpec, Fused
from mmbench_fusion.modules.layers import Projections, by_name, masked_softmax, shares


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
