"""Fusions of decisions that train each modality by its own loss. K outputs, logits [B, K].

The modules are in `mmbench_fusion.modules.ensemble`.
"""

from collections.abc import Mapping
from typing import Any

import mmbench as mb
from mmbench.api.space import Params
from mmbench_fusion.decision import Tmc


class Ume(mb.Fusion):
    """Unimodal ensemble (UME): modalities that learn separately, and the mean of what they say.

        l_m  = W_m x_m + b_m                                      x_m [B, D_m], W_m [K, D_m]
        l    = mean over present m of l_m                         [B, K]
        loss = sum over m of the mean over the rows that have m of loss(l_m, y)      in place of the task's

    where loss is the cross-entropy for a label, the binary one for labels, the squared error for a number. No gradient
    passes from one modality to another: encoders and heads are as if each had been trained by itself. A missing
    modality has no vote; with none there the logits are 0. What only the modalities together say, as an exclusive or,
    it can't learn: the strongest simple baseline where each of them says something.
    """

    name = "ume"
    source = "arXiv:2305.01233"
    level = "decision"

    def supports(self, task: mb.Task) -> str | None:
        if task.target.type not in ("label", "labels", "number"):
            return f"each modality must be able to decide alone: classes, labels or a number, not {task.target.type}"
        return None

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules import ensemble

        return ensemble.Ume(inputs, width)


class Etmc(mb.Fusion):
    """Enhanced trusted multi-view classification (ETMC): TMC with one more view, all features joined.

        e_m = softplus(W_m x_m + b_m) for each modality, and e_0 = softplus(W_0 [x_1; ...; x_M] + b_0), [B, K]
        1 + e / K = (1 + e_0 / K) * (1 + e_1 / K) * ... * (1 + e_M / K)          Dempster's rule, as in `tmc`
        loss = mean over rows of L(alpha) + L(alpha_0) + sum over present m of L(alpha_m)        L as in `tmc`

    A missing modality is the vacuous opinion, and zeros in the joined view; with none there e_0 is vacuous, too.
    """

    name = "etmc"
    source = "arXiv:2204.11423"
    level = "decision"
    space = {"annealing": mb.Float(0.1, 2.0, log=True, default=0.5)}

    def supports(self, task: mb.Task) -> str | None:
        return Tmc().supports(task)

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules import ensemble

        return ensemble.Etmc(inputs, width, **params)
