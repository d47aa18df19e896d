"""Modules of `mmbench_fusion.attention.plain`; equations and the handling of missing modalities stand there."""

from collections.abc import Mapping
from itertools import permutations
from typing import cast

import torch
from torch import Tensor, nn

from mmbench.api.parts import Features, FeatureSpec
from mmbench_fusion.modules.layers import masked_mean, masked_softmax


class NlGate(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int, size: int):
        super().__init__()
        self.names = sorted(inputs)
        self.project = nn.ModuleDict({m: nn.Linear(inputs[m].width, width) for m in self.names})
        several = len(inputs) > 1
        self.query, self.key, self.value = (
            nn.ModuleDict({m: nn.Linear(width, size, bias=False) for m in self.names if several}) for _ in range(3)
        )
        self.give = nn.ModuleDict({m: nn.Linear(size, width, bias=False) for m in self.names if several})
        self.join = nn.Linear(len(inputs) * width, width)

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        tokens = {m: self.project[m](features[m].tokens) for m in self.names}
        masks = {m: features[m].mask for m in self.names}
        found = []
        for m, own in tokens.items():
            if m in self.query:
                others = torch.cat([tokens[n] for n in self.names if n != m], dim=1)
                mask = torch.cat([masks[n] for n in self.names if n != m], dim=1)
                scores = self.query[m](own) @ self.key[m](others).transpose(1, 2)
                weights = masked_softmax(scores, mask.unsqueeze(1).expand_as(scores))
                own = own + self.give[m](weights @ self.value[m](others))
            found.append(masked_mean(own, masks[m]))
        fused: Tensor = self.join(torch.cat(found, dim=1))
        return fused


class ContextualAttention(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int, dropout: float):
        super().__init__()
        self.names = sorted(inputs)
        self.project = nn.ModuleDict({m: nn.Linear(inputs[m].width, width) for m in self.names})
        self.dropout = nn.Dropout(dropout)
        self.join = nn.Linear(len(inputs) ** 2 * width, width)

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        tokens = {m: cast(Tensor, self.dropout(self.project[m](features[m].tokens))) for m in self.names}
        found = []
        for m, n in permutations(self.names, 2):
            scores = tokens[m] @ tokens[n].transpose(1, 2)
            weights = masked_softmax(scores, features[n].mask.unsqueeze(1).expand_as(scores))
            found.append(masked_mean((weights @ tokens[n]) * tokens[m], features[m].mask))
        found += [masked_mean(tokens[m], features[m].mask) for m in self.names]
        fused: Tensor = self.join(torch.cat(found, dim=1))
        return fused
