"""Modules of `mmbench_fusion.hierarchy.pairs`; equations and the handling of missing modalities stand there."""

from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Tensor, nn

from mmbench.api.parts import Features, FeatureSpec
from mmbench_fusion.modules.layers import Projections


class Pairwise(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int, dropout: float):
        super().__init__()
        self.project = Projections(inputs, width)
        self.pairs = list(combinations(range(len(inputs)), 2))
        if self.pairs:
            self.factors = nn.Parameter(torch.ones(len(self.pairs), 2, width))
            self.bias = nn.Parameter(torch.zeros(len(self.pairs), width))
        self.dropout = nn.Dropout(dropout)
        self.join = nn.Linear(max(1, len(self.pairs)) * width, width)

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        projected, present = self.project(features)
        own = projected.tanh() * present.unsqueeze(-1)
        met = []
        for (a, b), factors, bias in zip(self.pairs, *self._weights(), strict=True):
            there = (present[:, a] | present[:, b]).unsqueeze(-1)
            met.append(torch.tanh(factors[0] * own[:, a] + factors[1] * own[:, b] + bias) * there)
        fused: Tensor = self.join(self.dropout(torch.cat(met, dim=1) if met else own[:, 0]))
        return fused

    def _weights(self) -> tuple[list[Tensor], list[Tensor]]:
        return (list(self.factors), list(self.bias)) if self.pairs else ([], [])


class Tree(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int, shape: str, first: int, dropout: float):
        super().__init__()
        self.project = Projections(inputs, width)
        start = first % len(inputs)
        order = [*range(len(inputs))[start:], *range(len(inputs))[:start]]
        self.steps = plan(order, shape)
        self.nodes = nn.ModuleList(
            nn.Sequential(nn.Linear(2 * width, 2 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * width, width))
            for _ in self.steps
        )

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        projected, present = self.project(features)
        held = list((projected * present.unsqueeze(-1)).unbind(1))
        there = list(present.unsqueeze(-1).unbind(1))
        for node, (left, right) in zip(self.nodes, self.steps, strict=True):
            met = node(torch.cat([held[left], held[right]], dim=1))
            held.append(torch.where(there[left] & there[right], met, held[left] + held[right]))
            there.append(there[left] | there[right])
        root: Tensor = held[-1] if self.steps else held[0]
        return root


def plan(leaves: list[int], shape: str) -> list[tuple[int, int]]:
    """Which two are joined, step by step; leaves have the numbers 0..M-1, step i makes the node M + i."""
    steps: list[tuple[int, int]] = []

    def joined(some: list[int]) -> int:
        if len(some) == 1:
            return some[0]
        cut = len(some) - 1 if shape == "chain" else (len(some) + 1) // 2
        steps.append((joined(some[:cut]), joined(some[cut:])))
        return len(leaves) + len(steps) - 1

    joined(leaves)
    return steps
