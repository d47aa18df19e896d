"""Fusions that shape a latent space with losses of their own. The modules are in `mmbench_fusion.modules.latent`."""

from collections.abc import Mapping
from typing import Any

import mmbench as mb
from mmbench.api.space import Params


class Misa(mb.Fusion):
    """Modality-invariant and modality-specific subspaces (MISA).

        u_m = norm(GELU(W_m x_m + b_m))                                     x_m pooled, [B, D_m]; all else [B, width]
        c_m = sigmoid(E_c u_m), with one E_c for all      p_m = sigmoid(E_m u_m)      r_m = D(c_m + p_m)
        h   = W [Layer([p_1; ...; p_M; c_1; ...; c_M])] + b                 one Transformer layer over 2 M tokens

    Losses, added to the task's, with means over modalities or pairs (a, b) of them:

        similarity * CMD_5(c_a, c_b)        CMD_5(a, b) = |E a - E b| + sum over k = 2..5 of |M_k(a) - M_k(b)|,
                                            M_k(a) = E (a - E a)^k, the central moments over the batch
        difference * |C_m' P_m|^2 / width^2 and |P_a' P_b|^2 / width^2, of centred rows scaled to length 1
        reconstruction * |u_m - r_m|^2 / width

    A missing modality's tokens are not attended to and are zeros for W, and its row is left out of each loss.
    """

    name = "misa"
    source = "arXiv:2005.03545"
    space = {
        "heads": mb.Choice((1, 2, 4), default=2),
        "dropout": mb.Float(0.0, 0.5, default=0.1),
        "similarity": mb.Float(0.01, 1.0, log=True, default=0.3),
        "difference": mb.Float(0.01, 1.0, log=True, default=0.3),
        "reconstruction": mb.Float(0.01, 1.0, log=True, default=0.3),
    }

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules import latent

        return latent.Misa(inputs, width, **params)
