"""The torch modules of `word_lstm` and `word_transformer`. Word 0 is no word and has no vector."""

import math

import torch
from torch import Tensor, nn

import mmbench as mb


class Memory(nn.Module):
    """{"words": [B, T], perhaps "mask": [B, T]} to the LSTM's last state [B, width], or all [B, T, width]."""

    def __init__(self, words: int, *, gives: str, embedding: int, width: int, dropout: float):
        super().__init__()
        self.gives = gives
        self.vectors = nn.Embedding(words, embedding, padding_idx=0)
        self.recurrent = nn.LSTM(embedding, width, batch_first=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, arrays: dict[str, Tensor]) -> mb.Features:
        mask = arrays.get("mask")
        vectors = _present(self.vectors(arrays["words"].int()), mask)
        states = _present(self.recurrent(self.dropout(vectors))[0], mask)
        if self.gives == "all":
            return mb.Features(self.dropout(states), mask, (vectors, states))
        last = states[:, -1]
        if mask is not None:
            # the highest place that is there; 0 where none is
            place = (mask * torch.arange(mask.shape[1], device=mask.device)).amax(1)
            last = states.gather(1, place[:, None, None].expand(-1, 1, states.shape[2])).squeeze(1)
        return mb.Features(self.dropout(last), layers=(vectors, states))


class Transformer(nn.Module):
    """{"words": [B, T], perhaps "mask": [B, T]} to tokens [B, T, width]."""

    def __init__(self, words: int, length: int, *, width: int, heads: int, layers: int, dropout: float):
        super().__init__()
        self.vectors = nn.Embedding(words, width, padding_idx=0)
        self.places = nn.Parameter(torch.randn(length, width) * 0.02)
        nn.init.normal_(self.vectors.weight, std=0.1)
        with torch.no_grad():
            self.vectors.weight[0] = 0
        self.blocks = nn.ModuleList(Block(width, heads=heads, dropout=dropout) for _ in range(layers))
        self.norm, self.dropout = nn.LayerNorm(width), nn.Dropout(dropout)

    def forward(self, arrays: dict[str, Tensor]) -> mb.Features:
        mask = arrays.get("mask")
        hidden = self.dropout(self.vectors(arrays["words"].int()) + self.places)
        layers = []
        for block in self.blocks:
            hidden = block(hidden, mask)
            layers.append(_present(hidden, mask))
        return mb.Features(_present(self.norm(hidden), mask), mask, tuple(layers))


class Block(nn.Module):
    """h + attention(norm(h)), then + dense(norm(h)); [B, T, width], mask [B, T]."""

    def __init__(self, width: int, *, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.value, self.out = (nn.Linear(width, width) for _ in range(3))
        self.key = nn.Linear(width, width, bias=False)
        self.dense = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        x = self.before(hidden)
        query, key, value = (
            made(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for made in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        if mask is not None:  # finite, so that a row without any step gives no NaN
            scores = scores.masked_fill(~mask[:, None, None, :], -1e9)
        found = (self.dropout(torch.softmax(scores, dim=-1)) @ value).transpose(1, 2).flatten(2)
        hidden = hidden + self.dropout(self.out(found))
        after: Tensor = hidden + self.dropout(self.dense(self.between(hidden)))
        return after


def _present(tokens: Tensor, mask: Tensor | None) -> Tensor:
    return tokens if mask is None else tokens * mask.unsqueeze(-1)
