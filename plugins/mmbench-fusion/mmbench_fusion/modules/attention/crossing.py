"""Modules of `mmbench_fusion.attention.crossing`; equations and the handling of missing modalities stand there."""

from collections.abc import Mapping
from itertools import combinations
from typing import cast

import torch
from torch import Tensor, nn

from mmbench.api.parts import Features, FeatureSpec
from mmbench_fusion.modules.attention.places import CrossBlock, sinusoids
from mmbench_fusion.modules.layers import masked_mean, masked_softmax
from mmbench_fusion.modules.transformer import Block


class Mult(nn.Module):
    def __init__(
        self, inputs: Mapping[str, FeatureSpec], width: int, layers: int, memory: int, heads: int, dropout: float
    ):
        super().__init__()
        self.names = sorted(inputs)
        self.project = nn.ModuleDict({m: nn.Linear(inputs[m].width, width) for m in self.names})
        others = {m: [n for n in self.names if n != m] for m in self.names}
        self.readers = nn.ModuleDict(
            {m: nn.ModuleDict({n: Reader(width, layers, heads, dropout) for n in others[m]}) for m in self.names}
        )
        wide = max(1, len(inputs) - 1) * width
        self.memory = nn.ModuleDict(
            {m: nn.ModuleList(Block(wide, heads, dropout) for _ in range(memory)) for m in self.names}
        )
        self.norms = nn.ModuleDict({m: nn.LayerNorm(wide) for m in self.names})
        self.join = nn.Linear(len(inputs) * wide, width)

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        streams, masks = {}, {m: features[m].mask for m in self.names}
        for m in self.names:
            tokens = self.project[m](features[m].tokens)
            streams[m] = tokens + sinusoids(tokens.shape[1], tokens.shape[2], tokens)
        ends = []
        for m in self.names:
            readers = cast(nn.ModuleDict, self.readers[m])
            read = [readers[n](streams[m], streams[n], masks[n]) for n in self.names if n != m]
            tokens = torch.cat(read, dim=-1) if read else streams[m]
            for block in cast(nn.ModuleList, self.memory[m]):
                tokens = block(tokens, masks[m].unsqueeze(1))
            ends.append(masked_mean(self.norms[m](tokens), masks[m]))
        fused: Tensor = self.join(torch.cat(ends, dim=1))
        return fused


class Reader(nn.Module):
    """The cross-modal Transformer of one directed pair."""

    def __init__(self, width: int, layers: int, heads: int, dropout: float):
        super().__init__()
        self.layers = nn.ModuleList(CrossBlock(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, context: Tensor, allowed: Tensor) -> Tensor:
        for layer in self.layers:
            x = cast(CrossBlock, layer).reading(x, context, allowed)
        result: Tensor = self.norm(x)
        return result


class CoAttention(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int, size: int, dropout: float):
        super().__init__()
        self.names = sorted(inputs)
        self.project = nn.ModuleDict({m: nn.Linear(inputs[m].width, size) for m in self.names})
        self.nearness = nn.ParameterList(
            torch.randn(inputs[a].width, inputs[b].width) / (inputs[a].width * inputs[b].width) ** 0.5
            for a, b in combinations(self.names, 2)
        )
        self.scores = nn.Parameter(torch.randn(len(inputs), size) / size**0.5)
        self.dropout = nn.Dropout(dropout)
        self.join = nn.Linear(sum(spec.width for spec in inputs.values()), width)

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        masks = {m: features[m].mask for m in self.names}
        own = {m: self.project[m](features[m].tokens) * masks[m].unsqueeze(-1) for m in self.names}
        read = dict(own)
        for near, (a, b) in zip(self.nearness, combinations(self.names, 2), strict=True):
            affinity = torch.tanh(features[a].tokens @ near @ features[b].tokens.transpose(1, 2))
            read[a] = read[a] + affinity @ own[b]
            read[b] = read[b] + affinity.transpose(1, 2) @ own[a]
        found = []
        for m, score in zip(self.names, self.scores, strict=True):
            weight = masked_softmax(self.dropout(torch.tanh(read[m])) @ score, masks[m])
            found.append((weight.unsqueeze(-1) * features[m].tokens).sum(1))
        fused: Tensor = self.join(torch.cat(found, dim=1))
        return fused
