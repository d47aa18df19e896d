"""Models that train as one program against the same models one after the other, in our loop and in a bare one."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from mmbench_head.modules.decision import Label
from torch import nn

from benchmarks.cases import CLASSES, SIX_VIEWS, Case, Split, random_splits, rule, score
from benchmarks.measure import Figure, Side, compare, take_turns
from benchmarks.plain import models as plain
from benchmarks.plain.trainers import bare
from mmbench.api.parts import FeatureSpec
from mmbench.engine.learn.cohort import Cohort, pays
from mmbench.engine.learn.model import Inputs, Model, put_in
from mmbench.engine.learn.train import Lesson, Recipe, Training

TOGETHER, ALONE, BARE = "cohort", "one by one", "bare loop, one by one"
BATCH, EPOCHS = 64, 10


@dataclass(frozen=True, eq=False)
class Shape:
    """A small model and how many of it are wanted."""

    name: str
    inputs: Mapping[str, int]
    build: Callable[[Mapping[str, int]], Model]
    sizes: tuple[int, ...]
    build_plain: Callable[[], nn.Module] | None = None
    """The same layers as a plain module, where the cohort is held against a bare loop, too."""
    claim: str | None = None
    """Of the first size, against the bare loop."""


def measure(*, quick: bool = False, rounds: int | None = None) -> Iterator[Figure]:
    """Heads of width 32 on one vector, on six and on large ones, and an MLP 128-64: as the engine makes them."""
    for shape in _shapes():
        lesson = _lesson(shape, rows=256 if quick else 970)
        for count in shape.sizes[:1] if quick else shape.sizes:
            sides = {TOGETHER: _together(shape, count, lesson), ALONE: _alone(shape, count, lesson)}
            against_bare = shape.build_plain and count == shape.sizes[0]
            if against_bare:
                sides[BARE] = _bare(shape, count, lesson)
            readings = take_turns(sides, rounds or (2 if quick else 5))
            model = shape.build(shape.inputs)
            facts = {
                "models": count,
                "parameters each": sum(parameter.numel() for parameter in model.parameters()),
                "the engine would": "train them together" if pays([model] * count, BATCH) else "train one by one",
            }
            name = f"{shape.name}, K = {count}"
            if against_bare:
                yield compare(
                    f"{name}: {BARE} / {TOGETHER}", readings, over=(BARE, TOGETHER), claim=shape.claim, facts=facts
                )
            yield compare(f"{name}: {ALONE} / {TOGETHER}", readings, over=(ALONE, TOGETHER), facts=facts)


def _shapes() -> list[Shape]:
    return [
        Shape("a head of width 32", {"row": 64}, _views, (16, 4, 64), lambda: _plain_views({"row": 64}), ">= 3"),
        Shape("six views, heads of width 32", SIX_VIEWS, _views, (16,), lambda: _plain_views(SIX_VIEWS)),
        Shape("frozen features, heads of width 32", {"image": 576, "text": 384}, _heads, (16,)),
        Shape("MLP 128-64", {"row": 64}, _perceptron, (16,)),
    ]


def _heads(inputs: Mapping[str, int]) -> Model:
    from mmbench_vision.modules import Projection

    return _model({m: Projection(n, width=32, dropout=0.1) for m, n in inputs.items()}, each=32, width=32)


def _views(inputs: Mapping[str, int]) -> Model:
    from mmbench_tabular.modules import Perceptron

    return _model({m: Perceptron(n, width=32, layers=1, dropout=0.1) for m, n in inputs.items()}, each=32, width=32)


def _plain_views(inputs: Mapping[str, int]) -> nn.Module:
    encoders: list[nn.Module] = [plain.Perceptron(n, 32, 0.1, layers=1) for n in inputs.values()]
    return plain.Concat(encoders, len(inputs) * 32, 32, CLASSES, 0.1)


def _perceptron(inputs: Mapping[str, int]) -> Model:
    from mmbench_tabular.modules import Perceptron

    return _model({m: Perceptron(n, width=128, layers=1, dropout=0.1) for m, n in inputs.items()}, each=128, width=64)


def _model(encoders: Mapping[str, nn.Module], *, each: int, width: int) -> Model:
    from mmbench_fusion.modules.vector import Concat

    specs = {m: FeatureSpec(width=each, tokens=1) for m in encoders}
    return Model(encoders, Concat(specs, width), Label(CLASSES, width, 0.1))


def _lesson(shape: Shape, *, rows: int) -> Lesson:
    train, valid = _splits(shape, rows)
    return Lesson(_inputs(shape, train), _inputs(shape, valid), score(valid.target))


def _splits(shape: Shape, rows: int) -> tuple[Split, Split]:
    return random_splits([(n,) for n in shape.inputs.values()], rows, rows // 3)


def _inputs(shape: Shape, split: Split) -> Inputs:
    array = "features" if "image" in shape.inputs else "cells"
    named = zip(shape.inputs, split.views, strict=True)
    return Inputs({m: {array: view} for m, view in named}, split.target, n=len(split.target))


def _members(shape: Shape, count: int) -> tuple[list[Model], list[Recipe]]:
    """Models of one shape; seeds and learning rates differ."""
    models, recipes = [], []
    for k in range(count):
        torch.manual_seed(k)
        models.append(shape.build(shape.inputs))
        put_in(models[-1])
        lr = 1e-3 * 4 ** (k / count)
        recipes.append(Recipe(EPOCHS, EPOCHS, BATCH, seed=k, rule=rule(lr=lr, weight_decay=1e-2)))
    return models, recipes


def _together(shape: Shape, count: int, lesson: Lesson) -> Side:
    def ready() -> Callable[[], None]:
        models, recipes = _members(shape, count)

        def run() -> None:
            cohort = Cohort(models, recipes, lesson)
            while not cohort.over:
                cohort.advance()

        return run

    return ready


def _alone(shape: Shape, count: int, lesson: Lesson) -> Side:
    def ready() -> Callable[[], None]:
        models, recipes = _members(shape, count)

        def run() -> None:
            for model, recipe in zip(models, recipes, strict=True):
                training = Training(model, recipe, lesson)
                while not training.over:
                    training.advance()

        return run

    return ready


def _bare(shape: Shape, count: int, lesson: Lesson) -> Side:
    train, valid = _splits(shape, lesson.train.n)
    build = cast(Callable[[], nn.Module], shape.build_plain)
    case = Case(shape.name, BATCH, EPOCHS, train, valid, {}, lambda: shape.build(shape.inputs), build)

    def ready() -> Callable[[], None]:
        models = [build() for _ in range(count)]

        def run() -> None:
            for model in models:
                bare(model, case)

        return run

    return ready
