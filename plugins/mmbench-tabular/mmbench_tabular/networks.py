"""The torch modules of the deep tabular encoders. All read {"cells": [B, D], "known": bool [B, D]}."""

import math
from typing import Any

import torch
from torch import Tensor, nn

import mmbench as mb
from mmbench_tabular.modules import Perceptron


class Residual(nn.Module):
    """Cells and what is missing through residual blocks to one token [B, width]."""

    def __init__(self, inputs: int, *, width: int, layers: int, widen: int, dropout: float):
        super().__init__()
        self.first = nn.Linear(2 * inputs, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width),
                nn.Linear(width, widen * width),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(widen * width, width),
                nn.Dropout(dropout),
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, arrays: dict[str, Tensor]) -> mb.Features:
        cells = arrays["cells"].float()
        hidden = self.first(torch.cat([cells, 1 - arrays["known"].to(cells.dtype)], dim=1))
        layers = []
        for block in self.blocks:
            hidden = hidden + block(hidden)
            layers.append(hidden)
        return mb.Features(torch.relu(self.norm(hidden)), layers=layers)


class FeatureTransformer(nn.Module):
    """A token a column and one for all, through attention between them."""

    def __init__(self, inputs: int, *, gives: str, width: int, heads: int, layers: int, dropout: float):
        super().__init__()
        self.gives = gives
        self.weight, self.bias, self.missing = (_drawn(inputs, width) for _ in range(3))
        self.summary = _drawn(1, width)
        self.blocks = nn.ModuleList(
            Block(width, heads=heads, dropout=dropout, norm=index > 0) for index in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, arrays: dict[str, Tensor]) -> mb.Features:
        cells = arrays["cells"].float().unsqueeze(-1)
        known = arrays["known"].unsqueeze(-1)
        columns = self.bias + torch.where(known, cells * self.weight, self.missing)
        tokens = torch.cat([self.summary.expand(len(cells), 1, -1), columns], dim=1)
        layers = []
        for block in self.blocks:
            tokens = block(tokens)
            layers.append(tokens)
        given = self.norm(tokens if self.gives == "tokens" else tokens[:, 0])
        return mb.Features(given, layers=layers)


class Block(nn.Module):
    """T + attention(norm(T)), then + ReGLU(norm(T)); [B, T, width], all tokens there."""

    def __init__(self, width: int, *, heads: int, dropout: float, norm: bool):
        super().__init__()
        self.heads = heads
        self.before = nn.LayerNorm(width) if norm else nn.Identity()
        self.query, self.value, self.out = (nn.Linear(width, width) for _ in range(3))
        self.key = nn.Linear(width, width, bias=False)
        inner = 4 * width // 3
        self.between = nn.LayerNorm(width)
        self.gate, self.up, self.down = nn.Linear(width, inner), nn.Linear(width, inner), nn.Linear(inner, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.before(tokens)
        query, key, value = (_split(made(x), self.heads) for made in (self.query, self.key, self.value))
        weights = torch.softmax(query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1]), dim=-1)
        found = (self.dropout(weights) @ value).transpose(1, 2).flatten(2)
        tokens = tokens + self.dropout(self.out(found))
        x = self.between(tokens)
        after: Tensor = tokens + self.dropout(self.down(self.up(x) * torch.relu(self.gate(x))))
        return after


class Piecewise(nn.Module):
    """Piecewise-linear codes of each column and an own dense layer: cells [B, D] to [B, D, width]."""

    low: Tensor
    size: Tensor
    real: Tensor
    least: Tensor
    most: Tensor

    def __init__(self, edges: Any, *, width: int):
        super().__init__()
        corners = torch.as_tensor(edges, dtype=torch.float32)
        size = corners[:, 1:] - corners[:, :-1]
        real = size > 0
        index = torch.arange(real.shape[1])
        count = real.sum(1, keepdim=True)
        wide = torch.full_like(size, 1e3)  # no bound: cells are cut to ten deviations
        self.register_buffer("low", corners[:, :-1].contiguous())
        self.register_buffer("size", torch.where(real, size, 1.0))
        self.register_buffer("real", real.float())
        self.register_buffer("least", torch.where(index == 0, -wide, 0.0))
        self.register_buffer("most", torch.where(index == count - 1, wide, 1.0))
        self.weight, self.bias = _drawn(*size.shape, width), _drawn(len(size), width)

    def forward(self, cells: Tensor) -> Tensor:
        return torch.einsum("bdk,dkw->bdw", self.codes(cells), self.weight) + self.bias

    def codes(self, cells: Tensor) -> Tensor:
        """[B, D] to [B, D, bins]."""
        inside = (cells.unsqueeze(-1) - self.low) / self.size
        return torch.maximum(torch.minimum(inside, self.most), self.least) * self.real


class Waves(nn.Module):
    """Sines and cosines of each column and an own dense layer: cells [B, D] to [B, D, width]."""

    def __init__(self, inputs: int, *, frequencies: int, scale: float, width: int):
        super().__init__()
        self.frequencies = nn.Parameter(torch.randn(inputs, frequencies) * scale)
        self.weight, self.bias = _drawn(inputs, 2 * frequencies, width), _drawn(inputs, width)

    def forward(self, cells: Tensor) -> Tensor:
        turns = 2 * math.pi * self.frequencies * cells.unsqueeze(-1)
        waves = torch.cat([turns.sin(), turns.cos()], dim=-1)
        return torch.einsum("bdk,dkw->bdw", waves, self.weight) + self.bias


class Embedded(nn.Module):
    """Each number embedded, all joined through a perceptron to one token."""

    def __init__(self, numbers: Piecewise | Waves, *, width: int, layers: int, dropout: float):
        super().__init__()
        self.numbers = numbers
        self.missing = nn.Parameter(torch.zeros_like(numbers.bias))
        self.perceptron = Perceptron(numbers.bias.numel(), width=width, layers=layers, dropout=dropout)

    def forward(self, arrays: dict[str, Tensor]) -> mb.Features:
        made = torch.relu(self.numbers(arrays["cells"].float()))
        joined = torch.where(arrays["known"].unsqueeze(-1), made, self.missing).flatten(1)
        features: mb.Features = self.perceptron({"cells": joined})
        return features


def _drawn(*shape: int) -> nn.Parameter:
    """Uniform in +-1 / sqrt(inputs), the inputs being the one before the last of three sides, else the last."""
    bound = 1 / math.sqrt(shape[1])
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))


def _split(x: Tensor, heads: int) -> Tensor:
    """[B, T, width] to [B, heads, T, width / heads]."""
    split: Tensor = x.unflatten(-1, (heads, -1)).transpose(1, 2)
    return split
