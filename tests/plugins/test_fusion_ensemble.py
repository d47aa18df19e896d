"""Ensembles of modalities that learn by their own losses, against torch's losses and Dempster's rule."""

from typing import Any

import numpy as np
import pytest
import torch
from mmbench_fusion.decision import Tmc
from mmbench_fusion.ensemble import Etmc, Ume
from mmbench_fusion.modules.decision import evidential_loss
from torch import nn

import mmbench as mb
from mmbench.testing.rules.features import INPUTS, nothing, some, without
from tests.plugins.test_fusion_decision import dempster

TARGETS: dict[str, tuple[torch.Tensor, nn.Module, int]] = {
    "label": (torch.arange(8) % 4, nn.CrossEntropyLoss(), 4),
    "labels": ((torch.arange(32).reshape(8, 4) % 3 == 0).float(), nn.BCEWithLogitsLoss(), 4),
    "number": (torch.linspace(-1, 1, 8), nn.MSELoss(), 1),
}


@pytest.mark.parametrize("kind", TARGETS)
def test_ume_trains_each_modality_alone(kind: str) -> None:
    """Its loss and gradients are those of separate linear models, each on the rows that have its modality."""
    target, loss, outputs = TARGETS[kind]
    torch.manual_seed(0)
    module = Ume().build(INPUTS, outputs, {})
    features = without(some(INPUTS, 8), "text", slice(0, 3))
    fused = module(features)
    found = module.loss(fused, target)["task"]
    found.backward()
    total = 0.0
    for m in INPUTS:
        rows, linear = features[m].present, module.heads.linear[m]
        alone = nn.Linear(linear.in_features, outputs)
        alone.load_state_dict(linear.state_dict())
        logits = alone(features[m].pooled[rows])
        value = loss(logits.squeeze(1) if kind == "number" else logits, target[rows])
        value.backward()
        total += value.item()
        torch.testing.assert_close(linear.weight.grad, alone.weight.grad)
    assert found.item() == pytest.approx(total, rel=1e-5)


def test_ume_gives_the_mean_of_those_present() -> None:
    torch.manual_seed(0)
    module = Ume().build(INPUTS, 4, {})
    features = without(some(INPUTS, 8), "text")
    votes = [module.heads.linear[m](features[m].pooled) for m in INPUTS if m != "text"]
    torch.testing.assert_close(module(features).logits, torch.stack(votes).mean(0))


def test_ume_needs_a_modality_that_can_decide() -> None:
    task = mb.Task("t", "d", {"a": "text", "b": "image"}, mb.Match(("a",), ("b",)), "recall")
    assert "match" in str(Ume().supports(task))


def test_etmc_combines_the_joined_view_too() -> None:
    torch.manual_seed(0)
    module = Etmc().build(INPUTS, 4, {"annealing": 0.5}).double()
    given = without(some(INPUTS, 6), "text", slice(0, 3))
    features = {m: mb.Features(f.tokens.double(), f.mask) for m, f in given.items()}
    fused = module(features)
    joined = module.joined(torch.cat([features[m].pooled for m in sorted(INPUTS)], dim=1))
    for row in range(6):
        scores = [module.heads.linear[m](features[m].pooled[row]) for m in INPUTS if features[m].present[row]]
        views: Any = [np.log1p(np.exp(s.detach().numpy())) for s in [*scores, joined[row]]]
        belief, doubt = dempster([(e / (e.sum() + 4), 4 / (e.sum() + 4)) for e in views])
        np.testing.assert_allclose(fused.extras["fused"][row].detach(), belief * 4 / doubt, rtol=1e-5)


def test_etmc_adds_the_joined_views_loss_to_tmcs() -> None:
    torch.manual_seed(0)
    module: Any = Etmc().build(INPUTS, 4, {"annealing": 0.5})
    target, fused = torch.arange(6) % 4, module(some(INPUTS, 6))
    extras, zero = fused.extras, torch.tensor(0.0)
    tmc: Any = Tmc().build(INPUTS, 4, {"annealing": 0.5})
    evidence = extras["evidence"]
    partial = mb.Fused(
        extras={"evidence": evidence[:, :-1], "fused": extras["fused"], "present": extras["there"][:, :-1]}
    )
    expected = tmc.loss(partial, target)["task"] + evidential_loss(evidence[:, -1], target, zero).mean()
    torch.testing.assert_close(module.loss(fused, target)["task"], expected)
    torch.testing.assert_close(module(nothing(some(INPUTS, 6))).logits, torch.zeros(6, 4))
