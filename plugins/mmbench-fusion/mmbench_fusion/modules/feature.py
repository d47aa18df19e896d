"""Modules of `mmbench_fusion.feature`; the equations and the handling of missing modalities stand there."""

from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Tensor, nn

from mmbench.api.parts import Features, FeatureSpec
from mmbench_fusion.modules.layers import Projections, masked_mean
from mmbench_fusion.modules.tensor import product


class Max(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int):
        super().__init__()
        self.project = Projections(inputs, width)

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        projected, present = self.project(features)
        lowest = torch.finfo(projected.dtype).min
        largest = projected.masked_fill(~present.unsqueeze(-1), lowest).amax(1)
        return torch.where(present.any(1, keepdim=True), largest, torch.zeros_like(largest))


class Product(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int):
        super().__init__()
        self.project = Projections(inputs, width)
        for linear in self.project.linear.values():
            nn.init.ones_(linear.get_parameter("bias"))

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        return product(*self.project(features))


class Film(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int):
        super().__init__()
        self.project = Projections(inputs, width)
        total = sum(spec.width for spec in inputs.values())
        several = len(inputs) > 1
        self.modulate = nn.ModuleDict(
            {m: nn.Linear(total - inputs[m].width, 2 * width) for m in self.project.names if several}
        )

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        projected, present = self.project(features)
        streams = dict(zip(self.project.names, projected.unbind(1), strict=True))
        for m, layer in self.modulate.items():
            others = torch.cat([features[n].pooled for n in self.project.names if n != m], dim=1)
            scale, shift = layer(others).chunk(2, dim=1)
            streams[m] = (1 + scale) * streams[m] + shift
        return masked_mean(torch.stack(list(streams.values()), dim=1).relu(), present)


class Multiplicative(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int, size: int):
        super().__init__()
        self.project = Projections(inputs, size)
        self.pairs = list(combinations(range(len(inputs)), 2))
        self.tensor = nn.Parameter(torch.randn(len(self.pairs), width, size, size) / size)
        self.linear = nn.Linear(len(inputs) * size, width)

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        projected, present = self.project(features)
        alone = projected * present.unsqueeze(-1)
        fused: Tensor = self.linear(alone.flatten(1))
        for number, (a, b) in enumerate(self.pairs):
            fused = fused + torch.einsum("bi,kij,bj->bk", alone[:, a], self.tensor[number], alone[:, b])
        return fused
