"""Every built-in fusion meets the contract, and so does the one in the tutorial of the architecture."""

from collections.abc import Mapping
from typing import Any

from mmbench_fusion import mmbench_fusions
from torch import nn

import mmbench as mb
from mmbench.api.space import Params, defaults
from mmbench.testing.fusion import FusionContract

SMALL: dict[str, Params] = {"boosting": {"trees": 20, "rate": 0.1, "leaves": 4}, "mult": {"layers": 1, "heads": 2}}
"""Where the default configuration takes seconds: what the tests use in its place, unless they try several."""

for part in mmbench_fusions():
    name = "".join(word.capitalize() for word in part.name.split("_"))
    params = {**defaults(part.space), **SMALL.get(part.name, {})}
    members = {"part": part, "params": lambda self, params=params: params}
    globals()[f"Test{name}"] = type(f"Test{name}", (FusionContract,), members)


class Scaled(nn.Module):
    def __init__(self, inputs: Mapping[str, mb.FeatureSpec], width: int, temperature: float):
        super().__init__()
        self.project = nn.ModuleDict({m: nn.Linear(spec.width, width) for m, spec in inputs.items()})
        self.temperature = temperature

    def forward(self, features: Mapping[str, mb.Features]) -> Any:
        return sum(self.project[m](f.pooled) for m, f in features.items()) / self.temperature


class Mine(mb.Fusion):
    """Sum of projections over a temperature."""

    name = "mine"
    source = "https://example.org/paper"
    space = {"temperature": mb.Float(0.5, 5.0, log=True, default=1.0)}

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        return Scaled(inputs, width, **params)


class TestMine(FusionContract):
    part = Mine
