"""A plugin for tests: a fusion that takes its time in the first step of each training, and says that it has begun."""

import os
import time
from pathlib import Path
from typing import Any

import mmbench as mb

SECONDS = 2.0


class Plods(mb.Fusion):
    """The sum of projections; the first time in training it sleeps."""

    name = "plods"

    def build(self, inputs: Any, width: int, params: Any) -> Any:
        from torch import nn

        class Sum(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.project = nn.ModuleDict({m: nn.Linear(spec.width, width) for m, spec in inputs.items()})
                self.slept = False

            def forward(self, features: Any) -> Any:
                if self.training and not self.slept:
                    self.slept = True
                    Path(os.environ["PLODS"]).touch()
                    time.sleep(SECONDS)
                return sum(self.project[m](f.pooled) for m, f in features.items())

        return Sum()


@mb.hookimpl
def mmbench_fusions() -> list[type[mb.Fusion]]:
    return [Plods]
