"""Fusions of decisions by a rule for pooling opinions. K outputs, logits [B, K].

The modules are in `mmbench_fusion.modules.voting.pools`.
"""

from collections.abc import Mapping
from typing import Any

import mmbench as mb
from mmbench.api.space import Params
from mmbench_fusion.decision import MeanLogits, Tmc


class LearnedVote(mb.Fusion):
    """Weighted vote: each modality's say in each output is learned.

        l_m = W_m x_m + b_m                                   x_m [B, D_m], [B, K]
        a_k = softmax over present m of s_mk                  s_mk learned, 0 at the start, so that it begins as a mean
        l_k = sum over m of a_mk l_mk                         [B, K]

    A missing modality has no vote and the others share its say; with none there the logits are 0.
    """

    name = "learned_vote"
    source = "Kuncheva 2004, Combining Pattern Classifiers"
    level = "decision"

    def supports(self, task: mb.Task) -> str | None:
        return MeanLogits().supports(task)

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules.voting import pools

        return pools.LearnedVote(inputs, width)


class ProductOfExperts(mb.Fusion):
    """Product of experts: probabilities are multiplied, each to the power of how much its modality says of the row.

        p_m  = softmax(W_m x_m + b_m)                         x_m [B, D_m], [B, K]
        a_m  = 1 - H(p_m) / log K                             H the entropy: 1 if certain, 0 if every class is as likely
        l    = sum over present m of a_m log p_m              softmax(l) is the product, made to sum to 1
        loss = CE(l, y) + sum over m of the mean of CE(log p_m, y) over the rows that have m

    The generalised product of arXiv:1410.7827, whose power is the fall in entropy from a prior, here the uniform one.
    There experts are Gaussian processes, each trained by itself; here all are trained at once, with no gradient through
    a_m. A missing modality is no factor; with none there the logits are 0. `weights` are the a_m divided by their sum.
    """

    name = "product_of_experts"
    source = "arXiv:1410.7827"
    level = "decision"

    def supports(self, task: mb.Task) -> str | None:
        return Tmc().supports(task)

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules.voting import pools

        return pools.ProductOfExperts(inputs, width)


class Ecml(mb.Fusion):
    """Evidential conflictive learning (ECML): opinions are averaged, and modalities that contradict each other cost.

        e_m  = softplus(W_m x_m + b_m) >= 0, alpha_m = e_m + 1, S_m = sum of alpha_m       x_m [B, D_m], [B, K]
        e    = mean over present m of e_m                     logits log(e + 1)
        p_m  = alpha_m / S_m, u_m = K / S_m
        C_mn = (sum over k of |p_mk - p_nk|) / 2 * (1 - u_m) (1 - u_n)                     conflict of two opinions
        loss = mean over rows of L(alpha) + mean over present m of L(alpha_m)
               + `conflict` * mean over present m of sum over present n of C_mn / (M' - 1), M' the number present

    L is as in `tmc`, its KL term growing during the first `annealing` of the epochs. Where TMC's evidence can only grow
    with more modalities, an average falls if they disagree in strength. Differs: the paper's aggregation is pair after
    pair, (e_1 + e_2) / 2 and so on, by which the last weighs most; a mean needs no order. A missing modality is left
    out; with none there every class is as likely.
    """

    name = "ecml"
    source = "arXiv:2402.16897"
    level = "decision"
    space = {
        "annealing": mb.Float(0.1, 2.0, log=True, default=0.5),
        "conflict": mb.Float(0.1, 5.0, log=True, default=1.0),
    }

    def supports(self, task: mb.Task) -> str | None:
        return Tmc().supports(task)

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules.voting import pools

        return pools.Ecml(inputs, width, **params)
