"""Modules of `mmbench_fusion.tokens`; the equations and the handling of missing modalities stand there."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mmbench.api.parts import Features, FeatureSpec, Fused
from mmbench_fusion.modules.layers import Projections, masked_mean, presence
from mmbench_fusion.modules.transformer import Block


class CrossAttention(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int, layers: int, heads: int, dropout: float):
        super().__init__()
        self.names = sorted(inputs)
        self.project = nn.ModuleDict({m: nn.Linear(inputs[m].width, width) for m in self.names})
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        streams = [features[m] for m in self.names]
        lengths = [f.mask.shape[1] for f in streams]
        # All modalities' tokens stand in one row; the mask keeps each from attending to its own modality.
        tokens = torch.cat([self.project[m](features[m].tokens) for m in self.names], dim=1)
        mask = torch.cat([f.mask for f in streams], dim=1)
        owner = torch.cat([mask.new_full((n,), i, dtype=torch.long) for i, n in enumerate(lengths)])
        allowed = mask.unsqueeze(1) & (owner.unsqueeze(1) != owner)
        for block in self.blocks:
            tokens = block(tokens, allowed)
        tokens = self.norm(tokens)
        parts = zip(tokens.split(lengths, dim=1), streams, strict=True)
        pooled = torch.stack([masked_mean(part, f.mask) for part, f in parts], dim=1)
        return Fused(masked_mean(pooled, presence(features, self.names)), tokens=tokens, mask=mask)


class LateTransformer(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int, layers: int, heads: int, dropout: float):
        super().__init__()
        self.project = Projections(inputs, width)
        self.class_token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        projected = self.project.vectors(features)
        tokens = torch.cat([self.class_token.expand(len(projected), 1, -1), projected], dim=1)
        allowed = None
        if not all(f.whole for f in features.values()):
            present = presence(features, self.project.names)
            allowed = torch.cat([torch.ones_like(present[:, :1]), present], dim=1).unsqueeze(1)
        for block in self.blocks:
            tokens = block(tokens, allowed)
        vector: Tensor = self.norm(tokens[:, 0])
        return vector


class Bottleneck(nn.Module):
    def __init__(
        self,
        inputs: Mapping[str, FeatureSpec],
        width: int,
        bottlenecks: int,
        layers: int,
        heads: int,
        dropout: float,
    ):
        super().__init__()
        self.names = sorted(inputs)
        self.project = nn.ModuleDict({m: nn.Linear(inputs[m].width, width) for m in self.names})
        self.class_tokens = nn.ParameterDict({m: 0.02 * torch.randn(1, 1, width) for m in self.names})
        self.bottlenecks = nn.Parameter(0.02 * torch.randn(1, bottlenecks, width))
        self.layers = nn.ModuleList(BottleneckLayer(self.names, width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        present = presence(features, self.names)
        always = torch.ones_like(present[:, :1])
        shared = always.expand(-1, self.bottlenecks.shape[1])
        allowed = {m: torch.cat([always, features[m].mask, shared], dim=1).unsqueeze(1) for m in self.names}
        streams = {m: self._stream(m, features[m]) for m in self.names}
        meeting = self.bottlenecks.expand(len(present), -1, -1)
        for layer in self.layers:
            streams, meeting = layer(streams, meeting, allowed, present)
        classes = torch.stack([streams[m][:, 0] for m in self.names], dim=1)
        return masked_mean(self.norm(classes), present)

    def _stream(self, m: str, features: Features) -> Tensor:
        first = self.class_tokens[m].expand(len(features.mask), -1, -1)
        return torch.cat([first, self.project[m](features.tokens)], dim=1)


class BottleneckLayer(nn.Module):
    """One layer of each stream over its own tokens and the bottlenecks, then the mean of what these became."""

    def __init__(self, names: Sequence[str], width: int, heads: int, dropout: float):
        super().__init__()
        self.blocks = nn.ModuleDict({m: Block(width, heads, dropout) for m in names})

    def forward(
        self, streams: dict[str, Tensor], meeting: Tensor, allowed: dict[str, Tensor], present: Tensor
    ) -> tuple[dict[str, Tensor], Tensor]:
        shared = meeting.shape[1]
        both = {m: block(torch.cat([streams[m], meeting], dim=1), allowed[m]) for m, block in self.blocks.items()}
        met = torch.stack([tokens[:, -shared:] for tokens in both.values()], dim=1)
        return {m: tokens[:, :-shared] for m, tokens in both.items()}, masked_mean(met, present)
