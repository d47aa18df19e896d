"""Optimizers and schedules: how weights are updated.

Both are functions of what they are given. The engine keeps an optimizer's state, counts steps and moves the learning
rate, for one model or for many that train as one program.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from mmbench.api.parts.part import Part
from mmbench.api.space import Params

if TYPE_CHECKING:
    from torch import Tensor


class Optimizer(Part):
    """Updates weights from their gradients.

    `space` has "lr", the learning rate, whose factor over the training is the schedule's; where it has "weight_decay",
    parameters that are not to decay get 0. The others are the optimizer's own.
    """

    role = "optimizer"
    elementwise: ClassVar[bool] = True
    """Whether each weight is updated by its own gradient and state alone, so that parameters may be given end to end as
    one long vector. False for what looks at a parameter's shape or norm."""
    decoupled: ClassVar[bool] = False
    """Whether all that "weight_decay" does is w <- (1 - lr d) w before the step."""
    cohort: ClassVar[bool] = True
    """Whether it may train many configurations in one program."""

    @property
    def about(self) -> str:
        return "taken where none is named" if self.usual else ""

    def state(self, parameter: "Tensor", params: Params) -> "dict[str, Tensor]":
        """What is kept of one parameter between its steps, as it is before the first."""
        return {}

    def update(
        self,
        parameters: "list[Tensor]",
        gradients: "list[Tensor]",
        state: "Mapping[str, list[Tensor]]",
        steps: "list[Tensor]",
        params: Params,
    ) -> None:
        """One step in place, of the parameters and their state; the gradients are left alone.

        The lists have one entry a parameter, those of `state` under the names that `state` gave. steps: how many each
        has taken, this one too, float32 scalars, of which several may be one and the same. params: the configuration,
        "lr" as it is in this step. Called without gradients being recorded.
        """
        raise NotImplementedError


class Schedule(Part):
    """Changes the learning rate over a training."""

    role = "schedule"

    @property
    def about(self) -> str:
        return "taken where none is named" if self.usual else ""

    def factor(self, progress: float, params: Params) -> float:
        """What the learning rate is multiplied by: a number from 0 to 1.

        progress: the share of all steps that are done, from 0 to below 1. All steps are those of the epochs that the
        suite allows, also where training ends earlier.
        """
        raise NotImplementedError
