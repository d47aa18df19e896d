"""Objectives that make features alike, against NumPy and by what they are zero for."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from mmbench_objective import likeness
from torch.nn import functional as F

import mmbench as mb
from mmbench.api.space import defaults
from mmbench.testing.rules.features import INPUTS, some, without

ROWS = 12
NAMES = sorted(INPUTS)
PAIRS = list(combinations(range(3), 2))
TRUTH = torch.arange(ROWS) % 3
FEATURES = without(some(INPUTS, ROWS), "text", slice(0, 4))
THERE = torch.stack([FEATURES[m].present for m in NAMES]).numpy()


def built(part: type[mb.Objective], **params: Any) -> Any:
    torch.manual_seed(0)
    return part().build(INPUTS, 3, {**defaults(part.space), "weight": 1.0, **params})


def projected(module: Any) -> Any:
    return np.stack([module.project[m](FEATURES[m].pooled).detach().double().numpy() for m in NAMES])


def unit(z: Any) -> Any:
    return z / np.maximum(np.linalg.norm(z, axis=-1, keepdims=True), 1e-12)


def loss(module: Any) -> float:
    (term,) = module.loss(FEATURES, mb.Fused(), TRUTH).values()
    found: float = term.item()
    return found


def test_supervised_contrastive() -> None:
    module = built(likeness.SupervisedContrastive, size=4, temperature=0.3)
    z, there = unit(projected(module)).reshape(-1, 4), THERE.reshape(-1)
    classes = np.tile(TRUTH.numpy(), 3)
    terms = []
    for i in np.flatnonzero(there):
        others = [a for a in np.flatnonzero(there) if a != i]
        total = np.log(sum(np.exp(z[i] @ z[a] / 0.3) for a in others))
        terms.append(-np.mean([z[i] @ z[p] / 0.3 - total for p in others if classes[p] == classes[i]]))
    assert loss(module) == pytest.approx(float(np.mean(terms)), rel=1e-4)


def test_cca_is_the_squared_canonical_correlations() -> None:
    """They are the singular values of the product of two orthonormal bases."""
    module = built(likeness.CCA, size=4, ridge=1e-6)
    z, terms = projected(module), []
    for a, b in PAIRS:
        rows = THERE[a] & THERE[b]
        bases = [np.linalg.qr(z[m][rows] - z[m][rows].mean(0))[0] for m in (a, b)]
        terms.append(1 - np.square(np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)).sum() / 4)
    assert loss(module) == pytest.approx(float(np.mean(terms)), abs=5e-3)


def test_cmd() -> None:
    module = built(likeness.CMD, size=5)
    z, terms = np.tanh(projected(module)), []
    for a, b in PAIRS:
        x, y = z[a][THERE[a]], z[b][THERE[b]]
        term = np.linalg.norm(x.mean(0) - y.mean(0)) / 2
        for k in range(2, 6):
            moments = [((v - v.mean(0)) ** k).mean(0) for v in (x, y)]
            term += np.linalg.norm(moments[0] - moments[1]) / 2**k
        terms.append(term)
    assert loss(module) == pytest.approx(float(np.mean(terms)), rel=1e-3)


def test_mmd() -> None:
    module = built(likeness.MMD, size=6)
    z = projected(module)
    z = (z - z.mean(2, keepdims=True)) / np.sqrt(z.var(2, keepdims=True) + 1e-5)

    def kernel(x: Any, y: Any) -> float:
        d = np.square(x[:, None] - y[None]).sum(2)
        return float(np.mean([np.exp(-d / (2 * s * 6)) for s in (0.25, 0.5, 1, 2, 4)]))

    terms = []
    for a, b in PAIRS:
        x, y = z[a][THERE[a]], z[b][THERE[b]]
        terms.append(kernel(x, x) + kernel(y, y) - 2 * kernel(x, y))
    assert min(terms) >= 0
    assert loss(module) == pytest.approx(float(np.mean(terms)), rel=1e-3)


def test_symile() -> None:
    module = built(likeness.Symile, size=4, temperature=0.2)
    z, there, terms = unit(projected(module)), THERE.all(0), []
    for m in range(3):
        first, second = (n for n in range(3) if n != m)
        found = []
        for i in np.flatnonzero(there):
            own = (z[0, i] * z[1, i] * z[2, i]).sum() / 0.2
            total = np.exp(own)
            for j in range(ROWS):
                if j != i and THERE[first, j - 1] and THERE[second, j - 2]:
                    total += np.exp((z[m, i] * z[first, j - 1] * z[second, j - 2]).sum() / 0.2)
            found.append(np.log(total) - own)
        terms.append(np.mean(found))
    assert loss(module) == pytest.approx(float(np.mean(terms)), rel=1e-4)


def test_gram_volumes() -> None:
    """Of three vectors: the product of the singular values of the matrix that they make."""
    module = built(likeness.GRAM, size=5, ridge=1e-9)
    z = unit(np.random.default_rng(0).normal(size=(3, 6, 5)))
    volumes = module.volumes(torch.from_numpy(z)).numpy()
    for i in range(6):
        for j in range(6):
            vectors = np.stack([z[0, i], z[1, j], z[2, j]])
            assert volumes[i, j] == pytest.approx(np.linalg.svd(vectors, compute_uv=False).prod(), rel=1e-3, abs=1e-4)
    same = np.repeat(z[:1], 3, axis=0)
    assert module.volumes(torch.from_numpy(same)).diagonal().max() < 1e-3


@pytest.mark.parametrize("part", [likeness.Symile, likeness.GRAM])
def test_two_modalities_are_too_few_for_three(part: type[mb.Objective]) -> None:
    task = mb.Task("t", "d", {"a": "text", "b": "text"}, mb.Label("y"), "m")
    assert part().supports(task) == "needs at least three modalities"


def test_adversarial_is_the_judges_cross_entropy_with_its_gradient_turned() -> None:
    module = built(likeness.Adversarial, size=4, reversal=0.5)
    z = torch.stack([module.project[m](FEATURES[m].pooled) for m in NAMES]).detach().requires_grad_()
    there = torch.from_numpy(THERE)
    truth = torch.arange(3)[:, None].expand(3, ROWS)
    plain = F.cross_entropy(module.judge(z)[there], truth[there])
    assert loss(module) == pytest.approx(plain.item(), rel=1e-5)
    plain.backward()
    module.zero_grad()
    module.loss(FEATURES, mb.Fused(), TRUTH)["adversarial"].backward()
    slope = module.project["image"].weight.grad
    assert z.grad is not None
    torch.testing.assert_close(slope, -0.5 * z.grad[0].T @ FEATURES["image"].pooled)
