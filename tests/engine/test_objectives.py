"""Several objectives in one training: each hook is asked of all that have it, and of nobody else."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from mmbench.engine.learn.objectives import joined


class Louder(nn.Module):
    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def on_features(self, features: Mapping[str, float], generator: Any) -> Mapping[str, float]:
        return {name: value * self.by for name, value in features.items()}

    def loss(self, features: Any, fused: Any, target: Any) -> dict[str, Any]:
        return {"loud": torch.tensor(self.by)}


class Steep(nn.Module):
    def on_gradients(self, gradients: dict[str, float], *_: Any) -> dict[str, float]:
        return {name: value + 1 for name, value in gradients.items() if name == "a"}


def test_features_pass_through_all_and_losses_add_up() -> None:
    both: Any = joined({"two": Louder(2.0), "three": Louder(3.0)})
    assert both.on_features({"x": 1.0}, None) == {"x": 6.0}
    assert both.loss({}, None, None) == {"two.loud": torch.tensor(2.0), "three.loud": torch.tensor(3.0)}
    assert not hasattr(both, "on_gradients")
    assert not hasattr(both, "on_epoch")


def test_gradients_that_one_leaves_alone_stay() -> None:
    both: Any = joined({"loud": Louder(1.0), "steep": Steep()})
    assert both.on_gradients({"a": 1.0, "b": 2.0}, {}, None, None, None) == {"a": 2.0, "b": 2.0}


def test_a_lone_one_is_itself() -> None:
    alone = Louder(1.0)
    assert joined({"loud": alone}) is alone


def test_two_of_the_same_kinds_are_of_one_class() -> None:
    """So that a cohort sees that its members are alike."""
    assert type(joined({"a": Louder(1.0), "b": Steep()})) is type(joined({"a": Louder(2.0), "b": Steep()}))
