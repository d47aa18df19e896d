"""Fusions in which modalities rescale or shift one another before they are joined: x_m [B, D_m] to h [B, width].

The modules are in `mmbench_fusion.modules.gating.rescaling`.
"""

from collections.abc import Mapping
from typing import Any

import mmbench as mb
from mmbench.api.space import Params


class Mmtm(mb.Fusion):
    """Multimodal transfer module (MMTM): squeeze all modalities together, and excite the channels of each by it.

        s   = ReLU(S [x_1; ...; x_M] + c)                   S [(D_1 + ... + D_M) / ratio, D_1 + ... + D_M]
        y_m = 2 sigmoid(E_m s + e_m) * x_m                  [B, D_m]
        h   = W [y_1; ...; y_M] + b                         h [B, width]

    x_m is the mean of the tokens: as each channel has one factor for all of a row's tokens, it is the same to rescale
    these and to take their mean then. Differs: the paper puts it between inner layers of the encoders, where what is
    rescaled is encoded further; here it stands once, behind the last. The authors' `ratio` is 4 (2 in their equation
    for two modalities of one width). A missing modality is zeros in the squeeze and stays so.
    """

    name = "mmtm"
    source = "arXiv:1911.08670"
    space = {"ratio": mb.Int(1, 16, log=True, default=4)}

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules.gating import rescaling

        return rescaling.Mmtm(inputs, width, **params)


class Mag(mb.Fusion):
    """Multimodal adaptation gate (MAG): the others shift a modality, as far as its own length allows.

        u_m = W_m x_m + b_m                                                  [B, width]
        g_mn = ReLU(G_mn [u_m; u_n] + c_mn)                                  [B, width], for each n other than m
        s_m = sum over present n other than m of g_mn * (V_mn u_n) + d_m     [B, width]
        y_m = dropout(norm(u_m + min(1, `reach` |u_m| / |s_m|) s_m))
        h   = mean over present m of y_m

    The paper shifts the words of BERT or XLNet, one by one, by sound and sight at the same moment; here pooled vectors,
    and each modality in turn is the one that is shifted, so that no order is needed. The authors' `reach` (their beta)
    is 1, their dropout 0.5. A modality that is alone is shifted by d_m.
    """

    name = "mag"
    source = "arXiv:1908.05787"
    space = {
        "reach": mb.Float(0.1, 2.0, log=True, default=1.0),
        "dropout": mb.Float(0.0, 0.5, default=0.1),
    }

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules.gating import rescaling

        return rescaling.Mag(inputs, width, **params)
