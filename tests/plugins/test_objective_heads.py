"""Objectives with a head for each modality, and what shapes the features, against NumPy and torch."""

from typing import Any

import numpy as np
import pytest
import torch
from mmbench_objective import heads, representation
from scipy.spatial.distance import jensenshannon
from torch.nn import functional as F

import mmbench as mb
from mmbench.api.space import defaults
from mmbench.testing.rules.features import INPUTS, some, without

ROWS, CLASSES = 12, 3
NAMES = sorted(INPUTS)
TRUTH = torch.arange(ROWS) % CLASSES
LOGITS = torch.randn(ROWS, CLASSES, generator=torch.Generator().manual_seed(0))
FEATURES = without(some(INPUTS, ROWS), "text", slice(0, 4))
THERE = torch.stack([FEATURES[m].present for m in NAMES])


def built(part: type[mb.Objective], outputs: int = CLASSES, **params: Any) -> Any:
    torch.manual_seed(0)
    return part().build(INPUTS, outputs, {**defaults(part.space), **params})


def said(module: Any) -> torch.Tensor:
    return torch.stack([module.heads[m](FEATURES[m].pooled) for m in NAMES]).detach()


def own_errors(scores: torch.Tensor) -> float:
    return sum(float(F.cross_entropy(s[t], TRUTH[t])) for s, t in zip(scores, THERE, strict=True))


def test_auxiliary_heads_are_cross_entropies() -> None:
    module = built(heads.AuxiliaryHeads, weight=0.3)
    found = module.loss(FEATURES, mb.Fused(logits=LOGITS), TRUTH)["heads"]
    assert found.item() == pytest.approx(0.3 * own_errors(said(module)), rel=1e-5)


def test_auxiliary_heads_reach_the_encoders() -> None:
    features = {m: mb.Features(f.tokens.clone().requires_grad_(), f.mask) for m, f in FEATURES.items()}
    built(heads.AuxiliaryHeads).loss(features, mb.Fused(), TRUTH)["heads"].backward()
    assert all(f.tokens.grad is not None and f.tokens.grad.any() for f in features.values())


def test_consistency_is_jensen_shannon() -> None:
    module = built(heads.Consistency, weight=0.5)
    p = said(module).softmax(2).numpy()
    rows = [  # scipy's is the distance, the root of the divergence, of two
        jensenshannon(*p[THERE[:, i].numpy(), i]) ** 2 for i in range(4)
    ]
    three = p[:, 4:]
    mean = three.mean(0)
    rest = -(mean * np.log(mean)).sum(1) + (three * np.log(three)).sum(2).mean(0)
    found = module.loss(FEATURES, mb.Fused(), TRUTH)["consistency"]
    assert found.item() == pytest.approx(0.5 * (sum(rows) + rest.sum()) / ROWS, rel=1e-4)


def test_mmcosine() -> None:
    module = built(heads.MMCosine, weight=1.0, scale=4.0)
    cosines = sum(F.cosine_similarity(FEATURES[m].pooled[:, None], module.heads[m].weight[None], dim=2) for m in NAMES)
    found = module.loss(FEATURES, mb.Fused(), TRUTH)["mmcosine"]
    torch.testing.assert_close(found, F.cross_entropy(4 * torch.as_tensor(cosines), TRUTH))


def test_cml_punishes_a_part_that_is_surer_than_the_whole() -> None:
    module = built(heads.CML, weight=2.0)
    surer = said(module).softmax(2).amax(2) - LOGITS.softmax(1).amax(1)
    expected = 2 * float(surer.clamp(min=0)[THERE].mean())
    assert module.loss(FEATURES, mb.Fused(logits=LOGITS), TRUTH)["confidence"].item() == pytest.approx(
        expected, rel=1e-5
    )
    sure = mb.Fused(logits=100 * F.one_hot(TRUTH, CLASSES).float())
    assert module.loss(FEATURES, sure, TRUTH)["confidence"].item() == 0


def test_mutual_distillation() -> None:
    module = built(heads.MutualDistillation, weight=1.0, temperature=2.0)
    logs, whole = (said(module) / 2).log_softmax(2), (LOGITS / 2).log_softmax(1)
    rows = []
    for i in range(ROWS):
        own = logs[THERE[:, i], i]
        down = F.kl_div(own, whole[i].expand_as(own), log_target=True, reduction="batchmean")
        rows.append(float(down + F.kl_div(whole[i], own.exp().mean(0), reduction="sum")))
    found = module.loss(FEATURES, mb.Fused(logits=LOGITS), TRUTH)["distillation"]
    assert found.item() == pytest.approx(4 * float(np.mean(rows)), rel=1e-4)


@pytest.mark.parametrize("masked", [False, True])
def test_reconstruction(masked: bool) -> None:
    module = built(representation.MaskedReconstruction if masked else representation.Reconstruction, weight=1.0)
    terms = []
    for m in NAMES:
        errors = []
        for i in range(ROWS):
            sources = [n for n in NAMES if (n != m) == masked and FEATURES[n].present[i]]
            if FEATURES[m].present[i] and sources:
                code = torch.stack([module.narrow[n](FEATURES[n].pooled[i]) for n in sources]).mean(0)
                errors.append(F.mse_loss(module.widen[m](F.gelu(code)), FEATURES[m].pooled[i]).item())
        terms.append(np.mean(errors))
    found = module.loss(FEATURES, mb.Fused(), TRUTH)["reconstruction"]
    assert found.item() == pytest.approx(float(np.mean(terms)), rel=1e-4)


def test_mixup_mixes_features_and_loss_alike() -> None:
    module = built(representation.FeatureMixup, alpha=2)
    found = module.on_features(FEATURES, torch.Generator().manual_seed(3))
    share, order = float(module.share), module.order
    assert 0 < share < 1
    for m, f in FEATURES.items():
        torch.testing.assert_close(found[m].tokens, share * f.tokens + (1 - share) * f.tokens[order])
    expected = share * F.cross_entropy(LOGITS, TRUTH) + (1 - share) * F.cross_entropy(LOGITS, TRUTH[order])
    torch.testing.assert_close(module.task_loss(mb.Fused(logits=LOGITS), TRUTH), expected)


def test_mixup_draws_from_beta() -> None:
    module, generator = built(representation.FeatureMixup, alpha=3), torch.Generator().manual_seed(0)
    one = {"a": mb.Features(torch.zeros(2, 1, 1))}
    drawn = []
    for _ in range(1500):
        module.on_features(one, generator)
        drawn.append(float(module.share))
    assert np.mean(drawn) == pytest.approx(0.5, abs=0.02)
    assert np.var(drawn) == pytest.approx(1 / (4 * 7), abs=0.003)  # of Beta(3, 3)
