"""The built-in optimizers and schedules against torch.optim's own, over many steps."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from mmbench import plugins
from mmbench.api import torch_private
from mmbench.api.space import Float, defaults
from mmbench.engine.learn.optimizer import Updater
from tests.engine.rules import rule

CATALOG = plugins.load()
STEPS = 60
THEIRS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
    "adagrad": torch.optim.Adagrad,
}
SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("adamw", {"lr": 0.02, "weight_decay": 0.3}),
    ("adamw", {"lr": 0.02, "weight_decay": 0.01, "beta1": 0.5, "beta2": 0.8}),
    ("adam", {"lr": 0.02, "weight_decay": 0.3}),
    ("sgd", {"lr": 0.02, "weight_decay": 0.3, "momentum": 0.9, "nesterov": True}),
    ("sgd", {"lr": 0.02, "weight_decay": 0.3, "momentum": 0.9, "nesterov": False}),
    ("sgd", {"lr": 0.02, "weight_decay": 0.3, "momentum": 0.0, "nesterov": False}),
    ("sgd", {"lr": 0.02, "weight_decay": 0.3, "momentum": 0.0, "nesterov": True}),
    ("adagrad", {"lr": 0.02, "weight_decay": 0.3}),
]


def torchs(name: str, parameters: list[Tensor], settings: dict[str, Any]) -> torch.optim.Optimizer:
    told = dict(settings)
    if "beta1" in told:
        told["betas"] = (told.pop("beta1"), told.pop("beta2"))
    told["nesterov"] = told.get("nesterov", False) and told["momentum"] > 0
    return THEIRS[name](parameters, **{k: v for k, v in told.items() if k != "nesterov" or name == "sgd"})


@pytest.mark.parametrize("path", ["kernel", "written out"])
@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_every_optimizer_is_torchs(
    name: str, settings: dict[str, Any], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By torch's kernel, and without it."""
    if path == "written out":
        monkeypatch.setattr(torch_private, "private", lambda _: None)
    torch.manual_seed(0)
    ours = [torch.randn(shape).requires_grad_() for shape in ((5, 3), (7,), (), (2, 3, 2))]
    theirs = [tensor.detach().clone().requires_grad_() for tensor in ours]
    one = Updater(dict(zip("abcd", ours, strict=True)), rule(name, **settings))
    two = torchs(name, theirs, settings)
    for _ in range(STEPS):
        for a, b in zip(ours, theirs, strict=True):
            b.grad = torch.randn_like(b)
            a.grad = b.grad.clone()
        one.step(1.0)
        two.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_every_built_in_optimizer_is_held_against_torchs() -> None:
    assert set(CATALOG.optimizers) == set(THEIRS) == {name for name, _ in SETTINGS}


def factors(name: str, **params: float) -> list[float]:
    part = CATALOG.schedules[name]
    told = {**defaults(part.space), **params}
    return [part.factor(step / STEPS, told) for step in range(STEPS)]


def followed(make: Callable[[torch.optim.Optimizer], Any], lr: float = 1.0) -> list[float]:
    """The learning rates that one of torch's schedulers gives in so many steps."""
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=lr)
    scheduler, found = make(optimizer), []
    for _ in range(STEPS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("constant", lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
        ("linear", lambda o: lr_scheduler.LinearLR(o, 1.0, 0.0, total_iters=STEPS)),
        ("cosine", lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=STEPS)),
    ],
)
def test_schedules_are_torchs(name: str, make: Any) -> None:
    assert factors(name, warm_up=0.0) == pytest.approx(followed(make), abs=1e-3)
    warmed = factors(name, warm_up=0.25)
    assert warmed[:15] == pytest.approx([max(step / 15, 1e-3) for step in range(15)])
    assert warmed[15] == 1.0
    assert warmed[30] == pytest.approx(factors(name, warm_up=0.0)[20])


def test_one_cycle_is_torchs() -> None:
    """torch's peak is at the last step of the rise, ours at the first of the fall: within two steps of one another."""
    theirs = followed(lambda o: lr_scheduler.OneCycleLR(o, max_lr=1.0, total_steps=STEPS + 1, pct_start=0.3))
    ours = factors("one_cycle")
    assert ours[0] == pytest.approx(theirs[0]) == pytest.approx(1 / 25)
    assert ours[18] == 1.0
    assert max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) < 0.1


def test_the_usual_schedule_is_the_one_that_published_runs_had() -> None:
    """Bit for bit: 5% of warm-up, then half a cosine."""
    assert CATALOG.schedules.usual.name == "cosine"
    for step, found in enumerate(factors("cosine")):
        progress = step / STEPS
        scale = progress / 0.05 if progress < 0.05 else 0.5 * (1 + math.cos(math.pi * (progress - 0.05) / (1 - 0.05)))
        assert found == max(scale, 1e-3)


def test_the_usual_optimizer_has_the_ranges_that_published_runs_had() -> None:
    space = {name: p for name, p in CATALOG.optimizers.usual.space.items() if isinstance(p, Float) and p.searched}
    assert {name: (p.low, p.high, p.log, p.default) for name, p in space.items()} == {
        "lr": (3e-4, 1e-2, True, 2e-3),
        "weight_decay": (1e-5, 0.3, True, 1e-2),
    }
