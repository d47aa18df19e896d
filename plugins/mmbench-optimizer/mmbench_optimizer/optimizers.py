"""AdamW, Adam, gradient descent with momentum, Adagrad.

In the equations w is a weight, g its gradient, t the number of its steps, this one too, and d the weight decay.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import mmbench as mb
from mmbench.api import torch_private as kernels
from mmbench.api.space import Params

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-8
LR, DECAY = (1e-8, 100.0), (0.0, 10.0)
"""What a suite may ask for beyond what is searched."""
BETAS = {
    "beta1": mb.Float(0.8, 0.99, default=0.9, searched=False, within=(0.0, 0.9999)),
    "beta2": mb.Float(0.9, 0.9999, default=0.999, searched=False, within=(0.0, 0.999999)),
}


class _Moments(mb.Optimizer):
    """The state of what keeps a mean of gradients and one of their squares."""

    def state(self, parameter: "Tensor", params: Params) -> "dict[str, Tensor]":
        import torch

        return {"first": torch.zeros_like(parameter), "second": torch.zeros_like(parameter)}


class AdamW(_Moments):
    """Adam with decoupled weight decay.

        m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g^2
        w <- (1 - lr d) w - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + 1e-8)

    The decay is no part of the gradient, so that the second moment does not undo it.
    """

    name = "adamw"
    source = "arXiv:1711.05101"
    usual = True
    decoupled = True
    space = {
        "lr": mb.Float(3e-4, 1e-2, log=True, default=2e-3, within=LR),
        "weight_decay": mb.Float(1e-5, 0.3, log=True, default=1e-2, within=DECAY),
        **BETAS,
    }

    def update(
        self,
        parameters: "list[Tensor]",
        gradients: "list[Tensor]",
        state: "Mapping[str, list[Tensor]]",
        steps: "list[Tensor]",
        params: Params,
    ) -> None:
        kernels.adamw(
            parameters,
            gradients,
            state["first"],
            state["second"],
            steps,
            lr=params["lr"],
            betas=(params["beta1"], params["beta2"]),
            weight_decay=params["weight_decay"],
            epsilon=EPSILON,
        )


class Adam(_Moments):
    """Adaptive moments.

        g <- g + d w
        m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g^2
        w <- w - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + 1e-8)

    The decay is part of the gradient, as in torch: weights of large gradients decay less. `adamw` is without that.
    """

    name = "adam"
    source = "arXiv:1412.6980"
    space = {
        "lr": mb.Float(3e-4, 1e-2, log=True, default=2e-3, within=LR),
        "weight_decay": mb.Float(1e-7, 1e-2, log=True, default=1e-5, within=DECAY),
        **BETAS,
    }

    def update(
        self,
        parameters: "list[Tensor]",
        gradients: "list[Tensor]",
        state: "Mapping[str, list[Tensor]]",
        steps: "list[Tensor]",
        params: Params,
    ) -> None:
        kernels.adam(
            parameters,
            gradients,
            state["first"],
            state["second"],
            steps,
            lr=params["lr"],
            betas=(params["beta1"], params["beta2"]),
            weight_decay=params["weight_decay"],
            epsilon=EPSILON,
        )


class SGD(mb.Optimizer):
    """Stochastic gradient descent with momentum, Nesterov's unless told otherwise.

    g <- g + d w
    u <- momentum u + g
    w <- w - lr (g + momentum u)        Nesterov's
    w <- w - lr u                       the plain one
    """

    name = "sgd"
    source = "https://proceedings.mlr.press/v28/sutskever13.html"
    space = {
        "lr": mb.Float(1e-3, 1.0, log=True, default=0.05, within=LR),
        "weight_decay": mb.Float(1e-6, 1e-2, log=True, default=1e-4, within=DECAY),
        "momentum": mb.Float(0.0, 0.99, default=0.9, within=(0.0, 0.9999)),
        "nesterov": mb.Choice((True, False), default=True, structural=False, searched=False),
    }

    def state(self, parameter: "Tensor", params: Params) -> "dict[str, Tensor]":
        import torch

        return {"velocity": torch.zeros_like(parameter)}

    def update(
        self,
        parameters: "list[Tensor]",
        gradients: "list[Tensor]",
        state: "Mapping[str, list[Tensor]]",
        steps: "list[Tensor]",
        params: Params,
    ) -> None:
        kernels.sgd(
            parameters,
            gradients,
            state["velocity"],
            lr=params["lr"],
            momentum=params["momentum"],
            nesterov=params["nesterov"],
            weight_decay=params["weight_decay"],
        )


class Adagrad(mb.Optimizer):
    """Adaptive gradients: each weight's steps shrink with the squares of all its gradients so far.

    g <- g + d w
    s <- s + g^2
    w <- w - lr g / (sqrt(s) + 1e-10)
    """

    name = "adagrad"
    source = "https://jmlr.org/papers/v12/duchi11a.html"
    space = {
        "lr": mb.Float(1e-3, 0.3, log=True, default=0.03, within=LR),
        "weight_decay": mb.Float(1e-7, 1e-2, log=True, default=1e-5, within=DECAY),
    }

    def state(self, parameter: "Tensor", params: Params) -> "dict[str, Tensor]":
        import torch

        return {"sum": torch.zeros_like(parameter)}

    def update(
        self,
        parameters: "list[Tensor]",
        gradients: "list[Tensor]",
        state: "Mapping[str, list[Tensor]]",
        steps: "list[Tensor]",
        params: Params,
    ) -> None:
        kernels.adagrad(
            parameters,
            gradients,
            state["sum"],
            steps,
            lr=params["lr"],
            weight_decay=params["weight_decay"],
            epsilon=1e-10,
        )
