"""The torch modules of the series encoders, and the strided windows that both stand on."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mmbench as mb

TOKENS = 32
"""Time is shortened by 2 until at most this many tokens are left."""


def stride_for(length: int) -> int:
    """The smallest power of two that leaves at most TOKENS of `length` steps."""
    stride = 1
    while -(-length // stride) > TOKENS:
        stride *= 2
    return stride


def token_mask(mask: Tensor | None, stride: int) -> Tensor | None:
    """[B, T] to [B, ceil(T / stride)]: a token is present if any of its steps is. None where all steps are there."""
    if mask is None:
        return None
    padding = -mask.shape[1] % stride
    found: Tensor = F.pad(mask, (0, padding)).unflatten(1, (-1, stride)).any(-1)
    return found


def present(steps: Tensor, mask: Tensor | None) -> Tensor:
    """Steps [B, T, D], zero where there is none."""
    return steps if mask is None else steps * mask.unsqueeze(-1)


class Windows(nn.Module):
    """A convolution over time as a dense layer on windows: [B, T, inputs] to [B, ceil(T / stride), width].

    A window is `blocks` blocks of `stride` steps, centred on its own. Blocks are joined, not unfolded: their gradient
    is then a few plain slices. Several models train as one batched product, which a Conv1d would not.
    """

    def __init__(self, inputs: int, width: int, *, stride: int, blocks: int):
        super().__init__()
        self.stride, self.blocks = stride, blocks
        self.dense = nn.Linear(blocks * stride * inputs, width)

    def forward(self, steps: Tensor) -> Tensor:
        count = -(-steps.shape[1] // self.stride)
        extra = (self.blocks - 1) * self.stride
        after = extra - extra // 2 + count * self.stride - steps.shape[1]
        blocks = F.pad(steps, (0, 0, extra // 2, after)).unflatten(1, (-1, self.stride)).flatten(2)
        windows = torch.cat([blocks[:, first : first + count] for first in range(self.blocks)], dim=-1)
        tokens: Tensor = self.dense(windows)
        return tokens


class Convolutions(nn.Module):
    """{"steps": [B, T, channels], perhaps "mask": [B, T]} to tokens [B, T', width]: strided stages, residual ones."""

    def __init__(self, channels: int, length: int, *, width: int, layers: int, kernel: int, dropout: float):
        super().__init__()
        self.strides = _stages(stride_for(length))
        self.stem = nn.ModuleList(
            Windows(width if index else channels, width, stride=stride, blocks=2 if stride > 1 else kernel)
            for index, stride in enumerate(self.strides)
        )
        self.residual = nn.ModuleList(Windows(width, width, stride=1, blocks=kernel) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(len(self.strides) + layers))
        self.dropout = nn.Dropout(dropout)

    def forward(self, arrays: dict[str, Tensor]) -> mb.Features:
        mask = arrays.get("mask")
        hidden = present(arrays["steps"].float(), mask)
        layers = []
        for index, window in enumerate(self.stem):
            mask = token_mask(mask, self.strides[index])
            hidden = present(torch.relu(self.norms[index](window(hidden))), mask)
            layers.append(hidden)
        for window, norm in zip(self.residual, self.norms[len(self.strides) :], strict=True):
            hidden = present(hidden + self.dropout(torch.relu(norm(window(hidden)))), mask)
            layers.append(hidden)
        return mb.Features(hidden, mask, tuple(layers))


class Dense(nn.Module):
    """{"cells": [B, S]} to one token a row, [B, width]."""

    def __init__(self, inputs: int, *, width: int, layers: int, dropout: float):
        super().__init__()
        stages: list[nn.Module] = []
        for layer in range(layers):
            linear = nn.Linear(width if layer else inputs, width)
            stages += [linear, nn.LayerNorm(width), nn.ReLU(), nn.Dropout(dropout)]
        self.stages = nn.Sequential(*stages)

    def forward(self, arrays: dict[str, Tensor]) -> Tensor:
        token: Tensor = self.stages(arrays["cells"].float())
        return token


class Recurrent(nn.Module):
    """{"steps": [B, T, channels], perhaps "mask": [B, T]} to tokens [B, T', width]: patches, then a GRU over them."""

    def __init__(self, channels: int, length: int, *, width: int, layers: int, dropout: float):
        super().__init__()
        self.stride = stride_for(length)
        self.patches = Windows(channels, width, stride=self.stride, blocks=2 if self.stride > 1 else 3)
        self.norm = nn.LayerNorm(width)
        self.recurrent = nn.ModuleList(nn.GRU(width, width, batch_first=True) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)

    def forward(self, arrays: dict[str, Tensor]) -> mb.Features:
        mask = arrays.get("mask")
        steps = present(arrays["steps"].float(), mask)
        mask = token_mask(mask, self.stride)
        hidden = torch.relu(self.norm(self.patches(steps)))
        layers = [present(hidden, mask)]
        for recurrent in self.recurrent:
            hidden = recurrent(self.dropout(hidden))[0]
            layers.append(present(hidden, mask))
        return mb.Features(layers[-1], mask, tuple(layers))


def _stages(stride: int) -> list[int]:
    """A first stage of up to 4 (raw steps are cheap and alike), then stages of 2."""
    stages = [min(4, stride)]
    while stride > stages[0] * 2 ** (len(stages) - 1):
        stages.append(2)
    return stages
