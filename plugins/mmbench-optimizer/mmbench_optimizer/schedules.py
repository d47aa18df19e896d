"""Schedules: constant, linear, cosine, one cycle. Each begins with a linear warm-up.

In the equations p is the progress, w the share of the training that is warm-up, and q = (p - w) / (1 - w) the share of
the rest that is done. During warm-up the factor is p / w. No factor is below 1/1000, so that no step is for nothing.
"""

import math

import mmbench as mb
from mmbench.api.space import Params

LEAST = 1e-3
WARM_UP = mb.Float(0.0, 0.5, default=0.05, searched=False)


class _Warmed(mb.Schedule):
    """A linear warm-up, then what `after` says."""

    space = {"warm_up": WARM_UP}

    def factor(self, progress: float, params: Params) -> float:
        warm = params["warm_up"]
        found = progress / warm if progress < warm else self.after(progress - warm, 1 - warm)
        return max(found, LEAST)

    def after(self, done: float, whole: float) -> float:
        """The factor when `done` of `whole`, which is all but the warm-up, is done."""
        raise NotImplementedError


class Constant(_Warmed):
    """The same learning rate all the time.

    f = 1
    """

    name = "constant"

    def after(self, done: float, whole: float) -> float:
        return 1.0


class Linear(_Warmed):
    """A straight line down to zero.

    f = 1 - q
    """

    name = "linear"

    def after(self, done: float, whole: float) -> float:
        return 1 - done / whole


class Cosine(_Warmed):
    """Half a cosine down to zero, without restarts.

    f = (1 + cos(pi q)) / 2
    """

    name = "cosine"
    source = "arXiv:1608.03983"
    usual = True

    def after(self, done: float, whole: float) -> float:
        return 0.5 * (1 + math.cos(math.pi * done / whole))


class OneCycle(mb.Schedule):
    """One cycle: half a cosine up from 1/25 in the warm-up, then half a cosine down to nearly zero.

        f = 1 - 24/25 (1 + cos(pi p / w)) / 2       while p < w
        f = (1 + cos(pi q)) / 2                     then

    Its warm-up is long, for a learning rate that is larger than could be begun with. The momentum stays as it is.
    """

    name = "one_cycle"
    source = "arXiv:1708.07120"
    space = {"warm_up": mb.Float(0.05, 0.5, default=0.3, searched=False)}

    def factor(self, progress: float, params: Params) -> float:
        warm = params["warm_up"]
        if progress < warm:
            return 1 - 0.96 * 0.5 * (1 + math.cos(math.pi * progress / warm))
        return max(0.5 * (1 + math.cos(math.pi * (progress - warm) / (1 - warm))), LEAST)
