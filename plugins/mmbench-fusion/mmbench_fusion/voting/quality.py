"""Fusions of decisions that weigh each modality by how sure it is of a row. K classes, logits [B, K].

The modules are in `mmbench_fusion.modules.voting.quality`.
"""

from collections.abc import Mapping
from typing import Any

import mmbench as mb
from mmbench.api.space import Params


def _misfit(task: mb.Task) -> str | None:
    if task.target.type != "label":
        return f"how sure a modality is, is read off its classes' probabilities, not off {task.target.type}"
    return None


class Qmf(mb.Fusion):
    """Quality-aware fusion (QMF): the energy of a modality's logits is how much it counts, row by row.

        l_m  = W_m x_m + b_m                                         x_m [B, D_m], [B, K]
        w_m  = log sum over k of exp(l_mk) / 10                      [B], minus the energy
        l    = sum over present m of w_m l_m, no gradient through w_m
        loss = CE(l, y) + sum over m of the mean of CE(l_m, y) + `ranking` * sum over m of R_m
        R_m  = mean over rows i of max(0, |q_i - q_j| - sign(q_i - q_j) (w_mi - w_mj))      j the row after i

    over the rows that have m, so that w_m is larger where m is right. q_i is how well m did on row i: in the paper
    by its loss over all epochs so far, for which rows need names; here its probability of the true class now, without
    a gradient. A missing modality has no vote; with none there the logits are 0.
    """

    name = "qmf"
    source = "arXiv:2306.02050"
    level = "decision"
    space = {"ranking": mb.Float(0.01, 1.0, log=True, default=0.1)}

    def supports(self, task: mb.Task) -> str | None:
        return _misfit(task)

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules.voting import quality

        return quality.Qmf(inputs, width, **params)


class Pdf(mb.Fusion):
    """Predictive dynamic fusion (PDF): the weights are predicted from how likely each modality is to be right.

        l_m  = W_m x_m + b_m, p_m = softmax(l_m)                     x_m [B, D_m], [B, K]
        c_m  = sigmoid(C_m x_m + d_m)                                mono-confidence: the predicted p_my, [B]
        o_m  = sum over n other than m of log c_n / sum over all n of log c_n         holo-confidence, from the others
        u_m  = mean over k of |p_mk - 1 / K|                         how far from uniform
        r_m  = min(1, u_m / mean over n other than m of u_n)         relative calibration
        w    = softmax over present m of r_m (c_m + o_m)             co-belief, no gradient through it
        l    = sum over m of w_m l_m                                 [B, K]
        loss = CE(l, y) + sum over m of the mean of CE(l_m, y) + (c_m - p_my)^2, p_my without a gradient

    n runs over the present modalities. The paper has two; means and sums over more of them are ours, and where a
    modality is alone o_m = 0 and r_m = 1. A missing one has no vote; with none there the logits are 0.
    """

    name = "pdf"
    source = "arXiv:2406.04802"
    level = "decision"

    def supports(self, task: mb.Task) -> str | None:
        return _misfit(task)

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules.voting import quality

        return quality.Pdf(inputs, width)
