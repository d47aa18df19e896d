"""The contract of an encoder can fail: each rule turns red on an encoder that breaks it, and no rule on a sound one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mmbench as mb
from mmbench.testing.encoder import EncoderContract

KEPT: list[nn.Module] = []


class Net(nn.Module):
    """One dense layer on each step: as little as an encoder's module can be."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(3, 4)

    def forward(self, arrays: dict[str, Tensor]) -> Any:
        return mb.Features(self.dense(arrays["steps"]), arrays.get("mask"))


class Sound(mb.Encoder):
    """A sound encoder, in the sense of faultless.

    Each of up to 80 steps of the series is a token.
    """

    name = "sound"
    kind = "series"
    space: ClassVar[Mapping[str, Any]] = {"size": mb.Int(1, 3, default=1)}
    module: ClassVar[Callable[[], nn.Module]] = Net

    def fit(self, column: Sequence[Any], params: Mapping[str, Any]) -> dict[str, Any]:
        return {"scale": np.ones(3)}

    def transform(self, state: Mapping[str, Any], column: Sequence[Any]) -> dict[str, Any]:
        steps, mask = np.zeros((len(column), 80, 3), np.float32), np.zeros((len(column), 80), bool)
        for row, value in enumerate(column):
            steps[row, : len(value)] = np.clip(value / state["scale"], -9, 9)[:80]
            mask[row, : max(1, len(value))] = True
        return {"steps": steps, "mask": mask}

    def build(self, state: Mapping[str, Any], params: Mapping[str, Any]) -> nn.Module:
        return type(self).module()


class Nameless(Sound):
    __doc__ = "One line"


class Chance(Sound):
    def fit(self, column: Sequence[Any], params: Mapping[str, Any]) -> dict[str, Any]:
        return {"scale": np.random.normal(size=3)}


class Unstorable(Sound):
    def fit(self, column: Sequence[Any], params: Mapping[str, Any]) -> dict[str, Any]:
        return {"scale": np.ones(3), "seen": {1, 2}}


class ChangesValues(Sound):
    def fit(self, column: Sequence[Any], params: Mapping[str, Any]) -> dict[str, Any]:
        column[0][0] = 0
        return {"scale": np.ones(3)}


class LooksAround(Sound):
    def transform(self, state: Mapping[str, Any], column: Sequence[Any]) -> dict[str, Any]:
        arrays = super().transform(state, column)
        return {**arrays, "steps": arrays["steps"] - arrays["steps"].mean((0, 1))}


class Infinite(Sound):
    def transform(self, state: Mapping[str, Any], column: Sequence[Any]) -> dict[str, Any]:
        arrays = super().transform(state, column)
        return {**arrays, "steps": np.where(arrays["steps"] == 0, np.nan, arrays["steps"])}


class Wild(Sound):
    def transform(self, state: Mapping[str, Any], column: Sequence[Any]) -> dict[str, Any]:
        arrays = super().transform(state, column)
        wild = np.array([np.abs(value).max(initial=0) > 1e9 for value in column])
        arrays["steps"][wild] = np.inf
        return arrays


class Empty(Sound):
    def transform(self, state: Mapping[str, Any], column: Sequence[Any]) -> dict[str, Any]:
        arrays = super().transform(state, column)
        arrays["mask"][1] = False
        return arrays


class AugmentsInPlace(Sound):
    def augment(self, arrays: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        arrays["steps"] += torch.randn(arrays["steps"].shape, generator=generator)
        return arrays


class AugmentsByChance(Sound):
    def augment(self, arrays: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        return {**arrays, "steps": arrays["steps"] + torch.randn(arrays["steps"].shape)}


def broken(forward: Callable[[Net, dict[str, Tensor]], Any], prepare: Callable[[Net], None] = lambda net: None) -> Any:
    """An encoder whose module runs `forward`, after `prepare` once it is made."""

    class Module(Net):
        def __init__(self) -> None:
            super().__init__()
            prepare(self)

        def forward(self, arrays: dict[str, Tensor]) -> Any:
            return forward(self, arrays)

    class Part(Sound):
        module = Module

    return Part


def tokens(net: Net, arrays: dict[str, Tensor]) -> Tensor:
    return net.dense(arrays["steps"])  # type: ignore[no-any-return]


def hide(net: Net) -> None:
    net.hidden = [nn.Parameter(torch.ones(4))]  # type: ignore[assignment]


def through_hidden(net: Net, arrays: dict[str, Tensor]) -> mb.Features:
    return mb.Features(tokens(net, arrays) * net.hidden[0], arrays.get("mask"))  # type: ignore[index]


def idle(net: Net) -> None:
    net.idle = nn.Linear(3, 4)


def batch_norm(net: Net) -> None:
    net.norm = nn.BatchNorm1d(4)


def normed(net: Net, arrays: dict[str, Tensor]) -> mb.Features:
    mean = (tokens(net, arrays) * arrays["mask"][..., None]).mean(1)
    return mb.Features(net.norm(mean)[:, None], arrays["mask"].any(1, keepdim=True))  # type: ignore[operator]


def keep(net: Net) -> None:
    KEPT.append(net)


def divided(net: Net, arrays: dict[str, Tensor]) -> mb.Features:
    mean = (tokens(net, arrays) * arrays["mask"][..., None]).sum(1) / arrays["mask"].sum(1, keepdim=True)
    return mb.Features(mean[:, None], arrays["mask"].any(1, keepdim=True))


def remembered(net: Net, arrays: dict[str, Tensor]) -> mb.Features:
    made = tokens(net, arrays)
    if net.training:
        net.shift = made.detach().mean((0, 1))
    return mb.Features(made - getattr(net, "shift", 0.0), arrays.get("mask"))


BROKEN: list[tuple[str, Any]] = [
    ("describes_itself", Nameless),
    ("fit_is_deterministic", Chance),
    ("fit_and_transform_keep_the_values", ChangesValues),
    ("state_can_be_stored", Unstorable),
    ("arrays", Infinite),
    ("arrays", Empty),
    ("extreme_values", Wild),
    ("transform_is_row_wise", LooksAround),
    ("augment", AugmentsInPlace),
    ("augment", AugmentsByChance),
    ("features", broken(lambda net, a: mb.Features(tokens(net, a).mean(1), a["mask"]))),
    ("features", broken(lambda net, a: mb.Features(tokens(net, a), a["mask"].float()))),
    ("features", broken(normed, batch_norm)),
    ("rows_do_not_meet", broken(lambda net, a: mb.Features(tokens(net, a) - tokens(net, a).mean(0), a["mask"]))),
    ("parameters_are_registered", broken(through_hidden, hide)),
    ("parameters_learn", broken(lambda net, a: mb.Features(tokens(net, a), a["mask"]), idle)),
    ("no_mask_is_a_full_one", broken(lambda net, a: mb.Features(tokens(net, a), a["mask"]))),
    ("masked_steps_change_nothing", broken(lambda net, a: tokens(net, a).mean(1))),
    ("a_missing_row_changes_nothing", broken(divided)),
    ("is_deterministic", broken(lambda net, a: tokens(net, a) + torch.randn(4))),
    ("training_ends_in_a_state_dict", broken(remembered)),
    ("trains_in_a_cohort", broken(remembered)),
    ("memory_is_released", broken(lambda net, a: tokens(net, a), keep)),
]


class TestSound(EncoderContract):
    part = Sound


@pytest.mark.parametrize(("rule", "part"), BROKEN)
def test_a_broken_encoder_is_told(rule: str, part: type[mb.Encoder]) -> None:
    contract = type("Contract", (EncoderContract,), {"part": part})()
    with pytest.raises((AssertionError, TypeError, ValueError)):
        getattr(contract, f"test_{rule}")()
