"""Fusions in which the tokens of one modality are read by those of another, pair by pair.

t_m [B, T_m, D_m] with masks [B, T_m] become h [B, width]. The modules are in a file of this name in
`mmbench_fusion.modules.attention`.
"""

from collections.abc import Mapping
from typing import Any

import mmbench as mb
from mmbench.api.space import Params


class Mult(mb.Fusion):
    """Multimodal Transformer (MulT): a cross-modal Transformer for each directed pair of modalities.

        z_m = W_m t_m + b_m + position                       [B, T_m, width], sines and cosines of the place
        z_nm = z_m, then `layers` times, for each n other than m:
            z_nm <- z_nm + attention(queries: norm(z_nm), keys and values: norm(z_n))
            z_nm <- z_nm + feed_forward(norm(z_nm))
        y_m = norm(`memory` self-attention layers over [norm(z_nm) for all n other than m])     [B, T_m, (M - 1) width]
        h   = W [mean of y_1 over its tokens; ...; mean of y_M over its tokens] + b

    Keys and values are always the pair's first z_n, as in the paper. Differs: W_m stands for a convolution over time
    (theirs is of kernel 1 to 5), the mean over tokens for the last one, as here the last may be padding, and no
    residual block follows. The authors have 4 or 5 layers, 3 layers of memory, 5 to 10 heads of width 30 or 40 in all
    and attention dropout up to 0.2. Masked tokens are never read; a missing modality is 0 for W, and its partners keep
    what is their own; a modality that is alone has y_m from z_m.
    """

    name = "mult"
    source = "arXiv:1906.00295"
    space = {
        "layers": mb.Int(1, 3, default=2, within=(1, 5)),
        "memory": mb.Int(1, 3, default=1),
        "heads": mb.Choice((1, 2, 4, 5, 8, 10), default=4),
        "dropout": mb.Float(0.0, 0.5, default=0.1),
    }

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules.attention import crossing

        return crossing.Mult(inputs, width, **params)


class CoAttention(mb.Fusion):
    """Parallel co-attention: what each token is worth depends on how near it is to the other modalities' tokens.

        u_m  = W_m t_m + b_m                                         [B, T_m, size]
        C_mn = tanh(t_m A_mn t_n')                                   A_mn [D_m, D_n], C_nm = C_mn', [B, T_m, T_n]
        H_m  = tanh(u_m + sum over n other than m of C_mn u_n)       [B, T_m, size]
        a_m  = softmax over the tokens of H_m w_m                    [B, T_m]
        h    = W [a_1 t_1; ...; a_M t_M] + b                         h [B, width]

    The paper has two modalities, image and question, and the sum of both in place of W; for more of them the sum over
    n is ours. The authors' `size` is 512. Masked tokens have no weight and add nothing to others; a missing modality
    is 0 for W.
    """

    name = "co_attention"
    source = "arXiv:1606.00061"
    space = {"size": mb.Int(8, 512, log=True, default=64), "dropout": mb.Float(0.0, 0.5, default=0.1)}

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules.attention import crossing

        return crossing.CoAttention(inputs, width, **params)
