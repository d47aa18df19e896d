"""Fusions that make the modalities again against their equations in NumPy, a row at a time."""

from itertools import combinations, permutations
from typing import Any

import numpy as np
import pytest
import torch
from mmbench_fusion.generative.split import Mctn, Mfm, ShaSpec
from mmbench_fusion.generative.variational import Dmvae, Mvae
from mmbench_fusion.modules.generative.split import discrepancy
from mmbench_fusion.modules.generative.variational import divergence, multiplied
from scipy.special import log_softmax
from torch.distributions import Normal, kl_divergence

from tests.plugins.test_fusion_experts import gelu, joined
from tests.plugins.test_fusion_products import affine
from tests.plugins.test_fusion_vector import NAMES, WIDTH, Array, batch, built, projections, rows, vector, zeros


def terms(module: Any) -> dict[str, float]:
    module.train()
    return {name: term.item() for name, term in module.loss(module(batch()), torch.zeros(7)).items()}


def off(a: Array, b: Array) -> float:
    return float(np.mean((a - b) ** 2))


def twice(state: dict[str, Array], key: str, x: Array) -> Array:
    """Two layers with a GELU between."""
    return affine(state, f"{key}.2", gelu(affine(state, f"{key}.0", x)))


def test_shaspec() -> None:
    module, state = built(ShaSpec(), alignment=0.3, domain=0.2)
    expected, wrong = [], []
    apart: dict[Any, list[float]] = {pair: [] for pair in combinations(NAMES, 2)}
    for row in rows(batch()):
        u = projections(state, row)
        shared = {m: gelu(affine(state, "shared", x)) for m, x in u.items()}
        own = {m: gelu(affine(state, f"specific.{m}", x)) for m, x in u.items()}
        mean = np.mean(list(shared.values()), axis=0) if shared else np.zeros(WIDTH)
        whole = {m: r + affine(state, "fuse", np.concatenate([r, own[m]])) for m, r in shared.items()}
        expected.append(affine(state, "join", np.concatenate([whole.get(m, mean) for m in NAMES])))
        wrong += [-log_softmax(affine(state, "classify", s))[NAMES.index(m)] for m, s in own.items()]
        for a, b in apart:
            if a in shared and b in shared:
                apart[a, b].append(float(np.mean(np.abs(shared[a] - shared[b]))))
    np.testing.assert_allclose(vector(module, batch()), expected)
    aligned = 0.3 * np.mean([np.mean(found) for found in apart.values()])
    assert terms(module) == pytest.approx({"alignment": aligned, "domain": 0.2 * np.mean(wrong)}, rel=1e-4)


def test_discrepancy_in_closed_form_is_that_of_many_draws() -> None:
    torch.manual_seed(0)
    sample, normal = torch.randn(6, 3) * 2 + 1, torch.randn(2000, 3)
    there = torch.tensor([True] * 5 + [False])

    def kernel(a: torch.Tensor, b: torch.Tensor) -> float:
        return float(torch.exp(-torch.cdist(a, b).square() / 6).mean())

    kept = sample[there]
    drawn = kernel(kept, kept) - 2 * kernel(kept, normal) + kernel(normal[:1000], normal[1000:])
    assert discrepancy(sample, there).item() == pytest.approx(drawn, abs=0.02)
    assert discrepancy(sample, ~there | there).item() > 0.1
    assert discrepancy(torch.randn(800, 3), torch.ones(800, dtype=torch.bool)).item() < 0.005


def test_mfm() -> None:
    module, state = built(Mfm(), size=3, reconstruction=0.3, prior=0.2)
    factors, errors = [], []
    for row in rows(batch()):
        f = affine(state, "all", joined(row))
        factors.append(f)
        for m, x in row.items():
            if x is not None:
                own = affine(state, f"own.linear.{m}", x)
                errors.append(off(x, twice(state, f"decode.{m}", np.concatenate([f, own]))))
    np.testing.assert_allclose(vector(module, batch()), factors)
    features = batch()
    far = [discrepancy(torch.from_numpy(np.array(factors)), torch.stack([f.present for f in features.values()]).any(0))]
    for m in NAMES:
        alone = features[m].pooled.numpy() @ state[f"own.linear.{m}.weight"].T + state[f"own.linear.{m}.bias"]
        far.append(discrepancy(torch.from_numpy(alone), features[m].present))
    prior = 0.2 * (far[0] + sum(far[1:]) / 3).item()
    assert terms(module) == pytest.approx({"reconstruction": 0.3 * np.mean(errors), "prior": prior}, rel=1e-4)


def test_mctn() -> None:
    module, state = built(Mctn(), translation=0.3, cycle=0.2)
    expected, there, back = [], [], []
    for row in rows(batch()):
        x = {m: v for m, v in row.items() if v is not None}
        z = {m: np.tanh(affine(state, f"encode.linear.{m}", v)) for m, v in x.items()}
        for m, n in permutations(x, 2):
            told = affine(state, f"decode.{n}", z[m])
            again = affine(state, f"decode.{m}", np.tanh(affine(state, f"encode.linear.{n}", told)))
            there.append(off(told, x[n]))
            back.append(off(again, x[m]))
        expected.append(affine(state, "join", np.mean(list(z.values()), axis=0) if z else np.zeros(WIDTH)))
    np.testing.assert_allclose(vector(module, batch()), expected)
    wanted = {"translation": 0.3 * np.mean(there), "cycle": 0.2 * np.mean(back)}
    assert terms(module) == pytest.approx(wanted, rel=1e-4)


def test_gaussians() -> None:
    """Multiplied on a grid, they are what the closed form says; KL is torch's."""
    torch.manual_seed(0)
    said, grid = torch.randn(1, 3, 2).double(), torch.linspace(-20, 20, 40001).double()
    density = Normal(0.0, 1.0).log_prob(grid)
    for m in (0, 2):
        spread = 6 * torch.tanh(said[0, m, 1] / 6)
        density = density + Normal(said[0, m, 0], (spread / 2).exp()).log_prob(grid)
    weight = density.softmax(0)
    mean, variance = multiplied(said, torch.tensor([[True, False, True]]))
    assert mean.item() == pytest.approx((weight * grid).sum().item(), rel=1e-4)
    assert variance.item() == pytest.approx((weight * grid**2).sum().item() - mean.item() ** 2, rel=1e-4)
    mean, variance = torch.randn(2, 4), torch.rand(2, 4) + 0.1
    expected = kl_divergence(Normal(mean, variance.sqrt()), Normal(0.0, 1.0)).mean(1)
    torch.testing.assert_close(divergence(mean, variance), expected)


def gaussian(said: list[Array]) -> Array:
    """The mean of the product of Gaussians, each [mean; log variance], and N(0, 1)."""
    top, bottom = np.zeros(WIDTH), np.ones(WIDTH)
    for mean, spread in (np.split(s, 2) for s in said):
        precision = np.exp(-6 * np.tanh(spread / 6))
        top, bottom = top + precision * mean, bottom + precision
    return np.asarray(top / bottom)


def test_mvae(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its vector, in evaluation; its loss with draws taken out: noise 0."""
    module, state = built(Mvae(), reconstruction=0.3, kl=0.2)
    expected, errors, alone = [], [], []
    for row in rows(batch()):
        given = {m: x for m, x in row.items() if x is not None}
        said = {m: affine(state, f"encode.linear.{m}", x) for m, x in given.items()}

        def wrong(m: str, latent: Array, given: dict[str, Array] = given) -> float:
            return off(given[m], affine(state, f"decode.{m}", gelu(affine(state, "hidden", latent))))

        expected.append(gaussian(list(said.values())))
        errors += [wrong(m, expected[-1]) for m in given]
        alone += [wrong(m, gaussian([said[m]])) for m in given]
    np.testing.assert_allclose(vector(module, batch()), expected, rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    assert terms(module)["reconstruction"] == pytest.approx(0.3 * (np.mean(errors) + np.mean(alone)), rel=1e-4)


def test_dmvae() -> None:
    module, state = built(Dmvae(), size=2, reconstruction=0.3, kl=0.2)
    expected = []
    for row in rows(batch()):
        said = {m: affine(state, f"encode.linear.{m}", x) for m in NAMES if (x := row[m]) is not None}
        shared = gaussian([s[: 2 * WIDTH] for s in said.values()])
        private = [said[m][2 * WIDTH : 2 * WIDTH + 2] if m in said else np.zeros(2) for m in NAMES]
        expected.append(affine(state, "join", np.concatenate([shared, *private])))
    np.testing.assert_allclose(vector(module, batch()), expected, rtol=1e-4, atol=1e-4)


def test_dmvae_makes_each_from_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its loss with draws taken out: noise 0."""
    module, state = built(Dmvae(), size=2, reconstruction=0.3, kl=0.2)
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    found = terms(module)
    joint, crossed = [], []
    for row in rows(batch()):
        said = {m: affine(state, f"encode.linear.{m}", x) for m in NAMES if (x := row[m]) is not None}
        for m in said:
            x, secret = zeros(row)[m], said[m][2 * WIDTH : 2 * WIDTH + 2]

            def made(parts: list[Array], m: str = m, secret: Array = secret) -> Array:
                return twice(state, f"decode.{m}", np.concatenate([gaussian(parts), secret]))

            joint.append(off(x, made([s[: 2 * WIDTH] for s in said.values()])))
            crossed += [off(x, made([said[n][: 2 * WIDTH]])) for n in said]
    assert found["reconstruction"] == pytest.approx(0.3 * (np.mean(joint) + np.mean(crossed)), rel=1e-4)
