"""The network BERT (Devlin et al. 2018, arXiv:1810.04805) as MiniLM uses it, for inference.

Names of its parts are those of the published weights. Written here, since importing `transformers` for it takes twice
as long as importing torch, and a batch of texts of one length needs no attention mask.
"""

from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

WORDS, POSITIONS, WIDTH, INNER, HEADS, LAYERS = 30522, 512, 384, 1536, 12, 6
EPSILON = 1e-12


class Embeddings(nn.Module):
    """Word plus position plus the vector of "first sentence", normalised: [B, T] to [B, T, WIDTH]."""

    def __init__(self) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(WORDS, WIDTH)
        self.position_embeddings = nn.Embedding(POSITIONS, WIDTH)
        self.token_type_embeddings = nn.Embedding(2, WIDTH)
        self.LayerNorm = nn.LayerNorm(WIDTH, eps=EPSILON)

    def forward(self, ids: Tensor) -> Tensor:
        place = self.position_embeddings.weight[: ids.shape[1]] + self.token_type_embeddings.weight[0]
        normed: Tensor = self.LayerNorm(self.word_embeddings(ids) + place)
        return normed


class Residual(nn.Module):
    """norm(dense(x) + before)."""

    def __init__(self, inputs: int):
        super().__init__()
        self.dense = nn.Linear(inputs, WIDTH)
        self.LayerNorm = nn.LayerNorm(WIDTH, eps=EPSILON)

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        normed: Tensor = self.LayerNorm(self.dense(x) + before)
        return normed


class Attention(nn.Module):
    """Each piece looks at all T: softmax(q k' / sqrt(width of a head)) v, for each head."""

    def __init__(self) -> None:
        super().__init__()
        self.self = nn.ModuleDict({name: nn.Linear(WIDTH, WIDTH) for name in ("query", "key", "value")})
        self.output = Residual(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        heads = [project(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for project in self.self.values()]
        found = F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        after: Tensor = self.output(found, x)
        return after


class Layer(nn.Module):
    """Self-attention, then two dense layers; both added to what came in and normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention()
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(WIDTH, INNER)})
        self.output = Residual(INNER)

    def forward(self, x: Tensor) -> Tensor:
        x = self.attention(x)
        after: Tensor = self.output(F.gelu(self.intermediate["dense"](x)), x)
        return after


class Bert(nn.Module):
    """Word pieces [B, T], all there, to states [B, T, WIDTH]."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = Embeddings()
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(Layer() for _ in range(LAYERS))})

    def forward(self, ids: Tensor) -> Tensor:
        states: Tensor = self.embeddings(ids)
        for layer in cast(nn.ModuleList, self.encoder["layer"]):
            states = layer(states)
        return states


def pretrained(file: Path) -> Bert:
    """The network with the weights of `file` (safetensors), in evaluation mode."""
    weights = load_file(file)
    for name in ("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"):
        del weights[name]  # a constant, and a layer after the states
    with torch.random.fork_rng(devices=[]):  # its first weights are drawn at random, which must not show elsewhere
        network = Bert()
    network.load_state_dict(weights, strict=True)
    return network.eval()
