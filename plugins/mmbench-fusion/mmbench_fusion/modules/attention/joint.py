"""Modules of `mmbench_fusion.attention.joint`; equations and the handling of missing modalities stand there."""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from mmbench.api.parts import Features, FeatureSpec, Fused
from mmbench_fusion.modules.attention.places import CrossBlock
from mmbench_fusion.modules.transformer import Block


class AllTokens(nn.Module):
    """The tokens of all modalities in one row, [B, T, width], with their mask [B, T]."""

    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int):
        super().__init__()
        self.names = sorted(inputs)
        self.project = nn.ModuleDict({m: nn.Linear(inputs[m].width, width) for m in self.names})
        self.places = nn.ParameterDict({m: 0.02 * torch.randn(inputs[m].tokens, width) for m in self.names})

    def forward(self, features: Mapping[str, Features]) -> tuple[Tensor, Tensor]:
        tokens = [self.project[m](features[m].tokens) for m in self.names]
        placed = [t + self.places[m][: t.shape[1]] for m, t in zip(self.names, tokens, strict=True)]
        return torch.cat(placed, dim=1), torch.cat([features[m].mask for m in self.names], dim=1)


class EarlyTransformer(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int, layers: int, heads: int, dropout: float):
        super().__init__()
        self.tokens = AllTokens(inputs, width)
        self.class_token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        tokens, mask = self.tokens(features)
        tokens = torch.cat([self.class_token.expand(len(tokens), 1, -1), tokens], dim=1)
        mask = torch.cat([torch.ones_like(mask[:, :1]), mask], dim=1)
        allowed = None if all(f.whole for f in features.values()) else mask.unsqueeze(1)
        for block in self.blocks:
            tokens = block(tokens, allowed)
        tokens = self.norm(tokens)
        return Fused(tokens[:, 0], tokens=tokens, mask=mask)


class Perceiver(nn.Module):
    def __init__(
        self,
        inputs: Mapping[str, FeatureSpec],
        width: int,
        latents: int,
        repeats: int,
        layers: int,
        heads: int,
        dropout: float,
    ):
        super().__init__()
        self.repeats = repeats
        self.tokens = AllTokens(inputs, width)
        self.latents = nn.Parameter(torch.randn(1, latents, width) / width**0.5)
        self.rounds = nn.ModuleList(Round(width, layers, heads, dropout) for _ in range(min(2, repeats)))
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        tokens, mask = self.tokens(features)
        latents = self.latents.expand(len(tokens), -1, -1)
        for repeat in range(self.repeats):
            latents = self.rounds[min(repeat, 1)](latents, tokens, mask)
        latents = self.norm(latents)
        return Fused(latents.mean(1), tokens=latents)


class Round(nn.Module):
    """The latents read the tokens, then one another."""

    def __init__(self, width: int, layers: int, heads: int, dropout: float):
        super().__init__()
        self.read = CrossBlock(width, heads, dropout)
        self.layers = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))

    def forward(self, latents: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        latents = self.read.reading(latents, tokens, mask)
        for layer in self.layers:
            latents = cast(Tensor, layer(latents, None))
        return latents
