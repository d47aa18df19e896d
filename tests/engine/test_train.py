"""The loop and the model, each against plain torch."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mmbench_head.modules.decision import Label
from mmbench_head.modules.match import NEVER, Match
from torch import nn

from mmbench.api.parts import Features, Fused
from mmbench.engine.data.features import PRESENT
from mmbench.engine.learn import train as loop
from mmbench.engine.learn.model import Inputs, Model, kernels, predict, settle
from mmbench.engine.learn.optimizer import Updater
from mmbench.engine.learn.train import Fit, Lesson, Recipe, TimeUpError, Training
from mmbench.errors import PluginError, TrainingError
from tests.engine.rules import recipe as told
from tests.engine.rules import rule


class Identity(nn.Module):
    """An encoder that passes one array on."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, arrays: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.mul(arrays["x"], self.scale)


class Linear(nn.Module):
    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, outputs)

    def forward(self, features: dict[str, Features]) -> torch.Tensor:
        pooled = torch.cat([f.pooled for f in features.values()], 1)
        return F.linear(pooled, self.linear.weight, self.linear.bias)


def data(n: int = 96, present: torch.Tensor | None = None) -> Inputs:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, 5, generator=generator)
    target = (x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long()
    here = torch.ones(n, dtype=torch.bool) if present is None else present
    return Inputs({"a": {"x": x, PRESENT: here}}, target, n)


def model(outputs: int = 4, head: Any = None) -> Model:
    torch.manual_seed(0)
    return judging({"a": Identity()}, Linear(5, outputs), head or Label(outputs, None, 0.0))


def judging(encoders: Any, fusion: nn.Module, head: nn.Module) -> Model:
    """A model whose fusion gives logits."""
    return Model(encoders, fusion, head, result="logits")


def truth(inputs: Inputs) -> torch.Tensor:
    assert inputs.target is not None
    return inputs.target


def accuracy(inputs: Inputs) -> Any:
    return lambda predictions: float((predictions.argmax(1) == truth(inputs).numpy()).mean())


def fit(net: Model, train: Inputs, recipe: Recipe, *, valid: Inputs, score: Any, direction: str = "max") -> Fit:
    return loop.fit(net, recipe, Lesson(train, valid, score, direction))


RECIPE = told(epochs=12, patience=12, lr=0.05, weight_decay=0.0, batch_size=32, seed=3)


def test_learns_and_keeps_the_best_epoch() -> None:
    train, valid = data(), data(64)
    net = model()
    result = fit(net, train, RECIPE, valid=valid, score=accuracy(valid))
    assert result.score == max(result.curve) > 0.85
    assert accuracy(valid)(predict(net, valid).numpy()) == result.score
    assert result.rows == 96 * 12


def test_same_seed_same_bits() -> None:
    curves, weights = [], []
    for _ in range(2):
        net = model()
        curves.append(fit(net, data(), RECIPE, valid=data(64), score=accuracy(data(64))).curve)
        weights.append(net.state_dict())
    assert curves[0] == curves[1]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_equals_a_plain_loop() -> None:
    """Three epochs against the loop written out with torch's own optimizer."""
    train, recipe = data(), told(epochs=3, patience=9, lr=0.01, weight_decay=0.1, batch_size=32, seed=5)
    ours = model()
    fit(ours, train, recipe, valid=train, score=lambda _: 0.0)  # a constant score keeps the first epoch's weights
    plain = model()
    matrices, vectors = ([p for p in plain.parameters() if (p.dim() > 1) is wide] for wide in (True, False))
    groups: list[dict[str, Any]] = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.01, weight_decay=0.1)
    order = torch.Generator().manual_seed(5)
    for step, rows in enumerate(torch.randperm(96, generator=order).split(32)):
        progress = step / 9
        scale = progress / 0.05 if progress < 0.05 else 0.5 * (1 + math.cos(math.pi * (progress - 0.05) / 0.95))
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * max(scale, 1e-3)
        optimizer.zero_grad()
        F.cross_entropy(plain(train.batch(rows)), truth(train)[rows]).backward()
        optimizer.step()
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], tensor, rtol=1e-5, atol=1e-6)


def test_stops_early_and_by_the_clock() -> None:
    flat = told(epochs=50, patience=3, lr=0.01, weight_decay=0.0, batch_size=32, seed=0)
    assert len(fit(model(), data(), flat, valid=data(), score=lambda _: 0.5).curve) == 4
    late = told(epochs=50, patience=3, lr=0.01, weight_decay=0.0, batch_size=32, seed=0, seconds=0.0)
    with pytest.raises(TimeUpError):
        fit(model(), data(), late, valid=data(), score=lambda _: 0.5)


def test_stands_still_between_epochs() -> None:
    """Two trainings by turns, with dropout, are the same as one after the other: each has its own random numbers."""

    def training(seed: int) -> Training:
        net = model()
        net.fusion = nn.Sequential(net.fusion, nn.Dropout(0.5))
        torch.manual_seed(seed)
        valid = data(64)
        return Training(net, replace(RECIPE, seed=seed, epochs=4), Lesson(data(), valid, accuracy(valid)))

    alone = [training(seed) for seed in (1, 2)]
    for one in alone:
        while not one.over:
            one.advance()
    by_turns = [training(seed) for seed in (1, 2)]
    for _ in range(4):
        for one in by_turns:
            one.advance()
    for first, second in zip(alone, by_turns, strict=True):
        assert first.fit.curve == second.fit.curve
        states = first.model.state_dict(), second.model.state_dict()
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert alone[0].fit.curve != alone[1].fit.curve


@pytest.mark.parametrize("n", [1, 2, 31, 33, 65])
def test_any_number_of_rows(n: int) -> None:
    result = fit(model(), data(n), RECIPE, valid=data(10), score=lambda _: 0.0)
    assert result.rows == n * len(result.curve)


def test_nan_is_an_error_not_a_score() -> None:
    bad = data()
    bad.arrays["a"]["x"][3] = float("nan")
    with pytest.raises(TrainingError, match="loss became nan in epoch 1"):
        fit(model(), bad, RECIPE, valid=data(), score=lambda _: 0.0)


def test_smaller_is_better_for_errors() -> None:
    scores = iter([3.0, 1.0, 2.0, 5.0])
    recipe = told(epochs=4, patience=9, lr=0.01, weight_decay=0.0, batch_size=32, seed=0)
    assert fit(model(), data(), recipe, valid=data(), score=lambda _: next(scores), direction="min").score == 1.0


def test_a_missing_modality_is_zero_and_gives_no_gradient() -> None:
    present = torch.zeros(8, dtype=torch.bool)
    inputs = data(8, present)
    net = model()
    features = net.encode(inputs.batch(slice(0, 8)))["a"]
    assert not features.tokens.any()
    assert not features.mask.any()
    assert not features.pooled.any()
    net(inputs.batch(slice(0, 8))).sum().backward()
    gradient = net.encoders["a"].scale.grad
    assert gradient is not None
    assert gradient == 0


class OwnLoss(Linear):
    """Takes the place of the task's loss."""

    def loss(self, fused: Fused, target: torch.Tensor) -> dict[str, torch.Tensor]:
        assert fused.logits is not None
        return {"task": 0.0 * fused.logits.sum()}


def test_a_fusion_may_take_the_place_of_the_task_loss() -> None:
    net = judging({"a": Identity()}, OwnLoss(5, 4), Label(4, None, 0.0))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    fit(net, data(), RECIPE, valid=data(), score=lambda _: 0.0)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


class Freeze(nn.Module):
    """An objective that takes an encoder's gradients away."""

    def on_gradients(self, gradients: Any, features: Any, fused: Any, target: Any, generator: Any) -> Any:
        return {n: torch.zeros_like(g) if n.startswith("encoders.a.") else g for n, g in gradients.items()}


def test_an_objective_may_change_gradients_by_encoder() -> None:
    net = model()
    net.objective = Freeze()
    linear = dict(net.named_parameters())["fusion.linear.weight"]
    before = linear.detach().clone()
    fit(net, data(), RECIPE, valid=data(64), score=accuracy(data(64)))
    assert net.encoders["a"].scale == 1.0
    assert not torch.equal(linear, before)


def test_the_optimizer_is_torchs_also_where_a_parameter_has_no_gradient_for_a_while() -> None:
    torch.manual_seed(0)
    ours = [torch.randn(3, 2), torch.randn(4), torch.randn(5, 1)]
    theirs = [tensor.clone() for tensor in ours]
    for tensor in ours:
        tensor.requires_grad_()
    one = Updater(dict(zip("abc", ours, strict=True)), rule(lr=0.1, weight_decay=0.1))
    two = torch.optim.AdamW(theirs, lr=0.1, weight_decay=0.1)
    for step in range(8):
        one.forget()
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            b.grad = None if (step, i) in ((2, 1), (3, 1), (5, 0)) else torch.randn_like(b)
            a.grad = None if b.grad is None else b.grad.clone()
        one.step(1.0)
        two.step()
        torch.testing.assert_close(ours, theirs)


class Turned(nn.Module):
    """Gives gradients that lie otherwise in memory than they came."""

    def on_gradients(self, gradients: Any, features: Any, fused: Any, target: Any, generator: Any) -> Any:
        return {n: g.t().contiguous().t() if g.dim() == 2 else g for n, g in gradients.items()}


def test_how_changed_gradients_lie_in_memory_means_nothing() -> None:
    plain, turned = model(), model()
    turned.load_state_dict(plain.state_dict())
    turned.objective = Turned()
    one, two = (fit(net, data(), RECIPE, valid=data(64), score=accuracy(data(64))) for net in (plain, turned))
    assert one.curve == two.curve
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), turned.parameters(), strict=True))


class Steps(nn.Module):
    """Keeps the names of what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def forward(self, arrays: dict[str, torch.Tensor]) -> Features:
        self.seen = set(arrays)
        return Features(arrays["steps"], arrays.get("mask"))


def test_a_mask_that_leaves_out_nothing_is_not_handed_on() -> None:
    """Each split decides for itself; what a fusion sees is the same."""
    encoder = Steps()
    net = judging({"a": encoder}, Linear(3, 4), Label(4, None, 0.0))
    steps, full = torch.randn(8, 5, 3), torch.ones(8, 5, dtype=torch.bool)
    short = full.clone()
    short[7, 2:] = False
    whole, holed = (Inputs({"a": {"steps": steps, "mask": mask}}, None, 8) for mask in (full, short))
    one = net.encode(whole.batch(slice(0, 7)))["a"]
    assert encoder.seen == {"steps"}
    two = net.encode(holed.batch(torch.arange(7)))["a"]
    assert encoder.seen == {"steps", "mask"}
    assert one.whole
    assert not two.whole
    assert torch.equal(one.mask, two.mask)
    assert torch.equal(one.tokens, two.tokens)
    torch.testing.assert_close(one.pooled, two.pooled)
    assert whole.arrays["a"].keys() == {"steps", "mask"}, "an encoder's summary is given all of it"


class Pictures(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 3, 3)
        )

    def forward(self, arrays: dict[str, torch.Tensor]) -> torch.Tensor:
        found: torch.Tensor = self.layers(arrays["x"]).mean((2, 3))
        return found


def test_where_channels_lie_in_memory_changes_rounding_only() -> None:
    torch.manual_seed(0)
    inputs = Inputs({"a": {"x": torch.randn(64, 1, 12, 12)}}, torch.arange(64) % 4, 64)
    recipe = told(epochs=2, patience=2, lr=0.002, weight_decay=0.0, batch_size=32, seed=3)
    pictures = [Pictures(), Pictures()]
    nets = [judging({"a": encoder}, Linear(3, 4), Label(4, None, 0.0)) for encoder in pictures]
    nets[1].load_state_dict(nets[0].state_dict())
    settle(nets[1], torch.device("cpu"))
    weight = pictures[1].layers[4].weight
    assert isinstance(weight, torch.Tensor)
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()
    before = predict(nets[0], inputs)
    for net in nets:
        fit(net, inputs, recipe, valid=inputs, score=lambda _: 0.0)
    one, two = (predict(net, inputs) for net in nets)
    assert (one - before).abs().max() > 1e-3  # it moves
    torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-5)


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(PluginError, match=r"logits of shape \(8, 4\), not \[B, 3\]"):
        model(outputs=4, head=Label(3, None, 0.0))(data(8).batch(slice(0, 8)))


class Product(nn.Module):
    """Judges a pair by its inner product."""

    def forward(self, features: dict[str, Features]) -> torch.Tensor:
        return (features["a"].pooled * features["b"].pooled).sum(1, keepdim=True)


def test_retrieval_scores_every_pair_once() -> None:
    x, y = torch.randn(7, 4), torch.randn(7, 4)
    here = torch.ones(7, dtype=torch.bool)
    inputs = Inputs({"a": {"x": x, PRESENT: here}, "b": {"x": y, PRESENT: here}}, torch.arange(7), 7)
    head = Match(None, 0.0, left=("a",))
    net = judging({"a": Identity(), "b": Identity()}, Product(), head)
    torch.testing.assert_close(predict(net, inputs, batch_size=3), x @ y.T)
    features, target = head.arrange(net.encode(inputs.batch(slice(0, 7))), torch.arange(7))
    fused = net.fuse(features)
    expected = (F.cross_entropy(x @ y.T, torch.arange(7)) + F.cross_entropy(y @ x.T, torch.arange(7))) / 2
    torch.testing.assert_close(head.loss(fused, target), expected)
    assert target.view(7, 7).equal(torch.eye(7))


def test_retrieval_among_fewer_candidates() -> None:
    x, y = torch.randn(7, 4), torch.randn(7, 4)
    here = torch.ones(7, dtype=torch.bool)
    inputs = Inputs({"a": {"x": x, PRESENT: here}, "b": {"x": y, PRESENT: here}}, torch.arange(7), 7)
    net = judging({"a": Identity(), "b": Identity()}, Product(), Match(None, 0.0, left=("a",)))
    scores = predict(net, inputs, pool=3)
    asked = torch.block_diag(torch.ones(3, 3), torch.ones(3, 3), torch.ones(1, 1)).bool()
    torch.testing.assert_close(scores[asked], (x @ y.T)[asked])
    assert (scores[~asked] == NEVER).all()


@pytest.mark.parametrize(
    ("part", "kept"),
    [
        (torch.nn.Linear(2, 2), False),
        (torch.nn.GRU(2, 2), False),
        (torch.nn.LSTM(2, 2), True),
        (torch.nn.Conv1d(2, 2, 1), True),
    ],
)
def test_onednn_is_for_convolutions_and_lstms(part: torch.nn.Module, kept: bool) -> None:
    onednn: Any = torch.backends.mkldnn
    before = onednn.enabled
    with kernels(torch.nn.Sequential(part)):
        assert onednn.enabled == (before and kept)
    assert onednn.enabled == before
