"""Strategies: their equations in NumPy, and that each does to the encoders what it says."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from mmbench_objective import strategies
from mmbench_objective.balance import OgmGe
from torch import nn

import mmbench as mb
from mmbench.api.space import defaults
from mmbench.testing.rules.features import INPUTS, some, without

ROWS, CLASSES = 12, 3
NAMES = sorted(INPUTS)
TRUTH = torch.arange(ROWS) % CLASSES
FEATURES = some(INPUTS, ROWS)


def built(part: type[mb.Objective], **params: Any) -> Any:
    torch.manual_seed(0)
    return part().build(INPUTS, CLASSES, {**defaults(part.space), **params})


def likely(module: Any, m: str) -> Any:
    return module.heads[m](FEATURES[m].pooled).softmax(1)[torch.arange(ROWS), TRUTH].detach().numpy()


def test_rates_go_by_the_alphabet() -> None:
    module = built(strategies.ModalityRates, second=0.5, third=3.0)
    found = module.encoder_steps(FEATURES, mb.Fused(), TRUTH)
    assert {m: float(factor) for m, factor in found.items()} == dict(zip(NAMES, (1.0, 0.5, 3.0), strict=True))


def test_agm() -> None:
    module = built(strategies.AGM, alpha=0.7).requires_grad_(False)
    with torch.no_grad():
        module.heads["text"].weight.mul_(4)
    first = module.encoder_steps(FEATURES, mb.Fused(), TRUTH)
    assert {float(factor) for factor in first.values()} == {1.0}, "the first step is its own mean"
    leads = []
    for change in (1.0, -1.0):
        with torch.no_grad():
            module.heads["text"].weight.mul_(change)
        s = np.array([np.log(likely(module, m)).mean() for m in NAMES])
        leads.append(np.exp(s - (s.sum() - s) / 2))
    expected = np.minimum(np.exp(-0.7 * (leads[1] - np.mean(leads, axis=0))), 2.0)
    found = module.encoder_steps(FEATURES, mb.Fused(), TRUTH)
    np.testing.assert_allclose([float(found[m]) for m in NAMES], expected, rtol=1e-3)


def test_pmr() -> None:
    module = built(strategies.PMR, alpha=1.0, mu=0.1)
    logs, s = {}, []
    for m in NAMES:
        x = FEATURES[m].pooled.numpy()
        prototypes = np.stack([x[TRUTH.numpy() == c].mean(0) for c in range(CLASSES)])
        d = -np.linalg.norm(x[:, None] - prototypes, axis=2)
        logs[m] = d - np.log(np.exp(d).sum(1, keepdims=True))
        s.append(np.exp(logs[m][np.arange(ROWS), TRUTH]).mean())
    r = np.array(s) / ((sum(s) - np.array(s)) / 2)
    own = np.array([-logs[m][np.arange(ROWS), TRUTH].mean() for m in NAMES])
    entropy = np.array([-(np.exp(logs[m]) * logs[m]).sum(1).mean() for m in NAMES])
    found = module.loss(FEATURES, mb.Fused(), TRUTH)
    assert found["prototypes"].item() == pytest.approx(float((np.clip(1 / r - 1, 0, 1) * own).sum()), rel=1e-3)
    assert found["entropy"].item() == pytest.approx(float(-0.1 * (np.clip(r - 1, 0, 1) * entropy).sum()), rel=1e-3)
    module.on_epoch(mb.Epoch(4, 10, {}))
    assert module.loss(FEATURES, mb.Fused(), TRUTH)["entropy"].item() == 0


def test_alternating_shows_one_at_a_time() -> None:
    module, generator, seen = built(strategies.Alternating, share=0.6), torch.Generator().manual_seed(0), []
    features = without(FEATURES, "text", slice(0, 3))
    for _ in range(300):
        found = module.on_features(features, generator)
        there = {m for m in NAMES if found[m].present[3:].all()}
        assert all(found[m].present[:3].any() for m in ("image", "number")) or there == {"image"} or there == {"number"}
        assert torch.stack([found[m].present for m in NAMES]).any(0).all(), "a row lost all"
        seen.append(len(there))
    assert set(seen) == {1, 3}
    assert np.mean([count == 1 for count in seen]) == pytest.approx(0.6, abs=0.08)


def test_opm_drops_the_stronger() -> None:
    module = built(strategies.OPM, base=0.4, strength=0.5)
    with torch.no_grad():
        module.heads["text"].weight.mul_(6)
    module.loss(FEATURES, mb.Fused(), TRUTH)
    s = np.array([likely(module, m).mean() for m in NAMES])
    r = s / ((s.sum() - s) / 2)
    expected = np.where(r > 1, 0.4 * (1 + 0.5 * np.tanh(r - 1)), 0)
    np.testing.assert_allclose(module.chances, expected, rtol=1e-4)
    many = some(INPUTS, 4000)
    found = module.on_features(many, torch.Generator().manual_seed(0))
    assert torch.stack([found[m].present for m in NAMES]).any(0).all()
    for m, chance in zip(NAMES, expected, strict=True):
        if (expected > 0).sum() == 1:
            assert float((~found[m].present).float().mean()) == pytest.approx(chance, abs=0.03)


@pytest.mark.parametrize("against", [True, False])
def test_mmpareto_works_against_neither(against: bool) -> None:
    """The joint direction is the shortest of the hull, found here by trying; its length is that of the plain sum."""
    module = built(strategies.MMPareto, gamma=1.5)
    g, u = torch.tensor([[2.0, 0.3, 0.0]]), torch.tensor([[-0.5 if against else 0.5, 0.4, 0.2]])
    joint = module.turn(g, u) + g + u
    shares = np.linspace(0, 1, 10001) if against else np.array([0.5])
    hull = shares[:, None] * g.numpy() + (1 - shares[:, None]) * u.numpy()
    shortest = hull[np.linalg.norm(hull, axis=1).argmin()]
    expected = shortest / np.linalg.norm(shortest) * 1.5 * np.linalg.norm((g + u).numpy())
    np.testing.assert_allclose(joint.numpy()[0], expected, atol=1e-3)
    assert float((joint * g).sum()) > 0 < float((joint * u).sum())


def test_mmpareto_turns_the_encoders_gradient() -> None:
    module = built(strategies.MMPareto)
    tokens = {m: f.tokens.clone().requires_grad_() for m, f in FEATURES.items()}
    features = {m: mb.Features(tokens[m], FEATURES[m].mask) for m in FEATURES}
    weights = {m: torch.randn(INPUTS[m].width, CLASSES) for m in FEATURES}
    logits = torch.stack([features[m].pooled @ weights[m] for m in FEATURES]).sum(0)
    task = nn.functional.cross_entropy(logits, TRUTH)
    g = torch.autograd.grad(task, tokens["text"], retain_graph=True)[0]
    head = nn.functional.cross_entropy(module.heads["text"](features["text"].pooled), TRUTH)
    u = torch.autograd.grad(head, tokens["text"], retain_graph=True)[0]
    (task + sum(module.loss(features, mb.Fused(logits=logits), TRUTH).values())).backward()
    assert tokens["text"].grad is not None
    torch.testing.assert_close(tokens["text"].grad, g + u + module.turn(g, u))


def test_ogm_ge_by_steps_leaves_the_gradient_and_scales_the_step() -> None:
    module = OgmGe().build(INPUTS, CLASSES, {"alpha": 0.5, "noise": 0.0, "scales": "step"})
    gradients: Mapping[str, torch.Tensor] = {f"encoders.{m}.weight": torch.randn(4, 3) for m in NAMES}
    found = module.on_gradients(gradients, FEATURES, mb.Fused(), TRUTH, torch.Generator())
    assert all(torch.equal(found[name], gradient) for name, gradient in gradients.items())
    steps = module.encoder_steps(FEATURES, mb.Fused(), TRUTH)
    assert [float(steps[m]) for m in NAMES] == module.coefficients(FEATURES, TRUTH).tolist()
    assert min(steps.values()) < 1
