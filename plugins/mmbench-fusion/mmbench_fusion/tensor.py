"""Fusions by products: outer products of the pooled features x_m [B, D_m], whole, factored or sketched; h [B, width].

The modules are in `mmbench_fusion.modules.tensor`. The papers join two modalities; for more of them the product runs
over all, and a modality that is missing has the factor 1. root(s) = s / sqrt(|s| + 1e-3), the signed square root
without its infinite slope at 0; unit(s) = s sqrt(n) / |s| for s of n numbers, so that their mean square is 1.
"""

from collections.abc import Mapping
from typing import Any

import mmbench as mb
from mmbench.api.space import Params

SIZE = mb.Int(16, 512, log=True, default=64)


class TensorFusion(mb.Fusion):
    """Tensor fusion (TFN): the outer product of all modalities, each with a 1 appended, then a linear layer.

        z_m = [U_m x_m + c_m; 1]                            U_m [n, D_m], z_m [B, n + 1]
        h   = W vec(z_1 x ... x z_M) + b                    W [width, (n + 1)^M], h [B, width]

    n is `size`, or less where (n + 1)^M would be above 4096. A missing modality is z_m = [0; 1]. The authors have
    128 for text and 32 for the others, of three.
    """

    name = "tensor_fusion"
    source = "arXiv:1707.07250"
    space = {"size": mb.Int(2, 128, log=True, default=16)}

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules import tensor

        return tensor.TensorFusion(inputs, width, **params)


class Mlb(mb.Fusion):
    """Low-rank bilinear pooling (MLB): the product of the modalities' projections.

        h = W (product over present m of tanh(U_m x_m + c_m)) + b       U_m [size, D_m], W [width, size], h [B, width]

    The authors' `size` is 1200.
    """

    name = "mlb"
    source = "arXiv:1610.04325"
    space = {"size": mb.Int(16, 1200, log=True, default=64)}

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules import tensor

        return tensor.Mlb(inputs, width, **params)


class Mutan(mb.Fusion):
    """Tucker fusion with a core of limited rank (MUTAN).

        q_m = tanh(U_m x_m + c_m)                                            U_m [size, D_m], q_m [B, size]
        z   = sum over r = 1..rank of product over present m of (N_mr q_m + d_mr)      N_mr [size, size]
        h   = W z + b                                                        W [width, size], h [B, width]

    The authors' `size` is 360, their `rank` 10.
    """

    name = "mutan"
    source = "arXiv:1705.06676"
    space = {"size": SIZE, "rank": mb.Int(1, 15, log=True, default=5)}

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules import tensor

        return tensor.Mutan(inputs, width, **params)


class Mfb(mb.Fusion):
    """Factorised bilinear pooling (MFB): products of wide projections, summed over windows of `rank`.

        p = dropout(product over present m of (U_m x_m + c_m))          U_m [width * rank, D_m]
        s = sum over each `rank` neighbours of p                         [B, width]
        h = unit(root(s))                                                [B, width]

    The authors have `rank` 5 and dropout 0.1.
    """

    name = "mfb"
    source = "arXiv:1708.01471"
    space = {"rank": mb.Int(1, 10, default=5), "dropout": mb.Float(0.0, 0.5, default=0.1)}

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules import tensor

        return tensor.Mfh(inputs, width, order=1, **params)


class Mfh(mb.Fusion):
    """High-order factorised pooling (MFH): a cascade of MFB blocks, each multiplied by the product before it.

        p_i = dropout(p_(i-1) * product over present m of (U_mi x_m + c_mi))     p_0 = 1, U_mi [width * rank, D_m]
        s_i = unit(root(sum over each `rank` neighbours of p_i))                  i = 1..order, [B, width]
        h   = W [s_1; ...; s_order] + b                                           W [width, order * width]

    The authors have `order` 2, `rank` 5 and dropout 0.1.
    """

    name = "mfh"
    source = "arXiv:1708.03619"
    space = {"order": mb.Int(2, 3, default=2), "rank": mb.Int(1, 10, default=5), "dropout": Mfb.space["dropout"]}

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules import tensor

        return tensor.Mfh(inputs, width, **params)


class Mcb(mb.Fusion):
    """Compact bilinear pooling (MCB): the outer product's count sketch, by a convolution of the modalities' sketches.

        y_m[j] = sum over i with g_m(i) = j of s_m(i) x_m[i]        g_m in 1..size and s_m = +-1 at random, fixed
        z      = y_1 (*) ... (*) y_M                                 circular convolution, by FFT; [B, size]
        h      = W unit(root(z)) + b                                 W [width, size]

    A missing modality is the sketch that changes nothing: 1 in the first place. The authors' `size` is 16000.
    """

    name = "mcb"
    source = "arXiv:1606.01847"
    cohort = False
    space = {"size": mb.Int(64, 16000, log=True, default=512)}

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules import tensor

        return tensor.Mcb(inputs, width, **params)
