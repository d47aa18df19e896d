"""Rules of ObjectiveContract can fail: an objective that is broken in one place meets them."""

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch
from mmbench_objective.balance import ModalityDropout
from torch import Tensor, nn

import mmbench as mb
from mmbench.api.space import Params
from mmbench.testing.objective import ObjectiveContract

Inputs = Mapping[str, mb.FeatureSpec]
FeatureMap = Mapping[str, mb.Features]


class BrokenObjective(mb.Objective):
    """An objective that is broken in one place."""

    name = "broken"
    how: ClassVar[str] = ""

    def build(self, inputs: Inputs, outputs: int, params: Params) -> Any:
        sound = ModalityDropout().build(inputs, outputs, {"p": 0.5})
        how = self.how

        class Module(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.sound = sound
                self.hidden = [nn.Linear(1, 1)]

            def on_features(self, features: FeatureMap, generator: torch.Generator) -> FeatureMap:
                chance = torch.Generator().manual_seed(torch.initial_seed()) if how == "global" else generator
                found: FeatureMap = self.sound.on_features(features, chance)
                if how == "in place":
                    for f in features.values():
                        f.mask.zero_()
                if how == "tokens":
                    return {m: mb.Features(features[m].tokens, f.mask) for m, f in found.items()}
                return found

            def loss(self, features: FeatureMap, fused: mb.Fused, target: Tensor) -> dict[str, Tensor]:
                value = torch.stack([f.pooled.sum(1) for f in features.values()]).sum(0)
                if how == "nan":
                    value = value / torch.stack([f.present for f in features.values()]).sum()
                if how == "list":
                    value = self.hidden[0](value.unsqueeze(1))
                return {"term": value if how == "shape" else value.sum()}

            def on_gradients(
                self,
                gradients: Mapping[str, Tensor],
                features: FeatureMap,
                fused: mb.Fused,
                target: Tensor,
                generator: torch.Generator,
            ) -> Mapping[str, Tensor]:
                if how == "gradients in place":
                    for gradient in gradients.values():
                        gradient.mul_(2)
                return gradients

        return Module()


@pytest.mark.parametrize(
    ("how", "rule", "message"),
    [
        ("global", "test_on_features", "draws from something"),
        ("in place", "test_on_features", "changed in place"),
        ("tokens", "test_on_features", "must be zero"),
        ("nan", "test_loss", "term is nan"),
        ("shape", "test_loss", "not a scalar"),
        ("list", "test_parameters_learn", "not registered"),
        ("gradients in place", "test_on_gradients", "changed in place"),
    ],
)
def test_a_broken_objective(how: str, rule: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: Any = type("Contract", (ObjectiveContract,), {"part": BrokenObjective})()
    getattr(made, rule)("label")
    monkeypatch.setattr(BrokenObjective, "how", how)
    with pytest.raises(AssertionError, match=message):
        getattr(made, rule)("label")
