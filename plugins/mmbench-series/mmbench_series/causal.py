"""The torch modules of `lstm` and `tcn`, which see no step before its time."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mmbench as mb
from mmbench_series.modules import Recurrent, present, stride_for, token_mask


class Memory(Recurrent):
    """{"steps": [B, T, channels], perhaps "mask": [B, T]} to tokens [B, T', width]: patches, then LSTMs over them."""

    def __init__(self, channels: int, length: int, *, width: int, layers: int, dropout: float):
        super().__init__(channels, length, width=width, layers=layers, dropout=dropout)
        self.recurrent = nn.ModuleList(nn.LSTM(width, width, batch_first=True) for _ in range(layers))


class Causal(nn.Module):
    """A causal convolution as a dense layer: [B, T, inputs] to [B, T, width], `dilation` steps between taps."""

    def __init__(self, inputs: int, width: int, *, kernel: int, dilation: int):
        super().__init__()
        self.lags = [dilation * tap for tap in reversed(range(kernel))]
        self.dense = nn.Linear(kernel * inputs, width)

    def forward(self, steps: Tensor) -> Tensor:
        length = steps.shape[1]
        before = F.pad(steps, (0, 0, self.lags[0], 0))
        taps = [before[:, self.lags[0] - lag : self.lags[0] - lag + length] for lag in self.lags]
        found: Tensor = self.dense(torch.cat(taps, dim=-1))
        return found


class Dilated(nn.Module):
    """{"steps": [B, T, channels], perhaps "mask"} to tokens [B, T', width]: residual blocks, then means of blocks."""

    def __init__(self, channels: int, length: int, *, width: int, layers: int, kernel: int, dropout: float):
        super().__init__()
        self.stride = stride_for(length)
        self.first = nn.Linear(channels, width)
        self.convolutions = nn.ModuleList(
            Causal(width, width, kernel=kernel, dilation=2**index) for index in range(layers) for _ in range(2)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * layers))
        self.dropout = nn.Dropout(dropout)

    def forward(self, arrays: dict[str, Tensor]) -> mb.Features:
        mask = arrays.get("mask")
        hidden = present(self.first(present(arrays["steps"].float(), mask)), mask)
        layers = []
        for index in range(0, len(self.convolutions), 2):
            inner = hidden
            for convolution, norm in zip(
                self.convolutions[index : index + 2], self.norms[index : index + 2], strict=True
            ):
                inner = present(self.dropout(torch.relu(norm(convolution(inner)))), mask)
            hidden = hidden + inner
            layers.append(self._means(hidden, mask))
        return mb.Features(layers[-1], token_mask(mask, self.stride), tuple(layers))

    def _means(self, steps: Tensor, mask: Tensor | None) -> Tensor:
        """[B, T, D] to [B, ceil(T / stride), D]: means over the steps that are there."""
        padding = -steps.shape[1] % self.stride
        there = steps.new_ones(steps.shape[:2]) if mask is None else mask.to(steps.dtype)
        count = F.pad(there, (0, padding)).unflatten(1, (-1, self.stride)).sum(2).clamp(min=1)
        sums: Tensor = F.pad(steps, (0, 0, 0, padding)).unflatten(1, (-1, self.stride)).sum(2)
        means: Tensor = sums / count.unsqueeze(-1)
        return means
