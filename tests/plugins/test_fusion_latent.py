"""MISA against its equations, written again in NumPy."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from mmbench_fusion.latent import Misa
from mmbench_fusion.modules.latent import moment_discrepancy, overlap
from scipy.special import expit

import mmbench as mb
from mmbench.testing.rules.features import INPUTS, nothing, some, without

Array = np.ndarray[Any, Any]
NAMES = sorted(INPUTS)
PARAMS = {"heads": 2, "dropout": 0.1, "similarity": 0.5, "difference": 0.2, "reconstruction": 0.7}


def cmd(a: Array, b: Array) -> float:
    """Central moment discrepancy up to order 5, of two samples in [0, 1]."""
    total = np.linalg.norm(a.mean(0) - b.mean(0))
    for k in range(2, 6):
        total += np.linalg.norm(((a - a.mean(0)) ** k).mean(0) - ((b - b.mean(0)) ** k).mean(0))
    return float(total)


def meeting(a: Array, b: Array) -> float:
    """Mean square of A'B for centred rows of length 1."""
    first, second = ((x - x.mean(0)) / np.linalg.norm(x - x.mean(0), axis=1, keepdims=True) for x in (a, b))
    return float(np.square(first.T @ second).mean())


def test_moment_discrepancy_and_overlap() -> None:
    draw = np.random.default_rng(0)
    a, b = draw.random((9, 4)), draw.random((9, 4)) ** 2
    rows = np.array([True] * 6 + [False] * 3)
    tensors = (torch.from_numpy(a), torch.from_numpy(b), torch.from_numpy(rows))
    assert float(moment_discrepancy(*tensors)) == pytest.approx(cmd(a[rows], b[rows]))
    assert float(overlap(*tensors)) == pytest.approx(meeting(a[rows], b[rows]), rel=1e-4)


def test_moment_discrepancy_of_a_sample_with_itself_is_zero() -> None:
    a = torch.rand(9, 4, requires_grad=True)
    found = moment_discrepancy(a, a * 1.0, torch.ones(9, dtype=torch.bool))
    found.backward()
    assert found.item() == 0
    assert a.grad is not None
    assert a.grad.isfinite().all()


def test_losses() -> None:
    torch.manual_seed(0)
    module = Misa().build(INPUTS, 6, PARAMS).double().eval()
    given = without(some(INPUTS, 8), "text", slice(0, 3))
    features = {m: mb.Features(f.tokens.double(), f.mask) for m, f in given.items()}
    state = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    inputs, shared, private, back = {}, {}, {}, {}
    for m in NAMES:
        inputs[m] = module.norm(torch.nn.functional.gelu(module.project.linear[m](features[m].pooled))).detach().numpy()
        shared[m] = expit(inputs[m] @ state["shared.weight"].T + state["shared.bias"])
        private[m] = expit(inputs[m] @ state[f"private.{m}.weight"].T + state[f"private.{m}.bias"])
        back[m] = (shared[m] + private[m]) @ state["decoder.weight"].T + state["decoder.bias"]
    rows = {m: features[m].present.numpy() for m in NAMES}
    both = {(a, b): rows[a] & rows[b] for a, b in combinations(NAMES, 2)}
    apart = [meeting(shared[m][rows[m]], private[m][rows[m]]) for m in NAMES]
    apart += [meeting(private[a][r], private[b][r]) for (a, b), r in both.items()]
    errors = {m: np.square(inputs[m] - back[m]).mean(1) for m in NAMES}
    per_row = [np.mean([errors[m][i] for m in NAMES if rows[m][i]]) for i in range(8)]
    expected = {
        "similarity": 0.5 * np.mean([cmd(shared[a][r], shared[b][r]) for (a, b), r in both.items()]),
        "difference": 0.2 * np.mean(apart),
        "reconstruction": 0.7 * np.mean(per_row),
    }
    found = module.loss(module(features), torch.zeros(8))
    assert {name: term.item() for name, term in found.items()} == pytest.approx(expected, rel=1e-4)


def test_vector() -> None:
    torch.manual_seed(0)
    module = Misa().build(INPUTS, 6, PARAMS).eval()
    features = without(some(INPUTS, 4), "text", slice(0, 2))
    with torch.no_grad():
        fused = module(features)
        for row in range(4):
            there = [i for i, m in enumerate(NAMES) if bool(features[m].present[row])]
            private, shared = fused.extras["private"][row, there], fused.extras["shared"][row, there]
            tokens = module.block(torch.cat([private, shared]).unsqueeze(0), torch.ones(1, 1, 1, dtype=torch.bool))
            places = torch.zeros(6, 6)
            places[[*there, *(3 + i for i in there)]] = tokens[0]
            torch.testing.assert_close(fused.vector[row], module.join(places.flatten()))


def test_losses_of_nothing_are_zero() -> None:
    torch.manual_seed(0)
    module = Misa().build(INPUTS, 6, PARAMS)
    terms = module.loss(module(nothing(some(INPUTS, 4))), torch.zeros(4))
    assert {name: term.item() for name, term in terms.items()} == dict.fromkeys(terms, 0.0)
