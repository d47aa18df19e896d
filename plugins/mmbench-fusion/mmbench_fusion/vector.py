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
    usual = True
    source = "Ngiam et al. 2011, Multimodal Deep Learning"

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules import vector

        return vector.Concat(inputs, width)


class Sum(mb.Fusion):
    """Sum of each modality's projection.

        h = sum over present m of (W_m x_m + b_m)          W_m [width, D_m], h [B, width]

    A missing modality adds nothing, not even its bias.
    """

    name = "sum"
    source = "arXiv:1705.09406"

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules import vector

        return vector.Sum(inputs, width)


class Mean(mb.Fusion):
    """Mean of the present modalities' projections.

        h = mean over present m of (W_m x_m + b_m)         W_m [width, D_m], h [B, width]

    A missing modality is left out of the mean; with none there h is 0.
    """

    name = "mean"
    source = "arXiv:1705.09406"

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules import vector

        return vector.Mean(inputs, width)


class Weighted(mb.Fusion):
    """Weighted sum of projections, one learned weight for each modality.

        a = softmax over present m of s_m                  s_m a learned number, 0 at the start
        h = sum over m of a_m (W_m x_m + b_m)              W_m [width, D_m], h [B, width]

    A missing modality has weight 0 and the others share its weight; with none there h is 0.
    """

    name = "weighted"
    source = "arXiv:1705.09406"

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules import vector

        return vector.Weighted(inputs, width)


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
        from mmbench_fusion.modules import vector

        return vector.Gated(inputs, width, **params)


class Attention(mb.Fusion):
    """Modality attention: weights that depend on what each modality holds.

        h_m = W_m x_m + b_m                                         [B, width]
        s_m = v' tanh(U h_m + c) / temperature                      U [hidden, width], s_m [B]
        a   = softmax over present m of s_m                         [B, M]
        h   = sum over m of a_m h_m                                 [B, width]

    A missing modality has weight 0; with none there h is 0.
    """

    name = "attention"
    source = "arXiv:1802.07862"
    space = {
        "hidden": mb.Int(8, 128, log=True, default=32),
        "temperature": mb.Float(0.2, 5.0, log=True, default=1.0),
    }

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules import vector

        return vector.Attention(inputs, width, **params)


class LowRank(mb.Fusion):
    """Low-rank tensor fusion (LMF): the outer product of all modalities, never written out.

        z_m = [x_m; 1]                                              [B, D_m + 1]
        h   = sum over r = 1..rank of w_r (F_1r z_1) * ... * (F_Mr z_M) + b     F_mr [width, D_m + 1], h [B, width]

    The appended 1 keeps products of fewer modalities in the sum. A missing modality is z_m = [0; 1]: its factor is
    the column of F_mr that meets the 1. Those columns start at 1, so that a product of several factors starts near
    1 and not near 0; the w_r start as in the paper's code.
    """

    name = "low_rank"
    source = "arXiv:1806.00064"
    space = {"rank": mb.Int(1, 32, log=True, default=4)}

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules import vector

        return vector.LowRank(inputs, width, **params)
