"""The module of the head `text`; its equations stand there."""

from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmbench.api.parts import Fused
from mmbench.errors import PluginError

HEADS = 4
PADDING, START, END = 0, 1, 2
Pair: TypeAlias = tuple[Tensor, Tensor]
"""Keys and values, each [B, HEADS, T, width / HEADS]."""


class Text(nn.Module):
    def __init__(self, vocabulary: int, length: int, width: int, dropout: float, *, layers: int) -> None:
        super().__init__()
        self.length = length
        self.words = nn.Embedding(vocabulary, width)
        self.places = nn.Parameter(0.02 * torch.randn(length, width))
        self.memory = nn.LayerNorm(width)
        self.layers = nn.ModuleList(Layer(width, dropout) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, vocabulary)
        nn.init.normal_(self.words.weight, std=width**-0.5)

    def forward(self, fused: Fused) -> Fused:
        if fused.vector is None:
            raise PluginError("the fusion gives no vector: return a tensor [B, width], or Fused(vector=...)")
        return fused

    def loss(self, fused: Fused, target: Tensor) -> Tensor:
        """Cross-entropy of each true token, given the true ones before it; padding does not count."""
        target = target[:, : int((target != PADDING).sum(1).max())]
        before = F.pad(target[:, :-1], (1, 0), value=START)
        memories, first = self._memories(fused)
        z = self.dropout(self.words(before) + self.places[: before.shape[1]] + first)
        for layer, memory in zip(self.layers, memories, strict=True):
            z, _ = layer(z, memory, None)
        logits = self.output(self.norm(z)).float()
        return F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=PADDING)

    def predict(self, fused: Fused) -> Tensor:
        """The likeliest token each time, [B, length], padded after the end. What was attended to before is kept, so
        that each step costs one token."""
        memories, first = self._memories(fused)
        past: list[Pair | None] = [None] * len(self.layers)
        rows, device = len(memories[0][0]), memories[0][0].device
        token = torch.full((rows,), START, device=device)
        ended = torch.zeros(rows, dtype=torch.bool, device=device)
        written = torch.full((rows, self.length), PADDING, device=device)
        for step in range(self.length):
            z = (self.words(token) + self.places[step]).unsqueeze(1) + first
            for place, (layer, memory) in enumerate(zip(self.layers, memories, strict=True)):
                z, past[place] = layer(z, memory, past[place])
            logits = self.output(self.norm(z[:, 0]))
            logits[:, [PADDING, START]] = -torch.inf
            token = logits.argmax(1).masked_fill(ended, PADDING)
            written[:, step] = token
            ended = ended | (token == END)
            if bool(ended.all()):
                break
        return written

    def _memories(self, fused: Fused) -> "tuple[list[tuple[Tensor, Tensor, Tensor | None]], Tensor]":
        """For each layer the keys, the values and the mask of what the fusion gives; and its vector, [B, 1, width]."""
        vector, tokens, mask = fused.vector, fused.tokens, None
        assert vector is not None  # forward has checked it
        memory = vector.unsqueeze(1)
        if tokens is not None:
            memory = torch.cat([memory, tokens], dim=1)
            if fused.mask is not None:
                mask = F.pad(fused.mask, (1, 0), value=True)[:, None, None]
        memory = self.memory(memory)
        attends: list[Any] = [layer.attend for layer in self.layers]
        return [(*attend.keys(memory), mask) for attend in attends], memory[:, :1]


class Layer(nn.Module):
    """Pre-norm: attention to the tokens so far, attention to the memory, a feed-forward network."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.look_back = Attention(width)
        self.attend = Attention(width)
        self.feed = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, z: Tensor, memory: tuple[Tensor, Tensor, Tensor | None], past: Pair | None
    ) -> tuple[Tensor, Pair]:
        """`past`: the keys and values of the tokens before, where one token comes at a time."""
        normed: Tensor = self.norms[0](z)
        keys, values = self.look_back.keys(normed)
        if past is not None:
            keys, values = torch.cat([past[0], keys], dim=2), torch.cat([past[1], values], dim=2)
        z = z + self.dropout(self.look_back(normed, keys, values, causal=z.shape[1] > 1))
        z = z + self.dropout(self.attend(self.norms[1](z), *memory))
        return z + self.dropout(self.feed(self.norms[2](z))), (keys, values)


class Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.join = nn.Linear(width, width)

    def keys(self, x: Tensor) -> Pair:
        return _split(self.key(x)), _split(self.value(x))

    def forward(
        self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None, *, causal: bool = False
    ) -> Tensor:
        found = F.scaled_dot_product_attention(_split(self.query(x)), keys, values, mask, is_causal=causal)
        joined: Tensor = self.join(found.transpose(1, 2).flatten(2))
        return joined


def _split(x: Tensor) -> Tensor:
    split: Tensor = x.unflatten(2, (HEADS, -1)).transpose(1, 2)
    return split
