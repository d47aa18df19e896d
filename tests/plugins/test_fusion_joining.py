"""Fusions that join pooled vectors against their equations in NumPy, a row at a time."""

import numpy as np
from mmbench_fusion.joining.blocks import BlockTerm
from mmbench_fusion.joining.wide import ConcatLinear, StackedCnn

from tests.plugins.test_fusion_products import affine, rooted, times
from tests.plugins.test_fusion_vector import NAMES, WIDTH, batch, built, projections, rows, vector, zeros


def test_concat_linear() -> None:
    module, state = built(ConcatLinear(), size=9, dropout=0.1)
    expected = []
    for row in rows(batch()):
        hidden = np.maximum(0, affine(state, "hidden", np.concatenate([zeros(row)[m] for m in NAMES])))
        expected.append(affine(state, "linear", hidden))
    np.testing.assert_allclose(vector(module, batch()), expected)


def test_stacked_cnn() -> None:
    module, state = built(StackedCnn(), channels=2, kernel=3, layers=2)
    expected = []
    for row in rows(batch()):
        found = projections(state, row)
        z = np.stack([found.get(m, np.zeros(WIDTH)) for m in NAMES])
        for layer in range(2):
            weight, bias = state[f"layers.{layer}.weight"], state[f"layers.{layer}.bias"]
            padded = np.pad(z, ((0, 0), (1, 1)))
            seen = [np.einsum("cmk,mk->c", weight, padded[:, place : place + 3]) + bias for place in range(WIDTH)]
            z = np.maximum(0, np.stack(seen, axis=1))
        expected.append(affine(state, "linear", z.ravel()))
    np.testing.assert_allclose(vector(module, batch()), expected)


def test_block() -> None:
    """Two chunks of three places."""
    module, state = built(BlockTerm(), size=7, chunks=2, rank=2)
    assert state["linear.weight"].shape == (WIDTH, 6)
    expected = []
    for row in rows(batch()):
        found, chunks = projections(state, row), []
        for c in range(2):
            z = np.zeros(3)
            for r in range(2):
                factors = []
                for m, q in found.items():
                    core, bias = (state[key][NAMES.index(m), c, r] for key in ("core", "bias"))
                    factors.append(core @ q[3 * c : 3 * c + 3] + bias)
                z = z + times(factors, 3)
            chunks.append(rooted(z))
        expected.append(affine(state, "linear", np.concatenate(chunks)))
    np.testing.assert_allclose(vector(module, batch()), expected, rtol=1e-5)
