"""Fusions by variational autoencoders whose posteriors are multiplied: x_m pooled, [B, D_m], to h [B, width].

Each modality gives a Gaussian, mean mu_m and precision t_m = exp(-v_m); the product of those of the present modalities
and of the prior N(0, 1), a product of experts, is again one:

    t = 1 + sum over present m of t_m          mu = (sum over present m of t_m mu_m) / t

A draw is mu + noise / sqrt(t) in training and mu in evaluation. KL is from N(0, 1), in nats for each of the places. A
log variance v is held within 6 of 0, as 6 tanh(v / 6). The papers make raw inputs again; here the encoders' features
x_m, without a gradient to them, as these could shrink to be made easily. The modules are in
`mmbench_fusion.modules.generative.variational`.
"""

from collections.abc import Mapping
from typing import Any

import mmbench as mb
from mmbench.api.space import Params


class Mvae(mb.Fusion):
    """Multimodal variational autoencoder (MVAE): one latent, the product of what each modality says of it.

        [mu_m; v_m] = E_m x_m + c_m                                 E_m [2 width, D_m]
        z = a draw from the product of the present and the prior    [B, width]
        y_m = V_m GELU(U z + a) + b_m                               one U for all
        h = z

        loss adds reconstruction * mean over present m of |x_m - y_m|^2 / D_m  +  kl * mean over rows of KL

    and, as in the paper, the same for each modality by itself, with its own draw, in their mean. Differs: the paper
    also takes random subsets of the modalities, and lets the weight of KL grow to 1. A missing modality is no factor;
    with none there z is drawn from the prior.
    """

    name = "mvae"
    source = "arXiv:1802.05335"
    space = {
        "reconstruction": mb.Float(0.01, 1.0, log=True, default=0.1),
        "kl": mb.Float(0.0001, 1.0, log=True, default=0.001),
    }

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules.generative import variational

        return variational.Mvae(inputs, width, **params)


class Dmvae(mb.Fusion):
    """Disentangled variational autoencoder (DMVAE): a shared latent by a product of experts, and a private one each.

        [mu_m; v_m; nu_m; w_m] = E_m x_m + c_m                      shared of `width` places, private of `size`
        s = a draw from the product of the present; s_m one from modality m's Gaussian alone
        p_m = a draw from N(nu_m, exp(w_m)), or 0 if m is missing
        y_m(s) = V_m GELU(U_m [s; p_m] + a_m) + b_m                 x_m made again
        h = W [s; p_1; ...; p_M] + b

        loss adds reconstruction * (mean over present m of the error of y_m(s), and over present m, n of y_m(s_n))
                  + kl * (KL of s + mean over present m of KL of p_m)

    with the error |x_m - y_m|^2 / D_m: each modality's shared part must serve to make every other one. Differs: the
    paper sums these terms; means do not grow with the number of modalities.
    """

    name = "dmvae"
    source = "arXiv:2012.13024"
    space = {
        "size": mb.Int(2, 64, log=True, default=16),
        "reconstruction": mb.Float(0.01, 1.0, log=True, default=0.1),
        "kl": mb.Float(0.0001, 1.0, log=True, default=0.001),
    }

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules.generative import variational

        return variational.Dmvae(inputs, width, **params)
