"""The torch modules of `lenet`, `conv_conv_pool`, `resnet18`, `resnet50` and `vit`: {"pixels": uint8 [B, 3, S, S]}."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mmbench as mb

HEADS = 4


class _Network(nn.Module):
    """Standardised, and in training augmented, pictures."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, state: Mapping[str, Any], params: Mapping[str, Any]):
        super().__init__()
        for name in ("mean", "deviation"):
            self.register_buffer(name, torch.as_tensor(state[name], dtype=torch.float32).view(3, 1, 1))
        self.flip, self.crop, self.rotate = bool(params["flip"]), float(params["crop"]), float(params["rotate"])
        self.dropout = nn.Dropout(float(params["dropout"]))

    def pictures(self, arrays: dict[str, Tensor]) -> Tensor:
        pixels = (arrays["pixels"].float() - self.mean) / self.deviation
        if self.training and (self.flip or self.crop or self.rotate):
            pixels = moved(pixels, flip=self.flip, crop=self.crop, rotate=self.rotate)
        return pixels


def moved(pixels: Tensor, *, flip: bool, crop: float, rotate: float) -> Tensor:
    """[B, 3, S, S], each mirrored, shifted, enlarged and turned by chance; edges are repeated."""
    chance = torch.rand(len(pixels), 5, device=pixels.device)
    angle = (2 * chance[:, 0] - 1) * math.radians(rotate)
    scale = 1 - crop * chance[:, 1]
    side = torch.where(chance[:, 2] < 0.5, -1.0, 1.0) if flip else torch.ones_like(scale)
    shift = (2 * chance[:, 3:] - 1) * crop
    cos, sin = angle.cos() * scale, angle.sin() * scale
    across = torch.stack([cos * side, -sin, shift[:, 0]], dim=1)
    down = torch.stack([sin * side, cos, shift[:, 1]], dim=1)
    ends = torch.linspace(-1, 1, pixels.shape[-1], device=pixels.device)
    y, x = torch.meshgrid(ends, ends, indexing="ij")
    places = torch.stack([x, y, torch.ones_like(x)], dim=-1)
    grid = torch.einsum("hwk,bjk->bhwj", places, torch.stack([across, down], dim=1))
    found: Tensor = F.grid_sample(pixels, grid, padding_mode="border", align_corners=True)
    return found


class LeNet(_Network):
    def __init__(self, state: Mapping[str, Any], params: Mapping[str, Any]):
        super().__init__(state, params)
        side = ((int(state["size"]) - 4) // 2 - 4) // 2
        self.first, self.second = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5)
        self.dense, self.last = nn.Linear(16 * side**2, 120), nn.Linear(120, 84)

    def forward(self, arrays: dict[str, Tensor]) -> mb.Features:
        one = F.max_pool2d(torch.relu(self.first(self.pictures(arrays))), 2)
        two = F.max_pool2d(torch.relu(self.second(one)), 2)
        hidden = self.dropout(torch.relu(self.dense(two.flatten(1))))
        return mb.Features(torch.relu(self.last(hidden)), layers=(_tokens(one), _tokens(two)))


class ConvConvPool(_Network):
    def __init__(self, state: Mapping[str, Any], params: Mapping[str, Any]):
        super().__init__(state, params)
        side = (int(state["size"]) - 4) // 2
        self.first, self.second = nn.Conv2d(3, 32, 3), nn.Conv2d(32, 64, 3)
        self.dense = nn.Linear(64 * side**2, int(params["width"]))

    def forward(self, arrays: dict[str, Tensor]) -> mb.Features:
        pooled = F.max_pool2d(torch.relu(self.second(torch.relu(self.first(self.pictures(arrays))))), 2)
        return mb.Features(torch.relu(self.dense(self.dropout(pooled).flatten(1))), layers=(_tokens(pooled),))


class ResNet(_Network):
    """Four stages of residual blocks; `widen` 1: two 3 x 3 convolutions each, 4: bottlenecks."""

    def __init__(self, state: Mapping[str, Any], params: Mapping[str, Any], *, blocks: Sequence[int], widen: int):
        super().__init__(state, params)
        width = int(params["width"])
        self.first, self.norm = nn.Conv2d(3, width, 3, padding=1, bias=False), _norm(width)
        self.stages = nn.ModuleList()
        before = width
        for index, many in enumerate(blocks):
            inner = width * 2**index
            stage: list[nn.Module] = []
            for number in range(many):
                stage.append(Block(before, inner, stride=2 if index and not number else 1, widen=widen))
                before = inner * widen
            self.stages.append(nn.Sequential(*stage))

    def forward(self, arrays: dict[str, Tensor]) -> mb.Features:
        hidden = torch.relu(self.norm(self.first(self.pictures(arrays))))
        layers = []
        for stage in self.stages:
            hidden = stage(hidden)
            layers.append(_tokens(hidden))
        return mb.Features(self.dropout(layers[-1]), layers=tuple(layers))


class Block(nn.Module):
    """relu(f(h) + skip(h))."""

    def __init__(self, before: int, inner: int, *, stride: int, widen: int):
        super().__init__()
        after = inner * widen
        if widen == 1:
            sides = [(before, inner, 3, stride), (inner, after, 3, 1)]
        else:
            sides = [(before, inner, 1, 1), (inner, inner, 3, stride), (inner, after, 1, 1)]
        layers: list[nn.Module] = []
        for one, two, kernel, step in sides:
            layers += [nn.Conv2d(one, two, kernel, step, kernel // 2, bias=False), _norm(two), nn.ReLU()]
        self.way = nn.Sequential(*layers[:-1])
        self.skip: nn.Module = nn.Identity()
        if stride > 1 or before != after:
            self.skip = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), _norm(after))

    def forward(self, hidden: Tensor) -> Tensor:
        return torch.relu(self.way(hidden) + self.skip(hidden))


class ViT(_Network):
    def __init__(self, state: Mapping[str, Any], params: Mapping[str, Any]):
        super().__init__(state, params)
        self.patch, width = int(params["patch"]), int(params["width"])
        self.dense = nn.Linear(3 * self.patch**2, width)
        self.places = nn.Parameter(torch.randn((int(state["size"]) // self.patch) ** 2, width) * 0.02)
        self.blocks = nn.ModuleList(Attention(width, float(params["dropout"])) for _ in range(int(params["layers"])))
        self.norm = nn.LayerNorm(width)

    def forward(self, arrays: dict[str, Tensor]) -> mb.Features:
        cells = self.pictures(arrays).unflatten(2, (-1, self.patch)).unflatten(4, (-1, self.patch))
        patches = cells.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
        hidden = self.dropout(self.dense(patches) + self.places)
        layers = []
        for block in self.blocks:
            hidden = block(hidden)
            layers.append(hidden)
        return mb.Features(self.norm(hidden), layers=tuple(layers))


class Attention(nn.Module):
    """h + attention(norm(h)), then + dense(norm(h))."""

    def __init__(self, width: int, dropout: float):
        super().__init__()
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.value, self.out = (nn.Linear(width, width) for _ in range(3))
        self.key = nn.Linear(width, width, bias=False)
        self.inner = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        x = self.before(hidden)
        query, key, value = (
            made(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for made in (self.query, self.key, self.value)
        )
        weights = torch.softmax(query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1]), dim=-1)
        hidden = hidden + self.dropout(self.out((self.dropout(weights) @ value).transpose(1, 2).flatten(2)))
        after: Tensor = hidden + self.dropout(self.inner(self.between(hidden)))
        return after


def _norm(channels: int) -> nn.GroupNorm:
    """Groups of at least 8 channels, at most 8 groups: over each picture alone."""
    return nn.GroupNorm(max(1, min(8, channels // 8)), channels)


def _tokens(maps: Tensor) -> Tensor:
    """[B, C, H, W] to [B, H W, C]."""
    return maps.flatten(2).transpose(1, 2)
