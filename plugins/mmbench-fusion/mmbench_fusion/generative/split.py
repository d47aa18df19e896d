"""Fusions that part what modalities share from what each has alone: x_m pooled, [B, D_m], to h [B, width].

The modules are in `mmbench_fusion.modules.generative.split`.
"""

from collections.abc import Mapping
from typing import Any

import mmbench as mb
from mmbench.api.space import Params


class ShaSpec(mb.Fusion):
    """Shared and specific features (ShaSpec): a modality that is missing is stood for by what the others share.

        u_m = W_m x_m + b_m                                                            [B, width]
        r_m = GELU(R u_m + a), one R for all;  s_m = GELU(S_m u_m + a_m)               shared, specific
        f_m = r_m + P [r_m; s_m] + c          if m is present, one P for all
        f_m = mean over present n of r_n      if it is missing
        h   = W [f_1; ...; f_M] + b

    Losses, added to the task's:

        alignment * mean over pairs, and rows that have both, of |r_a - r_b|_1 / width
        domain    * mean over present m of CE(D s_m + d, m)        which modality a specific feature is of

    The mean is over all present modalities, as in the paper, not the first of them. The authors weigh alignment 0.1
    and domain 0.02. Differs: pooled vectors, and a layer each in place of networks. With none there f_m is 0.
    """

    name = "shaspec"
    source = "arXiv:2307.14126"
    space = {
        "alignment": mb.Float(0.001, 1.0, log=True, default=0.1),
        "domain": mb.Float(0.001, 1.0, log=True, default=0.02),
    }

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules.generative import split

        return split.ShaSpec(inputs, width, **params)


class Mfm(mb.Fusion):
    """Multimodal factorization (MFM): one factor for the task, one for each modality, that together make it again.

        f   = G [x_1; ...; x_M] + c                                 the factor of all modalities, [B, width]
        f_m = G_m x_m + c_m                                         the factor of one alone, [B, size]
        y_m = V_m GELU(U_m [f; f_m] + a_m) + b_m                    x_m made again, [B, D_m]
        h   = f

    Losses, added to the task's:

        reconstruction * mean over present m of |x_m - y_m|^2 / D_m       no gradient to x_m
        prior * (MMD(f) + mean over m of MMD(f_m))

    MMD is the maximum mean discrepancy of a batch to the normal distribution, in closed form: with the kernel
    k(a, b) = exp(-|a - b|^2 / 2 n) for n numbers, the mean of k over all pairs of rows, less twice its mean between
    rows and the normal, plus that of the normal with itself. Differs: the paper draws from the normal, makes raw
    inputs again, and has an LSTM memory for G; x_m are the encoders' features here, which could shrink to be made
    easily, so they get no gradient. A missing modality is zeros in f, and its rows are in no loss of f_m.
    """

    name = "mfm"
    source = "arXiv:1806.06176"
    space = {
        "size": mb.Int(4, 64, log=True, default=16),
        "reconstruction": mb.Float(0.01, 1.0, log=True, default=0.1),
        "prior": mb.Float(0.001, 1.0, log=True, default=0.01),
    }

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules.generative import split

        return split.Mfm(inputs, width, **params)


class Mctn(mb.Fusion):
    """Cyclic translation (MCTN): what a modality needs to say to become the others, and itself again.

        z_m  = tanh(E_m x_m + c_m)                                          [B, width]
        y_mn = D_n z_m + d_n                   for each n other than m      x_n as m tells it
        w_mn = D_m tanh(E_n y_mn + c_n) + d_m                               and back again
        h    = W (mean over present m of z_m) + b

        loss adds translation * mean over m, n of |y_mn - x_n|^2 / D_n
                  + cycle * mean over m, n of |w_mn - x_m|^2 / D_m

    over the rows that have both, without a gradient to what is to be met. In the paper text is the one that speaks and
    the only one needed in evaluation; here each is, in turn, and the present are averaged, so that no order is needed
    and any of them may be missing. Differs: layers on pooled features in place of recurrent translators. A modality
    that is alone translates into itself.
    """

    name = "mctn"
    source = "arXiv:1812.07809"
    space = {
        "translation": mb.Float(0.01, 1.0, log=True, default=0.1),
        "cycle": mb.Float(0.01, 1.0, log=True, default=0.1),
    }

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules.generative import split

        return split.Mctn(inputs, width, **params)
