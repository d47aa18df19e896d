"""Fusions in which all tokens of all modalities meet in one attention.

t_m [B, T_m, D_m] with masks [B, T_m] become h [B, width]. Both tell tokens apart by a learned embedding of the modality
(the bias b_m) and of the place in it, E_m [T_m, width]. The modules are in `mmbench_fusion.modules.attention.joint`.
"""

from collections.abc import Mapping
from typing import Any

import mmbench as mb
from mmbench.api.space import Params

HEADS = mb.Choice((1, 2, 4, 8, 12), default=4)
DROPOUT = mb.Float(0.0, 0.5, default=0.1)


class EarlyTransformer(mb.Fusion):
    """Early-fusion Transformer: self-attention over all tokens of all modalities and a class token, as in MMBT.

        z = [c; W_1 t_1 + b_1 + E_1; ...; W_M t_M + b_M + E_M]           [B, 1 + T_1 + ... + T_M, width]
        `layers` times: z <- Layer(z)
        h = norm(z)_1, the class token                                    [B, width]

    Differs: the paper starts from a pretrained BERT (12 layers, 12 heads), this from nothing. Masked tokens are never
    attended to; with no modality there the class token attends to itself.
    """

    name = "early_transformer"
    source = "arXiv:1909.02950"
    space = {"layers": mb.Int(1, 4, default=2, within=(1, 12)), "heads": HEADS, "dropout": DROPOUT}

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules.attention import joint

        return joint.EarlyTransformer(inputs, width, **params)


class Perceiver(mb.Fusion):
    """Perceiver: a few learned latents read all tokens, again and again.

        x = [W_1 t_1 + b_1 + E_1; ...; W_M t_M + b_M + E_M]               [B, T_1 + ... + T_M, width]
        z = learned latents                                               [latents, width]
        `repeats` times:
            z <- z + attention(queries: norm(z), keys and values: norm(x)), then a feed-forward network
            `layers` times: z <- Layer(z)                                 self-attention
        h = mean of norm(z) over the latents                              [B, width]

    Its cost grows with the number of tokens, not its square. As in the paper the weights of all repeats but the first
    are shared. Differs: learned places in place of Fourier features. The authors have 512 latents, 8 repeats and 6
    layers for images. Masked tokens are never read; with none there z is the latents' own.
    """

    name = "perceiver"
    source = "arXiv:2103.03206"
    space = {
        "latents": mb.Int(4, 32, log=True, default=8, within=(1, 512)),
        "repeats": mb.Int(1, 4, log=True, default=2, within=(1, 8)),
        "layers": mb.Int(1, 2, default=1, within=(1, 6)),
        "heads": HEADS,
        "dropout": DROPOUT,
    }

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules.attention import joint

        return joint.Perceiver(inputs, width, **params)
