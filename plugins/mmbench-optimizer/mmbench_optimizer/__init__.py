"""Built-in optimizers and schedules: how weights move, and how the learning rate does.

The equations are here; the kernels that many tensors share are torch's (`mmbench.api.torch_private`).
"""

import mmbench as mb
from mmbench_optimizer.optimizers import SGD, Adagrad, Adam, AdamW
from mmbench_optimizer.schedules import Constant, Cosine, Linear, OneCycle


@mb.hookimpl
def mmbench_optimizers() -> list[type[mb.Optimizer]]:
    return [AdamW, Adam, SGD, Adagrad]


@mb.hookimpl
def mmbench_schedules() -> list[type[mb.Schedule]]:
    return [Constant, Linear, Cosine, OneCycle]
