"""The module of `mmbench_fusion.experts.graph`; the equation and the handling of missing modalities stand there."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmbench.api.parts import Features, FeatureSpec
from mmbench_fusion.modules.layers import Projections, masked_mean, masked_softmax


class Graph(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int, layers: int, heads: int, dropout: float):
        super().__init__()
        self.project = Projections(inputs, width)
        self.layers = nn.ModuleList(GraphLayer(width, heads, dropout) for _ in range(layers))

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        nodes, present = self.project(features)
        for layer in self.layers:
            nodes = layer(nodes, present)
        return masked_mean(nodes, present)


class GraphLayer(nn.Module):
    """Attention over all pairs of nodes; where the heads do not divide the width, a linear layer joins them."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads, size = heads, max(1, width // heads)
        self.linear = nn.Linear(width, heads * size, bias=False)
        self.scores = nn.Parameter(torch.randn(2, heads, size) / size**0.5)
        self.join = nn.Identity() if heads * size == width else nn.Linear(heads * size, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, nodes: Tensor, present: Tensor) -> Tensor:
        values = self.linear(self.dropout(nodes)).unflatten(-1, (self.heads, -1))
        own, other = (values.unsqueeze(0) * self.scores[:, None, None]).sum(-1).transpose(2, 3).unbind(0)
        raw = F.leaky_relu(own.unsqueeze(3) + other.unsqueeze(2), 0.2)  # [B, heads, M, M]
        weights = masked_softmax(raw, present[:, None, None].expand_as(raw))
        met = torch.einsum("bhmn,bnhd->bmhd", weights, values).flatten(2)
        result: Tensor = nodes + F.elu(self.join(met))
        return result
