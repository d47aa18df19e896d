"""A short run of the simulation behind docs/statistics.md: intervals cover, tests hold their level."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import statistics as simulation

ROOT = Path(__file__).parents[3]
WORLDS = 120
KINDS = {kind.name: kind for kind in simulation.KINDS}


@pytest.mark.parametrize(
    ("metric", "seeds", "items", "spread"),
    [
        ("accuracy 0.7", 2, 100, "moderate"),
        ("accuracy 0.7", 3, 300, "large, mixed"),
        ("accuracy 0.7", 10, 100, "none"),
        ("accuracy 0.97", 3, 300, "none"),
        ("log loss", 3, 100, "large"),
        ("rmse", 5, 100, "moderate, mixed"),
    ],
)
def test_intervals_cover_and_equals_are_rarely_told_apart(metric: str, seeds: int, items: int, spread: str) -> None:
    """Bounds 2.5 deviations of the simulation outside .93 to .97, and above .05."""
    found = simulation.cell(KINDS[metric], seeds=seeds, items=items, spread=spread, number=WORLDS)
    assert 0.93 - 2.5 * found.deviation <= found.coverage <= 0.97 + 2.5 * found.deviation
    assert 0.005 <= found.false_positives <= 0.05 + 2.5 * found.deviation


@pytest.mark.parametrize("folds", [3, 10])
def test_intervals_of_folds_allow_for_what_the_training_sets_do(folds: int) -> None:
    """Without the allowance false positives are .09 here."""
    found = simulation.cell(
        KINDS["accuracy 0.7"], seeds=3, items=100, spread="moderate", number=WORLDS, folds=folds, training=0.3
    )
    assert found.coverage >= 0.93 - 2.5 * found.deviation
    assert found.false_positives <= 0.05 + 2.5 * found.deviation
    assert found.deviation < 0.012


def test_pooling_seeds_is_not_too_bold_for_the_wild_one() -> None:
    """Of contenders whose seeds scatter by variances a hundredfold apart, with two seeds."""
    found = simulation.cell(KINDS["accuracy 0.7"], seeds=2, items=300, spread="large, mixed", number=2 * WORLDS)
    assert found.coverage >= 0.94
    assert found.noisiest >= 0.82
    assert found.false_positives <= 0.07


@pytest.mark.parametrize("seeds", [2, 3])
def test_the_set_of_the_best_holds_it_and_one_that_is_better_is_found(seeds: int) -> None:
    """Without pooling, power at 6 deviations is less than half; at 4 all pairs find half of what the set does."""
    found = simulation.family(KINDS["accuracy 0.7"], seeds=seeds, items=100, spread="large", number=30)
    assert found.left_out[0] <= 0.08
    assert found.lost[0] <= 0.08
    pooled, alone, _ = found.power["6"]
    assert pooled >= 0.75
    assert alone <= pooled - (0.25 if seeds == 2 else 0.1)
    pooled, _, pairs = found.power["4"]
    assert pooled >= pairs + 0.1


@pytest.mark.parametrize("kind", simulation.KINDS, ids=lambda kind: kind.name)
def test_the_truth_is_what_a_million_items_say(kind: simulation.Kind) -> None:
    """Of the contender whose seeds scatter most, and by as much as asked for."""
    wanted = simulation.deviations("large, mixed")[-1]
    deviation, centre = simulation.skill(kind, 1000, wanted)
    draw = np.random.default_rng(0)
    seeds = draw.normal(centre, deviation, 2000)
    scores = kind.score(np.array([kind.item(draw.standard_normal(500), np.asarray(s)).mean() for s in seeds]))
    assert np.mean(scores) == pytest.approx(kind.truth, abs=4 * np.std(scores) / 2000**0.5)
    items = kind.score(np.array([kind.item(draw.standard_normal(1000), np.zeros(())).mean() for _ in range(2000)]))
    of_seeds = kind.of_skill(seeds[:300])
    assert np.std(of_seeds) == pytest.approx(wanted * np.std(items), rel=0.25)


@pytest.mark.slow
def test_the_command_prints_its_tables() -> None:
    command = [sys.executable, "-m", "benchmarks.statistics", "--quick", "--worlds", "4"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "| accuracy 0.97, 3 |" in done.stdout
    assert len(re.findall(r"^\| metric, seeds", done.stdout, flags=re.MULTILINE)) == 3
    assert "| accuracy 0.7, 100, 3 |" in done.stdout
    assert "standard error" in done.stdout.splitlines()[-1]
