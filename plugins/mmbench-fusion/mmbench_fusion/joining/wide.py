"""Fusions that join pooled features x_m [B, D_m] by a wide layer, h [B, width].

The modules are in `mmbench_fusion.modules.joining.wide`.
"""

from collections.abc import Mapping
from typing import Any

import mmbench as mb
from mmbench.api.space import Params


class ConcatLinear(mb.Fusion):
    """Concatenation of the pooled features, a wide hidden layer, then a linear one, as in the ConcatBERT baseline.

        h = W dropout(ReLU(V [x_1; ...; x_M] + c)) + b          V [size, D_1 + ... + D_M], W [width, size]

    Where `concat` joins by one linear layer, this has a hidden one of its own, so that the modalities may interact
    before the head: 768 + 2048 to 1024 is usual for BERT and a ResNet-50. A missing modality is zeros in its place.
    """

    name = "concat_linear"
    source = "arXiv:1909.02950"
    space = {"size": mb.Int(64, 2048, log=True, default=1024), "dropout": mb.Float(0.0, 0.5, default=0.1)}

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules.joining import wide

        return wide.ConcatLinear(inputs, width, **params)


class StackedCnn(mb.Fusion):
    """Convolutions over the stacked features: the modalities are the channels of one row of `width` places.

        z_0 = [W_1 x_1 + b_1; ...; W_M x_M + b_M]                     [B, M, width]; 0 where one is missing
        z_i = ReLU(convolution of z_(i-1) over the places + c_i)      [B, channels, width], `kernel` wide, i = 1..layers
        h   = V vec(z_layers) + c                                     V [width, channels * width]

    After the projections neighbouring places have no meaning but what training gives them; the filters are shared by
    all places, and each sees all modalities at once.
    """

    name = "stacked_cnn"
    source = "LeCun et al. 1998, Gradient-Based Learning Applied to Document Recognition"
    space = {
        "channels": mb.Int(2, 32, log=True, default=8),
        "kernel": mb.Choice((1, 3, 5), default=3),
        "layers": mb.Int(1, 3, default=2),
    }

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules.joining import wide

        return wide.StackedCnn(inputs, width, **params)
