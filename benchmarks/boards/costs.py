"""How far apart the costs of equal models lie: one fusion under many names, each measured by a run as any contender.

What it finds is the floor of the tolerance that boards give a time (`mmbench/board/stats/pareto.py`, BETWEEN).
"""

import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

from benchmarks.measure import Figure, Spread
from mmbench import session
from mmbench.api.suite import ContenderSpec
from mmbench.board.stats import pareto
from mmbench.store import suitefile

ROOT = Path(__file__).parents[2]
TIMES = ("latency_ms_p50", "throughput")
FUSIONS = ("concat", "late_transformer")


def measure(*, quick: bool = False) -> Iterator[Figure]:
    """For each fusion and time: the distance of two equal models as a share, and how many lie within the tolerance."""
    twins = 3 if quick else 12
    for fusion in FUSIONS:
        found = _costs(fusion, twins)
        for key in TIMES:
            values = [cost[key] for cost in found]
            pairs = list(combinations(found, 2))
            apart = [abs(a[key] - b[key]) / statistics.fmean((a[key], b[key])) for a, b in pairs]
            rows = [{"cost": cost} for cost in found]
            noises = [sum(pareto.noise({"cost": cost}, key, rows) for cost in pair) for pair in pairs]
            within = [abs(a[key] - b[key]) <= noise for (a, b), noise in zip(pairs, noises, strict=True)]
            facts = {
                "largest": max(apart),
                "within the tolerance": f"{sum(within)} of {len(within)}",
                "spread of rounds, median": statistics.median(cost["spread"][key] for cost in found),
                "tolerance, median": statistics.median(pareto.noise(row, key, rows) for row in rows)
                / statistics.median(values),
                "median": statistics.median(values),
            }
            said = ", ".join(
                f"{name} {value if isinstance(value, str) else f'{value:.3f}'}" for name, value in facts.items()
            )
            yield Figure(
                f"{fusion}, {twins} equal models, {key}: two apart ({said})", Spread.of(apart), "", facts=facts
            )


def _costs(fusion: str, twins: int) -> list[dict[str, Any]]:
    suite = suitefile.read(ROOT / "tests" / "toy.toml")
    suite = replace(
        suite,
        budget=replace(suite.budget, trials=1, batch=1, epochs=1, refit_seeds=1),
        contenders=tuple(ContenderSpec(name=f"twin {i}", fusion=(fusion,)) for i in range(twins)),
    )
    with tempfile.TemporaryDirectory() as results:
        run = session.open_run(suite, plugins=[str(ROOT / "tests" / "toys.py")], results=Path(results)).execute()
    return [dict(record.cost) for record in run.data.records]
