"""The files that `mmbench new` writes: {path: text} for each thing, where $name, $title and the like are filled in."""

import random

from mmbench.cli import templates_training
from mmbench.cli.templates_head import HEAD

PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.26"]
build-backend = "hatchling.build"

[project]
name = "$distribution"
version = "0.1.0"
description = "The $what $name for mmbench"
requires-python = ">=3.11"
dependencies = ["mmbench"]

[project.entry-points.mmbench]
$name = "$name"

[tool.hatch.build.targets.wheel]
include = [$files]

[tool.pytest.ini_options]
testpaths = ["tests"]
pythonpath = ["."]
"""

FUSION = '''\
"""The fusion `$name`: change the equation, the space and this text into yours."""

import mmbench as mb
import torch
from torch import nn


class Module(nn.Module):
    def __init__(self, inputs, width, scale):
        super().__init__()
        self.project = nn.ModuleDict({m: nn.Linear(spec.width, width) for m, spec in inputs.items()})
        self.scale = scale

    def forward(self, features):  # {modality: Features(tokens [B, T, D], mask [B, T])}
        terms = [torch.tanh(self.project[m](f.pooled)) * f.present.unsqueeze(1) for m, f in features.items()]
        return self.scale * sum(terms)  # [B, width]


class $title(mb.Fusion):
    """A scaled sum of squashed projections.

    v = s * sum_m tanh(W_m x_m + b_m)

    x_m [B, D_m] is the mean of the tokens of modality m. A missing modality adds nothing.
    """

    name = "$name"
    source = ""  # where it was published: a DOI, an arXiv id or an address
    space = {"scale": mb.Float(0.1, 10.0, log=True, default=1.0)}

    def build(self, inputs, width, params):  # {modality: FeatureSpec(width, tokens)}
        return Module(inputs, width, **params)


@mb.hookimpl
def mmbench_fusions():
    return [$title]
'''

ENCODER = '''\
"""The encoder `$name`: change the preprocessor, the module and this text into yours."""

import mmbench as mb
import numpy as np
from torch import nn


class Module(nn.Module):
    def __init__(self, inputs, width, dropout):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(inputs, width), nn.LayerNorm(width), nn.ReLU(), nn.Dropout(dropout))

    def forward(self, arrays):  # {"cells": [B, D]}, as `transform` made them
        return self.layers(arrays["cells"])  # [B, width], or [B, T, width], or mb.Features with a mask


class $title(mb.Encoder):
    """One dense layer on standardised cells.

    x = relu(norm(W z + b)),  z = (c - mean) / deviation

    mean and deviation [D] are those of the train rows; an empty cell becomes the mean.
    """

    name = "$name"
    kind = "tabular"  # or text, image, audio, series, video
    source = ""  # where it was published: a DOI, an arXiv id or an address
    space = {"width": mb.Choice((32, 64, 128), default=64), "dropout": mb.Float(0.0, 0.5, default=0.1)}

    def fit(self, column, params):
        """From the train rows, each float32 [D], what `transform` and `build` need: arrays, and what JSON can hold."""
        cells = np.stack(column).astype(np.float64)
        here = np.isfinite(cells)
        count = here.sum(0).clip(1)
        mean = np.where(here, cells, 0).sum(0) / count
        deviation = np.sqrt(np.where(here, (cells - mean) ** 2, 0).sum(0) / count)
        return {"mean": mean, "deviation": np.where(deviation > 1e-6 * np.abs(mean) + 1e-9, deviation, 1.0)}

    def transform(self, state, column):
        """Run once for each data set, row by row; what it gives is stored. A frozen model does its work here."""
        cells = (np.stack(column) - state["mean"]) / state["deviation"]
        return {"cells": np.nan_to_num(cells.clip(-10, 10)).astype(np.float32)}

    def build(self, state, params):
        return Module(len(state["mean"]), **params)


@mb.hookimpl
def mmbench_encoders():
    return [$title]
'''

DATASET = '''\
"""The data set `$name`: put your own rows into $name.csv, and name its columns here."""

import csv
import random

from mmbench.cli import templates_training
from pathlib import Path

import mmbench as mb

ROWS = Path(__file__).parent / "$name.csv"
NUMBERS = ("acidity", "sugar")
CLASSES = ["good", "poor"]


class $title(mb.Dataset):
    """Wines that were made up: two measurements and a taster's words, good or poor."""

    name = "$name"
    columns = {"numbers": "tabular", "words": "text"}  # or image, audio, series, video
    target = mb.Label("verdict")  # or mb.Labels, mb.Number, mb.Match, mb.Text
    licence = "CC0-1.0"
    citation = ""
    version = 1  # raise it when `load` gives other rows than before

    def load(self, cache):
        """Three splits, the same each time. A value that is missing is None."""
        import datasets

        with ROWS.open(encoding="utf-8", newline="") as file:
            rows = [
                {
                    "numbers": [float(row[column]) if row[column] else None for column in NUMBERS],
                    "words": row["words"] or None,
                    "verdict": row["verdict"],
                }
                for row in csv.DictReader(file)
            ]
        random.Random(0).shuffle(rows)  # rows of one person, day or patient belong into one split: then don't
        one, other = len(rows) * 6 // 10, len(rows) * 8 // 10
        parts = {"train": rows[:one], "validation": rows[one:other], "test": rows[other:]}
        splits = datasets.DatasetDict({split: datasets.Dataset.from_list(part) for split, part in parts.items()})
        return splits.cast_column("verdict", datasets.ClassLabel(names=CLASSES))  # the same classes in each split

    def files(self):
        """What `load` reads. When it changes, it is loaded again; processes that tune can't open it: it holds test."""
        return [ROWS]


@mb.hookimpl
def mmbench_datasets():
    return [$title]
'''

OBJECTIVE = '''\
"""The objective `$name`: change the equation, the space and this text into yours."""

import mmbench as mb
import torch
from torch import nn


class Module(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.register_buffer("weight", torch.tensor(float(weight)))  # as a buffer it may differ in a cohort

    def loss(self, features, fused, target):  # added to the task's; on_features and on_gradients are there too
        log = fused.logits.log_softmax(-1)  # [B, outputs]
        entropy = -(log.exp() * log).sum(-1).mean()
        return {"confidence": -self.weight * entropy}


class $title(mb.Objective):
    """Confidence costs: predictions that leave room for doubt are preferred.

    loss = - weight * mean_i H(p_i),  p_i = softmax(logits_i)
    """

    name = "$name"
    source = "arXiv:1701.06548"  # where it was published: a DOI, an arXiv id or an address
    space = {"weight": mb.Float(0.01, 1.0, log=True, default=0.1)}

    def supports(self, task):
        return None if isinstance(task.target, mb.Label) else "needs classes"

    def build(self, inputs, outputs, params):  # {modality: FeatureSpec(width, tokens)}, the number of classes
        return Module(**params)


@mb.hookimpl
def mmbench_objectives():
    return [$title]
'''

METRIC = '''\
"""The metric `$name`: change the score and this text into yours."""

import mmbench as mb
import numpy as np


class $title(mb.Metric):
    """Recall of the class that is recognised worst."""

    name = "$name"
    targets = ("label",)  # or labels, number, match, text
    direction = "max"

    def score(self, truth, prediction):  # classes [N], probabilities [N, C]
        if not np.isfinite(prediction).all():
            raise ValueError("the prediction is not finite")
        right = np.asarray(prediction).argmax(1) == truth
        return float(min(right[truth == label].mean() for label in np.unique(truth)))


@mb.hookimpl
def mmbench_metrics():
    return [$title]
'''

CORRUPTION = '''\
"""The corruption `$name`: change what it does to a value, and this text, into yours."""

import mmbench as mb


class $title(mb.Corruption):
    """Words get lost: each is left out with a probability of severity * rate."""

    name = "$name"
    kinds = ("text",)  # or tabular, image, audio, series, video
    space = {"rate": mb.Float(0.1, 1.0, default=0.8)}

    def apply(self, column, severity, generator, params):
        """The column's values, damaged; None where one is missing. One that is left alone stays the same object."""
        rate = severity * params.get("rate", self.space["rate"].default)
        return [None if text is None else self._thinned(text, rate, generator) for text in column]

    def _thinned(self, text, rate, generator):
        words = text.split()
        lost = generator.random(len(words)) < rate
        return " ".join(word for word, gone in zip(words, lost) if not gone) if lost.any() else text


@mb.hookimpl
def mmbench_corruptions():
    return [$title]
'''

TEST = '''\
"""The contract, as `mmbench check` runs it. Add tests of what is your own below it."""

from mmbench.testing.$role import ${contract}Contract

from $name import $title


class Test$title(${contract}Contract):
    part = $title
'''

README = """\
# $distribution

The $what `$name` for mmbench.

    mmbench check $name.py                       # the contract tests
    mmbench run $run

Installed, it is found by its entry point, with no `--plugin`:

    pip install -e .
    pytest
    mmbench info $name
"""

BUDGET = """\
# Every key: docs/suites.md. `mmbench plan` shows what would run.
name = "$name"
version = 1
description = "Does it help on $dataset?"

[budget]                        # the same for every contender
trials = 8
epochs = 20
refit_seeds = 3
"""

CONTENDERS = """
[[contender]]
name = "concat"
fusion = "concat"               # mmbench list fusions

[[contender]]
name = "gated"
fusion = "gated"

[[contender]]
name = "only"                   # each modality alone: what a fusion has to beat
each_modality = true
"""

TASK = """
[[task]]
dataset = "$dataset"
metric = "accuracy"             # mmbench list metrics
"""

TWO_READERS = """
[[task]]
name = "$name"
dataset = "$dataset"
modalities = ["fou", "zer"]
metric = "accuracy"
encoders = { fou = "$name", zer = "$name" }

[[task]]                        # the same, read by another
name = "mlp"
dataset = "$dataset"
modalities = ["fou", "zer"]
metric = "accuracy"
encoders = { fou = "mlp", zer = "mlp" }
"""

WITH = """
[[contender]]
name = "concat with $name"
fusion = "concat"
objective = "$name"
"""

DAMAGE = """
[[task.corruption]]             # the refitted models are scored again on damaged test rows
name = "$name"
modality = "text"
"""

SUITE = BUDGET + TASK + CONTENDERS
HEAD_SUITE = (BUDGET + TASK + CONTENDERS).replace("$dataset", "${name}_data").replace('"accuracy" ', '"${name}_error" ')
METRIC_SUITE = BUDGET + TASK.replace('"accuracy"             # mmbench list metrics', '"$name"') + CONTENDERS
ENCODER_SUITE = BUDGET + TWO_READERS + CONTENDERS


def rows() -> str:
    """The made-up wines: either modality tells some of the truth, both tell more; a few values are missing."""
    draw = random.Random(0)
    words = {"good": ("ripe", "round", "bright", "long"), "poor": ("flat", "harsh", "thin", "stale")}
    things = ("plum", "smoke", "apple", "oak", "pepper", "honey", "slate", "cherry")
    lines = ["acidity,sugar,words,verdict"]
    for _ in range(400):
        verdict = draw.choice(("good", "poor"))
        said = words[verdict if draw.random() < 0.8 else draw.choice(("good", "poor"))]
        told = " ".join([*draw.sample(things, 2), "and", draw.choice(said)]) if draw.random() > 0.05 else ""
        numbers = [draw.gauss(0.6 if verdict == "good" else -0.6, 1) for _ in range(2)]
        lines.append(f"{numbers[0]:.3f},{numbers[1]:.3f},{told},{verdict}")
    return "\n".join(lines) + "\n"


def files(what: str) -> dict[str, str]:
    """{path: text} of a folder for a new `what`, or of the one file of a suite."""
    if what == "suite":
        return {"$name.toml": SUITE}
    own = {
        "fusion": {"$name.py": FUSION},
        "encoder": {"$name.py": ENCODER, "suite.toml": ENCODER_SUITE},
        "objective": {"$name.py": OBJECTIVE, "suite.toml": SUITE + WITH},
        "optimizer": {"$name.py": templates_training.OPTIMIZER, "suite.toml": SUITE + templates_training.CONTENDER},
        "schedule": {"$name.py": templates_training.SCHEDULE, "suite.toml": SUITE + templates_training.CONTENDER},
        "compressor": {"$name.py": templates_training.COMPRESSOR, "suite.toml": SUITE + templates_training.DERIVED},
        "head": {"$name.py": HEAD, "suite.toml": HEAD_SUITE},
        "metric": {"$name.py": METRIC, "suite.toml": METRIC_SUITE},
        "corruption": {"$name.py": CORRUPTION, "suite.toml": BUDGET + TASK + DAMAGE + CONTENDERS},
        "dataset": {"$name.py": DATASET, "$name.csv": rows(), "suite.toml": SUITE},
    }
    return {"pyproject.toml": PYPROJECT, **own[what], "tests/test_$name.py": TEST, "README.md": README}
