"""Modules that hold their weights in eight bits."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import parametrize

MOST = 127


def narrowed(model: nn.Module, *, dense: bool) -> nn.Module:
    """The model with weights of two dimensions and more in eight bits; with `dense`, plain dense layers multiply in
    them."""
    model.requires_grad_(False)
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if dense and type(child) is nn.Linear:
                setattr(module, name, Dense(child))
            elif isinstance(child, nn.RNNBase):
                setattr(module, name, Widened(child))
    for module in list(model.modules()):
        if isinstance(module, Dense | Widened) or parametrize.is_parametrized(module):
            continue
        for name, weight in list(module.named_parameters(recurse=False)):
            if weight.dim() >= 2 and weight.is_floating_point():
                parametrize.register_parametrization(module, name, Scaled(weight), unsafe=True)
    return model


def rounded(weight: Tensor) -> tuple[Tensor, Tensor]:
    """q [O, ...] of eight bits and s [O, 1, ...], the scale of each row: s q is nearest to the weight."""
    over = tuple(range(1, weight.dim()))
    scale = weight.abs().amax(over, keepdim=True) / MOST
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    return (weight / scale).round().clamp(-MOST, MOST).to(torch.int8), scale


class Scaled(nn.Module):
    """Eight bits and scales [O] to a weight, and back: torch keeps the former in its place, and asks for the weight
    when it is used."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.dims = weight.dim()

    def forward(self, whole: Tensor, scale: Tensor) -> Tensor:
        return whole.to(scale.dtype) * scale.view(-1, *[1] * (self.dims - 1))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        whole, scale = rounded(weight.detach())
        return whole, scale.flatten()


class Widened(nn.Module):
    """A recurrent layer, which keeps references to its weights, so that these are given to it each time."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.wide = [name for name, weight in layer.named_parameters() if weight.dim() >= 2]
        for name, weight in list(layer.named_parameters()):
            if name in self.wide:
                whole, scale = rounded(weight.detach())
                self.register_buffer(f"{name}_whole", whole)
                self.register_buffer(f"{name}_scale", scale)
            else:
                self.register_parameter(name, weight)
        self.layer = [layer.to("meta")]  # in a list, without weights: they are no part of this module

    def forward(self, *given: Any, **named: Any) -> Any:
        wide = {name: getattr(self, f"{name}_whole") * getattr(self, f"{name}_scale") for name in self.wide}
        return functional_call(self.layer[0], wide | dict(self.named_parameters()), given, named)


class Dense(nn.Module):
    """A dense layer whose weights and inputs are whole numbers of eight bits: y = s_x s_w (q_x q_w') + b.

    The whole numbers are multiplied in float32, in which a sum of up to 1,040 products of 127² is exact: torch's own
    product of eight bits takes many times as long on a CPU without instructions for it.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.whole: Tensor
        self.scale: Tensor
        whole, scale = rounded(layer.weight.detach())
        self.register_buffer("whole", whole)
        self.register_buffer("scale", scale.squeeze(1))
        self.bias = layer.bias

    @property
    def weight(self) -> Tensor:
        """For whoever multiplies by hand, as parts of attention do with slices: the weight, widened."""
        return self.whole.to(self.scale.dtype) * self.scale[:, None]

    def forward(self, values: Tensor) -> Tensor:
        rows = values.reshape(-1, values.shape[-1])
        whole, scale = rounded(rows)
        found = (whole.to(values.dtype) @ self.whole.to(values.dtype).T) * scale * self.scale
        if self.bias is not None:
            found = found + self.bias
        return found.reshape(*values.shape[:-1], -1)
