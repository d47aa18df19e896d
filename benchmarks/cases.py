"""The four models of the loop benchmark, each twice: as mmbench builds it, and as a plain module of the same weights.

The rows are random, with a class that can be learned; their shapes are those of real tasks. Used by loops and flops.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmbench_head.modules.decision import Label
from torch import Tensor, nn

from benchmarks.plain import models as plain
from mmbench import plugins
from mmbench.api.parts import FeatureSpec
from mmbench.engine.learn.model import Inputs, Model, settle
from mmbench.engine.learn.optimizer import Rule, rule_of

CLASSES = 10
WIDTH = 64
SIX_VIEWS = {"fac": 216, "fou": 76, "kar": 64, "mor": 6, "pix": 240, "zer": 47}


@dataclass(frozen=True, eq=False)
class Split:
    """Some rows: a tensor for each view, and the classes [N]."""

    views: tuple[Tensor, ...]
    target: Tensor


@dataclass(frozen=True, eq=False)
class Case:
    """One model with its data, and how it is trained on both sides."""

    name: str
    batch_size: int
    epochs: int
    train: Split
    valid: Split
    views: Mapping[str, str]
    """{modality: the name of its encoder's array}"""
    build: Callable[[], Model]
    build_plain: Callable[[], nn.Module]
    small: bool = True
    """Whether the step is short, so that what surrounds the arithmetic is seen."""

    def models(self) -> tuple[Model, nn.Module]:
        """mmbench's model and the plain one, the same weights in both."""
        torch.manual_seed(0)
        ours, theirs = settle(self.build(), torch.device("cpu")), self.build_plain()
        with torch.no_grad():
            for weight, copy in zip(ours.parameters(), theirs.parameters(), strict=True):
                copy.copy_(weight)
        return ours, theirs

    def inputs(self, split: Split) -> Inputs:
        """The rows as mmbench's loop takes them."""
        named = zip(self.views.items(), split.views, strict=True)
        arrays = {modality: {array: view} for (modality, array), view in named}
        return Inputs(arrays, split.target, n=len(split.target))


def cases(*, quick: bool = False, dropout: float = 0.1) -> list[Case]:
    """All four; `quick` has fewer rows."""
    few = 4 if quick else 1
    return [_six_views(few, dropout), _lenets(few), _recurrent(few, dropout), _transformer(few, dropout)]


def score(truth: Tensor) -> Callable[[Any], float]:
    """The tuned metric as a search computes it."""
    from mmbench_metric.label import Accuracy

    metric, classes = Accuracy(), truth.numpy()
    return lambda predictions: metric.score(classes, predictions)


def _six_views(few: int, dropout: float) -> Case:
    from mmbench_tabular.modules import Perceptron

    def build() -> Model:
        encoders = {m: Perceptron(n, width=WIDTH, layers=2, dropout=dropout) for m, n in SIX_VIEWS.items()}
        return _concat(encoders, 128, 2 * dropout)

    def build_plain() -> nn.Module:
        encoders: list[nn.Module] = [plain.Perceptron(n, WIDTH, dropout) for n in SIX_VIEWS.values()]
        return plain.Concat(encoders, 6 * WIDTH, 128, CLASSES, 2 * dropout)

    train, valid = random_splits([(n,) for n in SIX_VIEWS.values()], 1195 // few, 399 // few)
    views = dict.fromkeys(SIX_VIEWS, "cells")
    return Case("six-view MLP", 64, 8, train, valid, views, build, build_plain)


class _Image(nn.Module):
    """A LeNet as an encoder of mmbench."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, arrays: dict[str, Tensor]) -> Tensor:
        found: Tensor = self.net(arrays["image"])
        return found


def _lenets(few: int) -> Case:
    def nets() -> dict[str, nn.Module]:
        return {"image": plain.LeNet(28, 6, 2, WIDTH), "spectrogram": plain.LeNet(112, 6, 4, WIDTH)}

    def build() -> Model:
        return _concat({m: _Image(net) for m, net in nets().items()}, WIDTH, 0.0)

    def build_plain() -> nn.Module:
        return plain.Concat(list(nets().values()), 2 * WIDTH, WIDTH, CLASSES, 0.0)

    train, valid = random_splits([(1, 28, 28), (1, 112, 112)], 400 // few, 120 // few)
    views = {"image": "image", "spectrogram": "image"}
    return Case("LeNet pair", 40, 1, train, valid, views, build, build_plain, small=False)


class _Series(nn.Module):
    """mmbench's GRU encoder, given rows that are all of full length."""

    def __init__(self, steps: int, dropout: float):
        super().__init__()
        from mmbench_series.modules import Recurrent

        self.net = Recurrent(channels=3, length=steps, width=32, layers=1, dropout=dropout)

    def forward(self, arrays: dict[str, Tensor]) -> Any:
        return self.net(arrays)


def _recurrent(few: int, dropout: float) -> Case:
    steps, names = 200, ("accelerometer", "gyroscope")

    def build() -> Model:
        return _concat({m: _Series(steps, dropout) for m in names}, WIDTH, 2 * dropout)

    def build_plain() -> nn.Module:
        encoders: list[nn.Module] = [plain.Recurrent(3, 8, 32, dropout) for _ in names]
        return plain.Concat(encoders, 2 * 32, WIDTH, CLASSES, 2 * dropout)

    train, valid = random_splits([(steps, 3)] * 2, 656 // few, 246 // few)
    return _Recurrences("GRU pair", 64, 4, train, valid, dict.fromkeys(names, "steps"), build, build_plain)


class _Recurrences(Case):
    def inputs(self, split: Split) -> Inputs:
        inputs = super().inputs(split)
        mask = torch.ones(split.views[0].shape[:2], dtype=torch.bool)
        for arrays in inputs.arrays.values():
            arrays["mask"] = mask
        return inputs


def _transformer(few: int, dropout: float) -> Case:
    from mmbench_fusion.modules.tokens import LateTransformer
    from mmbench_vision.modules import Projection

    shapes = {"image": (9, 576), "text": (16, 384)}

    def build() -> Model:
        encoders = {m: Projection(n, width=WIDTH, dropout=dropout) for m, (_, n) in shapes.items()}
        specs = {m: FeatureSpec(width=WIDTH, tokens=tokens) for m, (tokens, _) in shapes.items()}
        fusion = LateTransformer(specs, 128, layers=2, heads=4, dropout=dropout)
        return Model(encoders, fusion, Label(CLASSES, 128, 2 * dropout))

    def build_plain() -> nn.Module:
        fusion = plain.Attending([WIDTH] * 2, 128, layers=2, heads=4, dropout=dropout)
        encoders: list[nn.Module] = [plain.Projection(n, WIDTH, dropout) for _, n in shapes.values()]
        return plain.LateTransformer(encoders, fusion, 128, CLASSES, 2 * dropout)

    train, valid = random_splits(list(shapes.values()), 970 // few, 321 // few)
    return Case("small transformer", 64, 2, train, valid, dict.fromkeys(shapes, "features"), build, build_plain)


def _concat(encoders: Mapping[str, nn.Module], width: int, dropout: float) -> Model:
    from mmbench_fusion.modules.vector import Concat

    specs = {m: FeatureSpec(width=32 if isinstance(e, _Series) else WIDTH, tokens=1) for m, e in encoders.items()}
    return Model(encoders, Concat(specs, width), Label(CLASSES, width, dropout))


def random_splits(shapes: list[tuple[int, ...]], train: int, valid: int) -> tuple[Split, Split]:
    """Rows of noise around a mean for each class."""
    draw = np.random.default_rng(0)
    means = [draw.normal(0, 0.15, (CLASSES, *shape)) for shape in shapes]

    def split(rows: int) -> Split:
        target = draw.integers(0, CLASSES, rows)
        views = [mean[target] + draw.normal(0, 1, (rows, *mean.shape[1:])) for mean in means]
        return Split(tuple(torch.from_numpy(view).float() for view in views), torch.from_numpy(target))

    return split(train), split(valid)


def rule(*, lr: float, weight_decay: float) -> Rule:
    """The usual optimizer and schedule."""
    return rule_of(plugins.load(), {"train.lr": lr, "train.weight_decay": weight_decay})
