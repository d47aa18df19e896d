"""Fusions of decisions: each modality decides, and the decisions meet. K outputs, logits [B, K].

The modules are in `mmbench_fusion.modules.decision`.
"""

from collections.abc import Mapping
from typing import Any

import mmbench as mb
from mmbench.api.space import Params


class MeanLogits(mb.Fusion):
    """Mean of the logits of one linear head for each modality (late fusion).

        l = mean over present m of (W_m x_m + b_m)          x_m [B, D_m], W_m [K, D_m], l [B, K]

    A missing modality has no vote; with none there the logits are 0.
    """

    name = "mean_logits"
    source = "Snoek et al. 2005, Early versus Late Fusion in Semantic Video Analysis"
    level = "decision"

    def supports(self, task: mb.Task) -> str | None:
        if task.target.type == "match":
            return "adds a score of each side alone, which can't tell which pairs belong together"
        return None

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules import decision

        return decision.MeanLogits(inputs, width)


class Tmc(mb.Fusion):
    """Trusted multi-view classification: evidence of each modality, combined by Dempster's rule.

        e_m = softplus(W_m x_m + b_m) >= 0                 evidence, [B, K];  alpha_m = e_m + 1, S_m = sum of alpha_m
        b_m = e_m / S_m, u_m = K / S_m                     belief in each class, and what is left uncertain
        b   = (b_1 * b_2 + b_1 u_2 + b_2 u_1) / (1 - C)    C = sum over i != j of b_1i b_2j;  u = u_1 u_2 / (1 - C)

    which for any number of modalities is 1 + e / K = (1 + e_1 / K) * ... * (1 + e_M / K), the form used here. The
    logits are log(e + 1): their softmax is the mean of the Dirichlet distribution. The loss, in place of the task's:

        L(alpha) = digamma(S) - digamma(alpha_y) + t KL(Dir(y + (1 - y) * alpha) | Dir(1))
        loss     = mean over rows of L(alpha) + sum over present m of L(alpha_m)

    where t grows from 0 to 1 during the first `annealing` of the epochs. A missing modality is the vacuous opinion
    e_m = 0, which changes nothing; with none there every class is as likely. `weights` are the certainties 1 - u_m,
    divided by their sum.
    """

    name = "tmc"
    source = "arXiv:2102.02051"
    level = "decision"
    space = {"annealing": mb.Float(0.1, 2.0, log=True, default=0.5)}

    def supports(self, task: mb.Task) -> str | None:
        if task.target.type != "label":
            return f"opinions are about classes that exclude each other, not {task.target.type}"
        return None

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules import decision

        return decision.Tmc(inputs, width, **params)


class Dot(mb.Fusion):
    """Dual encoder for retrieval: the cosine of the two sides' projections.

        l = exp(s) cos(P_1 x_1, P_2 x_2)                    x_m [B, D_m], P_m [size, D_m], l [B, 1]

    s is learned, from exp(s) = `scale`. A pair with a missing side scores 0.
    """

    name = "dot"
    source = "arXiv:2103.00020"
    level = "decision"
    space = {
        "size": mb.Int(16, 256, log=True, default=64),
        "scale": mb.Float(2.0, 50.0, log=True, default=10.0),
    }

    def supports(self, task: mb.Task) -> str | None:
        if task.target.type != "match":
            return "scores whether two sides belong together: only for a match"
        if len(task.modalities) != 2:
            return f"needs exactly two modalities, one a side, not {len(task.modalities)}"
        return None

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules import decision

        return decision.Dot(inputs, **params)
