"""The rule of a configuration, parameter groups, and what an Updater leaves alone."""

from typing import Any

import pytest
import torch
from mmbench_head.modules.decision import Label
from torch import Tensor, nn

from mmbench import plugins
from mmbench.api.parts.training import Optimizer
from mmbench.engine.learn.model import Model
from mmbench.engine.learn.optimizer import Group, RowUpdater, Updater, groups_of, in_order, rule_of
from mmbench.errors import PluginError
from tests.engine.rules import rule

CATALOG = plugins.load()


def test_the_rule_of_a_configuration_is_the_usual_one() -> None:
    found = rule_of(CATALOG, {"train.lr": 0.004, "train.weight_decay": 0.2, "train.batch_size": 32})
    assert (found.optimizer, found.schedule) == (CATALOG.optimizers["adamw"], CATALOG.schedules["cosine"])
    assert found.settings == {"lr": 0.004, "weight_decay": 0.2, "beta1": 0.9, "beta2": 0.999}
    assert found.course == {"warm_up": 0.05}


def test_exactly_one_optimizer_is_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(CATALOG.optimizers["sgd"]), "usual", True)
    with pytest.raises(PluginError, match=r"of the optimizers adamw, sgd each say `usual = True`: exactly one"):
        rule_of(CATALOG, {})
    monkeypatch.setattr(type(CATALOG.optimizers["sgd"]), "usual", False)
    monkeypatch.setattr(type(CATALOG.optimizers["adamw"]), "usual", False)
    with pytest.raises(PluginError, match=r"of the optimizers none says"):
        rule_of(CATALOG, {})


class Encoder(nn.Module):
    def __init__(
        self,
        rates: dict[str, Any] | None = None,
        still: list[str] | None = None,
        fixed: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(2, 2) for _ in range(11)])
        self.rates, self.still, self.fixed = rates or {}, still or [], fixed or {}

    def learning_rates(self) -> dict[str, Any]:
        return self.rates

    def fixed_rates(self) -> dict[str, Any]:
        return self.fixed

    def no_decay(self) -> list[str]:
        return self.still


def model(**told: Any) -> Model:
    return Model({"text": Encoder(**told)}, nn.Linear(2, 2), Label(2, None, 0.0), result="logits")


def test_groups_are_named_by_prefixes_of_whole_words() -> None:
    rates = {"": 0.5, "layers.1": 0.1, "layers.1.bias": 3}
    groups = groups_of(model(rates=rates, still=["layers.10", "layers.0.bias"]))
    assert groups["encoders.text.layers.1.weight"] == Group(0.1)
    assert groups["encoders.text.layers.1.bias"] == Group(3.0, decays=False)
    assert groups["encoders.text.layers.10.weight"] == Group(0.5, decays=False)
    assert groups["encoders.text.layers.0.bias"] == Group(0.5, decays=False)
    assert groups["encoders.text.layers.0.weight"] == Group(0.5)
    assert groups["fusion.weight"] == Group()
    assert groups["fusion.bias"] == Group(decays=False)


def test_a_fixed_rate_is_named_by_its_longest_prefix_too() -> None:
    groups = groups_of(model(rates={"layers.1": 0.5}, fixed={"layers": 2e-5, "layers.1.weight": 1e-5}))
    assert groups["encoders.text.layers.1.weight"] == Group(0.5, fixed=1e-5)
    assert groups["encoders.text.layers.2.weight"] == Group(fixed=2e-5)
    assert groups["fusion.weight"] == Group()
    with pytest.raises(PluginError, match=r"the encoder of 'text': fixed_rates\(\) says 0 of 'layers', not a number"):
        groups_of(model(fixed={"layers": 0}))


def test_norms_and_biases_do_not_decay() -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.bias = nn.LayerNorm([2, 3]), nn.Parameter(torch.ones(1, 3))
            self.gate, self.table = nn.Parameter(torch.ones(())), nn.Embedding(4, 3)
            self.steps = nn.Sequential(nn.Conv1d(2, 2, 3), nn.BatchNorm1d(2), nn.GRU(2, 3))

    net = Model({"a": Wide()}, nn.Linear(2, 2), Label(2, None, 0.0), result="logits")
    decaying = [name for name, group in groups_of(net).items() if group.decays]
    assert [name.removeprefix("encoders.a.") for name in decaying] == [
        "table.weight",
        "steps.0.weight",
        "steps.2.weight_ih_l0",
        "steps.2.weight_hh_l0",
        "fusion.weight",
    ]


def test_what_is_tied_is_named_by_either_owner() -> None:
    net = model(rates={"layers.3": 0.1})
    net.fusion.weight = net.get_parameter("encoders.text.layers.3.weight")
    groups = groups_of(net)
    assert groups["encoders.text.layers.3.weight"] == Group(0.1)
    assert "fusion.weight" not in groups, "it is one parameter"


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"rates": {"layer": 0.1}}, r"the encoder of 'text': learning_rates\(\) names unknown parameter 'layer'"),
        ({"rates": {"layers.1": 0}}, r"the encoder of 'text': learning_rates\(\) says 0 of 'layers.1', not a number"),
        ({"rates": {"layers.1": "slow"}}, r"says 'slow' of 'layers.1', not a number above 0"),
        ({"still": ["layers.1.weigh"]}, r"no_decay\(\) names unknown .*: did you mean 'layers.1.weight'\?"),
    ],
)
def test_groups_that_make_no_sense(told: dict[str, Any], said: str) -> None:
    with pytest.raises(PluginError, match=said):
        groups_of(model(**told))


def test_groups_move_by_rates_of_their_own() -> None:
    """As torch's parameter groups do."""
    torch.manual_seed(0)
    ours = [torch.randn(3).requires_grad_() for _ in range(4)]
    theirs = [tensor.detach().clone().requires_grad_() for tensor in ours]
    groups = {"a": Group(0.1), "c": Group(2.0, decays=False), "d": Group(0.5, fixed=2e-2)}
    one = Updater(dict(zip("abcd", ours, strict=True)), rule(lr=0.1, weight_decay=0.2), groups)
    settings: list[dict[str, Any]] = [{"lr": 0.01}, {"lr": 0.1}, {"lr": 0.2, "weight_decay": 0.0}, {"lr": 0.01}]
    told = [{"params": [tensor], **own} for tensor, own in zip(theirs, settings, strict=True)]
    two = torch.optim.AdamW(told, lr=0.1, weight_decay=0.2)
    for _ in range(20):
        for a, b in zip(ours, theirs, strict=True):
            b.grad = torch.randn(3)
            a.grad = b.grad.clone()
        one.step(1.0)
        two.step()
    torch.testing.assert_close(ours, theirs)


def test_frozen_parameters_are_never_the_optimizers() -> None:
    """Not even one whose gradient lies there from before it was frozen; one that thaws begins then."""

    class Seen(Optimizer):
        name = "seen"
        shapes: set[torch.Size] = set()

        def state(self, parameter: Tensor, params: Any) -> dict[str, Tensor]:
            self.shapes.add(parameter.shape)
            return {}

        def update(self, parameters: Any, gradients: Any, state: Any, steps: Any, params: Any) -> None:
            self.taken = [int(step) for step in steps]

    one, other = torch.ones(2).requires_grad_(), torch.ones(3).requires_grad_()
    usual, part = rule(), Seen()
    updater = Updater({"one": one, "other": other}, type(usual)(part, {"lr": 1.0}, usual.schedule, usual.course))
    one.grad, other.grad = torch.ones(2), torch.ones(3)
    other.requires_grad_(False)
    updater.step(1.0)
    assert Seen.shapes == {torch.Size([2])}
    other.requires_grad_(True)
    updater.step(1.0)
    assert part.taken == [2, 1]
    updater.forget()
    assert one.grad is other.grad is None
    part.taken = []
    updater.step(1.0)
    assert part.taken == [], "nothing has a gradient"


@pytest.mark.parametrize("name", list(CATALOG.optimizers))
@pytest.mark.parametrize("elementwise", [True, False])
def test_a_row_moves_as_its_parameters_do(name: str, elementwise: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of them in groups of their own, one that never moves; the row is copied elsewhere on the way."""
    monkeypatch.setattr(type(CATALOG.optimizers[name]), "elementwise", elementwise)
    torch.manual_seed(0)
    shapes = {"a": (3, 2), "b": (4,), "idle": (2, 2), "c": (), "d": (2, 3, 2), "e": (5,)}
    named = {n: torch.randn(shape).requires_grad_() for n, shape in shapes.items()}
    apart = {"b": Group(0.1), "c": Group(0.1, decays=False), "e": Group(0.5, fixed=0.03)}
    groups = {n: apart.get(n, Group()) for n in shapes}
    names = in_order(named, [groups, groups])
    assert list(names) == ["a", "idle", "d", "b", "c", "e"]
    row = torch.cat([named[n].detach().flatten() for n in names])
    own, one = rule(name, lr=0.1, weight_decay=0.1), Updater(named, rule(name, lr=0.1, weight_decay=0.1), groups)
    two = RowUpdater(own, groups)
    two.hold(row, names, {"idle"})
    steps = torch.zeros(())
    for step in range(20):
        slopes = {n: torch.randn(shape) for n, shape in shapes.items()}
        for n, tensor in named.items():
            tensor.grad = None if n == "idle" else slopes[n]
        one.step(1 / (1 + step))
        steps += 1
        two.step(torch.cat([slopes[n].flatten() for n in names]), steps, 1 / (1 + step))
        if step == 10:
            row = row.clone()
            two.hold(row, names, {"idle"})
    torch.testing.assert_close(row, torch.cat([named[n].detach().flatten() for n in names]))
