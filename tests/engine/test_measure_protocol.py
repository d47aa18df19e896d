"""Costs as a real run measures them, in processes of their own, against formulas, sleeps and sizes."""

import importlib.util
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmbench import session
from mmbench.api.suite import ContenderSpec
from mmbench.engine import identity
from mmbench.store import suitefile

TESTS = Path(__file__).parents[1]
WEIGH = Path(__file__).with_name("weigh.py")
FUSIONS = (
    *("plain", "layers", "twice_the_layers", "naps", "holds"),
    *("recurs", "recurs_longer", "attends", "convolves", "logistic"),
)


def constants() -> Any:
    spec = importlib.util.spec_from_file_location("weigh", WEIGH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


K = constants()
T, S, N = K.STEPS, K.SIZE, K.STEPS * K.SIZE


@pytest.fixture(scope="module")
def costs(shared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """{fusion: its costs} of one run."""
    suite = suitefile.read(TESTS / "toy.toml")
    suite = replace(
        suite,
        budget=replace(suite.budget, trials=1, batch=1, epochs=1, refit_seeds=1),
        contenders=tuple(ContenderSpec(name=fusion, fusion=(fusion,)) for fusion in FUSIONS),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMBENCH_CACHE", str(shared_cache))
        opened = session.open_run(
            suite, plugins=[str(TESTS / "toys.py"), str(WEIGH)], results=tmp_path_factory.mktemp("results")
        )
        run = opened.execute(workers=2)
    assert not run.failed, [record.reason for record in run.failed]
    return {record.contender: dict(record.cost) for record in run.data.records}


@pytest.mark.parametrize(
    ("fusion", "parameters", "flops"),
    [
        ("layers", K.LAYERS * (N * N + N), K.LAYERS * 2 * N * N),
        ("twice_the_layers", 2 * K.LAYERS * (N * N + N), 2 * K.LAYERS * 2 * N * N),
        ("recurs", 3 * (2 * S * S + 2 * S), T * 2 * 3 * 2 * S * S),
        ("recurs_longer", 4 * (2 * S * S + 2 * S), T * 2 * 4 * 2 * S * S),
        ("attends", 4 * (S * S + S), T * 2 * 4 * S * S + 2 * 2 * T * T * S),
        ("convolves", 9 + 1, 2 * 9 * N),
        ("naps", 0, 0),
        ("holds", 0, 0),
    ],
)
def test_parameters_and_flops_equal_the_formula(
    costs: dict[str, dict[str, Any]], fusion: str, parameters: int, flops: int
) -> None:
    assert costs[fusion]["parameters"] - costs["plain"]["parameters"] == parameters
    assert costs[fusion]["flops"] - costs["plain"]["flops"] == flops


def calm(costs: dict[str, dict[str, Any]]) -> bool:
    """Whether the cores were ours: where others wait for them, every pass waits too, and lengths say little."""
    return all(cost["load_average"] <= (os.cpu_count() or 1) for cost in costs.values())


def test_an_estimator_has_size_and_memory_too(costs: dict[str, dict[str, Any]]) -> None:
    weights = 8 * 4 * 8  # four classes of what the toys' two modalities give, in eight bytes each
    assert weights < costs["logistic"]["weight_bytes"] < 100_000
    assert costs["logistic"]["peak_memory_bytes"] is not None or not Path("/proc/self/clear_refs").exists()


def test_the_spread_between_rounds_stands_beside_the_figure(costs: dict[str, dict[str, Any]]) -> None:
    for cost in costs.values():
        assert cost["protocol"] == identity.COSTS
        assert set(cost["spread"]) == {"latency_ms_p50", "throughput"}
        assert all(0 < share < 1 or not calm(costs) for share in cost["spread"].values())
    assert costs["naps"]["spread"]["latency_ms_p50"] < 0.2 or not calm(costs), "a nap is equally long each time"


def test_twice_the_layers_are_slower(costs: dict[str, dict[str, Any]]) -> None:
    """Against the same without any: neighbours on the machine move a latency by more than a layer does."""
    plain, twice = costs["plain"], costs["twice_the_layers"]
    assert plain["latency_ms_p50"] < twice["latency_ms_p50"]
    assert plain["throughput"] > twice["throughput"]


def test_a_nap_is_in_the_latency_by_its_length(costs: dict[str, dict[str, Any]]) -> None:
    longer = costs["naps"]["latency_ms_p50"] - costs["plain"]["latency_ms_p50"]
    assert longer > 1e3 * K.NAP * 0.95
    assert longer < 1e3 * K.NAP * 2 or not calm(costs)
    assert costs["naps"]["latency_ms_p99"] >= costs["naps"]["latency_ms_p50"] >= 1e3 * K.NAP


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the peak of memory")
def test_a_tensor_kept_alive_is_in_the_memory_by_its_size(costs: dict[str, dict[str, Any]]) -> None:
    more = costs["holds"]["peak_memory_bytes"] - costs["plain"]["peak_memory_bytes"]
    assert more == pytest.approx(K.HELD, rel=0.1)
    assert costs["plain"]["peak_memory_bytes"] > 0


def test_the_conditions_stand_beside_the_figures(costs: dict[str, dict[str, Any]]) -> None:
    for cost in costs.values():
        assert cost["threads"] == 1
        assert cost["batch_size"] == 64
        assert cost["device"] == "cpu"
        assert cost["load_average"] >= 0
