"""The contract of an optimizer, as tests: inherit the class, name your part, and pytest runs it all.

from mmbench.testing.optimizer import OptimizerContract
from my_optimizer import Mine

class TestMine(OptimizerContract):
    part = Mine
"""

from collections.abc import Sequence
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from mmbench.api.parts.training import Optimizer
from mmbench.api.space import Params, defaults
from mmbench.testing.rules.part import assert_describes_itself, settings

SHAPES = ((6, 4), (4,), (), (3, 2, 5))
STEPS = 12


class OptimizerContract:
    """What every optimizer must hold."""

    part: ClassVar[type[Optimizer]]

    def params(self) -> Params:
        """The configuration that the tests use, unless they try several."""
        return defaults(self.part.space)

    def test_describes_itself(self) -> None:
        """It has a name, a docstring and a space that makes sense, with a learning rate."""
        assert_describes_itself(self.part)
        assert "lr" in self.part.space, 'space needs "lr", whose factor is the schedule\'s'

    def test_settings(self) -> None:
        """Every configuration that the space allows moves every weight, and all stay finite."""
        for params in settings(self.part.space, 5):
            weights = self._weights()
            before = [weight.clone() for weight in weights]
            self._run(weights, params, _slopes(1))
            assert all(weight.isfinite().all() for weight in weights), params
            assert not any(map(torch.equal, weights, before)), f"a weight does not move with {params}"

    def test_learns(self) -> None:
        """From its default configuration it comes down a bowl, sum of (w - 1)^2 / 2, most of what it can."""
        weights, params = self._weights(), self.params()
        state = self._state(weights, params)

        def height() -> float:
            return float(sum((weight - 1).square().sum() for weight in weights))

        before = height()
        for step in range(1, 300):
            self._step(weights, [weight - 1 for weight in weights], state, step, params)
        assert height() < before, "after 300 steps it is no lower than it was"

    def test_gradients_are_left_alone(self) -> None:
        """They are the engine's: only parameters and their state change in place."""
        weights, slopes = self._weights(), _slopes(1)[0]
        before = [slope.clone() for slope in slopes]
        state = self._state(weights, self.params())
        for step in (1, 2):
            self._step(weights, slopes, state, step, self.params())
        assert all(map(torch.equal, slopes, before)), "a gradient was changed in place"

    def test_all_it_knows_is_in_the_state(self) -> None:
        """Two trainings by turns are as one after the other, and the same steps give the same weights."""
        alone, slopes = self._weights(), _slopes(STEPS)
        self._run(alone, self.params(), slopes)
        pair = [self._weights(), self._weights()]
        states = [self._state(weights, self.params()) for weights in pair]
        for step, own in enumerate(slopes, 1):
            self._step(pair[0], own, states[0], step, self.params())
            self._step(pair[1], [-slope for slope in own], states[1], step, self.params())
        assert all(map(torch.equal, pair[0], alone)), "something is kept outside of the state"

    def test_one_parameter_at_a_time(self) -> None:
        """What a parameter does depends on no other: those without a gradient are left out of a step."""
        together, slopes = self._weights(), _slopes(STEPS)
        self._run(together, self.params(), slopes)
        for i, expected in enumerate(together):
            (weight,) = weights = [self._weights()[i]]
            self._run(weights, self.params(), [[own[i]] for own in slopes])
            torch.testing.assert_close(weight, expected)

    def test_end_to_end(self) -> None:
        """Parameters may be given end to end as one vector, as a cohort does, unless `elementwise = False`."""
        if not self.part.elementwise:
            pytest.skip("the part says elementwise = False")
        apart, slopes = self._weights(), _slopes(STEPS)
        row = [torch.cat([weight.flatten() for weight in apart])]
        self._run(apart, self.params(), slopes)
        self._run(row, self.params(), [[torch.cat([slope.flatten() for slope in own])] for own in slopes])
        torch.testing.assert_close(row[0], torch.cat([weight.flatten() for weight in apart]))

    def test_decay_is_a_step_of_its_own(self) -> None:
        """If it says `decoupled`, weights multiplied by 1 - lr decay before a step without decay are as with it."""
        if not self.part.decoupled:
            pytest.skip("the part says decoupled = False")
        assert "weight_decay" in self.part.space, 'decoupled = True needs "weight_decay" in the space'
        params = {**self.params(), "weight_decay": 0.1}
        together, apart, slopes = self._weights(), self._weights(), _slopes(STEPS)
        self._run(together, params, slopes)
        state = self._state(apart, params)
        for step, own in enumerate(slopes, 1):
            apart = [weight * (1 - params["lr"] * params["weight_decay"]) for weight in apart]
            self._step(apart, own, state, step, {**params, "weight_decay": 0.0})
        for one, other in zip(together, apart, strict=True):
            torch.testing.assert_close(one, other)

    def test_a_learning_rate_of_zero(self) -> None:
        """Nothing moves then: a schedule may end there."""
        weights, before = self._weights(), self._weights()
        self._run(weights, {**self.params(), "lr": 0.0}, _slopes(2))
        assert all(map(torch.equal, weights, before)), "moves by something beside its learning rate"

    def _weights(self) -> list[Tensor]:
        generator = torch.Generator().manual_seed(0)
        return [torch.randn(shape, generator=generator) for shape in SHAPES]

    def _state(self, weights: Sequence[Tensor], params: Params) -> dict[str, list[Tensor]]:
        each = [self.part().state(weight, params) for weight in weights]
        return {name: [own[name] for own in each] for name in each[0]}

    def _step(
        self,
        weights: list[Tensor],
        slopes: list[Tensor],
        state: dict[str, list[Tensor]],
        step: int,
        params: Params,
    ) -> None:
        with torch.no_grad():
            self.part().update(weights, slopes, state, [torch.tensor(float(step))] * len(weights), params)

    def _run(self, weights: list[Tensor], params: Params, slopes: Sequence[list[Tensor]]) -> None:
        state = self._state(weights, params)
        for step, own in enumerate(slopes, 1):
            self._step(weights, own, state, step, params)


def _slopes(steps: int) -> list[list[Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [[torch.randn(shape, generator=generator) for shape in SHAPES] for _ in range(steps)]
