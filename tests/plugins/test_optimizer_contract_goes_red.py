"""Rules of the optimizers' and schedules' contracts can fail: a part that is broken in one place meets them."""

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

import mmbench as mb
from mmbench.api.space import Params
from mmbench.testing.optimizer import OptimizerContract
from mmbench.testing.schedule import ScheduleContract


class BrokenOptimizer(mb.Optimizer):
    """Descends along the mean of two gradients, and is broken in one place."""

    name = "broken"
    space = {"lr": mb.Float(1e-3, 0.1, default=0.01), "weight_decay": mb.Float(0.0, 0.1, default=0.0)}
    decoupled = True
    how: ClassVar[str] = ""
    hidden: ClassVar[dict[int, Tensor]] = {}

    def state(self, parameter: Tensor, params: Params) -> dict[str, Tensor]:
        return {"last": torch.zeros_like(parameter)}

    def update(
        self,
        parameters: list[Tensor],
        gradients: list[Tensor],
        state: Mapping[str, list[Tensor]],
        steps: list[Tensor],
        params: Params,
    ) -> None:
        norm = sum(float(gradient.norm()) for gradient in gradients)
        for i, (parameter, gradient, last) in enumerate(zip(parameters, gradients, state["last"], strict=True)):
            if self.how == "in place":
                gradient.mul_(0.5)
            slope = (gradient + last) / 2
            last.copy_(gradient)
            if self.how == "hidden":
                slope = slope + self.hidden.setdefault(i, torch.zeros(()))
                self.hidden[i] = slope.mean()
            slope = slope / norm if self.how == "all" else slope
            slope = slope / gradient.norm() if self.how == "each" else slope
            slope = -slope if self.how == "uphill" else slope
            if self.how == "still" and parameter.dim() == 1:
                continue
            parameter.mul_(1 - params["lr"] * params["weight_decay"])
            if self.how == "coupled":
                parameter.mul_(1 - params["weight_decay"])
            parameter.sub_(params["lr"] * slope)
            if self.how == "shrinks":
                parameter.mul_(0.999)


@pytest.mark.parametrize(
    ("how", "rule", "message"),
    [
        ("in place", "test_gradients_are_left_alone", "changed in place"),
        ("hidden", "test_all_it_knows_is_in_the_state", "outside of the state"),
        ("all", "test_one_parameter_at_a_time", "not close"),
        ("each", "test_end_to_end", "not close"),
        ("coupled", "test_decay_is_a_step_of_its_own", "not close"),
        ("uphill", "test_learns", "no lower"),
        ("still", "test_settings", "does not move"),
        ("shrinks", "test_a_learning_rate_of_zero", "beside its learning rate"),
    ],
)
def test_a_broken_optimizer(how: str, rule: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: Any = type("Contract", (OptimizerContract,), {"part": BrokenOptimizer})()
    getattr(made, rule)()
    monkeypatch.setattr(BrokenOptimizer, "how", how)
    with pytest.raises(AssertionError, match=message):
        getattr(made, rule)()


def test_an_optimizer_without_a_learning_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BrokenOptimizer, "space", {})
    with pytest.raises(AssertionError, match="lr"):
        type("Contract", (OptimizerContract,), {"part": BrokenOptimizer})().test_describes_itself()


class BrokenSchedule(mb.Schedule):
    """A straight line, broken in one place."""

    name = "broken"
    how: ClassVar[str] = ""
    asked: ClassVar[list[float]] = []

    def factor(self, progress: float, params: Params) -> float:
        self.asked.append(progress)
        if self.how == "kept":
            return 1 / len(self.asked)
        return {"large": 2.0, "small": 0.5, "nothing": progress}.get(self.how, 1.0) * (1 - progress)


@pytest.mark.parametrize(
    ("how", "rule", "message"),
    [
        ("large", "test_factors", "to 2.0"),
        ("small", "test_factors", "never what the search chose"),
        ("kept", "test_depends_on_progress_alone", "between two steps"),
        ("nothing", "test_one_step", "0 at progress 0.0"),
    ],
)
def test_a_broken_schedule(how: str, rule: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: Any = type("Contract", (ScheduleContract,), {"part": BrokenSchedule})()
    getattr(made, rule)()
    monkeypatch.setattr(BrokenSchedule, "how", how)
    with pytest.raises(AssertionError, match=message):
        getattr(made, rule)()
