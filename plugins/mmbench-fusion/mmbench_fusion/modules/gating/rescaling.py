"""Modules of `mmbench_fusion.gating.rescaling`; equations and the handling of missing modalities stand there."""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from mmbench.api.parts import Features, FeatureSpec
from mmbench_fusion.modules.layers import Projections, masked_mean


class Mmtm(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int, ratio: int):
        super().__init__()
        self.names = sorted(inputs)
        total = sum(spec.width for spec in inputs.values())
        squeezed = max(1, round(total / ratio))
        self.squeeze = nn.Linear(total, squeezed)
        self.excite = nn.ModuleDict({m: nn.Linear(squeezed, inputs[m].width) for m in self.names})
        self.join = nn.Linear(total, width)

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        pooled = {m: features[m].pooled for m in self.names}
        squeezed = self.squeeze(torch.cat(list(pooled.values()), dim=1)).relu()
        excited = [2 * self.excite[m](squeezed).sigmoid() * x for m, x in pooled.items()]
        fused: Tensor = self.join(torch.cat(excited, dim=1))
        return fused


class Mag(nn.Module):
    reach: Tensor

    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int, reach: float, dropout: float):
        super().__init__()
        self.project = Projections(inputs, width)
        names = self.project.names
        self.gates = nn.ModuleDict(
            {m: nn.ModuleDict({n: nn.Linear(2 * width, width) for n in names if n != m}) for m in names}
        )
        self.shifts = nn.ModuleDict(
            {m: nn.ModuleDict({n: nn.Linear(width, width, bias=False) for n in names if n != m}) for m in names}
        )
        self.bias = nn.ParameterDict({m: torch.zeros(width) for m in names})
        self.norm, self.dropout = nn.LayerNorm(width), nn.Dropout(dropout)
        self.register_buffer("reach", torch.tensor(float(reach)), persistent=False)

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        projected, present = self.project(features)
        own = dict(zip(self.project.names, projected.unbind(1), strict=True))
        there = dict(zip(self.project.names, present.unsqueeze(-1).unbind(1), strict=True))
        found = []
        for m, u in own.items():
            gates, shifts = cast(nn.ModuleDict, self.gates[m]), cast(nn.ModuleDict, self.shifts[m])
            shift = self.bias[m].expand_as(u)
            for n in gates:
                gate = gates[n](torch.cat([u, own[n]], dim=1)).relu()
                shift = shift + gate * shifts[n](own[n]) * there[n]
            scale = (self.reach * length(u) / length(shift)).clamp(max=1)
            found.append(self.dropout(self.norm(u + scale * shift)))
        return masked_mean(torch.stack(found, dim=1), present)


def length(x: Tensor) -> Tensor:
    """The length of rows [B, N], [B, 1], with a finite slope at 0."""
    return (x.square().sum(-1, keepdim=True) + 1e-12).sqrt()
