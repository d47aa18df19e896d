"""Modules of `mmbench_fusion.tensor`; the equations and the handling of missing modalities stand there."""

from collections.abc import Mapping
from functools import reduce
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmbench.api.parts import Features, FeatureSpec
from mmbench_fusion.modules.layers import Projections, presence

LIMIT = 4096
"""How many numbers the outer product of tensor fusion may have for each row."""


class TensorFusion(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int, size: int):
        super().__init__()
        while size > 1 and (size + 1) ** len(inputs) > LIMIT:
            size -= 1
        self.project = Projections(inputs, size)
        self.linear = nn.Linear((size + 1) ** len(inputs), width)

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        projected, present = self.project(features)
        factors = F.pad(projected * present.unsqueeze(-1), (0, 1), value=1.0).unbind(1)
        outer = reduce(lambda a, b: (a.unsqueeze(2) * b.unsqueeze(1)).flatten(1), factors)
        fused: Tensor = self.linear(outer)
        return fused


class Mlb(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int, size: int):
        super().__init__()
        self.project = Projections(inputs, size)
        self.linear = nn.Linear(size, width)

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        projected, present = self.project(features)
        fused: Tensor = self.linear(product(projected.tanh(), present))
        return fused


class Mutan(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int, size: int, rank: int):
        super().__init__()
        self.rank, self.size = rank, size
        self.project = Projections(inputs, size)
        self.core = nn.ModuleDict({m: nn.Linear(size, rank * size) for m in self.project.names})
        self.linear = nn.Linear(size, width)

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        projected, present = self.project(features)
        streams = zip(self.project.names, projected.tanh().unbind(1), strict=True)
        factors = torch.stack([self.core[m](q) for m, q in streams], dim=1)
        ranks = product(factors, present).unflatten(1, (self.rank, self.size))
        fused: Tensor = self.linear(ranks.sum(1))
        return fused


class Mfh(nn.Module):
    """MFB is the cascade of one block, which needs no layer that joins blocks."""

    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int, order: int, rank: int, dropout: float):
        super().__init__()
        self.width, self.rank = width, rank
        self.blocks = nn.ModuleList(Projections(inputs, width * rank) for _ in range(order))
        self.dropout = nn.Dropout(dropout)
        self.join = nn.Linear(order * width, width) if order > 1 else nn.Identity()

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        pooled, before = [], None
        for block in self.blocks:
            here = product(*block(features))
            before = self.dropout(here if before is None else before * here)
            pooled.append(unit(root(before.unflatten(1, (self.width, self.rank)).sum(2))))
        fused: Tensor = self.join(torch.cat(pooled, dim=1))
        return fused


class Mcb(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int, size: int):
        super().__init__()
        self.names, self.size = sorted(inputs), size
        for m in self.names:
            columns = torch.randint(size, (inputs[m].width,))
            signs = torch.randint(2, (inputs[m].width, 1)) * 2.0 - 1
            # A matrix of one sign in each row: what is gathered by index can't differ within a cohort.
            self.register_buffer(f"sketch_{m}", F.one_hot(columns, size) * signs)
        self.linear = nn.Linear(size, width)

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        present = presence(features, self.names)
        sketches = [
            features[m].pooled @ self.get_buffer(f"sketch_{m}").to(features[m].pooled.dtype) for m in self.names
        ]
        # In float32 at least: on a CPU there is no Fourier transform in half precision.
        stacked = torch.stack([s if s.dtype == torch.float64 else s.float() for s in sketches], dim=1)
        spectrum = product(torch.fft.rfft(stacked), present)
        joined = unit(root(torch.fft.irfft(spectrum, n=self.size)))
        fused: Tensor = self.linear(joined.to(sketches[0].dtype))
        return fused


def product(factors: Tensor, present: Tensor) -> Tensor:
    """The product over the present of factors [B, M, N], [B, N]; 1 where none is."""
    kept = torch.where(present.unsqueeze(-1), factors, torch.ones_like(factors))
    return reduce(torch.mul, kept.unbind(1))


def root(x: Tensor) -> Tensor:
    """The signed square root, with a finite slope at 0."""
    return x / (x.abs() + 1e-3).sqrt()


def unit(x: Tensor) -> Tensor:
    """Rows [B, N] scaled to length sqrt(N), so that their numbers are near 1."""
    return cast(Tensor, F.normalize(x, dim=1) * x.shape[1] ** 0.5)
