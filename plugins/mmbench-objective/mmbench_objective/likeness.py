"""Objectives that make the modalities' features alike, row by row or as distributions.

The modules are in `mmbench_objective.modules.likeness`. x_m [B, D_m] are pooled features, P_m [size, D_m] a projection
that is learned, M the number of modalities.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import mmbench as mb
from mmbench.api.space import Params
from mmbench_objective.fits import needs_modalities, needs_target

WEIGHT = mb.Float(0.01, 1.0, log=True, default=0.1)
TEMPERATURE = mb.Float(0.03, 1.0, log=True, default=0.1)
SIZE = mb.Int(16, 128, log=True, default=32)
SMALL = mb.Int(4, 32, log=True, default=8)


class _Likeness(mb.Objective):
    module: ClassVar[str]
    fewest: ClassVar[int] = 2

    def supports(self, task: mb.Task) -> str | None:
        return needs_modalities(task, self.fewest)

    def build(self, inputs: Mapping[str, mb.FeatureSpec], outputs: int, params: Params) -> Any:
        from mmbench_objective.modules import likeness

        return getattr(likeness, self.module)(inputs, **params)


class SupervisedContrastive(_Likeness):
    """Supervised contrastive: what is of one class lies together, whatever its row and modality.

        z_i = P_m x / |P_m x|                                   i: one modality of one row, N = M B in all
        l_i = - mean over p of log (exp(z_i . z_p / temperature) / sum over a != i of exp(z_i . z_a / temperature))
        loss = weight * mean of l_i                             p: all of i's class but i itself

    What is missing is no i, p or a; an i without p counts for nothing. The authors' temperature is 0.1 (0.07 in code).
    """

    name = "supervised_contrastive"
    source = "arXiv:2004.11362"
    module = "SupervisedContrastive"
    space = {"weight": WEIGHT, "temperature": TEMPERATURE, "size": SIZE}

    def supports(self, task: mb.Task) -> str | None:
        return needs_modalities(task) or needs_target(task, "label")


class CCA(_Likeness):
    """Canonical correlation: projections of two modalities are to be told linearly from each other.

        z_m = P_m x_m, centred                                  S_ab = mean over rows of z_a z_b^T, [size, size]
        S_aa <- S_aa + ridge * mean(diag S_aa) I
        loss = weight * mean over pairs a < b of (1 - tr(S_aa^-1 S_ab S_bb^-1 S_ba) / size)

    The trace is the sum of the squared canonical correlations; the paper's (DCCA) is that of their first powers, whose
    gradient needs a singular value decomposition. Rows with both modalities count.
    """

    name = "cca"
    source = "https://proceedings.mlr.press/v28/andrew13.html"
    module = "CCA"
    space = {"weight": WEIGHT, "size": SMALL, "ridge": mb.Float(0.001, 0.3, log=True, default=0.05)}


class CMD(_Likeness):
    """Central moment discrepancy: the modalities' features have the same moments.

        z_m = tanh(P_m x_m),  e_m = mean over rows of z_m,  c_m,k = mean over rows of (z_m - e_m)^k
        loss = weight * mean over pairs a < b of (|e_a - e_b| / 2 + sum over k = 2..5 of |c_a,k - c_b,k| / 2^k)

    2 is the length of the interval in which z lies. Each modality's mean is over the rows that have it.
    """

    name = "cmd"
    source = "arXiv:1702.08811"
    module = "CMD"
    space = {"weight": WEIGHT, "size": SIZE}


class MMD(_Likeness):
    """Maximum mean discrepancy: the modalities' features are one distribution, as Gaussian kernels see it.

        z_m = layer_norm(P_m x_m)
        loss = weight * mean over pairs a < b of (mean k(z_a, z_a') + mean k(z_b, z_b') - 2 mean k(z_a, z_b))
        k(u, v) = mean over s in (1/4, 1/2, 1, 2, 4) of exp(- |u - v|^2 / (2 s size))

    It is the biased estimate, which is never negative. Each modality's rows are those that have it.
    """

    name = "mmd"
    source = "https://jmlr.org/papers/v13/gretton12a.html"
    module = "MMD"
    space = {"weight": WEIGHT, "size": SIZE}


class Symile(_Likeness):
    """Symile: contrastive for three and more modalities at once, by a product over all.

        z_m = P_m x_m / |P_m x_m|,  <z_1, ..., z_M> = sum over dimensions of the product over m
        l_m = - mean over rows i of log (exp(s_ii) / sum over j of exp(s_ij))
        s_ii = <row i's> / temperature;  s_ij = <z_m of row i, the others of rows j - 1, j - 2, ...> / temperature
        loss = weight * mean over m of l_m

    The others of a negative come from different rows, as in the paper, which shuffles each: the rows of a batch are in
    random order already. Rows with all modalities count.
    """

    name = "symile"
    source = "arXiv:2411.01053"
    module, fewest = "Symile", 3
    space = {"weight": WEIGHT, "temperature": TEMPERATURE, "size": SIZE}


class GRAM(_Likeness):
    """GRAM: contrastive for three and more modalities at once, by the volume that their vectors span.

        z_m = P_m x_m / |P_m x_m|,  V_ij = sqrt(det(G + ridge I))
        G [M, M] the inner products of row i's z_1 and row j's others
        loss = weight * symmetric InfoNCE of - V / temperature

    A small volume says that the modalities agree. z_1 is the first modality by the alphabet. Rows with all count.
    """

    name = "gram"
    source = "arXiv:2412.11959"
    module, fewest = "GRAM", 3
    space = {
        "weight": WEIGHT,
        "temperature": TEMPERATURE,
        "size": SIZE,
        "ridge": mb.Float(1e-4, 1e-2, log=True, default=1e-3, searched=False),
    }


class Adversarial(_Likeness):
    """Adversarial alignment: a judge must not tell from which modality a vector is.

        z_m = P_m x_m
        loss = weight * mean over rows and present m of - log softmax(judge(r(z_m)))_m
        r(z) = z, but its gradient is multiplied by - reversal              judge: size -> size -> M, GELU between

    The judge learns to tell, and by the reversed gradient encoders and projections learn to prevent it.
    """

    name = "adversarial"
    source = "arXiv:1505.07818"
    module = "Adversarial"
    space = {"weight": WEIGHT, "reversal": mb.Float(0.1, 2.0, log=True, default=1.0), "size": SIZE}
