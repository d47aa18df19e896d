"""Mixtures of experts, a graph and hierarchies of modalities against their equations in NumPy, a row at a time."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from mmbench_fusion.experts.graph import Graph
from mmbench_fusion.experts.mixture import DynMm, I2moe, Moe
from mmbench_fusion.hierarchy.pairs import Pairwise, Tree
from mmbench_fusion.modules.hierarchy.pairs import plan
from scipy.special import softmax

from mmbench.testing.rules.features import INPUTS, some
from tests.plugins.test_fusion_products import affine
from tests.plugins.test_fusion_vector import NAMES, WIDTH, Array, batch, built, projections, rows, vector, zeros


def joined(row: dict[str, Array | None], lost: str = "") -> Array:
    return np.concatenate([x * (m != lost) for m in NAMES for x in [zeros(row)[m]]])


def gelu(x: Array) -> Array:
    return torch.nn.functional.gelu(torch.from_numpy(x)).numpy()


def hidden(state: dict[str, Array], key: str, x: Array) -> Array:
    """Two layers with a ReLU between."""
    return affine(state, f"{key}.2", np.maximum(0, affine(state, f"{key}.0", x)))


def test_moe() -> None:
    module, state = built(Moe(), experts=3, dropout=0.1)
    expected = []
    for row in rows(batch()):
        u = affine(state, "project", joined(row))
        gates = softmax([-np.linalg.norm(u - place) for place in state["places"]])
        experts = [affine(state, f"narrower.{e}", gelu(affine(state, f"wider.{e}", u))) for e in range(3)]
        expected.append(gates @ np.stack(experts))
    np.testing.assert_allclose(vector(module, batch()), expected, rtol=1e-4, atol=1e-5)


def test_i2moe() -> None:
    module, state = built(I2moe(), size=5, interaction=0.2)
    expected, terms = [], []

    def far(a: Array, b: Array) -> float:
        return float(np.linalg.norm(a - b))

    def cosine(a: Array, b: Array) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    for row in rows(batch()):
        found = np.stack([hidden(state, f"experts.{e}", joined(row)) for e in range(5)])
        expected.append(softmax(affine(state, "weigh", joined(row))) @ found)
        if any(x is None for x in row.values()):
            continue
        lost = [[hidden(state, f"experts.{e}", joined(row, m)) for m in NAMES] for e in range(5)]
        of = [
            np.mean([max(0, far(found[m], lost[m][n]) - far(found[m], lost[m][m]) + 1) for n in range(3) if n != m])
            for m in range(3)
        ]
        of.append(np.mean([cosine(found[3], without) for without in lost[3]]))
        of.append(np.mean([1 - cosine(found[4], without) for without in lost[4]]))
        terms.append(np.mean(of))
    np.testing.assert_allclose(vector(module, batch()), expected)
    fused: Any = module.train()(batch())
    loss: Any = module.loss
    assert loss(fused, torch.zeros(7))["interaction"].item() == pytest.approx(0.2 * np.mean(terms), rel=1e-4)


def test_dyn_mm_takes_one_branch() -> None:
    module, state = built(DynMm(), temperature=1.0, thrift=0.01)
    expected = []
    for row in rows(batch()):
        branches = {NAMES.index(m): u for m, u in projections(state, row).items()}
        branches[3] = hidden(state, "all", joined(row))
        scores = hidden(state, "gate", joined(row))
        expected.append(branches[max(branches, key=lambda branch: scores[branch])])
    np.testing.assert_allclose(vector(module, batch()), expected)


def test_dyn_mm_draws_its_branch_in_training() -> None:
    """Near temperature 0 a branch is drawn as often as its softmax says."""
    torch.manual_seed(0)
    module: Any = DynMm().build(INPUTS, WIDTH, {"temperature": 1e-3, "thrift": 0.5}).train()
    features = some(INPUTS, 1)
    many = {m: type(f)(f.tokens.expand(4000, -1, -1), f.mask.expand(4000, -1)) for m, f in features.items()}
    gates = module(many).extras["gates"]
    expected = module.gate(torch.cat([features[m].pooled for m in NAMES], dim=1)).softmax(1)[0]
    torch.testing.assert_close(gates.mean(0), expected, atol=0.03, rtol=0)
    loss = module.loss(module(many), torch.zeros(4000))["thrift"]
    assert loss.item() == pytest.approx(0.5 * expected[-1].item(), abs=0.02)


@pytest.mark.parametrize("heads", [1, 4])
def test_graph(heads: int) -> None:
    """4 heads don't divide 6 places: heads of 1, joined by a linear layer."""
    module, state = built(Graph(), layers=2, heads=heads, dropout=0.1)
    expected = []
    for row in rows(batch()):
        nodes = projections(state, row)
        for layer in ("layers.0", "layers.1"):
            values = {m: (state[f"{layer}.linear.weight"] @ z).reshape(heads, -1) for m, z in nodes.items()}
            own, other = state[f"{layer}.scores"]
            after = {}
            for m, z in nodes.items():
                met = []
                for h in range(heads):
                    raw = np.array([own[h] @ values[m][h] + other[h] @ values[n][h] for n in nodes])
                    weights = softmax(np.where(raw > 0, raw, 0.2 * raw))
                    met.append(weights @ np.stack([values[n][h] for n in nodes]))
                flat = np.concatenate(met)
                flat = affine(state, f"{layer}.join", flat) if heads == 4 else flat
                after[m] = z + np.where(flat > 0, flat, np.expm1(np.minimum(flat, 0)))
            nodes = after
        expected.append(np.mean(list(nodes.values()), axis=0) if nodes else np.zeros(WIDTH))
    np.testing.assert_allclose(vector(module, batch()), expected, rtol=1e-6)


def test_pairwise() -> None:
    module, state = built(Pairwise(), dropout=0.1)
    expected = []
    for row in rows(batch()):
        own = {m: np.tanh(u) for m, u in projections(state, row).items()}
        met = []
        for number, (a, b) in enumerate(combinations(NAMES, 2)):
            first, second = (own.get(m, np.zeros(WIDTH)) for m in (a, b))
            weights, bias = state["factors"][number], state["bias"][number]
            there = a in own or b in own
            met.append(np.tanh(weights[0] * first + weights[1] * second + bias) * there)
        expected.append(affine(state, "join", np.concatenate(met)))
    np.testing.assert_allclose(vector(module, batch()), expected)


def test_plan() -> None:
    assert plan([0, 1, 2, 3], "chain") == [(0, 1), (4, 2), (5, 3)]
    assert plan([0, 1, 2, 3], "balanced") == [(0, 1), (2, 3), (4, 5)]
    assert plan([1, 2, 0], "balanced") == [(1, 2), (3, 0)]
    assert plan([0], "chain") == []


def test_tree() -> None:
    """From the second name: (number, text), then image."""
    module, state = built(Tree(), shape="chain", first=1, dropout=0.1)

    def met(node: str, left: Array | None, right: Array | None) -> Array | None:
        if left is None or right is None:
            return right if left is None else left
        return affine(state, f"{node}.3", gelu(affine(state, f"{node}.0", np.concatenate([left, right]))))

    expected = []
    for row in rows(batch()):
        leaf = projections(state, row)
        root = met("nodes.1", met("nodes.0", leaf.get("number"), leaf.get("text")), leaf.get("image"))
        expected.append(np.zeros(WIDTH) if root is None else root)
    np.testing.assert_allclose(vector(module, batch()), expected)
