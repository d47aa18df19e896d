"""How a part trains in the engine: the same by itself as in a cohort, and into what can be stored.

The contracts of fusions, encoders, objectives and heads put their part into a small model, and have it trained.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from mmbench.api.parts import Features, FeatureSpec, Fused
from mmbench.api.parts.head import Head
from mmbench.api.space import defaults
from mmbench.engine.learn.cohort import Cohort, NoCohortError
from mmbench.engine.learn.model import Inputs, Model, predict, settle
from mmbench.engine.learn.optimizer import Rule
from mmbench.engine.learn.train import Lesson, Recipe, Training
from mmbench.plugins import Catalog
from mmbench.plugins import load as load_plugins
from mmbench.testing.rules import chance
from mmbench.testing.rules import features as given
from mmbench.testing.rules.part import Array, heads, tried

ROWS, EPOCHS = 16, 2
MEMBERS = 2
Build = Callable[[int], Model]
"""A model whose weights are drawn under that seed."""
Lot = tuple[Build, Inputs]
"""A model, and the rows that it is trained on and judged by."""


class Projection(nn.Module):
    """An encoder: one dense layer on each token."""

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        self.dense = nn.Linear(spec.width, spec.width)

    def forward(self, arrays: Mapping[str, Tensor]) -> Features:
        return Features(self.dense(arrays["tokens"]), arrays.get("mask"))


class Concatenation(nn.Module):
    """A fusion: one dense layer on the means of all modalities; also as tokens, for a head that wants them."""

    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(sum(spec.width for spec in inputs.values()), width)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        made = self.dense(torch.cat([features[m].pooled for m in sorted(features)], 1))
        return Fused(vector=made, tokens=made.unsqueeze(1), logits=made)


def inputs_of(inputs: Mapping[str, FeatureSpec], target: Array) -> Inputs:
    """Random tokens of these shapes, some shorter than others, one modality missing in some rows."""
    made = given.some(inputs, ROWS)
    made = given.without(made, next(iter(made)), slice(0, 3))
    arrays = {m: {"tokens": f.tokens, "mask": f.mask} for m, f in made.items()}
    return Inputs(arrays, torch.from_numpy(target), ROWS)


def learned(target: str, modalities: Sequence[str]) -> tuple[Mapping[str, Any], Array]:
    """What the head of this type of target learns from some truth, and that truth encoded."""
    state, truth = tried(heads()[target], tuple(modalities), ROWS)
    return state, heads()[target].encode(state, truth)


@dataclass
class Heard:
    """What a training predicted for validation after each epoch."""

    curve: list[Array] = field(default_factory=list)

    def __call__(self, predictions: Array) -> float:
        self.curve.append(np.array(predictions))
        return 0.0  # so that the first epoch is the best in every training


def assert_trains_as_alone(build: Build, inputs: Inputs) -> None:
    """Two models with two seeds, learning rates and decays: each after the first epoch, and what it predicts after
    each, as if it had trained by itself, dropout included; to a relative 1e-3, as gradients are summed otherwise."""
    with chance.alike():
        alone = [_alone(build, k, inputs) for k in range(MEMBERS)]
        models, heard = [build(k) for k in range(MEMBERS)], Heard()
        try:
            cohort = Cohort(models, [_recipe(k) for k in range(MEMBERS)], Lesson(inputs, inputs, heard))
            while not cohort.over:
                cohort.advance()
        except NoCohortError as error:
            raise AssertionError(f"{error}; mend that, or say cohort = False") from error
        for k, one in enumerate(alone):
            try:
                _compare(one, (cohort.model(k), Heard(heard.curve[k::MEMBERS])))
            except AssertionError:
                if not _equal(one, _alone(build, k, inputs, chance=1)):
                    pytest.skip("it draws random numbers that can't be held alike: trained twice, it comes out twice")
                raise


def _compare(alone: tuple[Model, Heard], member: tuple[Model, Heard]) -> None:
    for epoch, (found, expected) in enumerate(zip(member[1].curve, alone[1].curve, strict=True)):
        _close(found, expected, f"a cohort predicts otherwise than one by one after epoch {epoch + 1}")
    tensors = _tensors(member[0])
    for name, tensor in _tensors(alone[0]).items():
        _close(tensors[name].numpy(), tensor.numpy(), f"a cohort gives {name} another value than one by one")


def assert_state_is_all(build: Build, inputs: Inputs) -> None:
    """What a training leaves is in `state_dict()`: another model with it predicts the same."""
    model, _ = _alone(build, 0, inputs, epochs=1)
    again = build(1)
    again.load_state_dict(load(save({name: value.contiguous() for name, value in model.state_dict().items()})))
    one, two = predict(model, inputs), predict(again, inputs)
    _close(two.numpy(), one.numpy(), "training leaves a state outside state_dict(): use register_buffer")
    before = {name: tensor.clone() for name, tensor in _tensors(model).items()}
    predict(model, inputs)
    changed = [name for name, tensor in _tensors(model).items() if not _same(tensor, before[name])]
    assert not changed, f"evaluation changes {', '.join(changed)}"


def _alone(build: Build, k: int, inputs: Inputs, *, chance: int = 0, epochs: int = EPOCHS) -> tuple[Model, Heard]:
    model, heard = build(k), Heard()
    torch.manual_seed(chance)
    training = Training(model, _recipe(k, epochs), Lesson(inputs, inputs, heard))
    while not training.over:
        training.advance()
    return model.eval(), heard


def _recipe(k: int, epochs: int = EPOCHS) -> Recipe:
    catalog = _catalog()
    sgd, course = catalog.optimizers["sgd"], catalog.schedules.usual
    told = {**defaults(sgd.space), "lr": 0.01 * (k + 1), "weight_decay": 0.1 * k}
    rule = Rule(sgd, told, course, defaults(course.space))
    return Recipe(epochs=epochs, patience=9, batch_size=8, seed=k, rule=rule)


@cache
def _catalog() -> Catalog:
    return load_plugins()


def _tensors(model: Model) -> dict[str, Tensor]:
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: tensor.detach() for name, tensor in named.items()}


def _equal(one: tuple[Model, Heard], other: tuple[Model, Heard]) -> bool:
    tensors = _tensors(other[0])
    return all(map(np.array_equal, one[1].curve, other[1].curve)) and all(
        _same(tensor, tensors[name]) for name, tensor in _tensors(one[0]).items()
    )


def _same(one: Tensor, other: Tensor) -> bool:
    return np.array_equal(one.numpy(), other.numpy(), equal_nan=one.is_floating_point())


def _close(found: Array, expected: Array, what: str) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5, err_msg=what)


def built(
    encoders: Mapping[str, nn.Module],
    fusion: nn.Module,
    head: Head,
    state: Mapping[str, Any],
    *,
    width: int | None,
    objective: nn.Module | None = None,
) -> Model:
    """A model of these with `head`; width: of the fusion's vector, None where it gives logits."""
    module = head.build(state, width, 0.1, defaults(head.space))
    result = "logits" if width is None else "vector"
    model = Model(encoders, fusion, module, result=result, most_rows=head.most_rows)
    model.objective = objective
    return settle(model, torch.device("cpu"))
