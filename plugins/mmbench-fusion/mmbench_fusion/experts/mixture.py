"""Fusions of several experts, each of which sees the joined features x = [x_1; ...; x_M], and a gate that weighs them.

x_m [B, D_m] become h [B, width]; a missing modality is zeros in x. The modules are in
`mmbench_fusion.modules.experts.mixture`.
"""

from collections.abc import Mapping
from typing import Any

import mmbench as mb
from mmbench.api.space import Params


class Moe(mb.Fusion):
    """Mixture of experts with a Laplace gate, as in FuseMoE: an expert counts by how near a row is to its own place.

        u   = P x + c                                                    [B, width]
        g   = softmax over e of -|u - v_e|                               v_e [width], learned; [B, experts]
        h   = sum over e of g_e (V_e dropout(GELU(U_e u + a_e)) + b_e)   U_e [2 width, width], V_e [width, 2 width]

    The distance bounds each gate, where an inner product would let a long u belong to one expert alone. Differs: the
    paper keeps the k nearest experts of 16 (k = 4) for speed and routes tokens; here all count, so that all learn from
    each row, and pooled vectors are routed. With no modality there u = c.
    """

    name = "moe"
    source = "arXiv:2402.03226"
    space = {"experts": mb.Int(2, 8, log=True, default=4, within=(1, 16)), "dropout": mb.Float(0.0, 0.5, default=0.1)}

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules.experts import mixture

        return mixture.Moe(inputs, width, **params)


class I2moe(mb.Fusion):
    """Interaction-aware mixture of experts (I2MoE): one for what each modality alone holds, for synergy, redundancy.

        F_e(x) = V_e ReLU(U_e x + a_e) + b_e                          e = 1..M (unique to m), M + 1 (synergy), M + 2
        h      = sum over e of softmax(R x + r)_e F_e(x)              R [M + 2, sum of D_m]; h [B, width]

    With x^m for x whose modality m is zeros, f = F_e(x) and f^m = F_e(x^m), the loss adds `interaction` times the mean
    over e of

        unique to m:  mean over n other than m of max(0, |f - f^n| - |f - f^m| + 1)      without m it must change
        synergy:      mean over m of cos(f, f^m)                                         without any it must change
        redundancy:   mean over m of 1 - cos(f, f^m)                                     without any it must stay

    over the rows that have all modalities. Differs: the paper weighs the experts' predictions, each from a head of its
    own, and replaces a modality by a random vector. A modality that is alone has no interaction.
    """

    name = "i2moe"
    source = "arXiv:2505.19190"
    space = {
        "size": mb.Int(16, 128, log=True, default=64),
        "interaction": mb.Float(0.001, 1.0, log=True, default=0.1),
    }

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules.experts import mixture

        return mixture.I2moe(inputs, width, **params)


class DynMm(mb.Fusion):
    """Dynamic multimodal fusion (DynMM): a gate picks one branch for each row, a modality alone or all of them.

        b_m = W_m x_m + b_m, and b_0 = V ReLU(U x + a) + b                             [B, width]
        s   = G ReLU(H x + c) + d, minus infinity for a modality that is missing       [B, M + 1]
        g   = softmax((s + noise) / temperature) in training, the largest s alone (1) in evaluation
        h   = sum over branches of g_i b_i
        loss adds `thrift` * mean over rows of g_0

    noise is Gumbel's, so that g is near a draw of one branch. b_0 is the branch that costs more, so `thrift` is the
    price of it. Differs: branches are layers on pooled features, not networks of their own: every encoder runs, and
    what a choice saves is only its last layers; the authors' temperature falls, this stays.
    """

    name = "dyn_mm"
    source = "arXiv:2204.00102"
    space = {
        "temperature": mb.Float(0.3, 3.0, log=True, default=1.0),
        "thrift": mb.Float(0.0001, 0.1, log=True, default=0.001),
    }

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules.experts import mixture

        return mixture.DynMm(inputs, width, **params)
