"""The torch modules of the sound encoders."""

import torch
from torch import Tensor, nn

import mmbench as mb


class Convolutions(nn.Module):
    """{"frames": [B, T, bands], perhaps "mask": [B, T]} to tokens [B, T / stride, width]; stride is a multiple of 4."""

    def __init__(self, bands: int, length: int, stride: int, *, width: int, dropout: float):
        super().__init__()
        self.stride = stride
        self.first = nn.Conv2d(1, width // 4, 3, stride=2, padding=1)
        self.second = nn.Conv2d(width // 4, width // 2, 3, stride=2, padding=1)
        joined = (width // 2) * -(-bands // 4) * (stride // 4)
        self.dense = nn.Linear(joined, width)
        self.places = nn.Parameter(torch.randn(length // stride, width) / width**0.5)
        self.norm, self.dropout = nn.LayerNorm(width), nn.Dropout(dropout)

    def forward(self, arrays: dict[str, Tensor]) -> mb.Features:
        mask = arrays.get("mask")
        # Time and pitch are the two sides of a picture with one channel.
        picture = _present(arrays["frames"].float(), mask).unsqueeze(1)
        layers = []
        for stride, convolution in ((2, self.first), (4, self.second)):
            there = _any(mask, stride)
            picture = torch.relu(convolution(picture))
            picture = picture if there is None else picture * there[:, None, :, None]
            layers.append(picture.permute(0, 2, 3, 1).flatten(2))  # channels last, as they lie in memory
        mask = _any(mask, self.stride)
        joined = layers[-1].unflatten(1, (-1, self.stride // 4)).flatten(2)
        # The place goes in before the norm and the kink, so that the mean of the tokens still knows their order.
        tokens = self.dropout(torch.relu(self.norm(self.dense(joined) + self.places)))
        return mb.Features(_present(tokens, mask), mask, tuple(layers))


class Recurrent(nn.Module):
    """{"frames": [B, T, bands], perhaps "mask": [B, T]} to tokens [B, T / stride, width]."""

    def __init__(self, bands: int, stride: int, *, width: int, layers: int, dropout: float):
        super().__init__()
        self.stride = stride
        self.dense = nn.Sequential(nn.Linear(stride * bands, width), nn.LayerNorm(width), nn.ReLU())
        self.recurrent = nn.ModuleList(nn.GRU(width, width, batch_first=True) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)

    def forward(self, arrays: dict[str, Tensor]) -> mb.Features:
        mask = arrays.get("mask")
        frames = _present(arrays["frames"].float(), mask)
        mask = _any(mask, self.stride)
        hidden = self.dense(frames.unflatten(1, (-1, self.stride)).flatten(2))
        layers = [_present(hidden, mask)]
        for recurrent in self.recurrent:
            hidden = recurrent(self.dropout(hidden))[0]
            layers.append(_present(hidden, mask))
        return mb.Features(layers[-1], mask, tuple(layers))


def _any(mask: Tensor | None, stride: int) -> Tensor | None:
    """[B, T] to [B, T / stride]: present if any of the frames is. None where all frames are there."""
    return None if mask is None else mask.unflatten(1, (-1, stride)).any(-1)


def _present(steps: Tensor, mask: Tensor | None) -> Tensor:
    return steps if mask is None else steps * mask.unsqueeze(-1)
