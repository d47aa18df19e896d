"""Objectives that keep one modality from doing all the work.

The modules are in `mmbench_objective.modules.balance`. x_m [B, D_m] are pooled features, M the number of modalities.
"""

from collections.abc import Mapping
from typing import Any

import mmbench as mb
from mmbench.api.space import Params


class OgmGe(mb.Objective):
    """On-the-fly gradient modulation with generalisation enhancement (OGM-GE).

        q_m = likelihood of the truth under head_m(x_m)         a linear head for each modality, see below
        s_m = mean of q_m over the rows of the batch that have m
        r_m = s_m / mean of the s_n of the other modalities     1 if there are none
        k_m = 1 - tanh(alpha r_m) where r_m > 1, else 1
        g  <- k_m g + noise * std(g) * N(0, 1)                  for every gradient g of the encoder of m

    For two modalities that is the paper's equation. The likelihood is the softmax's probability of the true class; for
    labels the mean of the sigmoids' probabilities; for a standardised number exp(-(head_m(x_m) - y)^2 / 2). The heads
    stand for the split of the paper's concatenation head, so that any fusion can be balanced: they learn from x_m
    through a loss that stops at x_m, and change the encoders only by k_m. As in the authors' code noise goes only to
    weights of two and more dimensions, not to biases and norms. A modality that a whole batch lacks has k_m = 1.
    """

    name = "ogm_ge"
    source = "arXiv:2203.15332"
    space = {
        "alpha": mb.Float(0.05, 1.0, log=True, default=0.3),
        "noise": mb.Float(0.0, 1.0, default=1.0),
    }

    def supports(self, task: mb.Task) -> str | None:
        if task.target.type == "match":
            return "compares how well each modality alone tells the target, and no side alone tells a match"
        if task.target.type == "text":
            return "asks a linear layer of each modality for the target, and none writes a text"
        if task.target.form not in ("label", "labels", "number"):
            return f"knows how likely a label, labels or a number are, not a {task.target.type}"
        return _needs_two(task)

    def build(self, inputs: Mapping[str, mb.FeatureSpec], outputs: int, params: Params) -> Any:
        from mmbench_objective.modules import balance

        return balance.OgmGe(inputs, outputs, **params)


class ModalityDropout(mb.Objective):
    """Modality dropout: in training each row loses each modality with probability p, but never all it has.

        u_m ~ uniform(0, 1); m stays if u_m >= p, or if no present modality of the row does and its u_m is the largest

    A modality that is dropped looks like a missing one: zero tokens, an empty mask, zero inner layers.
    """

    name = "modality_dropout"
    source = "arXiv:1501.00102"
    space = {"p": mb.Float(0.05, 0.6, default=0.2)}

    def supports(self, task: mb.Task) -> str | None:
        if task.target.type == "match":
            return "drops sides at random, and a match needs both sides"
        return _needs_two(task)

    def build(self, inputs: Mapping[str, mb.FeatureSpec], outputs: int, params: Params) -> Any:
        from mmbench_objective.modules import balance

        return balance.ModalityDropout(inputs, **params)


def _needs_two(task: mb.Task) -> str | None:
    return "needs at least two modalities" if len(task.modalities) < 2 else None
