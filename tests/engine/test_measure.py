"""Costs against what is known: formulas, sleeps, tensors of a known size."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmbench import plugins
from mmbench.api.parts import Features
from mmbench.api.suite import Suite
from mmbench.engine import plan as planning
from mmbench.engine.jobs import measure as measuring
from mmbench.engine.jobs.flops import FlopCounter
from mmbench.engine.jobs.workspace import Workspace
from mmbench.engine.space import default_params

TOYS = str(Path(__file__).parents[1] / "toys.py")
Measure = Callable[..., dict[str, Any]]


class Weighing(nn.Module):
    """A fusion of known cost: two dense layers, and on demand a sleep or a tensor kept alive."""

    def __init__(self, inputs: Any, width: int, *, layers: int = 1, sleep: float = 0.0, hold: int = 0) -> None:
        super().__init__()
        total = sum(spec.width for spec in inputs.values())
        self.first = nn.Linear(total, width)
        self.more = nn.ModuleList(nn.Linear(width, width) for _ in range(layers - 1))
        self.sleep, self.hold = sleep, hold
        self.held: list[torch.Tensor] = []

    def forward(self, features: dict[str, Features]) -> torch.Tensor:
        if self.sleep:
            time.sleep(self.sleep)
        if self.hold and not self.held:
            self.held.append(torch.ones(self.hold, dtype=torch.uint8))
        vector: torch.Tensor = self.first(torch.cat([f.pooled for f in features.values()], 1))
        for layer in self.more:
            vector = layer(vector)
        return vector


@pytest.fixture
def measure(suite: Suite, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Measure:
    """Measure the concat contender with `Weighing` in the place of its fusion."""
    catalog = plugins.load([TOYS])
    cell = planning.make(replace(suite), catalog, contenders=["concat"]).cells[0]
    workspace = Workspace(cell, catalog, cache)
    monkeypatch.setattr(measuring, "SECONDS", 0.05)

    def run(**knobs: Any) -> dict[str, Any]:
        fusion = type(catalog.fusions["concat"])
        monkeypatch.setattr(fusion, "build", lambda self, inputs, width, params: Weighing(inputs, width, **knobs))
        return measuring.measure(workspace, default_params(cell, catalog))

    return run


def test_flops_and_parameters_equal_the_formula(measure: Measure) -> None:
    width, hidden, outputs = 128, 64, 4
    shapes = [(4, hidden), (hidden, hidden), (3, hidden), (hidden, hidden), (2 * hidden, width), (width, outputs)]
    found = measure()
    assert found["flops"] == sum(2 * a * b for a, b in shapes)
    norms = 2 * 4 * hidden + 2 * width  # a norm after each of the encoders' four layers, and the head's
    dense = sum((a + 1) * b for a, b in shapes)
    assert found["parameters"] == dense + norms


def test_a_larger_model_is_larger_and_slower(measure: Measure) -> None:
    small, large = measure(), measure(layers=60)
    extra = 59 * 128 * 128
    assert large["flops"] - small["flops"] == 2 * extra
    assert large["parameters"] - small["parameters"] == extra + 59 * 128
    assert large["latency_ms_p50"] > small["latency_ms_p50"]
    assert large["throughput"] < small["throughput"]


def test_a_sleep_shows_up_by_its_length(measure: Measure) -> None:
    nap = 0.03
    plain, lazy = measure(), measure(sleep=nap)
    assert lazy["latency_ms_p50"] - plain["latency_ms_p50"] == pytest.approx(1e3 * nap, rel=0.3)
    assert lazy["train_throughput"] < plain["train_throughput"]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the peak of memory")
def test_a_tensor_kept_alive_shows_up_by_its_size(measure: Measure) -> None:
    size = 300 * 2**20
    plain, fat = measure(), measure(hold=size)
    assert fat["peak_memory_bytes"] - plain["peak_memory_bytes"] == pytest.approx(size, rel=0.2)


def weight(module: nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in measuring._held(module))


def test_attention_is_counted() -> None:
    b, h, t, s, d = 2, 4, 5, 7, 8
    query, key = torch.randn(b, h, t, d), torch.randn(b, h, s, d)
    with torch.inference_mode(), FlopCounter() as counter:
        nn.functional.scaled_dot_product_attention(query, key, key)
    assert counter.total == 2 * b * h * t * s * (d + d)


def test_convolution_is_counted() -> None:
    layer, image = nn.Conv2d(3, 6, 3, padding=1), torch.randn(1, 3, 10, 10)
    with torch.inference_mode(), FlopCounter() as counter:
        layer(image)
    assert counter.total == 2 * 3 * 6 * 9 * 10 * 10


class Tagging(nn.Module):
    """A parameter that is another module's input, which the counter of FLOPs must survive."""

    def __init__(self, inputs: Any, width: int) -> None:
        super().__init__()
        self.tag = nn.Parameter(torch.zeros(1, sum(spec.width for spec in inputs.values())))
        self.linear = nn.Linear(self.tag.shape[1], width)

    def forward(self, features: dict[str, Features]) -> torch.Tensor:
        vector: torch.Tensor = self.linear(torch.cat([f.pooled for f in features.values()], 1)) + self.linear(self.tag)
        return vector


def test_a_parameter_as_input_is_counted(suite: Suite, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = plugins.load([TOYS])
    cell = planning.make(suite, catalog, contenders=["concat"]).cells[0]
    fusion = type(catalog.fusions["concat"])
    monkeypatch.setattr(fusion, "build", lambda self, inputs, width, params: Tagging(inputs, width))
    assert measuring.measure(Workspace(cell, catalog, cache), default_params(cell, catalog))["flops"] > 0


@pytest.mark.parametrize(
    "layer",
    [nn.Linear(9, 4), nn.GRU(9, 5, batch_first=True), nn.TransformerEncoderLayer(9, 3, 16, batch_first=True)],
    ids=lambda layer: type(layer).__name__,
)
def test_counts_as_torch_does(layer: nn.Module) -> None:
    steps = torch.randn(2, 6, 9)
    with FlopCounterMode(display=False) as theirs:
        layer.train()(steps)
    with FlopCounter() as ours, torch.no_grad():
        layer.train()(steps)
    assert 0 < theirs.get_total_flops() <= ours.total  # torch has no formula for a CPU's attention


def test_counting_does_not_load_the_compiler() -> None:
    code = """
import sys, torch
from mmbench.engine.jobs.flops import FlopCounter
from mmbench.engine.learn.optimizer import Updater
from tests.engine.rules import rule
layer = torch.nn.Linear(2, 2)
with FlopCounter() as counter:
    layer(torch.ones(1, 2)).sum().backward()
Updater(dict(layer.named_parameters()), rule()).step(0.1)
print(counter.total, "torch._dynamo" in sys.modules)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["16", "False"]


def test_weights_out_of_sight_weigh_as_much() -> None:
    """As a compressor might hide them, whose model is to be small."""
    plain = nn.Sequential(nn.Linear(8, 4), nn.GRU(4, 4))
    assert weight(plain) == 4 * sum(p.numel() for p in plain.parameters())
    hiding = nn.Identity()
    vars(hiding)["kept"] = {"all": [plain, plain[0].weight, torch.ones(3, dtype=torch.float16)]}
    assert weight(hiding) == weight(plain) + 6
    tied = nn.Linear(8, 8)
    tied.again = tied.weight
    vars(tied)["view"] = tied.weight[:2]
    assert weight(tied) == 4 * (64 + 8)
