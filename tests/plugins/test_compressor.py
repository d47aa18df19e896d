"""What compressors do, against their equations, and on every fusion that is trained."""

from copy import deepcopy
from typing import Any

import mmbench_fusion
import numpy as np
import pytest
import torch
from mmbench_compressor.half import Half
from mmbench_compressor.int8 import Int8
from mmbench_compressor.low_rank import LowRank
from mmbench_compressor.prune import Prune
from torch import nn

from mmbench.api.parts import Features, FeatureSpec, Fused, Fusion
from mmbench.api.space import defaults
from mmbench.testing.compressor import learned, logits, rows

TRAINED = [fusion for fusion in mmbench_fusion.mmbench_fusions() if fusion.level != "estimator"]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_is_the_rounded_model(dtype: str) -> None:
    """All weights are of that type, and what is decided differs from the model of rounded weights by the rounding of
    what lies between."""
    batch, _ = rows()
    kind, bits = getattr(torch, dtype), {"bfloat16": 8, "float16": 11}[dtype]
    small: Any = Half().compress(learned(), {"dtype": dtype})
    assert {weight.dtype for weight in small.parameters()} == {kind}
    rounded = learned()
    rounded.load_state_dict({name: weight.to(kind).float() for name, weight in rounded.state_dict().items()})
    whole = logits(rounded, batch)
    torch.testing.assert_close(logits(small, batch), whole, rtol=0, atol=8 * 2.0**-bits * float(whole.abs().max()))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(9, 4),
        nn.Conv2d(3, 5, 3),
        nn.Conv1d(3, 5, 3, bias=False),
        nn.Embedding(9, 4),
        nn.GRU(9, 6, 2, batch_first=True, bidirectional=True),
        nn.LSTM(9, 6, batch_first=True),
        nn.MultiheadAttention(8, 2, batch_first=True),
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_int8_is_the_rounded_layer(layer: nn.Module) -> None:
    """Held against the same layer with each weight rounded in NumPy, a scale for each row."""
    torch.manual_seed(0)
    sample = {
        nn.Conv2d: torch.randn(2, 3, 6, 6),
        nn.Conv1d: torch.randn(2, 3, 6),
        nn.Embedding: torch.arange(8).view(2, 4),
        nn.MultiheadAttention: torch.randn(2, 5, 8),
        nn.TransformerEncoderLayer: torch.randn(2, 5, 8),
    }.get(type(layer), torch.randn(2, 5, 9))
    given = (sample,) * (3 if isinstance(layer, nn.MultiheadAttention) else 1)
    exact, model = deepcopy(layer).eval(), nn.ModuleDict({"layer": layer.eval()})
    before = {name: weight.detach().clone() for name, weight in layer.named_parameters()}
    small: Any = Int8().compress(model, {"arithmetic": "float"})
    held = sum(t.numel() * t.element_size() for t in [*small.parameters(), *small.buffers()])
    found = small["layer"](*given)
    whole = {name: weight for name, weight in before.items() if weight.dim() >= 2}
    exact.load_state_dict({**before, **{name: _rounded(weight) for name, weight in whole.items()}})
    torch.testing.assert_close(_first(found), _first(exact(*given)), rtol=1e-5, atol=1e-6)
    numbers = sum(weight.numel() for weight in whole.values())
    rows = sum(len(weight) for weight in whole.values())
    assert held == numbers + 4 * rows + 4 * sum(w.numel() for w in before.values() if w.dim() < 2)


def _first(found: Any) -> torch.Tensor:
    first: torch.Tensor = found[0] if isinstance(found, tuple) else found
    return first.detach()


def _rounded(weight: torch.Tensor) -> torch.Tensor:
    rows = weight.numpy().astype(np.float64)
    scale = np.abs(rows).max(axis=tuple(range(1, rows.ndim)), keepdims=True) / 127
    return torch.from_numpy((np.rint(rows / scale) * scale).astype(np.float32))


def test_int8_arithmetic_is_that_of_whole_numbers() -> None:
    torch.manual_seed(0)
    layer, batch = nn.Linear(300, 7), torch.randn(2, 5, 300)
    weight, bias = layer.weight.detach().numpy().copy(), layer.bias.detach().numpy().copy()
    small: Any = Int8().compress(nn.ModuleDict({"layer": layer}), {"arithmetic": "int8"})
    rows = batch.numpy().reshape(10, 300)
    s_x, s_w = (np.abs(m).max(1, keepdims=True) / np.float32(127) for m in (rows, weight))
    q_x, q_w = (np.rint(m / s).astype(np.int64) for m, s in ((rows, s_x), (weight, s_w)))
    exact = (q_x @ q_w.T) * s_x * s_w.T + bias
    np.testing.assert_allclose(small["layer"](batch).detach().numpy().reshape(10, 7), exact, rtol=1e-5, atol=1e-6)
    assert np.abs(exact - (rows @ weight.T + bias)).max() < 0.05, "close to what it rounds"


def test_low_rank_is_the_closest_matrix_of_that_rank() -> None:
    """What is lost is as large as the singular values left out (Eckart and Young); a layer that would grow stays."""
    torch.manual_seed(0)
    layer, narrow, batch = nn.Linear(40, 30), nn.Linear(40, 1), torch.randn(6, 40)
    weight, before = layer.weight.detach().numpy().copy(), narrow(batch).detach()
    model = nn.ModuleDict({"layer": layer, "narrow": narrow})
    with torch.no_grad():
        small: Any = LowRank().compress(model, {"rank": 0.2, "epochs": 0})
    one, two = small["layer"]
    product = (two.weight @ one.weight).detach().numpy()
    assert one.weight.shape == (6, 40)
    s = np.linalg.svd(weight, compute_uv=False)
    assert np.linalg.norm(product - weight) == pytest.approx(np.sqrt((s[6:] ** 2).sum()), rel=1e-4)
    np.testing.assert_allclose(
        small["layer"](batch).detach(), batch.numpy() @ product.T + two.bias.detach().numpy(), atol=1e-5
    )
    assert torch.equal(small["narrow"](batch).detach(), before)


@pytest.mark.parametrize("among", ["model", "layer"])
def test_prune_takes_the_smallest_and_they_stay_gone(among: str) -> None:
    torch.manual_seed(0)
    last = nn.Linear(30, 5)
    last.weight.data *= 3
    model = nn.Sequential(nn.Linear(20, 30), nn.LayerNorm(30), last)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    with torch.no_grad():
        Prune().compress(model, {"sparsity": 0.7, "among": among, "epochs": 2})
    after = dict(model.named_parameters())
    gone = {name: (weight == 0).detach() for name, weight in after.items() if weight.dim() == 2}
    if among == "layer":
        assert {name: int(mask.sum()) for name, mask in gone.items()} == {"0.weight": 420, "2.weight": 105}
    else:
        assert sum(int(mask.sum()) for mask in gone.values()) == round(0.7 * 750)
        largest = max(float(before[name][mask].abs().max()) for name, mask in gone.items())
        assert largest <= min(float(before[name][~mask].abs().min()) for name, mask in gone.items())
    assert all(torch.equal(after[name], before[name]) for name in before if name not in gone)
    for kind in (torch.optim.AdamW, torch.optim.SGD, torch.optim.Adagrad):
        optimizer = kind(model.parameters(), lr=0.1, weight_decay=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.randn(4, 20)).square().sum().backward()
            optimizer.step()
        for name, mask in gone.items():
            assert (after[name][mask] == 0).all(), kind.__name__
            assert (after[name][~mask] != before[name][~mask]).any()


SMALLER = [
    *((Half(), {"dtype": dtype}, 0.1) for dtype in ("bfloat16", "float16")),
    *((Int8(), {"arithmetic": arithmetic}, 0.1) for arithmetic in ("float", "int8")),
    (LowRank(), {"rank": 0.9, "epochs": 0}, 3.0),
    (Prune(), {"sparsity": 0.1, "among": "model", "epochs": 0}, 0.5),
]


@pytest.mark.parametrize(("part", "params", "apart"), SMALLER, ids=lambda value: getattr(value, "name", ""))
@pytest.mark.parametrize("fusion", TRAINED, ids=lambda fusion: fusion.name)
def test_every_fusion_runs_on(fusion: type[Fusion], part: Any, params: dict[str, Any], apart: float) -> None:
    """And decides about what it decided, the more so the less was taken."""
    torch.manual_seed(0)
    specs = {m: FeatureSpec(width=16, tokens=3) for m in ("left", "right")}
    module = fusion().build(specs, 8, defaults(fusion.space)).eval()
    features = {m: Features(torch.randn(5, 3, 16)) for m in specs}
    module.head, module.encoders = nn.Identity(), nn.ModuleDict()
    with torch.no_grad():
        before = _decision(module(features))
        part.compress(module, params)
        dtype = getattr(torch, params.get("dtype", "float32"))
        after = _decision(module({m: Features(f.tokens.to(dtype)) for m, f in features.items()})).float()
    torch.testing.assert_close(after, before, rtol=apart, atol=apart * float(before.abs().max()))


def _decision(found: torch.Tensor | Fused) -> torch.Tensor:
    if isinstance(found, torch.Tensor):
        return found
    return next(v for v in (found.vector, found.logits, found.tokens) if v is not None)
