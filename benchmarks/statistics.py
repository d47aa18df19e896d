"""Do the board's intervals cover, and do its tests hold their level? Thousands of worlds of known truth.

    python -m benchmarks.statistics [--quick] [--worlds N] [--json FILE]

Each world draws test items, contenders that are equal in truth, and their seeds; the board's own code scores them. Two
tables follow: how often the 95% interval holds the truth and how often two equals are told apart, over metrics, seeds,
items and how much seeds scatter; and how often a whole board of equals shows a difference. docs/statistics.md has them.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from scipy.stats import chi2, norm

from mmbench.board.stats import resampling
from mmbench.board.stats.resampling import Draws

Array: TypeAlias = np.ndarray[Any, Any]
World: TypeAlias = list[Draws]
"""What the board knows of each contender."""

SEEDS = (2, 3, 5, 10)
ITEMS = (100, 300, 1000, 3000)
SPREADS = {"none": 0.0, "moderate": 0.5, "large": 2.0}
"""How far the scores of seeds scatter, in units of the scatter of one seed's score over draws of the items."""
DIFFICULTY, TASTE = 0.5, 0.25
"""Of an item's ease: what all contenders share, what a contender's seeds share; the rest is a seed's own luck."""
AT_ONCE = 4_000_000
QUANTILES = norm.ppf((np.arange(40_000) + 0.5) / 40_000)
_GRID = np.linspace(-6, 6, 4001)
_SQUARED = chi2.ppf(norm.cdf(_GRID), 1)


@dataclass(frozen=True)
class Kind:
    """A metric: what it averages over items, from an item's ease (variance 1) and a seed's skill; then the score."""

    name: str
    item: Callable[[Array, Array], Array]
    score: Callable[[Array], Array] = lambda mean: mean
    share: bool = False

    def of_skill(self, skill: Array) -> Array:
        """The score on endless items of seeds of that skill."""
        return self.score(np.array([float(self.item(QUANTILES, np.asarray(s)).mean()) for s in skill]))


def _accuracy(share: float) -> Kind:
    above = float(norm.ppf(share))
    return Kind(f"accuracy {share:g}", lambda ease, skill: ease + skill > -above, share=True)


KINDS = (
    _accuracy(0.7),
    _accuracy(0.97),
    Kind("log loss", lambda ease, skill: np.logaddexp(0, -(1.5 + 2 * (ease + skill)))),
    Kind("rmse", lambda ease, skill: np.interp(ease, _GRID, _SQUARED) * np.exp(-2 * skill), np.sqrt),
)


@dataclass(frozen=True)
class Cell:
    """One line of the first table."""

    metric: str
    seeds: int
    items: int
    spread: str
    worlds: int
    coverage: float
    """Of the 95% interval of a score."""
    false_positives: float
    """How often two that are equal have p < 0.05; 1 minus the coverage of the interval of a difference."""


@dataclass(frozen=True)
class Family:
    """One line of the second table: a board of equals, a single modality among them."""

    metric: str
    seeds: int
    items: int
    spread: str
    contenders: int
    worlds: int
    ranks: float
    """How often not all share the first rank."""
    gain: float
    """How often a fusion's gain over the single modality has p < 0.05."""


@cache
def skills(kind: Kind, items: int, spread: str) -> tuple[float, float]:
    """The deviation of the seeds' skill that makes scores scatter as asked for; and the true score, its mean."""
    if not SPREADS[spread]:
        return 0.0, float(kind.of_skill(np.zeros(1))[0])
    low, high = kind.of_skill(np.array([-0.1, 0.1]))
    values = kind.item(QUANTILES, np.zeros(())).astype(float)
    means = values.mean() + values.std() / math.sqrt(items) * np.array([-0.5, 0.5])
    worse, better = kind.score(means)
    deviation = abs(SPREADS[spread] * (better - worse) / ((high - low) / 0.2))
    return deviation, float(kind.of_skill(deviation * norm.ppf((np.arange(100) + 0.5) / 100)).mean())


def worlds(
    kind: Kind, generator: np.random.Generator, *, number: int, contenders: int, seeds: int, items: int, spread: str
) -> Iterator[World]:
    """That many worlds, each the contenders' draws."""
    resamples = resampling.item_rows(items)
    rows = resamples.rows
    flat = (rows + items * np.arange(len(rows))[:, None]).ravel()
    weight = np.bincount(flat, minlength=rows.size).reshape(rows.shape).astype(np.float32) / items
    deviation, _ = skills(kind, items, spread)
    at_once = max(1, AT_ONCE // (contenders * seeds * items))
    for start in range(0, number, at_once):
        n = min(at_once, number - start)
        ease = math.sqrt(1 - DIFFICULTY - TASTE) * _normal(generator, n, contenders, seeds, items)
        ease += math.sqrt(DIFFICULTY) * _normal(generator, n, 1, 1, items)
        ease += math.sqrt(TASTE) * _normal(generator, n, contenders, 1, items)
        skill = deviation * _normal(generator, n, contenders, seeds, 1)
        values = kind.item(ease, skill).astype(np.float32)
        scores = kind.score(values.mean(-1, dtype=np.float64))
        drawn = kind.score(values.reshape(-1, items) @ weight.T).reshape(n, contenders, seeds, len(rows))
        for score, own in zip(scores, drawn.astype(np.float64), strict=True):
            yield [
                resampling.of_resamples(of_seeds, list(s), resamples, share=kind.share)
                for of_seeds, s in zip(own, score, strict=True)
            ]


def _normal(generator: np.random.Generator, *shape: int) -> Array:
    return generator.standard_normal(shape, dtype=np.float32)


def cell(kind: Kind, *, seeds: int, items: int, spread: str, number: int) -> Cell:
    """Coverage and false positives of two equal contenders."""
    generator = np.random.default_rng([seeds, items, *kind.name.encode()])
    _, truth = skills(kind, items, spread)
    covered = rejected = 0
    found = worlds(kind, generator, number=number, contenders=2, seeds=seeds, items=items, spread=spread)
    for first, second in found:
        for draws in (first, second):
            low, high = draws.interval()
            covered += low <= truth <= high
        rejected += resampling.difference(first, second).p < resampling.LEVEL
    return Cell(kind.name, seeds, items, spread, number, covered / (2 * number), rejected / number)


def family(kind: Kind, *, seeds: int, items: int, spread: str, contenders: int, number: int) -> Family:
    """A whole board of equals: ranks after Holm, and the gain of each over the last one."""
    generator = np.random.default_rng([seeds, items, contenders])
    apart = gains = 0
    found = worlds(kind, generator, number=number, contenders=contenders, seeds=seeds, items=items, spread=spread)
    for world in found:
        apart += _ranks(world) != {1}
        gains += sum(resampling.difference(draws, world[-1]).p < resampling.LEVEL for draws in world[:-1])
    return Family(
        kind.name, seeds, items, spread, contenders, number, apart / number, gains / number / (contenders - 1)
    )


def _ranks(world: World) -> set[int]:
    by_name = {str(i): draws for i, draws in enumerate(world)}
    names = sorted(by_name, key=lambda name: -by_name[name].mean)
    ranks = resampling.tied_ranks(names, lambda a, b: resampling.difference(by_name[a], by_name[b]).p)
    return set(ranks.values())


def run(number: int, *, quick: bool) -> Iterator[Cell | Family]:
    """Both tables, a line at a time."""
    kinds, seeds, items = (KINDS[:2], (2, 3), ITEMS[:2]) if quick else (KINDS, SEEDS, ITEMS)
    for kind in kinds:
        for s in seeds:
            for spread in SPREADS:
                for n in items:
                    yield cell(kind, seeds=s, items=n, spread=spread, number=number)
    for kind in kinds[::3]:
        for s in seeds[:3]:
            for spread in SPREADS:
                yield family(kind, seeds=s, items=300, spread=spread, contenders=10, number=-(-number // 2))


def tables(lines: Sequence[Cell | Family]) -> str:
    """Both as Markdown: a line for each metric and number of seeds, a column for each spread and number of items."""
    cells = [line for line in lines if isinstance(line, Cell)]
    families = [line for line in lines if isinstance(line, Family)]
    out = [*_table(cells, lambda c: f"{c.coverage:.3f} {c.false_positives:.3f}")]
    out += ["", *_table(families, lambda f: f"{f.ranks:.3f} {f.gain:.3f}")]
    coverage = sorted(c.coverage for c in cells)
    outside = [c for c in cells if not 0.93 <= c.coverage <= 0.97]
    positive = sorted(c.false_positives for c in cells)
    out += [
        "",
        f"coverage {coverage[0]:.3f} to {coverage[-1]:.3f}, outside .93 to .97 in {len(outside)} of {len(cells)}",
    ]
    out += [f"false positives {positive[0]:.3f} to {positive[-1]:.3f}, mean {np.mean(positive):.3f}"]
    return "\n".join(out)


def _table(lines: Sequence[Any], shown: Callable[[Any], str]) -> Iterator[str]:
    heads = list(dict.fromkeys((line.spread, line.items) for line in lines))
    yield "| metric, seeds | " + " | ".join(f"{spread} {items}" for spread, items in heads) + " |"
    yield "|" + " --- |" * (len(heads) + 1)
    for metric, seeds in dict.fromkeys((line.metric, line.seeds) for line in lines):
        own = {(line.spread, line.items): shown(line) for line in lines if (line.metric, line.seeds) == (metric, seeds)}
        yield f"| {metric}, {seeds} | " + " | ".join(own[head] for head in heads) + " |"


def main() -> None:
    from threadpoolctl import threadpool_limits

    parser = argparse.ArgumentParser(description="Coverage and false positives of the board's statistics.")
    parser.add_argument("--quick", action="store_true", help="two metrics, few seeds and items")
    parser.add_argument("--worlds", type=int, default=600, help="worlds for each figure (default 600)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    chosen = parser.parse_args()
    started = time.process_time()
    lines = []
    with threadpool_limits(1):
        for line in run(chosen.worlds, quick=chosen.quick):
            lines.append(line)
            print(f"\r{len(lines)} figures, {time.process_time() - started:.0f} CPU-seconds", end="", file=sys.stderr)
    print(file=sys.stderr)
    print(tables(lines))
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(line) for line in lines], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
