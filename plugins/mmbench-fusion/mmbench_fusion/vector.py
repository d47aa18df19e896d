"""Fusions of one pooled vector a modality: x_m [B, D_m] becomes h [B, width].

The modules are in `mmbench_fusion.modules.vector`. Linear maps are written W; b is a bias.
"""

from collections.abc import Mapping
from typing import Any

import mmbench as mb
from mmbench.api.space import Params


class Concat(mb.Fusion):
    """Concatenation of the pooled features, then a linear layer.

        h = W [x_1; ...; x_M] + b          x_m [B, D_m], W [width, D_1 + ... + D_M], h [B, width]

    A missing modality is zeros in its place.
    """

    name = "concat"
    source = "Ngiam et al. 2011, Multimodal Deep Learning"

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules.vector import Concat

        return Concat(inputs, width)


class Sum(mb.Fusion):
    """Sum of each modality's projection.

        h = sum over present m of (W_m x_m + b_m)          W_m [width, D_m], h [B, width]

    A missing modality adds nothing, not even its bias.
    """

    name = "sum"
    source = "arXiv:1705.09406"

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules.vector import Sum

        return Sum(inputs, width)


class Gated(mb.Fusion):
    """Gated multimodal unit: every modality's gate looks at all of them.

        h_m = tanh(W_m x_m + b_m)                          [B, width]
        z_m = sigmoid(V_m [x_1; ...; x_M] + c_m)           [B, width]
        h   = sum over present m of z_m * h_m              [B, width]

    With `gate = "softmax"` the z_m of the present modalities sum to 1 in each of the `width` places; for two
    modalities that is the paper's z and 1 - z. A missing modality is zeros in the gates' input and adds
    nothing to h. `weights` are the gates' means over the width, divided by their sum.
    """

    name = "gated"
    source = "arXiv:1702.01992"
    space = {"gate": mb.Choice(("sigmoid", "softmax"), default="sigmoid")}

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules.vector import Gated

        return Gated(inputs, width, **params)
