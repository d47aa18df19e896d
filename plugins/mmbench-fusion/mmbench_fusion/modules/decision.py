"""Modules of `mmbench_fusion.decision`; the equations and the handling of missing modalities stand there."""

from collections.abc import Mapping

from torch import nn

from mmbench.api.parts import Features, FeatureSpec, Fused
from mmbench_fusion.modules.layers import Projections, by_name, masked_mean, shares


class MeanLogits(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], outputs: int):
        super().__init__()
        self.heads = Projections(inputs, outputs)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        logits, present = self.heads(features)
        weights = shares(present.to(logits.dtype), present)
        return Fused(logits=masked_mean(logits, present), weights=by_name(self.heads.names, weights))
