"""Modules of `mmbench_fusion.joining.wide`; equations and the handling of missing modalities stand there."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmbench.api.parts import Features, FeatureSpec
from mmbench_fusion.modules.layers import Projections


class ConcatLinear(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int, size: int, dropout: float):
        super().__init__()
        self.names = sorted(inputs)
        self.hidden = nn.Linear(sum(spec.width for spec in inputs.values()), size)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(size, width)

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        joined = torch.cat([features[m].pooled for m in self.names], dim=1)
        fused: Tensor = self.linear(self.dropout(self.hidden(joined).relu()))
        return fused


class StackedCnn(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int, channels: int, kernel: int, layers: int):
        super().__init__()
        self.project = Projections(inputs, width)
        ins = [len(inputs), *[channels] * (layers - 1)]
        self.layers = nn.ModuleList(nn.Conv1d(n, channels, kernel, padding=kernel // 2) for n in ins)
        self.linear = nn.Linear(channels * width, width)

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        projected, present = self.project(features)
        stacked = projected * present.unsqueeze(-1)
        for layer in self.layers:
            stacked = layer(stacked).relu()
        fused: Tensor = self.linear(stacked.flatten(1))
        return fused
