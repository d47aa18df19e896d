"""Layers that several fusions share: projections of all modalities, softmax over present ones.

All of them are functional, so that many configurations can train in one program: nothing is changed in place,
no step depends on a tensor's value, and what may differ between configurations is a buffer, not a Python float.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mmbench.api.parts import Features, FeatureSpec


class Projections(nn.Module):
    """W_m x_m + b_m of each modality's pooled features, as [B, M, width], with its presence [B, M].

    The M modalities stand in the order of their sorted names, whatever the order of the dicts.
    """

    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int):
        super().__init__()
        self.names = sorted(inputs)
        self.linear = nn.ModuleDict({m: nn.Linear(inputs[m].width, width) for m in self.names})

    def forward(self, features: Mapping[str, Features]) -> tuple[Tensor, Tensor]:
        return self.vectors(features), presence(features, self.names)

    def vectors(self, features: Mapping[str, Features]) -> Tensor:
        """The projections alone, [B, M, width]."""
        return torch.stack([self.linear[m](features[m].pooled) for m in self.names], dim=1)


def presence(features: Mapping[str, Features], names: Sequence[str]) -> Tensor:
    """Which modalities are there, bool [B, M]."""
    return torch.stack([features[m].present for m in names], dim=1)


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the last dimension where `mask` is True, 0 elsewhere; all 0 where nothing is.

    The lowest finite number stands for minus infinity: a row of nothing but infinities would be NaN.
    """
    return scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(-1) * mask


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """The mean over N of values [B, N, ...] where mask [B, N] is True, [B, ...]; 0 where nothing is."""
    weight = mask.to(values.dtype).reshape(mask.shape + (1,) * (values.ndim - 2))
    return (values * weight).sum(1) / weight.sum(1).clamp(min=1)


def shares(amounts: Tensor, present: Tensor) -> Tensor:
    """Amounts [B, M] of the present modalities, each divided by their sum; 0 for a missing modality."""
    kept = amounts * present
    return kept / kept.sum(1, keepdim=True).clamp(min=torch.finfo(kept.dtype).tiny)


def by_name(names: Sequence[str], weights: Tensor) -> dict[str, Tensor]:
    """Weights [B, M] as {modality: [B]}."""
    return dict(zip(names, weights.unbind(1), strict=True))
