"""mmbench: does this fusion help, by how much, at what cost, under the same budget as everyone else?

    import mmbench as mb

The names below are what plugins and scripts use. Importing this imports no torch.
"""

import sys

# `python -m mmbench` looks for modules in the current folder first: a `typing.py` that happens to lie there would run.
if sys.argv[:1] == ["-m"] and sys.orig_argv[-len(sys.argv)] in ("mmbench", "-mmmbench") and not sys.flags.safe_path:
    sys.path.pop(0)

from typing import TYPE_CHECKING, Any

from mmbench.api.data import Label, Labels, Match, Number, Sound, Target, Task, Text
from mmbench.api.parts import (
    Corruption,
    Dataset,
    Encoder,
    Epoch,
    Features,
    FeatureSpec,
    Fused,
    Fusion,
    Metric,
    Objective,
)
from mmbench.api.parts.compressor import Compressor
from mmbench.api.parts.head import Head
from mmbench.api.parts.training import Optimizer, Schedule
from mmbench.api.space import Choice, Float, Int
from mmbench.errors import UndefinedError
from mmbench.hookspecs import hookimpl

if TYPE_CHECKING:
    from mmbench.exports.loading import load_export
    from mmbench.session import Run, run

__version__ = "0.1.0"

__all__ = [
    "Choice",
    "Compressor",
    "Corruption",
    "Dataset",
    "Encoder",
    "Epoch",
    "FeatureSpec",
    "Features",
    "Float",
    "Fused",
    "Fusion",
    "Head",
    "Int",
    "Label",
    "Labels",
    "Match",
    "Metric",
    "Number",
    "Objective",
    "Optimizer",
    "Run",
    "Schedule",
    "Sound",
    "Target",
    "Task",
    "Text",
    "UndefinedError",
    "hookimpl",
    "load_export",
    "run",
]


def __getattr__(name: str) -> Any:
    if name in ("Run", "run"):  # they compose the engine and the board, which plugins need not load
        from mmbench import session

        return getattr(session, name)
    if name == "load_export":
        from mmbench.exports import loading

        return loading.load_export
    raise AttributeError(f"module 'mmbench' has no attribute {name!r}")
