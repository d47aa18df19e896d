"""Small models of which several train as one program, and alone. Used by the tests of cohorts."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmbench_head.modules.decision import Label
from torch import Tensor, nn

from mmbench.api.parts import Features
from mmbench.engine.learn.cohort import Cohort
from mmbench.engine.learn.model import Inputs, Model, put_in
from mmbench.engine.learn.train import Lesson, Training
from tests.engine.rules import recipe

ROWS, WIDTH, CLASSES, MEMBERS = 24, 5, 3, 3


class Passed(nn.Module):
    """The encoder of this test: a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, arrays: dict[str, Tensor]) -> Tensor:
        out: Tensor = self.layer(arrays["x"])
        return out


class Plain(nn.Module):
    """The fusion of this test, of which the others are variations."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.out = nn.Linear(WIDTH, CLASSES)

    def forward(self, features: dict[str, Features]) -> Tensor:
        out: Tensor = self.out(self.change(features["a"].pooled))
        return out

    def change(self, x: Tensor) -> Tensor:
        return x


def lesson() -> Lesson:
    generator = torch.Generator().manual_seed(0)
    target = torch.arange(ROWS) % CLASSES
    inputs = Inputs({"a": {"x": torch.randn(ROWS, WIDTH, generator=generator)}}, target, ROWS)
    truth = target.numpy()
    return Lesson(inputs, inputs, lambda found: -float(np.square(found[range(ROWS), truth] - 1).mean()))


def models(build: Callable[[int], nn.Module]) -> list[Model]:
    made = []
    for k in range(MEMBERS):
        torch.manual_seed(k)
        made.append(Model({"a": Passed()}, build(k), Label(CLASSES, None, 0.0), result="logits"))
        put_in(made[-1])
    return made


def told(k: int) -> Any:
    return recipe(epochs=3, patience=9, lr=0.05 + 0.01 * k, weight_decay=1e-3, optimizer="sgd", batch_size=8, seed=k)


def alone(build: Callable[[int], nn.Module]) -> list[Training]:
    found = []
    for k, model in enumerate(models(build)):
        training = Training(model, told(k), lesson())
        while not training.over:
            training.advance()
        found.append(training)
    return found


def together(build: Callable[[int], nn.Module]) -> Cohort:
    cohort = Cohort(models(build), [told(k) for k in range(MEMBERS)], lesson())
    while not cohort.over:
        cohort.advance()
    return cohort


def same(build: Callable[[int], nn.Module]) -> Cohort:
    """Train alone and in a cohort, and compare each tensor, those outside of the state_dict too."""
    cohort = together(build)
    for k, training in enumerate(alone(build)):
        assert cohort.fits[k].curve == pytest.approx(training.fit.curve, abs=1e-6)
        one, other = cohort.model(k), training.model
        for mine, its in (
            (one.named_parameters(), other.named_parameters()),
            (one.named_buffers(), other.named_buffers()),
        ):
            tensors = dict(its)
            for name, tensor in mine:
                torch.testing.assert_close(tensor, tensors[name], rtol=1e-4, atol=1e-5, msg=name)
    return cohort


class Tied(Plain):
    def __init__(self, k: int) -> None:
        super().__init__(k)
        self.one, self.other = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.other.weight = self.one.weight

    def change(self, x: Tensor) -> Tensor:
        out: Tensor = self.other(F.relu(self.one(x)))
        return out
