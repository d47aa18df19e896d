"""Strategies that balance modalities by their steps, gradients or presence.

The modules are in `mmbench_objective.modules.strategies`. h_m are linear heads of the pooled features x_m [B, D_m], and
error the task's usual loss of a row, as in `mmbench_objective.heads`; M is the number of modalities.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import mmbench as mb
from mmbench.api.space import Params
from mmbench_objective.fits import needs_modalities, needs_target

RATE = mb.Float(0.1, 10.0, log=True, default=1.0)


class _Strategy(mb.Objective):
    kinds: ClassVar[tuple[str, ...]] = ()
    module: ClassVar[str]

    def supports(self, task: mb.Task) -> str | None:
        return needs_modalities(task) or needs_target(task, *self.kinds)

    def build(self, inputs: Mapping[str, mb.FeatureSpec], outputs: int, params: Params) -> Any:
        from mmbench_objective.modules import strategies

        return getattr(strategies, self.module)(inputs, outputs, **params)


class ModalityRates(_Strategy):
    """A learning rate for each modality: each encoder's, beside the one of all, is tuned.

        the step of the encoder of m is multiplied by rate_m

    Modalities go by the alphabet: the first has rate 1, the others `second`, `third` and `fourth`. Under every
    optimizer that is what another learning rate would do, its weight decay included. At the default nothing changes.
    """

    name = "modality_rates"
    source = "https://aclanthology.org/2022.findings-acl.143"
    module = "ModalityRates"
    space = {"second": RATE, "third": RATE, "fourth": RATE}

    def supports(self, task: mb.Task) -> str | None:
        return "has rates for four modalities" if len(task.modalities) > 4 else needs_modalities(task)


class AGM(_Strategy):
    """Adaptive gradient modulation: an encoder whose lead over the others grows moves less.

        s_m = mean over rows of log p(y | h_m(sg(x_m)))
        r_m = exp(s_m - mean of the s_n of the other modalities)
        the step of the encoder of m is multiplied by exp(- alpha (r_m - t_m)), at most `most`
        t_m = the mean of r_m over all steps so far, this one too
        loss = sum over m of error(h_m(sg(x_m)), y)             sg stops the gradient

    The paper takes a modality's own part out of any model by Shapley values, with the others' inputs zero; here a head
    stands for it. The factor is on the step, not on the gradient, which AdamW would divide out again. Log-likelihoods
    are minus the error.
    """

    name = "agm"
    source = "arXiv:2308.07686"
    module = "AGM"
    space = {
        "alpha": mb.Float(0.1, 4.0, log=True, default=1.0),
        "most": mb.Float(1.0, 4.0, default=2.0, searched=False),
    }


class PMR(_Strategy):
    """Prototypical modality rebalance: the weaker modality is drawn to the prototypes of its classes.

        q_m = softmax over c of - |x_m - P_m,c|                 P_m [C, D_m] the prototypes
        s_m = mean over rows of q_m of the true class, r_m = s_m / mean of the s_n of the other modalities
        loss = alpha sum over m of clip(1 / r_m - 1, 0, 1) * mean of - log q_m,y
               - mu sum over m of clip(r_m - 1, 0, 1) * mean of H(q_m)          in the first `early` share of the epochs
        P_m,c <- momentum P_m,c + (1 - momentum) * mean of the batch's x_m of class c

    The authors compute the prototypes anew before each epoch, from part of train; here they follow the batches. A class
    that was not seen yet has no prototype.
    """

    name = "pmr"
    source = "arXiv:2211.07089"
    kinds = ("label",)
    module = "PMR"
    space = {
        "alpha": mb.Float(0.1, 3.0, log=True, default=1.0),
        "mu": mb.Float(0.001, 0.1, log=True, default=0.01),
        "momentum": mb.Float(0.0, 0.99, default=0.9, searched=False),
        "early": mb.Float(0.0, 1.0, default=0.2, searched=False),
    }


class Alternating(_Strategy):
    """Alternating steps: with a probability of `share` a step sees one modality only, one as likely as another.

        in such a step a row keeps m alone, if it has m, else all it has

    It is the alternation of MLA, for any fusion: without its projection of the shared head's gradients and its weights
    at test. The encoders of the others get no gradient but zero, so that AdamW moves them by what it remembers.
    """

    name = "alternating"
    source = "arXiv:2311.10707"
    module = "Alternating"
    space = {"share": mb.Float(0.1, 0.9, default=0.5)}

    def supports(self, task: mb.Task) -> str | None:
        if task.target.type == "match":
            return "leaves out sides, and a match needs both sides"
        return needs_modalities(task)


class OPM(_Strategy):
    """On-the-fly prediction modulation: the stronger a modality leads, the more rows lose it.

        s_m = mean likelihood of the truth under h_m(sg(x_m)),  r_m = s_m / mean of the s_n of the other modalities
        q_m = base (1 + lambda tanh(r_m - 1)), at most 1, where r_m > 1, else 0
        each row loses m with the probability q_m of the step before, but never all it has
        loss = sum over m of error(h_m(sg(x_m)), y)             sg stops the gradient

    The likelihood is that of `ogm_ge`. A modality that is dropped looks like a missing one.
    """

    name = "opm"
    source = "arXiv:2410.11582"
    module = "OPM"
    space = {
        "base": mb.Float(0.05, 0.8, default=0.3),
        "strength": mb.Float(0.1, 2.0, default=0.5),
    }


class MMPareto(_Strategy):
    """MMPareto: the gradients of the task and of a modality's own head are joined so that neither is worked against.

        g = d task / d x_m,  u = d error(h_m(x_m), y) / d x_m                           [B, T, D_m], as one vector
        a = the share that makes |a g + (1 - a) u| smallest, in 0..1, if g . u < 0, else 1/2
        d = 2 a g + 2 (1 - a) u
        the encoder of m learns by gamma d |g + u| / |d|                                the authors' gamma is 1.5

    The gradients are those at the encoder's output, an upper bound of those at its parameters (arXiv:1810.04650), which
    saves a backward pass for each modality. gamma above 1 is a larger learning rate of the encoders, therefore 1 is the
    default. The task's part is the usual error of the logits, also where a fusion has a loss of its own. It
    differentiates inside a step, which no cohort can.
    """

    name = "mmpareto"
    source = "arXiv:2405.17730"
    cohort = False
    module = "MMPareto"
    space = {"gamma": mb.Float(1.0, 2.0, default=1.0)}
