"""Modules of `mmbench_objective.alignment`; the equations and the handling of missing modalities stand there."""

import math
from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmbench.api.parts import Features, FeatureSpec, Fused

LOWEST_TEMPERATURE = 0.01


class Contrastive(nn.Module):
    weight: Tensor
    log_temperature: Tensor

    def __init__(self, inputs: Mapping[str, FeatureSpec], weight: float, temperature: float, learned: bool, size: int):
        super().__init__()
        self.names = sorted(inputs)
        self.project = nn.ModuleDict({m: nn.Linear(inputs[m].width, size, bias=False) for m in self.names})
        self.register_buffer("weight", torch.tensor(float(weight)), persistent=False)
        start = torch.tensor(math.log(temperature))
        if learned:
            self.log_temperature = nn.Parameter(start)
        else:
            self.register_buffer("log_temperature", start, persistent=False)

    def loss(self, features: Mapping[str, Features], fused: Fused, target: Tensor) -> dict[str, Tensor]:
        temperature = self.log_temperature.exp().clamp(min=LOWEST_TEMPERATURE)
        found = {m: F.normalize(self.project[m](features[m].pooled).float(), dim=1) for m in self.names}
        terms = [
            info_nce(found[a] @ found[b].T / temperature, features[a].present & features[b].present)
            for a, b in combinations(self.names, 2)
        ]
        return {"contrastive": self.weight * torch.stack(terms).mean()}


def info_nce(scores: Tensor, rows: Tensor) -> Tensor:
    """Symmetric InfoNCE of scores [B, B] over the `rows` [B] that take part; 0 where none does."""
    lowest = torch.finfo(scores.dtype).min
    both = (
        scores.masked_fill(~rows.unsqueeze(0), lowest).log_softmax(1).diagonal()
        + scores.masked_fill(~rows.unsqueeze(1), lowest).log_softmax(0).diagonal()
    ) / 2
    return -torch.where(rows, both, 0.0).sum() / rows.sum().clamp(min=1)
