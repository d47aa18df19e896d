"""Fusions whose modalities rescale or shift one another against their equations in NumPy, a row at a time."""

import numpy as np
import pytest
from mmbench_fusion.gating.rescaling import Mag, Mmtm

from tests.plugins.test_fusion_products import affine
from tests.plugins.test_fusion_vector import NAMES, WIDTH, batch, built, projections, rows, vector, zeros


def test_mmtm() -> None:
    module, state = built(Mmtm(), ratio=3)
    assert state["squeeze.weight"].shape == (5, 15)
    expected = []
    for row in rows(batch()):
        x = zeros(row)
        s = np.maximum(0, affine(state, "squeeze", np.concatenate([x[m] for m in NAMES])))
        y = [2 / (1 + np.exp(-affine(state, f"excite.{m}", s))) * x[m] for m in NAMES]
        expected.append(affine(state, "join", np.concatenate(y)))
    np.testing.assert_allclose(vector(module, batch()), expected)


@pytest.mark.parametrize("reach", [0.5, 50.0])
def test_mag(reach: float) -> None:
    module, state = built(Mag(), reach=reach, dropout=0.1)
    expected = []
    for row in rows(batch()):
        found = projections(state, row)
        shifted = []
        for m, u in found.items():
            s = state[f"bias.{m}"]
            for n in found:
                if n != m:
                    gate = np.maximum(0, affine(state, f"gates.{m}.{n}", np.concatenate([u, found[n]])))
                    s = s + gate * (state[f"shifts.{m}.{n}.weight"] @ found[n])
            y = u + min(1, reach * np.linalg.norm(u) / np.linalg.norm(s)) * s
            y = (y - y.mean()) / np.sqrt(y.var() + 1e-5)
            shifted.append(state["norm.weight"] * y + state["norm.bias"])
        expected.append(np.mean(shifted, axis=0) if shifted else np.zeros(WIDTH))
    np.testing.assert_allclose(vector(module, batch()), expected, rtol=1e-5)
