"""Fusions that multiply, pick or modulate against their equations, written again in NumPy, a row at a time."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from mmbench_fusion.feature import Film, Max, Multiplicative, Product
from mmbench_fusion.tensor import Mcb, Mfb, Mfh, Mlb, Mutan, TensorFusion
from mmbench_fusion.vector import LowRank

import mmbench as mb
from mmbench.testing.rules.features import INPUTS, some
from tests.plugins.test_fusion_vector import NAMES, WIDTH, Array, batch, built, projections, rows, vector, zeros


def affine(state: dict[str, Array], key: str, x: Array) -> Array:
    return np.asarray(state[f"{key}.weight"] @ x + state[f"{key}.bias"])


def rooted(x: Array) -> Array:
    """The signed square root with a finite slope at 0, scaled to a mean square of 1."""
    root = x / np.sqrt(np.abs(x) + 1e-3)
    return np.asarray(root / np.sqrt(np.mean(root**2)))


def times(factors: list[Array], size: int) -> Array:
    return np.asarray(np.prod(np.stack([np.ones(size), *factors]), axis=0))


def test_max_and_product() -> None:
    for part in (Max(), Product()):
        module, state = built(part)
        expected = []
        for row in rows(batch()):
            found = list(projections(state, row).values())
            largest = np.max(found, axis=0) if found else np.zeros(WIDTH)
            expected.append(largest if part.name == "max" else times(found, WIDTH))
        np.testing.assert_allclose(vector(module, batch()), expected)


def test_film() -> None:
    module, state = built(Film())
    expected = []
    for row in rows(batch()):
        found, given = [], zeros(row)
        for m, u in projections(state, row).items():
            scale, shift = np.split(
                affine(state, f"modulate.{m}", np.concatenate([given[n] for n in NAMES if n != m])), 2
            )
            found.append(np.maximum(0, (1 + scale) * u + shift))
        expected.append(np.mean(found, axis=0) if found else np.zeros(WIDTH))
    np.testing.assert_allclose(vector(module, batch()), expected)


def test_multiplicative_is_the_sum_of_torchs_bilinear_forms() -> None:
    module, state = built(Multiplicative(), size=3)
    expected = []
    for row in rows(batch()):
        found = projections(state, row)
        u = [found.get(m, np.zeros(3)) for m in NAMES]
        h = affine(state, "linear", np.concatenate(u))
        for number, (a, b) in enumerate(combinations(range(3), 2)):
            tensors = (torch.from_numpy(x) for x in (u[a], u[b], state["tensor"][number]))
            h = h + torch.nn.functional.bilinear(*tensors).numpy()
        expected.append(h)
    np.testing.assert_allclose(vector(module, batch()), expected)


def test_tensor_fusion() -> None:
    module, state = built(TensorFusion(), size=3)
    weight = state["linear.weight"].reshape(WIDTH, 4, 4, 4)
    expected = []
    for row in rows(batch()):
        found = projections(state, row)
        z = [np.append(found.get(m, np.zeros(3)), 1.0) for m in NAMES]
        expected.append(np.einsum("habc,a,b,c->h", weight, *z) + state["linear.bias"])
    np.testing.assert_allclose(vector(module, batch()), expected)


def test_low_rank_at_full_rank_equals_tensor_fusion() -> None:
    """A factor for each cell of the outer product of two modalities can hold any tensor (Liu 2018, section 3.2)."""
    two = {m: INPUTS[m] for m in ("image", "text")}
    torch.manual_seed(0)
    tfn = TensorFusion().build(two, WIDTH, {"size": 3}).double()
    cells = [(a, b) for a in range(4) for b in range(4)]
    lmf = LowRank().build(two, WIDTH, {"rank": len(cells)}).double()
    tensor = tfn.linear.weight.detach().reshape(WIDTH, 4, 4)
    with torch.no_grad():
        lmf.weights.fill_(1)
        lmf.bias.copy_(tfn.linear.bias)
        for place, m in enumerate(("image", "text")):
            linear = tfn.project.linear[m]
            z = torch.cat([linear.weight, torch.zeros(1, linear.in_features)])  # the appended 1: a bias alone
            c = torch.cat([linear.bias, torch.ones(1)])
            scale = [tensor[:, a, b] if place == 0 else torch.ones(WIDTH) for a, b in cells]
            picked = [cell[place] for cell in cells]
            lmf.factors.linear[m].weight.copy_(
                torch.cat([s[:, None] * z[i] for s, i in zip(scale, picked, strict=True)])
            )
            lmf.factors.linear[m].bias.copy_(torch.cat([s * c[i] for s, i in zip(scale, picked, strict=True)]))
    features = {m: mb.Features(f.tokens.double(), f.mask) for m, f in some(two, 5).items()}
    np.testing.assert_allclose(vector(lmf, features), vector(tfn, features), rtol=1e-6)


def test_tensor_fusion_has_a_limit() -> None:
    six = {f"m{i}": mb.FeatureSpec(8, 1) for i in range(6)}
    assert TensorFusion().build(six, WIDTH, {"size": 128}).linear.in_features == 4**6


def test_mlb() -> None:
    module, state = built(Mlb(), size=4)
    expected = [
        affine(state, "linear", times([np.tanh(u) for u in projections(state, row).values()], 4))
        for row in rows(batch())
    ]
    np.testing.assert_allclose(vector(module, batch()), expected)


def test_mutan() -> None:
    module, state = built(Mutan(), size=4, rank=3)
    expected = []
    for row in rows(batch()):
        found = {m: affine(state, f"core.{m}", np.tanh(u)) for m, u in projections(state, row).items()}
        z = sum(times([n[r * 4 : r * 4 + 4] for n in found.values()], 4) for r in range(3))
        expected.append(affine(state, "linear", np.asarray(z)))
    np.testing.assert_allclose(vector(module, batch()), expected)


@pytest.mark.parametrize("order", [1, 2])
def test_mfb_and_mfh(order: int) -> None:
    part: mb.Fusion = Mfb() if order == 1 else Mfh()
    module, state = built(part, rank=3, dropout=0.1, **({"order": 2} if order == 2 else {}))
    expected = []
    for row in rows(batch()):
        p, pooled = np.ones(WIDTH * 3), []
        for i in range(order):
            p = p * times([affine(state, f"blocks.{i}.linear.{m}", x) for m in NAMES if (x := row[m]) is not None], 18)
            pooled.append(rooted(p.reshape(WIDTH, 3).sum(1)))
        expected.append(pooled[0] if order == 1 else affine(state, "join", np.concatenate(pooled)))
    np.testing.assert_allclose(vector(module, batch()), expected, rtol=1e-3, atol=1e-4)


def test_mcb_is_the_sketch_of_the_outer_product() -> None:
    """Gao 2016: hashing each cell of the outer product to the sum of its places, with the product of its signs."""
    size = 16
    module, state = built(Mcb(), size=size)
    hashes = {m: np.abs(state[f"sketch_{m}"]).argmax(1) for m in NAMES}
    signs = {m: state[f"sketch_{m}"].sum(1) for m in NAMES}
    expected = []
    for row in rows(batch()):
        sketch: dict[int, float] = {0: 1.0}
        for m in NAMES:
            if (x := row[m]) is None:
                continue
            before, sketch = sketch, {}
            for place, value in before.items():
                for i in range(len(x)):
                    to = (place + int(hashes[m][i])) % size
                    sketch[to] = sketch.get(to, 0.0) + value * signs[m][i] * x[i]
        z = np.array([sketch.get(j, 0.0) for j in range(size)])
        expected.append(affine(state, "linear", rooted(z)))
    np.testing.assert_allclose(vector(module, batch()), expected, rtol=1e-3, atol=1e-4)


def test_mcb_draws_its_hashes_from_the_seed() -> None:
    made: list[Any] = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        made.append(Mcb().build(INPUTS, WIDTH, {"size": 64}).get_buffer("sketch_text"))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
