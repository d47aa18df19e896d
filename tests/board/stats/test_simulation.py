"""A short run of the simulation behind docs/statistics.md: intervals cover, tests hold their level."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import statistics as simulation

ROOT = Path(__file__).parents[3]
WORLDS = 500
KINDS = {kind.name: kind for kind in simulation.KINDS}


@pytest.mark.parametrize(
    ("metric", "seeds", "items", "spread"),
    [
        ("accuracy 0.7", 2, 100, "moderate"),
        ("accuracy 0.7", 3, 300, "large"),
        ("accuracy 0.7", 10, 100, "none"),
        ("accuracy 0.97", 3, 300, "none"),
        ("log loss", 3, 100, "large"),
        ("rmse", 5, 100, "moderate"),
    ],
)
def test_intervals_cover_and_equals_are_rarely_told_apart(metric: str, seeds: int, items: int, spread: str) -> None:
    """Bounds 2.5 deviations of the simulation outside .93 to .97, and above .05."""
    found = simulation.cell(KINDS[metric], seeds=seeds, items=items, spread=spread, number=WORLDS)
    assert 0.91 <= found.coverage <= 0.985
    assert 0.005 <= found.false_positives <= 0.075


def test_a_board_of_equals_has_one_rank() -> None:
    found = simulation.family(KINDS["accuracy 0.7"], seeds=3, items=100, spread="large", contenders=8, number=150)
    assert found.ranks <= 0.08
    assert 0.005 <= found.gain <= 0.07


def test_the_truth_is_what_a_million_items_say() -> None:
    for kind in simulation.KINDS:
        deviation, truth = simulation.skills(kind, 100, "large")
        draw = np.random.default_rng(0)
        seeds = [draw.normal(0, deviation) for _ in range(2000)]
        means = [kind.item(draw.standard_normal(500), np.asarray(s)).mean() for s in seeds]
        scores = kind.score(np.array(means))
        assert np.mean(scores) == pytest.approx(truth, abs=4 * np.std(scores) / 2000**0.5)


def test_the_command_prints_both_tables() -> None:
    command = [sys.executable, "-m", "benchmarks.statistics", "--quick", "--worlds", "4"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "| accuracy 0.97, 3 |" in done.stdout
    assert len(re.findall(r"^\| metric, seeds \|", done.stdout, flags=re.MULTILINE)) == 2
    assert "coverage" in done.stdout.splitlines()[-2]
