"""The torch modules of the text encoders."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mmbench as mb


class Reader(nn.Module):
    """{"words": [B, T], perhaps "mask": [B, T]} to tokens [B, T, width]; word 0 is no word and has no vector."""

    def __init__(self, words: int, *, reader: str, width: int, dropout: float):
        super().__init__()
        self.reader = reader
        self.vectors = nn.Embedding(words, width, padding_idx=0)
        # Small at first: a word is seen a few times, and must move far from where chance put it.
        nn.init.normal_(self.vectors.weight, std=0.1)
        with torch.no_grad():
            self.vectors.weight[0] = 0
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        if reader == "gru":
            self.recurrent = nn.GRU(width, width, batch_first=True)
        elif reader == "cnn":
            self.convolution = nn.Linear(3 * width, width)

    def forward(self, arrays: dict[str, Tensor]) -> mb.Features:
        mask = arrays.get("mask")
        vectors = _present(self.vectors(arrays["words"].int()), mask)
        tokens = self.dropout(vectors)
        if self.reader == "gru":  # it reads forward, and missing words stand at the end: they change nothing
            tokens = self.recurrent(tokens)[0]
        elif self.reader == "cnn":
            around = F.pad(tokens, (0, 0, 1, 1))
            windows = torch.cat([around[:, :-2], tokens, around[:, 2:]], dim=-1)
            tokens = tokens + torch.relu(self.convolution(windows))
        return mb.Features(_present(self.norm(tokens), mask), mask, (vectors,))


class Projection(nn.Module):
    """{"features": [B, inputs] or [B, T, inputs]} of a frozen model, perhaps with "mask", to tokens of `width`."""

    def __init__(self, inputs: int, *, width: int, dropout: float):
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(inputs, elementwise_affine=False), nn.Dropout(dropout), nn.Linear(inputs, width)
        )

    def forward(self, arrays: dict[str, Tensor]) -> mb.Features:
        return mb.Features(self.layers(arrays["features"].float()), arrays.get("mask"))


def _present(tokens: Tensor, mask: Tensor | None) -> Tensor:
    return tokens if mask is None else tokens * mask.unsqueeze(-1)
