"""What can't train as one program is refused: then each trains alone, which is always right."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmbench.api.parts import Epoch
from mmbench.engine.learn.cohort import NoCohortError
from mmbench.engine.learn.likeness import difference, obstacle
from tests.engine.members import (
    CLASSES,
    WIDTH,
    Plain,
    Tied,
    models,
    same,
    together,
)


@dataclass
class Setting:
    scale: float


def closed(value: float) -> Callable[[Tensor], Tensor]:
    return lambda x: x * value


class Held(Plain):
    """Holds a setting of its own somewhere."""

    def __init__(self, k: int, hold: Callable[[int], Any]) -> None:
        super().__init__(k)
        self._held = hold(k)


def scaled(x: Tensor, by: float) -> Tensor:
    return x * by


HOLDS: dict[str, Callable[[int], Any]] = {
    "number": float,
    "list": lambda k: [1.0, [float(k)]],
    "dict": lambda k: {"scale": (1.0, float(k))},
    "set": lambda k: {k, "x"},
    "array": lambda k: np.full(2000, 1.0 + 1e-9 * k),
    "long array": lambda k: np.eye(1, 3000, 1500 + k),
    "objects": lambda k: np.array([k, None], dtype=object),
    "tensor": lambda k: torch.full((3,), float(k)),
    "long tensor": lambda k: torch.eye(1, 3000)[0].roll(1500 + k),
    "requires a gradient": lambda k: nn.Parameter(torch.ones(2)).requires_grad_(k == 0),
    "closure": lambda k: closed(float(k)),
    "default": lambda k: lambda x, by=float(k): x * by,
    "partial": lambda k: functools.partial(scaled, by=float(k)),
    "method": lambda k: Setting(float(k)).__eq__,
    "object": lambda k: Setting(float(k)),
    "objects within": lambda k: [{"a": Setting(float(k))}],
    "hidden module": lambda k: [nn.Linear(2, 2)],
    "function": lambda k: F.relu if k else F.gelu,
    "type": lambda k: int if k else float,
    "number type": lambda k: torch.float16 if k else torch.float32,
    "generator": lambda k: torch.Generator().manual_seed(k),
    "lock": lambda k: __import__("threading").Lock(),
    "iterator": lambda k: iter([1, k]),
    "python's generator": lambda k: (i for i in range(3)),
    "numpy's generator": np.random.default_rng,
}
ALIKE: dict[str, Callable[[int], Any]] = {
    "number": lambda k: 0.1 + 0.2,
    "not a number": lambda k: float("nan"),
    "list": lambda k: [1.0, ["a", None, {"b": (2,)}]],
    "array": lambda k: np.arange(3000.0),
    "tensor": lambda k: torch.arange(3.0),
    "closure": lambda k: closed(2.0),
    "partial": lambda k: functools.partial(scaled, by=2.0),
    "object": lambda k: Setting(2.0),
    "method": lambda k: Setting(2.0).__eq__,
    "function": lambda k: F.relu,
    "set": lambda k: {"a", "b", 3},
    "generator": lambda k: torch.Generator().manual_seed(0),
    "numpy's generator": lambda k: np.random.default_rng(0),
}


@pytest.mark.parametrize("what", HOLDS)
def test_what_differs_in_anything_is_refused(what: str) -> None:
    """Eight members with eight values of a setting must not all train with one member's."""
    with pytest.raises(NoCohortError, match=r"_held"):
        together(lambda k: Held(k, HOLDS[what]))


@pytest.mark.parametrize("what", ALIKE)
def test_what_is_alike_is_not_refused(what: str) -> None:
    one, other, _ = models(lambda k: Held(k, ALIKE[what]))
    assert difference(one, other) is None


class Shortcut(Plain):
    """Knows a tensor of its own by another name."""

    def __init__(self, k: int, how: str) -> None:
        super().__init__(k)
        nn.init.ones_(self.out.weight)
        self.known = {"list": [self.out.weight], "view": self.out.weight.detach()[0], "module": [self.out]}[how]


class Trains(Plain):
    def train(self, mode: bool = True) -> "Trains":
        super().train(mode)
        return self


class Extra(Plain):
    def get_extra_state(self) -> Any:
        return {"calls": 0}

    def set_extra_state(self, state: Any) -> None: ...


class Mixed(Plain):
    def __init__(self, k: int) -> None:
        super().__init__(k)
        self.wide = nn.Parameter(torch.ones(WIDTH, dtype=torch.float64))

    def change(self, x: Tensor) -> Tensor:
        return (x * self.wide).float()


class Memory(Plain):
    """Two parameters that lie in one piece of memory: alone a step moves both."""

    def __init__(self, k: int) -> None:
        super().__init__(k)
        self.twin = nn.Linear(WIDTH, CLASSES)
        self.twin.weight.data = self.out.weight.data


class Hooked(Plain):
    def __init__(self, k: int) -> None:
        super().__init__(k)
        self.out.weight.register_hook(lambda gradient: 2 * gradient)


class Counts(Plain):
    """Its steps differ from one another by a number of its own."""

    def __init__(self, k: int) -> None:
        super().__init__(k)
        self._calls = 0

    def change(self, x: Tensor) -> Tensor:
        self._calls += 1
        return x / self._calls


class Keeps(Plain):
    def change(self, x: Tensor) -> Tensor:
        self.seen = x.detach()
        return x


class Sets(Plain):
    """A probability that moves from step to step."""

    def __init__(self, k: int) -> None:
        super().__init__(k)
        self.dropout = nn.Dropout(0.0)

    def change(self, x: Tensor) -> Tensor:
        self.dropout.p = min(0.5, self.dropout.p + 0.01)
        out: Tensor = self.dropout(x)
        return out


class Swaps(Plain):
    """Puts another parameter in a parameter's place."""

    def change(self, x: Tensor) -> Tensor:
        self.out.bias = nn.Parameter(self.out.bias.detach() + 1)
        return x


class Hears(Plain):
    """Sets by its own score what the code reads."""

    def __init__(self, k: int) -> None:
        super().__init__(k)
        self._heat = 1.0

    def on_epoch(self, epoch: Epoch) -> None:
        self._heat = 1.0 + epoch.scores["score"]

    def change(self, x: Tensor) -> Tensor:
        return x * self._heat


class Thaws(Plain):
    def __init__(self, k: int) -> None:
        super().__init__(k)
        self.later = nn.Linear(WIDTH, WIDTH).requires_grad_(False)

    def on_epoch(self, epoch: Epoch) -> None:
        self.later.requires_grad_(True)

    def change(self, x: Tensor) -> Tensor:
        out: Tensor = self.later(x)
        return out


class Sometimes(Plain):
    """A parameter takes part from the second epoch on."""

    def __init__(self, k: int) -> None:
        super().__init__(k)
        self.later, self._on = nn.Linear(WIDTH, WIDTH), False

    def on_epoch(self, epoch: Epoch) -> None:
        self._on = True

    def change(self, x: Tensor) -> Tensor:
        out: Tensor = self.later(x) if self._on else x
        return out


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (functools.partial(Shortcut, how="list"), "known"),
        (functools.partial(Shortcut, how="view"), "known"),
        (Trains, "train"),
        (Extra, "no tensor"),
        (Mixed, "number types"),
        (Memory, "one piece of memory"),
        (Hooked, "a hook"),
        (Counts, "_calls"),
        (Keeps, "seen"),
        (Sets, "p of a dropout"),
        (Swaps, r"out\.bias"),
        (Hears, "_heat"),
        (Thaws, "what learns changes"),
        (Sometimes, "some steps only"),
        (lambda k: nn.GRU(2, 2), "_flat_weight"),
    ],
)
def test_what_one_program_can_not_do_for_all_is_refused(build: Callable[[int], nn.Module], said: str) -> None:
    with pytest.raises(NoCohortError, match=said):
        together(build)


def test_a_module_known_by_another_name_is_the_shells_own() -> None:
    same(functools.partial(Shortcut, how="module"))


def test_hooks_are_compared_but_not_by_their_numbers() -> None:
    def build(k: int, each: Sequence[float]) -> nn.Module:
        made = Plain(k)
        made.out.register_forward_hook(functools.partial(times, by=each[k]))
        return made

    same(functools.partial(build, each=(2.0, 2.0, 2.0)))
    with pytest.raises(NoCohortError, match="hooks"):
        together(functools.partial(build, each=(1.0, 2.0, 3.0)))


def times(module: nn.Module, given: Any, result: Tensor, *, by: float) -> Tensor:
    return result * by


def test_members_that_share_otherwise_are_refused() -> None:
    def build(k: int) -> nn.Module:
        made = Tied(k)
        if k == 1:
            made.other.weight = nn.Parameter(made.one.weight.detach().clone())
        return made

    with pytest.raises(NoCohortError, match="weight"):
        together(build)


def test_a_plain_model_has_no_obstacle() -> None:
    assert obstacle(models(Plain)[0]) is None
