"""AdamW (arXiv:1711.05101) by torch's fused kernel, without what `torch.optim` puts around it.

For a model of fifty small tensors `torch.optim.AdamW(fused=True)` takes four times as long a step as the kernel itself,
and its first use imports torch's compiler, which takes a process seconds. Used by train; `update` by cohort too.
"""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor

BETAS, EPSILON = (0.9, 0.999), 1e-8


class AdamW:
    """Updates `parameters` in place; one that has no gradient is left alone, and so is its state."""

    def __init__(self, parameters: Iterable[Tensor], *, weight_decay: float) -> None:
        self.parameters, self.weight_decay = list(parameters), weight_decay
        self._first = [torch.zeros_like(p) for p in self.parameters]
        self._second = [torch.zeros_like(p) for p in self.parameters]
        self._steps = [torch.zeros((), device=p.device) for p in self.parameters[:1]] * len(self.parameters)

    def forget(self) -> None:
        """Let go of the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, lr: float) -> None:
        rows = [i for i, parameter in enumerate(self.parameters) if parameter.grad is not None]
        if not rows:
            return
        if len(rows) < len(self.parameters):  # from here on each counts for itself
            self._steps = [step.clone() for step in self._steps]
        # Parameters that always step together share a count: to count in fifty takes as long as the rest.
        torch._foreach_add_(list({id(step): step for step in (self._steps[i] for i in rows)}.values()), 1.0)
        update(
            [self.parameters[i] for i in rows],
            [cast(Tensor, self.parameters[i].grad) for i in rows],
            [self._first[i] for i in rows],
            [self._second[i] for i in rows],
            [self._steps[i] for i in rows],
            lr=lr,
            weight_decay=self.weight_decay,
        )


def update(
    parameters: list[Tensor],
    gradients: list[Tensor],
    first: list[Tensor],
    second: list[Tensor],
    steps: list[Tensor],
    *,
    lr: float,
    weight_decay: float,
) -> None:
    """One step in place, of the parameters and their two moments; `steps` says how many each has taken with this."""
    torch._fused_adamw_(
        parameters,
        gradients,
        first,
        second,
        [],
        steps,
        lr=lr,
        beta1=BETAS[0],
        beta2=BETAS[1],
        weight_decay=weight_decay,
        eps=EPSILON,
        amsgrad=False,
        maximize=False,
    )
