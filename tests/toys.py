"""A plugin for tests: a small data set whose truth is known, and fusions that misbehave on purpose."""

import os
import signal
import time
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import mmbench as mb
from mmbench.api.data import Target


class Toy(mb.Dataset):
    """Two tabular views of a class; either alone tells half, both tell all; some values are missing."""

    name = "toy"
    columns = {"left": "tabular", "right": "tabular"}
    target: ClassVar[Target] = mb.Label("label")
    licence = "CC0-1.0"
    rows = {"train": 240, "validation": 100, "test": 120}

    def load(self, cache: Path) -> Any:
        import numpy as np
        from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

        rng = np.random.default_rng(7)
        splits = {}
        for split, n in self.rows.items():
            label = rng.integers(0, 4, n)
            left = np.c_[label % 2, np.zeros((n, 3))] * 2 + rng.normal(0, 0.5, (n, 4))
            right = np.c_[label // 2, np.zeros((n, 2))] * 2 + rng.normal(0, 0.5, (n, 3))
            gone = rng.random(n) < 0.05
            splits[split] = Dataset.from_dict(
                {
                    "left": left.tolist(),
                    "right": [None if g else r for g, r in zip(gone, right.tolist(), strict=True)],
                    "label": label.tolist(),
                },
                features=Features(
                    left=List(Value("float32")), right=List(Value("float32")), label=ClassLabel(names=list("abcd"))
                ),
            )
        return DatasetDict(splits)


class ToyNumber(Toy):
    """The same views; the target is a number."""

    name = "toy_number"
    target = mb.Number("number")

    def load(self, cache: Path) -> Any:
        splits = super().load(cache)
        return splits.map(lambda row: {"number": 10.0 + 3.0 * row["label"]}, remove_columns="label")


class ToyLabels(Toy):
    """The same views; the target is two yes-or-no questions, the first about left, the second about right."""

    name = "toy_labels"
    target = mb.Labels("labels")

    def load(self, cache: Path) -> Any:
        splits = super().load(cache)
        return splits.map(
            lambda row: {"labels": [float(row["label"] % 2), float(row["label"] // 2)]}, remove_columns="label"
        )


class ToyText(Toy):
    """The same views; the target is two words, the first told by left, the second by right."""

    name = "toy_text"
    target = mb.Text("words")
    rows = {"train": 960, "validation": 100, "test": 120}

    def load(self, cache: Path) -> Any:
        splits = super().load(cache)
        first, second = ("red", "green"), ("cat", "house")
        return splits.map(
            lambda row: {"words": f"{first[row['label'] % 2]} {second[row['label'] // 2]}"}, remove_columns="label"
        )


class ToyMatch(Toy):
    """Each row's left belongs to its right: both show the same two numbers."""

    name = "toy_match"
    target = mb.Match(left=("left",), right=("right",))

    def load(self, cache: Path) -> Any:
        import numpy as np
        from datasets import Dataset, DatasetDict, Features, List, Value

        rng = np.random.default_rng(3)
        number = List(Value("float32"))
        maps = {name: rng.normal(0, 1, (2, 3)) for name in ("left", "right")}
        splits = {}
        for split, n in {"train": 300, "validation": 60, "test": 60}.items():
            hidden = rng.normal(0, 1, (n, 2))
            splits[split] = Dataset.from_dict(
                {name: (hidden @ view).tolist() for name, view in maps.items()},
                features=Features(left=number, right=number),
            )
        return DatasetDict(splits)


class _Sum(mb.Fusion):
    """The sum of projections."""

    def build(self, inputs: Any, width: int, params: Any) -> Any:
        return _module(inputs, width, self.disturb)

    def disturb(self, vector: Any) -> Any:
        return vector


class Raises(_Sum):
    """Raises."""

    name = "raises"

    def disturb(self, vector: Any) -> Any:
        raise RuntimeError("this fusion always raises")


class Nan(_Sum):
    """Gives NaN."""

    name = "nan"

    def disturb(self, vector: Any) -> Any:
        return vector * float("nan")


class Hangs(_Sum):
    """Never returns."""

    name = "hangs"

    def disturb(self, vector: Any) -> Any:
        time.sleep(10_000)


class Dawdles(_Sum):
    """Takes its time to begin."""

    name = "dawdles"
    seconds = 0.8

    def build(self, inputs: Any, width: int, params: Any) -> Any:
        time.sleep(self.seconds)
        return super().build(inputs, width, params)


class Crawls(Dawdles):
    """Takes twice that."""

    name = "crawls"
    seconds = 1.6


class Hoards(_Sum):
    """Asks for more memory than there is."""

    name = "hoards"

    def disturb(self, vector: Any) -> Any:
        import torch

        return vector + torch.empty(2**44)


class Dies(_Sum):
    """Is killed the first time, as by the kernel when memory runs out."""

    name = "dies"

    def disturb(self, vector: Any) -> Any:
        once = Path(os.environ["MMBENCH_CACHE"]) / "scratch" / "died"  # where a worker may write
        if not once.exists():
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return vector


class AlwaysDies(_Sum):
    """Is killed every time."""

    name = "always_dies"

    def disturb(self, vector: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


class Branches(mb.Fusion):
    """Decides by a tensor's value, which no program for many configurations can."""

    name = "branches"

    def build(self, inputs: Any, width: int, params: Any) -> Any:
        return _heated()(inputs, width, heat=0.0, branches=True)


class Explodes(mb.Fusion):
    """Gives what is no number where its heat is high."""

    name = "explodes"
    space = {"heat": mb.Float(0.0, 1.0, default=0.2)}

    def build(self, inputs: Any, width: int, params: Any) -> Any:
        return _heated()(inputs, width, heat=params["heat"], branches=False)


@cache
def _heated() -> Any:
    import torch
    from torch import nn

    class Heated(nn.Module):
        heat: torch.Tensor

        def __init__(self, inputs: Any, width: int, *, heat: float, branches: bool) -> None:
            super().__init__()
            self.project = nn.ModuleDict({m: nn.Linear(spec.width, width) for m, spec in inputs.items()})
            self.register_buffer("heat", torch.tensor(heat))
            self.branches = branches

        def forward(self, features: Any) -> Any:
            vector = sum(self.project[m](f.pooled) for m, f in features.items())
            if self.branches and vector.sum() > 0:
                return -vector
            return vector / (self.heat < 0.4)

    return Heated


def _module(inputs: Any, width: int, disturb: Any) -> Any:
    from torch import nn

    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project = nn.ModuleDict({m: nn.Linear(spec.width, width) for m, spec in inputs.items()})

        def forward(self, features: Any) -> Any:
            return disturb(sum(self.project[m](f.pooled) for m, f in features.items()))

    return Sum()


@mb.hookimpl
def mmbench_datasets() -> list[type[mb.Dataset]]:
    return [Toy, ToyNumber, ToyLabels, ToyText, ToyMatch]


@mb.hookimpl
def mmbench_fusions() -> list[type[mb.Fusion]]:
    return [Raises, Nan, Hangs, Dawdles, Crawls, Hoards, Dies, AlwaysDies, Branches, Explodes]
