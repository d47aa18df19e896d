"""Objectives that begin with a linear head for each modality. The modules are in `mmbench_objective.modules.heads`.

x_m [B, D_m] are pooled features, M the number of modalities, h_m(x_m) = W_m x_m + b_m [B, outputs], and error the
task's usual loss of a row: cross-entropy; of labels the mean of the binary ones; of a standardised number the squared
error. A row that lacks m takes no part in what is said of m.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import mmbench as mb
from mmbench.api.space import Params
from mmbench_objective.fits import needs_modalities, needs_target

WEIGHT = mb.Float(0.05, 2.0, log=True, default=0.5)


class _Heads(mb.Objective):
    kinds: ClassVar[tuple[str, ...]] = ()
    module: ClassVar[str]

    def supports(self, task: mb.Task) -> str | None:
        return needs_modalities(task) or needs_target(task, *self.kinds)

    def build(self, inputs: Mapping[str, mb.FeatureSpec], outputs: int, params: Params) -> Any:
        from mmbench_objective.modules import heads

        return getattr(heads, self.module)(inputs, outputs, **params)


class AuxiliaryHeads(_Heads):
    """Auxiliary heads: each modality alone must tell the target, too.

        loss = weight * sum over m of mean over rows of error(h_m(x_m), y)

    The encoders learn from it as from the task's loss. The heads are left out of the decision.
    """

    name = "auxiliary_heads"
    source = "arXiv:1905.12681"
    module = "AuxiliaryHeads"
    space = {"weight": mb.Float(0.05, 2.0, log=True, default=1.0)}


class Consistency(_Heads):
    """Cross-modal consistency: the modalities' own predictions must agree.

        loss = weight * sum over m of error(h_m(x_m), y) + weight * mean over rows of D
        D = H(mean over m of p_m) - mean over m of H(p_m)       p_m = softmax(h_m(x_m)): Jensen-Shannon
        D = the same of each label's two sides, their mean      p_m = sigmoid(h_m(x_m))
        D = the variance over m of h_m(x_m)                     of a number

    Rows with fewer than two modalities have no D.
    """

    name = "consistency"
    source = "doi:10.1145/279943.279962"
    module = "Consistency"
    space = {"weight": WEIGHT}


class MMCosine(_Heads):
    """Multi-modal cosine loss: no modality may win by large features or weights.

        loss = weight * mean over rows of error(scale * sum over m of cos(W_m, x_m), y)         W_m [outputs, D_m]

    In the paper these cosines are the decision; here they are a loss beside the task's, so that any fusion decides. A
    missing modality adds 0.
    """

    name = "mmcosine"
    source = "arXiv:2303.05338"
    kinds = ("label",)
    module = "MMCosine"
    space = {
        "weight": mb.Float(0.05, 2.0, log=True, default=1.0),
        "scale": mb.Float(1.0, 30.0, log=True, default=10.0),
    }


class CML(_Heads):
    """Calibrated multimodal learning: with less to go by nobody is surer.

        loss = sum over m of error(h_m(sg(x_m)), y) + weight * mean of max(0, c(h_m(sg(x_m))) - c(z))
        c(z) = max over classes of softmax(z)                   z the logits of all modalities, sg stops the gradient

    The paper asks the model itself with some modalities left out; here a head stands for what one modality alone would
    say, so that each fusion runs once a step. Rows with one modality count in the first term alone.
    """

    name = "cml"
    source = "arXiv:2306.01265"
    kinds = ("label",)
    module = "CML"
    space = {"weight": mb.Float(0.01, 2.0, log=True, default=0.1)}


class MutualDistillation(_Heads):
    """Mutual distillation: the fusion teaches each modality's head, and their mean teaches the fusion.

        loss = sum over m of error(h_m(x_m), y) + weight T^2 mean over rows of
               (mean over m of KL(sg(p) || p_m) + KL(sg(mean over m of p_m) || p))
        p = softmax(z / T), p_m = softmax(h_m(x_m) / T)         z the model's logits, sg stops the gradient

    All learn at once, as in deep mutual learning; the modalities have no models of their own, trained before (UMT).
    """

    name = "mutual_distillation"
    source = "arXiv:1706.00384"
    kinds = ("label",)
    module = "MutualDistillation"
    space = {
        "weight": WEIGHT,
        "temperature": mb.Float(1.0, 5.0, default=2.0),
    }
