"""Deep tabular encoders, against the same in NumPy."""

from typing import Any

import numpy as np
import torch
from mmbench_tabular.deep import FTTransformer, ResMLP
from mmbench_tabular.embeddings import PLE, Periodic
from mmbench_tabular.networks import Block, Piecewise, Waves
from torch import nn

from mmbench.api.space import defaults
from mmbench.testing.encoder import EncoderContract


class TestResMLP(EncoderContract):
    part = ResMLP
    configurations = 2


class TestFTTransformer(EncoderContract):
    part = FTTransformer
    configurations = 2


class TestPLE(EncoderContract):
    part = PLE
    configurations = 2


class TestPeriodic(EncoderContract):
    part = Periodic
    configurations = 2


def test_piecewise_codes_are_those_of_the_paper() -> None:
    edges = np.array([[-2.0, -1.0, 0.5, 3.0], [0.0, 1.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0]], np.float32)
    cells = np.array([[-3.0, -1.0, 2.0], [-1.5, 0.25, 5.0], [0.5, 2.0, 0.0], [4.0, 1.0, 2.0]], np.float32)
    found = Piecewise(edges, width=2).codes(torch.from_numpy(cells)).numpy()
    for row in range(4):
        for column in range(3):
            distinct = np.unique(edges[column])
            count = len(distinct) - 1
            for t in range(3):
                expected = 0.0
                if t < count:
                    x, low, high = cells[row, column], distinct[t], distinct[t + 1]
                    expected = (x - low) / (high - low)
                    if x < low and t > 0:
                        expected = 0.0
                    if x >= high and t < count - 1:
                        expected = 1.0
                assert np.isclose(found[row, column, t], expected, atol=1e-6), (row, column, t)


def test_edges_are_quantiles_of_the_known_train_cells() -> None:
    values = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    values[:50, 0] = np.nan
    values[:, 1] = np.arange(200) % 5 == 0
    state = PLE().fit(list(values), {"bins": 4})
    z = (values[50:, 0] - state["mean"][0]) / state["deviation"][0]
    np.testing.assert_allclose(state["edges"][0], np.quantile(z, np.linspace(0, 1, 5)), rtol=1e-4)
    assert len(np.unique(state["edges"][1])) == 2


def test_waves_are_sines_and_cosines() -> None:
    waves, cells = Waves(3, frequencies=4, scale=0.5, width=2), np.linspace(-2, 2, 6).reshape(2, 3)
    c, w, b = (p.detach().numpy() for p in (waves.frequencies, waves.weight, waves.bias))
    turns = 2 * np.pi * c * cells[..., None]
    codes = np.concatenate([np.sin(turns), np.cos(turns)], -1)
    expected = np.stack([codes[:, j] @ w[j] + b[j] for j in range(3)], 1)
    np.testing.assert_allclose(waves(torch.tensor(cells, dtype=torch.float32)).detach(), expected, atol=1e-5)


def test_attention_is_that_of_torch() -> None:
    torch.manual_seed(0)
    block, x = Block(8, heads=2, dropout=0.0, norm=True).eval(), torch.randn(3, 5, 8)
    torchs = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    with torch.no_grad():
        torchs.in_proj_weight.copy_(torch.cat([block.query.weight, block.key.weight, block.value.weight]))
        torchs.in_proj_bias.copy_(torch.cat([block.query.bias, torch.zeros(8), block.value.bias]))
        torchs.out_proj.load_state_dict(block.out.state_dict())
        normed = nn.functional.layer_norm(x, (8,))
        between = x + torchs(normed, normed, normed)[0]
        y = nn.functional.layer_norm(between, (8,))
        expected = between + block.down(block.up(y) * block.gate(y).clamp(min=0))
        torch.testing.assert_close(block(x), expected)


def test_a_residual_network_is_its_equation() -> None:
    column = [np.array(row, np.float32) for row in np.random.default_rng(1).normal(size=(9, 3))]
    column[0][1] = np.nan
    state = ResMLP().fit(column, {})
    module = ResMLP().build(state, {**defaults(ResMLP.space), "width": 4, "layers": 1}).eval()
    arrays = ResMLP().transform(state, column)
    p = {name: value.detach().numpy() for name, value in module.named_parameters()}

    def norm(x: Any) -> Any:
        return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)

    joined = np.concatenate([arrays["cells"], ~arrays["known"]], 1)
    h = joined @ p["first.weight"].T + p["first.bias"]
    inner = np.maximum(norm(h) @ p["blocks.0.1.weight"].T + p["blocks.0.1.bias"], 0)
    h = h + inner @ p["blocks.0.4.weight"].T + p["blocks.0.4.bias"]
    given = module({name: torch.from_numpy(value) for name, value in arrays.items()})
    np.testing.assert_allclose(given.tokens[:, 0].detach(), np.maximum(norm(h), 0), atol=1e-5)


def test_a_missing_cell_is_told_from_its_median() -> None:
    column = [np.array([value, 1 - value], np.float32) for value in np.linspace(0, 1, 11)]
    for part in (ResMLP, FTTransformer, PLE, Periodic):
        state = part().fit(column, defaults(part.space, "prepare"))
        arrays = part().transform(state, [np.array([0.5, 0.5], np.float32), np.array([np.nan, 0.5], np.float32)])
        torch.manual_seed(0)
        tokens = (
            part()
            .build(state, defaults(part.space, "build"))
            .eval()({k: torch.from_numpy(v) for k, v in arrays.items()})
            .tokens
        )
        assert not torch.allclose(tokens[0], tokens[1], atol=1e-3), part.name
