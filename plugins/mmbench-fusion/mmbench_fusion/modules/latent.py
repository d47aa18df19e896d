"""Modules of `mmbench_fusion.latent`; the equations and the handling of missing modalities stand there."""

from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmbench.api.parts import Features, FeatureSpec, Fused
from mmbench_fusion.modules.layers import Projections, masked_mean
from mmbench_fusion.modules.transformer import Block


class Misa(nn.Module):
    similarity: Tensor
    difference: Tensor
    reconstruction: Tensor

    def __init__(
        self,
        inputs: Mapping[str, FeatureSpec],
        width: int,
        heads: int,
        dropout: float,
        similarity: float,
        difference: float,
        reconstruction: float,
    ):
        super().__init__()
        self.project, self.norm = Projections(inputs, width), nn.LayerNorm(width)
        self.shared, self.decoder = nn.Linear(width, width), nn.Linear(width, width)
        self.private = nn.ModuleDict({m: nn.Linear(width, width) for m in self.project.names})
        self.block = Block(width, heads, dropout)
        self.join = nn.Linear(2 * len(inputs) * width, width)
        for name, value in (
            ("similarity", similarity),
            ("difference", difference),
            ("reconstruction", reconstruction),
        ):
            self.register_buffer(name, torch.tensor(float(value)), persistent=False)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        projected, present = self.project(features)
        inputs = self.norm(F.gelu(projected))
        shared = self.shared(inputs).sigmoid()
        private = torch.stack(
            [self.private[m](u).sigmoid() for m, u in zip(self.project.names, inputs.unbind(1), strict=True)], dim=1
        )
        there = torch.cat([present, present], dim=1)
        tokens = self.block(torch.cat([private, shared], dim=1), there.unsqueeze(1)) * there.unsqueeze(-1)
        extras = {
            "inputs": inputs,
            "shared": shared,
            "private": private,
            "reconstructed": self.decoder(shared + private),
            "present": present,
        }
        return Fused(self.join(tokens.flatten(1)), extras=extras)

    def loss(self, fused: Fused, target: Tensor) -> dict[str, Tensor]:
        present = fused.extras["present"].unbind(1)
        shared, private = fused.extras["shared"].unbind(1), fused.extras["private"].unbind(1)
        pairs = list(combinations(range(len(present)), 2))
        alike = [moment_discrepancy(shared[a], shared[b], present[a] & present[b]) for a, b in pairs]
        apart = [overlap(c, p, rows) for c, p, rows in zip(shared, private, present, strict=True)]
        apart += [overlap(private[a], private[b], present[a] & present[b]) for a, b in pairs]
        error = (fused.extras["inputs"] - fused.extras["reconstructed"]).square().mean(-1, keepdim=True)
        terms = {
            "difference": self.difference * torch.stack(apart).mean(),
            "reconstruction": self.reconstruction * masked_mean(error, fused.extras["present"]).mean(),
        }
        if alike:
            terms["similarity"] = self.similarity * torch.stack(alike).mean()
        return terms


def moment_discrepancy(a: Tensor, b: Tensor, rows: Tensor, orders: int = 5) -> Tensor:
    """Central moment discrepancy of two samples in [0, 1], [B, D] each, over `rows` [B]; arXiv:1702.08811, eq. 7."""
    weight: Tensor = (rows / rows.sum().clamp(min=1)).unsqueeze(-1).to(a.dtype)
    centre_a, centre_b = (weight * a).sum(0), (weight * b).sum(0)
    total: Tensor = torch.linalg.vector_norm(centre_a - centre_b)
    for order in range(2, orders + 1):
        moments = weight * ((a - centre_a).pow(order) - (b - centre_b).pow(order))
        total = total + torch.linalg.vector_norm(moments.sum(0))
    return total


def overlap(a: Tensor, b: Tensor, rows: Tensor) -> Tensor:
    """Mean square of A'B, [D, D], where A and B are the `rows` of a and b, centred and scaled to length 1."""
    return (_directions(a, rows).T @ _directions(b, rows)).square().mean()


def _directions(a: Tensor, rows: Tensor) -> Tensor:
    kept = rows.unsqueeze(-1).to(a.dtype)
    centred = (a - (kept * a).sum(0) / kept.sum().clamp(min=1)) * kept
    # As in the authors' code, lengths are constants for the gradient.
    length: Tensor = torch.linalg.vector_norm(centred, dim=1, keepdim=True).detach()
    return centred / (length + 1e-6)
