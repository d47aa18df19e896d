"""Magnitude pruning."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import mmbench as mb

if TYPE_CHECKING:
    from torch import Tensor, nn


class Prune(mb.Compressor):
    """The smallest weights become 0 and stay 0, then the others are trained on.

    sparsity: the share of all weights of two dimensions and more that becomes 0; norms and biases stay. `among` is
    where the smallest are looked for: in the whole model, so that layers lose different shares, or in each layer. Ties
    are broken by place. Zeros are stored and multiplied like other numbers: the model takes as much room and time as
    before, until something that knows of zeros runs it (`cost.nonzero` counts the others).
    """

    name = "prune"
    source = "arXiv:1506.02626"
    space = {
        "sparsity": mb.Float(0.1, 0.95, default=0.5),
        "among": mb.Choice(("model", "layer"), default="model"),
        "epochs": mb.Int(0, 8, default=2),
    }

    def compress(self, model: "nn.Module", params: Mapping[str, Any]) -> "nn.Module":
        import torch

        weights = [weight for weight in model.parameters() if weight.dim() >= 2 and weight.is_floating_point()]
        groups = [weights] if params["among"] == "model" else [[weight] for weight in weights]
        for group in groups:
            sizes = torch.cat([weight.detach().abs().flatten() for weight in group])
            gone = torch.zeros_like(sizes, dtype=torch.bool)
            gone[sizes.sort(stable=True).indices[: round(params["sparsity"] * sizes.numel())]] = True
            for weight, mask in zip(group, gone.split([weight.numel() for weight in group]), strict=True):
                _hold(weight, ~mask.view_as(weight))
        return model

    def epochs(self, params: Mapping[str, Any]) -> int:
        return int(params["epochs"])


def _hold(weight: "Tensor", kept: "Tensor") -> None:
    """Zero what is not kept. Without a gradient it stays 0 by every optimizer: what moves it is a multiple of the
    gradients, or of itself."""
    weight.mul_(kept)
    if weight.requires_grad:
        weight.register_hook(lambda gradient: gradient * kept)
