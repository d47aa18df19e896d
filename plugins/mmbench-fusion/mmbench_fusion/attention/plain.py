"""Fusions by plain attention between tokens, without norms, heads or feed-forward layers.

t_m [B, T_m, D_m] with masks [B, T_m] become h [B, width]. Both read u_m = W_m t_m + b_m, [B, T_m, width]. The modules
are in `mmbench_fusion.modules.attention.plain`.
"""

from collections.abc import Mapping
from typing import Any

import mmbench as mb
from mmbench.api.space import Params


class NlGate(mb.Fusion):
    """Non-local gate (NL-gate): each modality's tokens gather what the others hold, by one non-local block.

        y_m = u_m + G_m (softmax over the others' tokens of (Q_m u_m)' (K_m u_n)) (V_m u_n)      [B, T_m, width]
        h   = W [mean of y_1 over its tokens; ...; mean of y_M over its tokens] + b

    Q, K, V are [size, width], G [width, size], each modality's own. As in non-local networks (arXiv:1711.07971) the
    products are not scaled. Differs: the paper has the gate on video and sound between inner layers. Masked tokens are
    never read; a missing modality is 0 for W; one that is alone has y = u.
    """

    name = "nl_gate"
    source = "arXiv:1905.12681"
    space = {"size": mb.Int(8, 256, log=True, default=32)}

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules.attention import plain

        return plain.NlGate(inputs, width, **params)


class ContextualAttention(mb.Fusion):
    """Contextual inter-modal attention: what each token finds in another modality is multiplied with itself.

        a_mn = softmax over the tokens of n of (u_m u_n')            [B, T_m, T_n], for each n other than m
        g_mn = (a_mn u_n) * u_m                                      [B, T_m, width], a multiplicative gate
        h    = W [mean over tokens of g_mn for each m and n, and of u_m for each m] + b

    In the paper (Ghosal et al. 2018) tokens are the utterances of one video, each with a label, behind recurrent
    layers; here they are the tokens of one row, and their means are joined. Masked tokens are never read; of a missing
    modality all g and u are 0.
    """

    name = "contextual_attention"
    source = "https://aclanthology.org/D18-1382"
    space = {"dropout": mb.Float(0.0, 0.5, default=0.1)}

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules.attention import plain

        return plain.ContextualAttention(inputs, width, **params)
