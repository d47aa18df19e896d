"""What `mmbench new` writes for an optimizer, a schedule and a compressor, where $name and $title are filled in."""

OPTIMIZER = '''\
"""The optimizer `$name`: change the equation, the space and this text into yours."""

import mmbench as mb
import torch


class $title(mb.Optimizer):
    """The sign of a mean of gradients (Lion).

    w <- (1 - lr d) w - lr sign(b1 m + (1 - b1) g)
    m <- b2 m + (1 - b2) g

    w is a weight, g its gradient, d the weight decay.
    """

    name = "$name"
    source = "arXiv:2302.06675"  # where it was published: a DOI, an arXiv id or an address
    space = {
        "lr": mb.Float(3e-5, 1e-2, log=True, default=3e-4),  # what it is multiplied by in each step the schedule says
        "weight_decay": mb.Float(1e-4, 1.0, log=True, default=1e-1),
        "beta1": mb.Float(0.5, 0.99, default=0.9, searched=False),  # stays at its default unless a suite opens it
        "beta2": mb.Float(0.5, 0.999, default=0.99, searched=False),
    }

    def state(self, parameter, params):  # what is kept of each parameter, before its first step
        return {"mean": torch.zeros_like(parameter)}

    def update(self, parameters, gradients, state, steps, params):  # in place, but for the gradients
        for weight, slope, mean in zip(parameters, gradients, state["mean"]):
            weight.mul_(1 - params["lr"] * params["weight_decay"])
            weight.sub_(params["lr"] * mean.lerp(slope, 1 - params["beta1"]).sign())
            mean.lerp_(slope, 1 - params["beta2"])


@mb.hookimpl
def mmbench_optimizers():
    return [$title]
'''

SCHEDULE = '''\
"""The schedule `$name`: change the equation, the space and this text into yours."""

import math

import mmbench as mb


class $title(mb.Schedule):
    """The inverse square root of the steps that are done, after a warm-up of a share w of the training.

    f = min(p / w, sqrt(w / p)),  p the progress
    """

    name = "$name"
    source = "arXiv:1706.03762"  # where it was published: a DOI, an arXiv id or an address
    space = {"warm_up": mb.Float(0.01, 0.5, default=0.1, searched=False)}  # at its default unless a suite opens it

    def factor(self, progress, params):  # from 0 to below 1; gives what the learning rate is multiplied by
        warm = params["warm_up"]
        return max(progress / warm, 1e-3) if progress < warm else math.sqrt(warm / progress)


@mb.hookimpl
def mmbench_schedules():
    return [$title]
'''

CONTENDER = """
[[contender]]
name = "concat by $name"
fusion = "concat"
$role = "$name"
"""

COMPRESSOR = '''\
"""The compressor `$name`: change the equation, the space and this text into yours."""

import mmbench as mb


class $title(mb.Compressor):
    """Sets the smallest weights of each matrix to zero.

    w <- w [|w| > q],  q the value that a share of the matrix's |w| do not exceed
    """

    name = "$name"
    source = "arXiv:1506.02626"  # where it was published: a DOI, an arXiv id or an address
    space = {"share": mb.Float(0.1, 0.95, default=0.5)}

    def compress(self, model, params):  # the model is yours to change: encoders, fusion and head
        for weight in model.parameters():
            if weight.ndim > 1:
                size = weight.abs().flatten()
                least = size.kthvalue(max(1, int(params["share"] * len(size)))).values
                weight.mul_(weight.abs() > least)
        return model


@mb.hookimpl
def mmbench_compressors():
    return [$title]
'''

DERIVED = """
[[contender]]
name = "concat by $name"
of = "concat"
compressor = "$name"
"""
