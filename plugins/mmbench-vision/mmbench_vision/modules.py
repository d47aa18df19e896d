"""The torch modules of the image encoders that are trained."""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

import mmbench as mb


class Convolutions(nn.Module):
    """{"pixels": uint8 [B, 3, S, S]} to tokens [B, (S/8)², width]: three strided stages, residual ones, a dense one."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Any, deviation: Any, *, size: int, width: int, layers: int, dropout: float, flip: bool):
        super().__init__()
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float32).view(3, 1, 1))
        self.register_buffer("deviation", torch.as_tensor(deviation, dtype=torch.float32).view(3, 1, 1))
        self.flip = flip
        widths = (3, width // 4, width // 2, width)
        self.stages = nn.ModuleList(_stage(before, after, stride=2) for before, after in pairwise(widths))
        self.residual = nn.ModuleList(_stage(width, width, stride=1) for _ in range(layers))
        cells = (size // 8) ** 2
        self.dense = nn.Sequential(nn.Flatten(), nn.Linear(cells * width, width), nn.LayerNorm(width), nn.ReLU())
        self.dropout = nn.Dropout(dropout)

    def forward(self, arrays: dict[str, Tensor]) -> mb.Features:
        image = (arrays["pixels"].float() - self.mean) / self.deviation
        if self.flip and self.training:
            mirrored = torch.rand(len(image), 1, 1, 1, device=image.device) < 0.5
            image = torch.where(mirrored, image.flip(-1), image)
        maps = []
        for stage in self.stages:
            image = stage(image)
            maps.append(image)
        for stage in self.residual:
            image = image + self.dropout(stage(image))
            maps.append(image)
        layers = tuple(found.flatten(2).transpose(1, 2) for found in maps)
        tokens = layers[-1] + self.dropout(self.dense(layers[-1])).unsqueeze(1)  # what is where, a mean would lose
        return mb.Features(tokens, layers=layers)


def _stage(before: int, after: int, *, stride: int) -> nn.Sequential:
    # One group: normalised over each image alone, so that a batch of one trains and other rows change nothing.
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False), nn.GroupNorm(1, after), nn.ReLU()
    )


class Projection(nn.Module):
    """{"features": [B, inputs] or [B, T, inputs]} of a frozen network to tokens [B, width] or [B, T, width]."""

    def __init__(self, inputs: int, *, width: int, dropout: float):
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(inputs, elementwise_affine=False), nn.Dropout(dropout), nn.Linear(inputs, width)
        )

    def forward(self, arrays: dict[str, Tensor]) -> Tensor:
        tokens: Tensor = self.layers(arrays["features"].float())
        return tokens
