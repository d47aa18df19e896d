"""Half precision."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import mmbench as mb

if TYPE_CHECKING:
    import torch
    from torch import nn


class Half(mb.Compressor):
    """Weights and arithmetic in 16 bits; logits are widened before anything is decided.

    bfloat16 has the range of float32 and 8 bits of precision, float16 has 11 bits and ends at 65504. Whole numbers stay
    what they are.
    """

    name = "half"
    source = "arXiv:1710.03740"
    space = {"dtype": mb.Choice(("bfloat16", "float16"), default="bfloat16")}

    def compress(self, model: "nn.Module", params: Mapping[str, Any]) -> "nn.Module":
        import torch

        dtype = getattr(torch, params["dtype"])
        model.to(dtype)
        for module in model.modules():
            if any(weight.dtype == dtype for weight in module.parameters(recurse=False)):
                module.register_forward_pre_hook(_narrowing(dtype), with_kwargs=True)
        found: Any = model
        found.head.register_forward_hook(_widen)
        return model


def _narrowing(dtype: "torch.dtype") -> Any:
    """A hook by which a module that has weights is given tensors of their type: what is between such modules may widen
    them, a mean over a mask, say."""

    def narrow(module: "nn.Module", given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        return tuple(map(_cast, given)), {name: _cast(value) for name, value in named.items()}

    def _cast(value: Any) -> Any:
        return value.to(dtype) if hasattr(value, "is_floating_point") and value.is_floating_point() else value

    return narrow


def _widen(module: "nn.Module", given: Any, fused: mb.Fused) -> mb.Fused:
    return fused if fused.logits is None else replace(fused, logits=fused.logits.float())
