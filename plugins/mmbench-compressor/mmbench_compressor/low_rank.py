"""Low-rank factorisation."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import mmbench as mb

if TYPE_CHECKING:
    from torch import nn


class LowRank(mb.Compressor):
    """Each dense layer becomes two of rank r, W = U S V', of which the r largest singular values are kept.

    W [O, I] becomes V' scaled by the root of S [r, I], then U by the same [O, r]; no other matrix of that rank is
    closer to W (Eckart and Young). r is the share `rank` of the smaller side, at least 1; a layer stays whole where two
    would hold as much as one. What is no plain `nn.Linear` (convolutions, recurrent layers, projections inside
    attention) stays.
    """

    name = "low_rank_layers"
    source = "arXiv:1404.0736"
    space = {"rank": mb.Float(0.05, 0.9, default=0.4), "epochs": mb.Int(0, 8, default=2)}

    def compress(self, model: "nn.Module", params: Mapping[str, Any]) -> "nn.Module":
        from torch import nn

        for module in list(model.modules()):
            for name, child in list(module.named_children()):
                if type(child) is nn.Linear:
                    setattr(module, name, _factored(child, params["rank"]))
        return model

    def epochs(self, params: Mapping[str, Any]) -> int:
        return int(params["epochs"])


def _factored(layer: "nn.Linear", share: float) -> "nn.Module":
    import torch
    from torch import nn

    outputs, inputs = layer.weight.shape
    rank = max(1, round(share * min(outputs, inputs)))
    if rank * (outputs + inputs) >= outputs * inputs:
        return layer
    u, s, v = torch.linalg.svd(layer.weight.detach(), full_matrices=False)
    root = s[:rank].sqrt()
    narrow = nn.Linear(inputs, rank, bias=False, device=layer.weight.device)
    wide = nn.Linear(rank, outputs, bias=layer.bias is not None, device=layer.weight.device)
    narrow.weight.copy_(root[:, None] * v[:rank])
    wide.weight.copy_(u[:, :rank] * root)
    if layer.bias is not None:
        wide.bias.copy_(layer.bias)
    return nn.Sequential(narrow, wide).to(layer.weight.dtype).eval().requires_grad_(layer.weight.requires_grad)
