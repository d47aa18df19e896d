"""The module of `mmbench_fusion.joining.blocks`; the equation and the handling of missing modalities stand there."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmbench.api.parts import Features, FeatureSpec
from mmbench_fusion.modules.layers import Projections
from mmbench_fusion.modules.tensor import product, root, unit


class BlockTerm(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int, size: int, chunks: int, rank: int):
        super().__init__()
        self.chunks, places = chunks, max(1, size // chunks)
        self.project = Projections(inputs, chunks * places)
        self.core = nn.Parameter(torch.randn(len(inputs), chunks, rank, places, places) / places**0.5)
        self.bias = nn.Parameter(torch.randn(len(inputs), chunks, rank, places) / places**0.5)
        self.linear = nn.Linear(chunks * places, width)

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        projected, present = self.project(features)
        cut = projected.unflatten(-1, (self.chunks, -1))
        factors = torch.einsum("mcrij,bmcj->bmcri", self.core, cut) + self.bias
        terms = product(factors.flatten(2), present).unflatten(1, self.bias.shape[1:])
        each = root(terms.sum(2)).flatten(0, 1)
        fused: Tensor = self.linear(unit(each).unflatten(0, (-1, self.chunks)).flatten(1))
        return fused
