"""Each rule of FusionContract can fail: fusions that are broken in one place meet it."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from mmbench_fusion.vector import Sum
from torch import Tensor, nn

import mmbench as mb
from mmbench.api.space import Params
from mmbench.errors import TrainingError
from mmbench.testing.fusion import FusionContract

Inputs = Mapping[str, mb.FeatureSpec]
FeatureMap = Mapping[str, mb.Features]
kept: list[nn.Module] = []


class Projected(nn.Module):
    """Sound by itself: a sum of projections. The parts below break it in one place each."""

    def __init__(self, inputs: Inputs, width: int):
        super().__init__()
        self.width = width
        self.project = nn.ModuleDict({m: nn.Linear(s.width, width) for m, s in sorted(inputs.items())})

    def forward(self, features: FeatureMap) -> Any:
        return torch.stack([self.one(m, features[m]) for m in self.project]).sum(0)

    def one(self, m: str, features: mb.Features) -> Tensor:
        projected: Tensor = self.project[m](features.pooled)
        return projected * features.present.unsqueeze(1)


class InAList(Projected):
    def __init__(self, inputs: Inputs, width: int):
        super().__init__(inputs, width)
        self.factors = [torch.randn(width, requires_grad=True) for _ in inputs]

    def forward(self, features: FeatureMap) -> Any:
        return super().forward(features) * self.factors[0]


class Unused(Projected):
    def __init__(self, inputs: Inputs, width: int):
        super().__init__(inputs, width)
        self.extra = nn.Linear(2, 2)


class NoMask(Projected):
    def one(self, m: str, features: mb.Features) -> Tensor:
        projected: Tensor = self.project[m](features.tokens.mean(1))
        return projected


class Infinite(Projected):
    def one(self, m: str, features: mb.Features) -> Tensor:
        mean = features.tokens.sum(1) / features.mask.sum(1, keepdim=True)
        projected: Tensor = self.project[m](mean)
        return projected


class BadGradient(Projected):
    """Finite forward, but the square root's gradient at 0 is infinite."""

    def one(self, m: str, features: mb.Features) -> Tensor:
        projected: Tensor = self.project[m](features.pooled) * features.present.unsqueeze(1)
        return projected * projected.square().sum(1, keepdim=True).sqrt()


class InPlace(Projected):
    def one(self, m: str, features: mb.Features) -> Tensor:
        features.tokens.mul_(2)
        return super().one(m, features)


class ByPosition(Projected):
    def forward(self, features: FeatureMap) -> Any:
        return sum(2**i * self.one(m, f) for i, (m, f) in enumerate(features.items()))


class AcrossRows(Projected):
    def forward(self, features: FeatureMap) -> Any:
        out = super().forward(features)
        return out - out.mean(0, keepdim=True)


class Squeezed(Projected):
    def forward(self, features: FeatureMap) -> Any:
        return super().forward(features).squeeze(0)


class Random(Projected):
    def forward(self, features: FeatureMap) -> Any:
        return super().forward(features) + torch.randn(self.width)


class Hidden(Projected):
    """A state that is neither parameter nor buffer."""

    def __init__(self, inputs: Inputs, width: int):
        super().__init__(inputs, width)
        self.shift = torch.randn(width)

    def forward(self, features: FeatureMap) -> Any:
        return super().forward(features) + self.shift


class Immortal(Projected):
    def __init__(self, inputs: Inputs, width: int):
        super().__init__(inputs, width)
        kept.append(self)


class Greedy(Projected):
    def forward(self, features: FeatureMap) -> Any:
        vector = super().forward(features)
        return mb.Fused(vector=vector, weights={m: torch.ones(len(vector)) for m in features})


class BadLoss(Projected):
    def loss(self, fused: mb.Fused, target: Tensor) -> dict[str, Tensor]:
        assert fused.vector is not None
        return {"extra": fused.vector.sum(1)}


class DataDependent(Projected):
    """Neither Python's `if` nor `item` can follow a tensor under vmap."""

    def forward(self, features: FeatureMap) -> Any:
        out = super().forward(features)
        return out * 2 if out.sum() > 0 else out


class NoDropout(Projected):
    def __init__(self, inputs: Inputs, width: int, dropout: float):
        super().__init__(inputs, width)


class Remembers(Projected):
    """Keeps the mean of what it saw in training where no state_dict has it, and uses it in evaluation."""

    seen: Tensor | None = None

    def forward(self, features: FeatureMap) -> Any:
        out = super().forward(features)
        if self.training:
            self.seen = out.detach().mean(0)
        return out if self.seen is None else out - self.seen


class Drifts(Projected):
    """Counts the rows that it is asked about in evaluation."""

    def __init__(self, inputs: Inputs, width: int):
        super().__init__(inputs, width)
        self.register_buffer("asked", torch.zeros(()))

    def forward(self, features: FeatureMap) -> Any:
        if not self.training:
            self.get_buffer("asked").add_(1)
        return super().forward(features)


class Noisy(Projected):
    """Draws what nobody can hold alike."""

    def forward(self, features: FeatureMap) -> Any:
        out = super().forward(features)
        return out + torch.normal(0.0, 1.0, out.shape) if self.training else out


def contract(module: Callable[..., nn.Module], space: Mapping[str, Any] | None = None) -> Any:
    """The contract of a part that builds `module`."""

    class Broken(mb.Fusion):
        """A fusion."""

        name = "broken"

        def build(self, inputs: Inputs, width: int, params: Params) -> Any:
            return module(inputs, width, **params)

    Broken.space = dict(space or {})
    return type("Contract", (FusionContract,), {"part": Broken})()


RULES: list[tuple[Callable[..., nn.Module], str, str]] = [
    (InAList, "test_parameters_are_registered", "not registered"),
    (Unused, "test_parameters_learn", "extra.weight takes no part"),
    (NoMask, "test_masked_tokens_do_not_matter", "padding changes"),
    (Infinite, "test_a_missing_modality", "not finite where"),
    (Infinite, "test_everything_missing", "not finite where everything"),
    (BadGradient, "test_everything_missing", "gradient of"),
    (InPlace, "test_leaves_its_inputs_alone", "changed in place"),
    (ByPosition, "test_order_of_modalities_does_not_matter", "order of the features"),
    (AcrossRows, "test_rows_do_not_meet", "a row alone"),
    (Squeezed, "test_gives_the_right_shape", "for 1 rows"),
    (Random, "test_is_deterministic", "draws at random"),
    (Hidden, "test_state_dict_round_trips", "outside state_dict"),
    (Immortal, "test_memory_is_released", "outlives"),
    (Greedy, "test_weights", "has weight where"),
    (BadLoss, "test_loss", "not a scalar"),
]


@pytest.mark.parametrize(("module", "rule", "message"), RULES, ids=[f"{m.__name__}-{r}" for m, r, _ in RULES])
def test_a_broken_fusion(module: Callable[..., nn.Module], rule: str, message: str) -> None:
    arguments = () if rule == "test_memory_is_released" else (2,)
    getattr(contract(Projected), rule)(*arguments)
    with pytest.raises(AssertionError, match=message):
        getattr(contract(module), rule)(*arguments)
    kept.clear()


def test_a_fusion_that_no_cohort_can_train() -> None:
    contract(Projected).test_trains_in_a_cohort()
    with pytest.raises(RuntimeError, match="vmap"):
        contract(DataDependent).test_trains_in_a_cohort()
    alone = contract(DataDependent)
    alone.part.cohort = False
    with pytest.raises(pytest.skip.Exception):
        alone.test_trains_in_a_cohort()


@pytest.mark.parametrize(
    ("module", "message"), [(Remembers, "outside state_dict"), (Drifts, r"evaluation changes fusion\.asked")]
)
def test_training_that_leaves_more_than_weights(module: Callable[..., nn.Module], message: str) -> None:
    contract(Projected).test_training_ends_in_a_state_dict()
    with pytest.raises((AssertionError, TrainingError), match=message):
        contract(module).test_training_ends_in_a_state_dict()


def test_a_fusion_that_a_cohort_refuses() -> None:
    with pytest.raises(AssertionError, match=r"fusion: seen; mend that, or say cohort = False"):
        contract(Remembers).test_trains_in_a_cohort()


def test_random_numbers_that_differ_from_member_to_member_are_no_fault() -> None:
    with pytest.raises(pytest.skip.Exception, match="can't be held alike"):
        contract(Noisy).test_trains_in_a_cohort()


def test_a_cohort_that_trains_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the rule is for: the engine's own mistakes, seen by the part that meets them."""
    from mmbench.engine.learn.cohort import Cohort

    move = Cohort._move
    monkeypatch.setattr(Cohort, "_move", lambda self, gradient, progress: move(self, 1.1 * gradient, progress))
    with pytest.raises(AssertionError, match="a cohort predicts otherwise than one by one after epoch 1"):
        contract(Projected).test_trains_in_a_cohort()


def test_dropout_that_does_nothing() -> None:
    with pytest.raises(AssertionError, match="dropout does nothing"):
        contract(NoDropout, {"dropout": mb.Float(0.0, 0.5, default=0.1)}).test_dropout()


def test_a_setting_that_fails() -> None:
    class Odd(Projected):
        def __init__(self, inputs: Inputs, width: int, power: int):
            super().__init__(inputs, width)
            self.power = power

        def forward(self, features: FeatureMap) -> Any:
            return super().forward(features) ** self.power / (self.power - 3)

    contract(Odd, {"power": mb.Int(1, 2, default=1)}).test_settings()
    with pytest.raises(AssertionError, match="power"):
        contract(Odd, {"power": mb.Int(1, 4, default=1)}).test_settings()


@pytest.mark.parametrize(("attribute", "value"), [("name", "Bad name"), ("__doc__", ""), ("level", "middle")])
def test_a_part_that_does_not_describe_itself(attribute: str, value: str) -> None:
    made = contract(Projected)
    made.test_describes_itself()
    setattr(made.part, attribute, value)
    with pytest.raises(AssertionError):
        made.test_describes_itself()


class Missing(mb.Fusion):
    """Forgets the columns of classes that train lacks."""

    name = "forgetful"
    level = "estimator"

    def build(self, inputs: Inputs, width: int, params: Params) -> Any:
        from sklearn.dummy import DummyClassifier

        class Estimator:
            def fit(self, X: Mapping[str, Any], y: Any) -> None:
                self.model = DummyClassifier().fit(np.zeros((len(y), 1)), y)

            def predict_proba(self, X: Mapping[str, Any]) -> Any:
                return self.model.predict_proba(np.zeros((len(X["text"]), 1)))

        return Estimator()


def test_a_broken_estimator() -> None:
    made: Any = type("Contract", (FusionContract,), {"part": Missing})()
    with pytest.raises(AssertionError, match="also of one train lacks"):
        made.test_predictions()
    assert made.test_parameters_learn is None, "a rule for modules"
    sound: Any = type("Contract", (FusionContract,), {"part": Sum})()
    assert sound.test_predictions is None, "a rule for estimators"
