"""The file that `mmbench new head` writes: a type of target, its head and a data set that has it."""

HEAD = '''\
"""The head `$name` and its target: change what the truth is, the loss and this text into yours."""

from dataclasses import dataclass

import datasets
import mmbench as mb
import numpy as np
import torch
from torch import nn


@dataclass(frozen=True)
class Target(mb.Target):
    """How many there are: 0, 1, 2, ...; the column holds whole numbers. Truth: float32 [N]."""

    column: str
    type = "$name"
    like = "number"  # what parts that know built-in types only may take it for; leave it out if there is none

    @property
    def columns(self):
        return (self.column,)

    def read(self, columns):  # of one split
        return columns.numbers(self.column, "how many there are").astype(np.float32)


class Module(nn.Module):
    def __init__(self, width, dropout):
        super().__init__()
        self.output = nn.Sequential(nn.LayerNorm(width), nn.Dropout(dropout), nn.Linear(width, 1))

    def forward(self, fused):  # mb.Fused: vector [B, width], perhaps tokens [B, T, width]
        fused.logits = self.output(fused.vector)
        return fused

    def loss(self, fused, target):
        return nn.functional.poisson_nll_loss(fused.logits.squeeze(-1), target)

    def predict(self, fused):
        return fused.logits.squeeze(-1).exp()


class $title(mb.Head):
    """How many: Poisson regression; predictions are the expected numbers [N].

    y = exp(w norm(v) + b)        v [B, width] the fusion's vector, w [width]
    """

    name = "$name"  # the type of its target
    target = Target
    needs = ("vector",)
    asks = "predict"  # of an estimator

    def fit(self, target, truth, names):
        return {"outputs": 1}

    def build(self, state, width, dropout, params):
        return Module(width, dropout)

    def truth(self, rows, generator):  # for the contract tests
        return generator.poisson(3, rows).astype(np.float32)

    def guess(self, truth, generator):
        return truth if generator is None else np.float32(truth + generator.normal(size=len(truth)))


class Error(mb.Metric):
    """Mean absolute error of the expected number."""

    name = "${name}_error"
    targets = ("$name",)
    direction = "min"

    def score(self, truth, prediction):
        if not np.isfinite(prediction).all():
            raise ValueError("the prediction is not finite")
        return float(np.abs(truth - prediction).mean(dtype=float))


class Data(mb.Dataset):
    """Made up: either side tells half of how many there are."""

    name = "${name}_data"
    columns = {"left": "tabular", "right": "tabular"}
    target = Target("count")
    licence = "CC0-1.0"

    def load(self, cache):
        draw = np.random.default_rng(0)
        splits = {}
        for split, n in {"train": 600, "validation": 200, "test": 200}.items():
            left, right = draw.normal(size=(2, n, 3)).astype(np.float32)
            counts = draw.poisson(np.exp(0.7 * left[:, 0] + 0.7 * right[:, 0]))
            rows = {"left": left.tolist(), "right": right.tolist(), "count": counts.tolist()}
            splits[split] = datasets.Dataset.from_dict(rows)
        return datasets.DatasetDict(splits)


@mb.hookimpl
def mmbench_heads():
    return [$title]


@mb.hookimpl
def mmbench_metrics():
    return [Error]


@mb.hookimpl
def mmbench_datasets():
    return [Data]
'''
