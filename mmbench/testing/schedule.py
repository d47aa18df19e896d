"""The contract of a schedule, as tests: inherit the class, name your part, and pytest runs it all.

from mmbench.testing.schedule import ScheduleContract
from my_schedule import Mine

class TestMine(ScheduleContract):
    part = Mine
"""

from typing import ClassVar

from mmbench.api.parts.training import Schedule
from mmbench.api.space import Params, defaults
from mmbench.testing.rules.part import assert_describes_itself, settings

STEPS = 200


class ScheduleContract:
    """What every schedule must hold."""

    part: ClassVar[type[Schedule]]

    def params(self) -> Params:
        """The configuration that the tests use, unless they try several."""
        return defaults(self.part.space)

    def test_describes_itself(self) -> None:
        """It has a name, a docstring and a space that makes sense."""
        assert_describes_itself(self.part)

    def test_factors(self) -> None:
        """A number from 0 to 1 at each step, whatever the space allows, and near 1 at some."""
        for params in settings(self.part.space, 5):
            found = [self.part().factor(step / STEPS, params) for step in range(STEPS)]
            assert all(isinstance(factor, float) for factor in found), params
            assert all(0 <= factor <= 1 for factor in found), f"{min(found)} to {max(found)} with {params}"
            assert max(found) > 0.9, f"with {params} the learning rate is never what the search chose: {max(found)}"

    def test_depends_on_progress_alone(self) -> None:
        """The same progress gives the same factor, in any order: trainings take turns."""
        part, params = self.part(), self.params()
        forward = [part.factor(step / STEPS, params) for step in range(STEPS)]
        backward = [part.factor(step / STEPS, params) for step in reversed(range(STEPS))]
        assert forward == backward[::-1], "something is kept between two steps"

    def test_one_step(self) -> None:
        """A training of a single step, and one of many, begin and end with a factor above 0: no step is for nothing."""
        for progress in (0.0, 1 - 1e-9):
            assert self.part().factor(progress, self.params()) > 0, f"0 at progress {progress}"
