"""Fusions that attend: tokens of the modalities, t_m [B, T_m, D_m] with masks [B, T_m], become h [B, width].

The modules are in `mmbench_fusion.modules.tokens`. "Layer" is a pre-norm Transformer layer (self-attention, then a
feed-forward network, each with a residual), with `heads` heads, all of the given `width`.
"""

from collections.abc import Mapping
from typing import Any

import mmbench as mb
from mmbench.api.space import Params

HEADS = mb.Choice((1, 2, 4, 8), default=4)
DROPOUT = mb.Float(0.0, 0.5, default=0.1)


class CrossAttention(mb.Fusion):
    """Cross-attention: the tokens of each modality attend to the tokens of all the others.

        t_m <- W_m t_m + b_m                                         [B, T_m, width]
        `layers` times, for all m at once:
            t_m <- t_m + attention(queries: norm(t_m), keys and values: norm(t_n) for all n other than m)
            t_m <- t_m + feed_forward(norm(t_m))
        h = mean over present m of the mean of norm(t_m) over its tokens

    The layers are shared by the modalities; W_m and b_m tell these apart. Masked tokens are never attended to and
    never averaged, so a missing modality has no part in h. A modality that is alone attends to nothing. This is not
    MulT (arXiv:1906.00295), which has a Transformer for each directed pair of modalities.
    """

    name = "cross_attention"
    source = "arXiv:1706.03762"
    space = {"layers": mb.Int(1, 3, default=1), "heads": HEADS, "dropout": DROPOUT}

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules import tokens

        return tokens.CrossAttention(inputs, width, **params)


class LateTransformer(mb.Fusion):
    """Late-fusion Transformer: one token a modality and a class token, as in SimBaMM.

        z = [c; W_1 x_1 + b_1; ...; W_M x_M + b_M]          x_m pooled, [B, D_m]; z [B, 1 + M, width]
        `layers` times: z <- Layer(z)
        h = norm(z)_1, the class token                      [B, width]

    b_m is the embedding that says which modality a token is. A missing modality's token is never attended to; with
    none there the class token attends to itself.
    """

    name = "late_transformer"
    source = "arXiv:2512.22991"
    space = {"layers": mb.Int(1, 4, default=2), "heads": HEADS, "dropout": DROPOUT}

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules import tokens

        return tokens.LateTransformer(inputs, width, **params)


class Bottleneck(mb.Fusion):
    """Attention bottlenecks (MBT): the modalities' streams meet only in a few shared tokens.

        z_m = [c_m; W_m t_m + b_m]                           [B, 1 + T_m, width], c_m the modality's class token
        `layers` times:
            [z_m; f_m] <- Layer_m([z_m; f])                  f [B, bottlenecks, width], learned at the start
            f <- mean over present m of f_m
        h = mean over present m of norm(z_m)_1

    What one modality knows reaches another one layer later, so there are at least two. Masked tokens are never
    attended to; a missing modality is left out of both means.
    """

    name = "bottleneck"
    source = "arXiv:2107.00135"
    space = {
        "bottlenecks": mb.Int(1, 8, default=4),
        "layers": mb.Int(2, 4, default=2),
        "heads": HEADS,
        "dropout": DROPOUT,
    }

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules import tokens

        return tokens.Bottleneck(inputs, width, **params)
