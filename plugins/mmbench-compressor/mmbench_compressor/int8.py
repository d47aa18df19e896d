"""Weights, and on demand arithmetic, in eight bits."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import mmbench as mb

if TYPE_CHECKING:
    from torch import nn


class Int8(mb.Compressor):
    """Weights in eight bits, a scale for each row: W ≈ s q, s = max |W| / 127 of the row, q whole from -127 to 127.

    `arithmetic = "float"` widens a layer's weights each time it runs: a quarter of the room, and no faster. "int8"
    rounds the inputs of dense layers too, by a scale for each row of the batch, and multiplies whole numbers: exact in
    32 bits, so that only the rounding differs. Matrices inside attention, convolutions and recurrent layers are widened
    either way; norms and biases stay as they are.
    """

    name = "int8"
    source = "arXiv:1712.05877, arXiv:2208.07339"
    space = {"arithmetic": mb.Choice(("float", "int8"), default="float")}

    def compress(self, model: "nn.Module", params: Mapping[str, Any]) -> "nn.Module":
        from mmbench_compressor.modules import narrowed

        return narrowed(model, dense=params["arithmetic"] == "int8")
