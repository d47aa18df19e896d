"""A cohort against training one by one: every part of the Catalog, member by member."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from mmbench_head.modules import decision
from torch import nn

from mmbench import plugins
from mmbench.api.data import Label, Task
from mmbench.api.parts import Encoder, Fusion, Objective
from mmbench.api.space import Float, defaults
from mmbench.engine.learn.cohort import LARGEST, Cohort, NoCohortError, pays
from mmbench.engine.learn.model import Inputs, Model, assemble, predict
from mmbench.engine.learn.train import Lesson, Recipe, TimeUpError, Training
from mmbench.errors import PluginError
from mmbench.testing.rules import chance
from mmbench.testing.rules.columns import ordinary
from tests.engine.rules import recipe, rule

CATALOG = plugins.load()
FUSIONS = [name for name, part in CATALOG.fusions.items() if part.level != "estimator" and part.cohort]
FUSIONS.remove("dot")  # judges the pairs of a match, which the engine trains one by one
THREE = Task("t", "d", dict.fromkeys("abc", "tabular"), Label("y"), "m")
OBJECTIVES = [name for name, part in CATALOG.objectives.items() if part.cohort and not part.supports(THREE)]
ROWS, CLASSES = 24, 3
RECIPE = recipe(epochs=3, patience=9, lr=5e-3, weight_decay=0.1, batch_size=8, seed=0)


@cache
def prepared(name: str) -> tuple[Mapping[str, Any], dict[str, torch.Tensor]]:
    encoder = CATALOG.encoders[name]
    column = ordinary(encoder.kind, ROWS)
    state = encoder.fit(column, defaults(encoder.space, "prepare"))
    arrays = {key: torch.from_numpy(np.asarray(array)) for key, array in encoder.transform(state, column).items()}
    return state, {key: a.float() if a.dtype == torch.float16 else a for key, a in arrays.items()}


def setting(
    encoders: Mapping[str, str], fusion: str, objective: str | None = None, *, tuned: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A configuration with dropout wherever there is some, of every other setting its default."""
    params: dict[str, Any] = {"fusion": fusion, "model.width": 16, "model.dropout": 0.2}
    used: list[tuple[str, Fusion | Encoder | Objective]] = [(f"fusion.{fusion}", CATALOG.fusions[fusion])]
    for modality, name in encoders.items():
        params[f"encoder.{modality}"] = name
        used.append((f"encoder.{modality}.{name}", CATALOG.encoders[name]))
    if objective:
        params["objective"] = objective
        used.append((f"objective.{objective}", CATALOG.objectives[objective]))
    for prefix, part in used:
        for name, value in defaults(part.space).items():
            params[f"{prefix}.{name}"] = max(0.2, float(value)) if name == "dropout" else value
    return params | dict(tuned or {})


def models(params: list[dict[str, Any]]) -> tuple[list[Model], Lesson]:
    names = [key for key in params[0] if key.startswith("encoder.") and key.count(".") == 1]
    modalities = {key.removeprefix("encoder."): params[0][key] for key in names}
    found = {modality: prepared(name) for modality, name in modalities.items()}
    arrays = {modality: tensors for modality, (_, tensors) in found.items()}
    inputs = Inputs(arrays, torch.arange(ROWS) % CLASSES, ROWS)
    states = {modality: state for modality, (state, _) in found.items()}
    sample = inputs.batch(slice(0, 2))
    task = CATALOG.heads["label"], {"outputs": CLASSES}
    made = [assemble(CATALOG, p, states, task, sample, seed) for seed, p in enumerate(params)]
    truth = np.arange(ROWS) % CLASSES

    def score(predictions: np.ndarray[Any, Any]) -> float:
        return -float(np.square(predictions[range(ROWS), truth] - 1).mean())

    return made, Lesson(inputs, inputs, score)


def recipes(count: int, optimizer: str = "adamw") -> list[Recipe]:
    rules = [rule(optimizer, lr=5e-3 * (1 + k / 2), weight_decay=0.1 * k) for k in range(count)]
    return [replace(RECIPE, seed=k, rule=own) for k, own in enumerate(rules)]


USUAL = {"adamw": 2, "sgd": 1}
ROUGH = ("mfb", "mfh", "block", "i2moe")
"""Signed roots and norms are steep at 0, so that by Adam rounding errors become steps."""
KINKED = ("conv_conv_pool", "resnet18", "resnet50", "tcn")
"""Many units with a kink: where a rounding error takes one of them across it, a weight's gradient differs by more."""


def check(params: list[dict[str, Any]], optimizers: Mapping[str, int] = USUAL, close: float = 1e-6) -> None:
    """By AdamW the score after each epoch of each member to 1e-6, and what it then predicts; by gradient descent each
    weight. In training mode, with every dropout; what is drawn at random is held alike.

    Not each weight by AdamW: of a gradient that is nothing but a rounding error, as that of a key's bias in attention
    is, Adam makes a step of full length.
    """
    with chance.alike():
        for optimizer, epochs in optimizers.items():
            compare(params, optimizer, epochs, close)


def compare(params: list[dict[str, Any]], optimizer: str, epochs: int, close: float) -> None:
    together, lesson = models(params)
    apart, _ = models(params)
    told = recipes(len(params), optimizer)
    cohort = Cohort(together, told, lesson)
    for _ in range(epochs):
        cohort.advance()
    for k, own in enumerate(told):
        training = Training(apart[k], own, lesson)
        for _ in range(epochs):
            training.advance()
        assert cohort.fits[k].curve == pytest.approx(training.fit.curve, abs=close)
        cohort._load(k, *cohort._take(k))
        if optimizer == "sgd":
            state = together[k].state_dict()
            for name, tensor in training.model.state_dict().items():
                torch.testing.assert_close(state[name], tensor, rtol=1e-4, atol=close, msg=name)
        one, other = predict(together[k], lesson.valid), predict(training.model, lesson.valid)
        torch.testing.assert_close(one, other, rtol=1e-4, atol=10 * close)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_fusion(fusion: str) -> None:
    encoders = {"a": "mlp", "b": "statistics", "c": "cnn1d"}
    floats = [name for name, p in CATALOG.fusions[fusion].space.items() if isinstance(p, Float) and name != "dropout"]
    several = []
    for k in range(3):  # each member has settings of its own
        space = CATALOG.fusions[fusion].space
        tuned = {f"fusion.{fusion}.{name}": float(defaults(space)[name]) * (0.7 + 0.1 * k) for name in floats}
        several.append(setting(encoders, fusion, tuned=tuned))
    check(several, {"sgd": 1} if fusion in ROUGH else USUAL)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective(objective: str) -> None:
    check([setting({"a": "mlp", "b": "statistics"}, "sum", objective) for _ in range(3)])


@pytest.mark.parametrize("encoder", CATALOG.encoders)
def test_every_encoder(encoder: str) -> None:
    if CATALOG.encoders[encoder].carriers:
        pytest.skip("reads the features of a frozen network, as `statistics` does: its module is a projection")
    params = [setting({"a": encoder, "b": "mlp"}, "concat") for _ in range(3)]
    made, _ = models(params)
    if any(isinstance(module, nn.RNNBase) for module in made[0].modules()):
        assert not pays(made * 4, batch_size=8), "recurrent layers have no batching rule"
    elif encoder in KINKED:
        check(params, {"sgd": 1}, close=2e-4)
    else:
        check(params)


@pytest.mark.parametrize("optimizer", [name for name, part in CATALOG.optimizers.items() if part.cohort])
def test_every_optimizer(optimizer: str) -> None:
    check([setting({"a": "mlp", "b": "statistics"}, "concat") for _ in range(3)], {optimizer: 2})


@pytest.fixture
def alike() -> Iterator[None]:
    with chance.alike():
        yield


@pytest.mark.usefixtures("alike")
def test_members_leave_without_a_trace() -> None:
    """One stops, one's patience ends, one fails: the others are as if they had been alone."""
    params = [setting({"a": "mlp", "b": "statistics"}, "concat") for _ in range(4)]
    together, lesson = models(params)
    with torch.no_grad():
        next(together[2].fusion.parameters()).fill_(float("nan"))
    chosen = [replace(recipe, epochs=3, patience=9) for recipe in recipes(4)]
    cohort = Cohort(together, chosen, lesson)
    cohort.advance()
    assert list(cohort.failures) == [2]
    assert "loss became nan" in cohort.failures[2]
    cohort.stop(0)
    while not cohort.over:
        cohort.advance()
    assert [len(fit.curve) for fit in cohort.fits] == [1, 3, 0, 3]
    apart, _ = models(params)
    for k in (1, 3):
        training = Training(apart[k], chosen[k], lesson)
        while not training.over:
            training.advance()
        assert cohort.fits[k].curve == pytest.approx(training.fit.curve, abs=1e-6)
        for name, tensor in training.model.state_dict().items():
            torch.testing.assert_close(cohort.model(k).state_dict()[name], tensor, rtol=1e-5, atol=5e-6)


def test_each_drops_out_as_much_as_it_was_told() -> None:
    """With dropout a cohort equals one-by-one training in distribution: here, in how much of a layer is dropped."""
    params = [setting({"a": "mlp"}, "concat", tuned={"model.dropout": p}) for p in (0.0, 0.2, 0.6, 0.6)]
    made, lesson = models(params)
    cohort = Cohort(made, recipes(4), lesson)

    def dropped(x: torch.Tensor) -> torch.Tensor:
        output: Any = cohort.models[0].head.output
        return torch.mean((output[2](x) == 0).float())

    cohort.models[0].train()
    x = torch.ones(4, 500, 20)
    shares = cohort._run(dropped, (0,), x)
    assert shares.tolist() == pytest.approx([0.0, 0.2, 0.6, 0.6], abs=0.02)
    assert shares[2] != shares[3], "two members drew the same"


def test_only_models_that_differ_in_tensors_alone() -> None:
    class Scale(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.factor = factor
            self.linear = nn.Linear(16, 16)

    params = [setting({"a": "mlp"}, "concat") for _ in range(2)]
    made, lesson = models(params)
    for model, factor in zip(made, (1.0, 2.0), strict=True):
        model.fusion = Scale(factor)
    with pytest.raises(NoCohortError, match="differ in more than their tensors"):
        Cohort(made, recipes(2), lesson)


def test_a_part_that_a_cohort_cannot_run_says_so() -> None:
    """A step that depends on a tensor's value raises; the engine then trains one by one."""

    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(64, 16)

        def forward(self, features: Any) -> torch.Tensor:
            out: torch.Tensor = self.linear(features["a"].pooled)
            return out if out.sum() > 0 else -out

    made, lesson = models([setting({"a": "mlp"}, "concat") for _ in range(4)])
    for model in made:
        model.fusion = Branch()
    with pytest.raises(RuntimeError, match="data-dependent"):
        Cohort(made, recipes(4), lesson).advance()


def test_seconds_are_shared() -> None:
    made, lesson = models([setting({"a": "mlp"}, "concat") for _ in range(2)])
    with pytest.raises(TimeUpError):
        Cohort(made, [replace(recipe, seconds=0.0) for recipe in recipes(2)], lesson).advance()


def test_small_models_join_and_large_ones_do_not() -> None:
    made, _ = models([setting({"a": "mlp", "b": "statistics"}, "concat") for _ in range(4)])
    weights = sum(p.numel() for p in made[0].parameters())
    assert pays(made, batch_size=32)
    assert not pays(made[:3], batch_size=32)
    assert not pays(made, batch_size=LARGEST // 8 // weights + 1)
    assert pays(made * 2, batch_size=LARGEST // weights)
    assert not pays(made * 2, batch_size=LARGEST // weights + 1)


def test_errors_of_a_part_are_raised() -> None:
    made, lesson = models([setting({"a": "mlp"}, "concat") for _ in range(2)])
    for model in made:
        model.head, model.result = decision.Label(CLASSES + 1, None, 0.0), "logits"
    with pytest.raises(PluginError, match="logits of shape"):
        Cohort(made, recipes(2), lesson).advance()
