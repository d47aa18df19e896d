"""Boards on which a seed collapses now and then: do intervals cover, and does the board notice? docs/statistics.md.

    python -m benchmarks.boards.collapse [--worlds N]

As in `benchmarks.statistics`, ten equal contenders on 300 items, two of which do the same with every seed. Each seed
of the others collapses with a chance of one in ten: it scores by so much less on endless items.
"""

import argparse
import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from scipy.optimize import brentq

from benchmarks.statistics import DIFFICULTY, KINDS, SCATTERING, SETTLED, TASTE, Array, World, _normal
from mmbench.board.stats import resampling
from mmbench.board.stats.moderated import far_seed, moderated

KIND, ITEMS, SHARE, CONTENDERS = KINDS[0], 300, 0.1, SETTLED + SCATTERING


def boards(
    generator: np.random.Generator, *, number: int, seeds: int, drop: float
) -> Iterator[tuple[World, Array, Array]]:
    """Each contender alone, its scores and which of its seeds have collapsed, each [contenders, seeds]."""
    low = float(brentq(lambda skill: float(KIND.of_skill(np.array([skill]))[0]) - KIND.truth + drop, -15, 0))
    resamples = resampling.item_rows(ITEMS)
    flat = (resamples.rows + ITEMS * np.arange(len(resamples.rows))[:, None]).ravel()
    weight = np.bincount(flat, minlength=resamples.rows.size).reshape(resamples.rows.shape) / ITEMS
    for _ in range(number):
        luck = _normal(generator, CONTENDERS, seeds, ITEMS)
        luck[:SETTLED] = luck[:SETTLED, :1]
        ease = math.sqrt(1 - DIFFICULTY - TASTE) * luck + math.sqrt(DIFFICULTY) * _normal(generator, 1, 1, ITEMS)
        ease += math.sqrt(TASTE) * _normal(generator, CONTENDERS, 1, ITEMS)
        gone = generator.random((CONTENDERS, seeds)) < SHARE
        gone[:SETTLED] = False
        values = KIND.item(ease, np.where(gone, low, 0.0)[:, :, None]).astype(float)
        scores, drawn = values.mean(-1), values @ weight.T
        yield (
            [
                resampling.of_resamples(found, list(own), resamples, share=True, alike=place < SETTLED)
                for place, (found, own) in enumerate(zip(drawn, scores, strict=True))
            ],
            scores,
            gone,
        )


def line(seeds: int, drop: float, number: int) -> str:
    generator = np.random.default_rng([seeds, int(100 * drop)])
    covered, had, positive, found, wrong = [], [], [], [], []
    for alone, scores, gone in boards(generator, number=number, seeds=seeds, drop=drop):
        world = [draws for draws in moderated(alone) if draws is not None][SETTLED:]
        intervals = [draws.interval() for draws in world]
        covered.append([low <= KIND.truth - SHARE * drop <= high for low, high in intervals])
        had.append(gone[SETTLED:].any(1))
        far = [far_seed(list(scores[k]), own, [o for o in alone if o is not own]) for k, own in enumerate(alone)]
        found += [seed is not None for seed, own in zip(far, gone, strict=True) if own.sum() == 1]
        wrong += [seed is not None for seed, own in zip(far, gone, strict=True) if not own.any()]
        pairs = pairwise(world)
        positive.append(np.mean([resampling.difference(*pair).p < resampling.LEVEL for pair in pairs]))
    right, fell = np.array(covered), np.array(had)
    figures = [right.mean(), right[fell].mean(), right[~fell].mean(), np.mean(positive), np.mean(found), np.mean(wrong)]
    return f"| {seeds} | {drop:g} | " + " | ".join(f"{figure:.3f}" for figure in figures) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Coverage where seeds collapse.")
    parser.add_argument("--worlds", type=int, default=100, help="worlds for each figure (default 100)")
    number = parser.parse_args().worlds
    heads = ["seeds", "a collapse costs", "coverage", "with a collapse", "without", "false positives"]
    print("| " + " | ".join([*heads, "noted, of one collapse", "noted, of none"]) + " |")
    print("|" + " --- |" * 8)
    for seeds in (3, 5, 10):
        for drop in (0.1, 0.3):
            print(line(seeds, drop, number), flush=True)


if __name__ == "__main__":
    main()
