"""Fusions of pooled vectors against their equations, written again in NumPy, a row at a time."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from mmbench_fusion.vector import Attention, Concat, Gated, LowRank, Mean, Sum, Weighted

import mmbench as mb
from mmbench.api.space import defaults
from mmbench.testing.rules.features import INPUTS, nothing, some, without

Array = np.ndarray[Any, Any]
NAMES = sorted(INPUTS)
WIDTH = 6


def built(part: mb.Fusion, **params: Any) -> tuple[torch.nn.Module, dict[str, Array]]:
    """A module with every parameter random, and its state as arrays of double precision."""
    torch.manual_seed(0)
    module = part.build(INPUTS, WIDTH, params).double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
    return module, {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def batch() -> dict[str, mb.Features]:
    """Seven rows: text is missing in the first three, everything in the second."""
    features = without(some(INPUTS, 7), "text", slice(0, 3))
    for modality in INPUTS:
        features = without(features, modality, slice(1, 2))
    return {m: mb.Features(f.tokens.double(), f.mask) for m, f in features.items()}


def rows(features: Mapping[str, mb.Features]) -> list[dict[str, Array | None]]:
    """Each row as {modality: mean of its tokens, or None if it is missing}."""
    found: list[dict[str, Array | None]] = []
    for row in range(len(features["text"].mask)):
        tokens = {m: f.tokens[row][f.mask[row]].numpy() for m, f in features.items()}
        found.append({m: t.mean(0) if len(t) else None for m, t in tokens.items()})
    return found


def vector(module: torch.nn.Module, features: Mapping[str, mb.Features]) -> Array:
    with torch.no_grad():
        fused = module(features)
    return np.asarray(fused.vector if isinstance(fused, mb.Fused) else fused)


def zeros(row: Mapping[str, Array | None]) -> dict[str, Array]:
    return {m: np.zeros(INPUTS[m].width) if x is None else x for m, x in row.items()}


def projections(state: Mapping[str, Array], row: Mapping[str, Array | None]) -> dict[str, Array]:
    """W_m x_m + b_m of the modalities that are there."""
    key = "project.linear"
    return {m: state[f"{key}.{m}.weight"] @ x + state[f"{key}.{m}.bias"] for m in NAMES if (x := row[m]) is not None}


def softmax(scores: Mapping[str, Array]) -> dict[str, Array]:
    total = sum(np.exp(s) for s in scores.values())
    return {m: np.exp(s) / total for m, s in scores.items()}


def test_concat() -> None:
    module, state = built(Concat())
    expected = [
        state["linear.weight"] @ np.concatenate([zeros(row)[m] for m in NAMES]) + state["linear.bias"]
        for row in rows(batch())
    ]
    np.testing.assert_allclose(vector(module, batch()), expected)


def test_sum_and_mean() -> None:
    for part in (Sum(), Mean()):
        module, state = built(part)
        expected = []
        for row in rows(batch()):
            found = projections(state, row).values()
            count = max(1, len(found)) if part.name == "mean" else 1
            expected.append(sum(found, start=np.zeros(WIDTH)) / count)
        np.testing.assert_allclose(vector(module, batch()), expected)


def test_weighted() -> None:
    module, state = built(Weighted())
    expected = []
    for row in rows(batch()):
        found = projections(state, row)
        weights = softmax({m: state["scores"][NAMES.index(m)] for m in found})
        expected.append(sum((weights[m] * h for m, h in found.items()), start=np.zeros(WIDTH)))
    np.testing.assert_allclose(vector(module, batch()), expected)


@pytest.mark.parametrize("gate", ["sigmoid", "softmax"])
def test_gated(gate: str) -> None:
    module, state = built(Gated(), gate=gate)
    expected, shares = [], []
    for row in rows(batch()):
        found = projections(state, row)
        joined = np.concatenate([zeros(row)[m] for m in NAMES])
        scores = (state["gates.weight"] @ joined + state["gates.bias"]).reshape(len(NAMES), WIDTH)
        open_ = {m: scores[NAMES.index(m)] for m in found}
        gates = softmax(open_) if gate == "softmax" else {m: 1 / (1 + np.exp(-s)) for m, s in open_.items()}
        expected.append(sum((gates[m] * np.tanh(h) for m, h in found.items()), start=np.zeros(WIDTH)))
        total = sum(z.mean() for z in gates.values()) or 1
        shares.append([gates[m].mean() / total if m in gates else 0 for m in NAMES])
    np.testing.assert_allclose(vector(module, batch()), expected)
    weights = module(batch()).weights
    np.testing.assert_allclose(np.stack([weights[m].detach() for m in NAMES], axis=1), shares)


def test_gated_of_two_with_softmax_is_the_papers() -> None:
    """For two modalities the paper's gate is z and 1 - z, with z the sigmoid of one linear layer."""
    torch.manual_seed(0)
    two = {m: INPUTS[m] for m in ("image", "text")}
    module = Gated().build(two, WIDTH, {"gate": "softmax"}).eval()
    features = some(two, 5)
    image, text = (module.project.linear[m](features[m].pooled).tanh() for m in ("image", "text"))
    scores = module.gates(torch.cat([features["image"].pooled, features["text"].pooled], dim=1))
    z = torch.sigmoid(scores[:, :WIDTH] - scores[:, WIDTH:])
    torch.testing.assert_close(module(features).vector, z * image + (1 - z) * text)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_attention(temperature: float) -> None:
    module, state = built(Attention(), hidden=5, temperature=temperature)
    expected = []
    for row in rows(batch()):
        found = projections(state, row)
        hidden = {m: np.tanh(state["hidden.weight"] @ h + state["hidden.bias"]) for m, h in found.items()}
        weights = softmax({m: state["score.weight"][0] @ a / temperature for m, a in hidden.items()})
        expected.append(sum((weights[m] * h for m, h in found.items()), start=np.zeros(WIDTH)))
    np.testing.assert_allclose(vector(module, batch()), expected)


def test_low_rank_is_the_full_tensor_product() -> None:
    """Liu 2018, equations 4 and 5: W . (z_1 x z_2 x z_3), with W the sum of the outer products of its factors."""
    rank = 3
    module, state = built(LowRank(), rank=rank)
    factors = {}
    for m in NAMES:
        weight, bias = state[f"factors.linear.{m}.weight"], state[f"factors.linear.{m}.bias"]
        factors[m] = np.concatenate([weight, bias[:, None]], axis=1).reshape(rank, WIDTH, -1)
    tensor = np.einsum("r,rha,rhb,rhc->habc", state["weights"][:, 0], *(factors[m] for m in NAMES))
    expected = []
    for row in rows(batch()):
        z = [np.append(zeros(row)[m], 1.0) for m in NAMES]
        expected.append(np.einsum("habc,a,b,c->h", tensor, *z) + state["bias"])
    np.testing.assert_allclose(vector(module, batch()), expected)


def test_low_rank_starts_near_one() -> None:
    """The product of many factors neither vanishes nor explodes at the start."""
    torch.manual_seed(0)
    inputs = {f"m{i}": mb.FeatureSpec(16, 1) for i in range(6)}
    module = LowRank().build(inputs, 64, {"rank": 1})
    with torch.no_grad():
        products = module(some(inputs, 50)) / module.weights
    assert 0.3 < float(products.abs().mean()) < 3


@pytest.mark.parametrize("part", [Sum, Mean, Weighted, Gated, Attention])
def test_nothing_at_all_is_zero(part: type[mb.Fusion]) -> None:
    module = part().build(INPUTS, WIDTH, defaults(part.space)).double()
    assert not vector(module, nothing(batch())).any()
