"""More fusions of pooled features, x_m [B, D_m] to h [B, width]: picked, multiplied, or one that sets how another is
read.

The modules are in `mmbench_fusion.modules.feature`.
"""

from collections.abc import Mapping
from typing import Any

import mmbench as mb
from mmbench.api.space import Params


class Max(mb.Fusion):
    """The largest of the modalities' projections, place by place.

        h = max over present m of (W_m x_m + b_m)          W_m [width, D_m], h [B, width]

    A missing modality is not looked at; with none there h is 0.
    """

    name = "max"
    source = "arXiv:1604.06573"

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules import feature

        return feature.Max(inputs, width)


class Product(mb.Fusion):
    """The product of the modalities' projections, place by place.

        h = product over present m of (W_m x_m + b_m)      W_m [width, D_m], b_m 1 at the start, h [B, width]

    A missing modality is the factor 1. The biases keep the products of many modalities away from 0 at the start.
    """

    name = "product"
    source = "arXiv:1505.00468"

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules import feature

        return feature.Product(inputs, width)


class Film(mb.Fusion):
    """Feature-wise modulation (FiLM): each modality is scaled and shifted by what the others hold.

        u_m = W_m x_m + b_m                                        [B, width]
        [g_m; s_m] = V_m [x_n for all n other than m] + c_m        V_m [2 width, sum of D_n]
        h   = mean over present m of ReLU((1 + g_m) * u_m + s_m)   [B, width]

    The paper modulates an image by a question; here each is modulated in turn, so that no order is needed. A missing
    modality is zeros for the others and is left out of the mean. A modality that is alone has g = s = 0.
    """

    name = "film"
    source = "arXiv:1709.07871"

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules import feature

        return feature.Film(inputs, width)


class Multiplicative(mb.Fusion):
    """Multiplicative interactions: a bilinear form of each pair, beside what each modality says alone.

        u_m = P_m x_m + c_m, or 0 if m is missing                             P_m [size, D_m], u_m [B, size]
        h_k = sum over pairs m < n of u_m' T_mn,k u_n + sum over m of A_m,k u_m + b_k       k = 1..width

    T_mn [width, size, size] is whole, not factored.
    """

    name = "multiplicative"
    source = "Jayakumar et al. 2020, Multiplicative Interactions and Where to Find Them"
    space = {"size": mb.Int(4, 64, log=True, default=16)}

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules import feature

        return feature.Multiplicative(inputs, width, **params)
