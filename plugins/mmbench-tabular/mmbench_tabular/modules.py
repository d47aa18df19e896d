"""The torch modules of the tabular encoders."""

from torch import Tensor, nn

import mmbench as mb


class Perceptron(nn.Module):
    """Dense layers, each normalised, rectified and thinned: {"cells": [B, inputs]} to one token of `width`."""

    def __init__(self, inputs: int, *, width: int, layers: int, dropout: float):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(width if index else inputs, width), nn.LayerNorm(width), nn.ReLU(), nn.Dropout(dropout)
            )
            for index in range(layers)
        )

    def forward(self, arrays: dict[str, Tensor]) -> mb.Features:
        hidden = arrays["cells"].float()
        layers = []
        for block in self.blocks:
            hidden = block(hidden)
            layers.append(hidden)
        return mb.Features(hidden, layers=layers)
