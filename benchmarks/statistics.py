"""Do the board's intervals cover, and do its tests hold their level? Boards of known truth, hundreds for each figure.

    python -m benchmarks.statistics [--quick] [--worlds N] [--json FILE]

Each world is a board of ten contenders that are equal in truth; two of them do the same with every seed, the others'
seeds scatter alike or by variances up to a hundredfold apart. The board's own code scores them. Two tables follow: how
often the 95% interval holds the truth and how often two equals are told apart, over metrics, seeds, items and how much
seeds scatter; and how often the set of the best lacks the best, and leaves out those that are worse, with the
contenders' seeds judged together, each alone, and by tests of all pairs. docs/statistics.md has them.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2, norm

from mmbench.board.stats import resampling
from mmbench.board.stats.family import Family as Pairs
from mmbench.board.stats.family import holm
from mmbench.board.stats.moderated import moderated
from mmbench.board.stats.resampling import Draws

Array: TypeAlias = np.ndarray[Any, Any]
World: TypeAlias = list[Draws]
"""What each contender's own seeds and items say."""

SEEDS = (2, 3, 5, 10)
ITEMS = (100, 300, 1000, 3000)
SPREADS = {"none": 0.0, "moderate": 0.5, "large": 2.0, "moderate, mixed": 0.5, "large, mixed": 2.0}
"""How far the scores of seeds scatter, in units of the scatter of one seed's score over draws of the items: all alike,
or with that as the root mean square."""
FOLDS = (3, 5, 10)
TRAINING = (0.0, 0.1, 0.2, 0.3)
"""What the training sets do to a joined score's variance, in units of what items do to that of one seed; half of it is
common to all contenders, as real trainings have it."""
SETTLED = 2
"""Contenders that do the same with every seed; they come first, the one whose seeds scatter most comes last."""
SCATTERING = 8
APART = 100.0
"""Of mixed contenders: the largest variance over the smallest; they lie as the quantiles of a log-normal."""
PAIRS = 10
"""Of a world, that are tested for the first table: each contender with its neighbour, the last with the first."""
GAPS = (2, 4, 6)
"""By how many standard deviations of a difference one contender is better, where power is measured."""
DIFFICULTY, TASTE = 0.5, 0.25
"""Of an item's ease: what all contenders share, what a contender's seeds share; the rest is a seed's own luck."""
AT_ONCE = 4_000_000
QUANTILES = norm.ppf((np.arange(40_000) + 0.5) / 40_000)
_SKILLS = np.linspace(-15, 15, 601)
_NORMAL = norm.ppf((np.arange(200) + 0.5) / 200)
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

    @property
    def truth(self) -> float:
        """Every contender's."""
        return float(self.of_skill(np.zeros(1))[0])


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
    """Of the 95% interval of a score, mean over the contenders."""
    noisiest: float
    """The same of the contender whose seeds scatter most."""
    false_positives: float
    """How often two that are equal have p < 0.05; 1 minus the coverage of the interval of a difference."""
    deviation: float
    """What the simulation itself leaves unsure of `coverage`, and of `false_positives`: the larger standard error."""
    folds: int = 0
    training: float = 0.0
    """With folds: what the training sets do to the variance of a score, as a share of what items do to one seed's."""


@dataclass(frozen=True)
class Family:
    """One line of the second table. Lists have the figure as the board has it, then with each contender's seeds judged
    alone, then with all pairs tested by Holm's correction instead of each contender against its best rival."""

    metric: str
    seeds: int
    items: int
    spread: str
    worlds: int
    left_out: list[float]
    """How many of a board of equals, each of them a best one, are not in the set of the best."""
    power: dict[str, list[float]]
    """{gap: over how many of the others whose seeds scatter does one that is better by so much get a better rank}."""
    lost: list[float]
    """How often that one, the only best, is itself left out: the most over the gaps."""


@cache
def _table_of(kind: Kind) -> Array:
    return kind.of_skill(_SKILLS)


@cache
def skill(kind: Kind, items: int, deviation: float) -> tuple[float, float]:
    """The deviation and the mean of a contender's skill over seeds.

    Its scores then scatter as asked for, in units of `SPREADS`, about the same truth as everyone's.
    """
    if not deviation:
        return 0.0, 0.0
    low, high = kind.of_skill(np.array([-0.1, 0.1]))
    values = kind.item(QUANTILES, np.zeros(())).astype(float)
    means = values.mean() + values.std() / math.sqrt(items) * np.array([-0.5, 0.5])
    worse, better = kind.score(means)
    scatter = abs(deviation * (better - worse) / ((high - low) / 0.2))

    def too_much(centre: float) -> float:
        return float(np.interp(centre + scatter * _NORMAL, _SKILLS, _table_of(kind)).mean()) - kind.truth

    return scatter, float(brentq(too_much, -4, 4))


def deviations(spread: str) -> list[float]:
    """Of each contender's seeds: the settled first, then upwards."""
    places = norm.ppf((np.arange(SCATTERING) + 0.5) / SCATTERING)
    variances = APART ** (places / places[-1] / 2) if "mixed" in spread else np.ones(SCATTERING)
    scattering = SPREADS[spread] * np.sqrt(variances / variances.mean())
    return [0.0] * SETTLED + [float(value) for value in scattering]


def worlds(
    kind: Kind,
    generator: np.random.Generator,
    *,
    number: int,
    seeds: int,
    items: int,
    spread: str,
    folds: int = 0,
    training: float = 0.0,
) -> Iterator[World]:
    """That many worlds, each the contenders' draws, each contender alone.

    With folds, items lie in so many, and what a contender learned from a part of them is in the models of the folds
    that trained on it, all but two. `training` is the variance of the joined score by that.
    """
    resamples = resampling.item_rows(items)
    rows = resamples.rows
    flat = (rows + items * np.arange(len(rows))[:, None]).ravel()
    weight = np.bincount(flat, minlength=rows.size).reshape(rows.shape).astype(np.float32) / items
    of_folds = math.sqrt(training * folds / (folds - 2)) if folds else 0.0
    scatter = np.array([skill(kind, items, own)[0] for own in deviations(spread)])[:, None, None]
    both = [skill(kind, items, math.hypot(own, of_folds)) for own in deviations(spread)]
    centre = np.array([centre for _, centre in both])[:, None, None]
    learned, fold = skill(kind, items, of_folds)[0], np.arange(items) * max(folds, 1) // items
    contenders, allowed = SETTLED + SCATTERING, resampling.TRAINING if folds else 0.0
    at_once = max(1, AT_ONCE // (contenders * seeds * items))
    for start in range(0, number, at_once):
        n = min(at_once, number - start)
        luck = _normal(generator, n, contenders, seeds, items)
        luck[:, :SETTLED] = luck[:, :SETTLED, :1]
        ease = math.sqrt(1 - DIFFICULTY - TASTE) * luck
        ease += math.sqrt(DIFFICULTY) * _normal(generator, n, 1, 1, items)
        ease += math.sqrt(TASTE) * _normal(generator, n, contenders, 1, items)
        of_seeds = (scatter * _normal(generator, n, contenders, seeds, 1) + centre).astype(np.float32)
        if folds:
            parts = _normal(generator, n, contenders, folds) + _normal(generator, n, 1, folds)
            parts *= learned / math.sqrt(2 * (folds - 2))
            of_models = parts.sum(-1, keepdims=True) - parts - np.roll(parts, -1, axis=-1)
            of_seeds = of_seeds + of_models[:, :, None, fold]
        values = kind.item(ease, of_seeds).astype(np.float32)
        scores = kind.score(values.mean(-1, dtype=np.float64))
        drawn = kind.score(values.reshape(-1, items) @ weight.T).reshape(n, contenders, seeds, len(rows))
        for score, own in zip(scores, drawn.astype(np.float64), strict=True):
            yield [
                resampling.of_resamples(
                    found, list(s), resamples, share=kind.share, alike=place < SETTLED, training=allowed
                )
                for place, (found, s) in enumerate(zip(own, score, strict=True))
            ]


def _normal(generator: np.random.Generator, *shape: int) -> Array:
    return generator.standard_normal(shape, dtype=np.float32)


def together(world: World) -> World:
    """The contenders as the board has them."""
    return [draws for draws in moderated(world) if draws is not None]


def cell(
    kind: Kind, *, seeds: int, items: int, spread: str, number: int, folds: int = 0, training: float = 0.0
) -> Cell:
    """Coverage and false positives among equals."""
    generator = np.random.default_rng([seeds, items, *kind.name.encode()])
    covered, positive, truth = [], [], kind.truth
    setting: dict[str, Any] = {"seeds": seeds, "items": items, "spread": spread, "folds": folds, "training": training}
    for world in map(together, worlds(kind, generator, number=number, **setting)):
        intervals = [draws.interval() for draws in world]
        covered.append([low <= truth <= high for low, high in intervals])
        pairs = [(world[place - 1], draws) for place, draws in enumerate(world)][:PAIRS]
        positive.append(np.mean([resampling.difference(*pair).p < resampling.LEVEL for pair in pairs]))
    of_worlds = np.mean(covered, axis=1)
    deviation = max(np.std(of_worlds), np.std(positive)) / math.sqrt(number)
    found = float(of_worlds.mean()), float(np.mean(covered, axis=0)[-1]), float(np.mean(positive)), float(deviation)
    return Cell(kind.name, seeds, items, spread, number, *found, folds, training)


def family(kind: Kind, *, seeds: int, items: int, spread: str, number: int) -> Family:
    """Whole boards: ranks of equals, and of one that is better than its equals."""
    generator = np.random.default_rng([seeds, items])
    alone = list(worlds(kind, generator, number=number, seeds=seeds, items=items, spread=spread))
    better = SETTLED + SCATTERING // 2
    means = np.array([[draws.mean for draws in world] for world in alone])
    others = [place for place in range(SETTLED, SETTLED + SCATTERING) if place != better]
    unit = math.sqrt((means[:, others] - means[:, [better]]).var(axis=0).mean())
    left_out: list[float] = []
    lost: list[float] = []
    power: dict[str, list[float]] = {str(gap): [] for gap in GAPS}
    pooled = [together(world) for world in alone]
    for boards, ranked in ((pooled, ranks), (alone, ranks), (pooled, ranks_of_pairs)):
        left_out.append(float(np.mean([[rank > 1 for rank in ranked(board)] for board in boards])))
        missed = []
        for gap in GAPS:
            shares = []
            for board in boards:
                moved = list(board)
                moved[better] = replace(board[better], mean=board[better].mean + gap * unit)
                own = ranked(moved)
                shares.append(np.mean([own[place] > own[better] for place in others]))
                missed.append(own[better] > 1)
            power[str(gap)].append(float(np.mean(shares)))
        lost.append(float(np.reshape(missed, (len(GAPS), -1)).mean(1).max()))
    return Family(kind.name, seeds, items, spread, number, left_out, power, lost)


def ranks(board: World) -> list[int]:
    """As the board has them."""
    order = sorted(range(len(board)), key=lambda place: -board[place].mean)
    covariance = resampling.covariance([board[place] for place in order])
    found = Pairs(list(map(str, order)), _pair(board), covariance=covariance).ranks()
    return [found[str(place)] for place in range(len(board))]


def ranks_of_pairs(board: World) -> list[int]:
    """1 for those that Holm's correction over all pairs does not tell from the one that scores most, 2 for others."""
    order = sorted(range(len(board)), key=lambda place: -board[place].mean)
    pairs = list(combinations(map(str, order), 2))
    found = dict(zip(pairs, holm([_pair(board)(*pair) for pair in pairs]), strict=True))
    first = str(order[0])
    return [1 + (place != order[0] and found[first, str(place)] < resampling.LEVEL) for place in range(len(board))]


def _pair(board: World) -> Callable[[str, str], float]:
    return lambda a, b: resampling.difference(board[int(a)], board[int(b)]).p


def run(number: int, *, quick: bool) -> Iterator[Cell | Family]:
    """Both tables, a line at a time."""
    kinds, seeds, items = (KINDS[:2], (2, 3), ITEMS[:2]) if quick else (KINDS, SEEDS, ITEMS)
    for kind in kinds:
        for s in seeds:
            for spread in SPREADS:
                for n in items:
                    yield cell(kind, seeds=s, items=n, spread=spread, number=number)
    for kind in kinds[: 1 if quick else None : 2]:
        for folds in FOLDS:
            for training in TRAINING:
                for n in items[:2]:
                    found: dict[str, Any] = {"spread": "moderate", "folds": folds, "training": training}
                    yield cell(kind, seeds=3, items=n, number=number, **found)
    for kind in kinds[::3]:
        for s in seeds[:3]:
            for spread in SPREADS:
                yield family(kind, seeds=s, items=300, spread=spread, number=number)


def tables(lines: Sequence[Cell | Family]) -> str:
    """Both as Markdown: a line for each metric and number of seeds, a column for each spread and number of items."""
    cells = [line for line in lines if isinstance(line, Cell) and not line.folds]
    of_folds = [line for line in lines if isinstance(line, Cell) and line.folds]
    families = [line for line in lines if isinstance(line, Family)]
    out = []
    for alike in (True, False):
        some = [c for c in cells if ("mixed" not in c.spread) == alike]
        out += [*_table(some, lambda c: f"{c.coverage:.3f} {c.noisiest:.3f} {c.false_positives:.3f}"), ""]
    out += [*_of_folds(of_folds), "", *_of_boards(families), ""]
    for seeds in sorted({c.seeds for c in cells}):
        for name, alike in (("alike", True), ("mixed", False)):
            some = [c for c in cells if c.seeds == seeds and ("mixed" not in c.spread) == alike]
            out += [*_summary(f"{seeds} seeds, {name}", some)]
    return "\n".join(out)


def _of_folds(cells: Sequence[Cell]) -> Iterator[str]:
    yield "| metric, items, folds | " + " | ".join(f"training sets {own:g}" for own in TRAINING) + " |"
    yield "|" + " --- |" * (len(TRAINING) + 1)
    for head in dict.fromkeys((c.metric, c.items, c.folds) for c in cells):
        own = [c for c in cells if (c.metric, c.items, c.folds) == head]
        figures = " | ".join(f"{c.coverage:.3f} {c.false_positives:.3f}" for c in own)
        yield f"| {head[0]}, {head[1]}, {head[2]} | {figures} |"


def _of_boards(families: Sequence[Family]) -> Iterator[str]:
    yield "| metric, seeds, scatter | best left out | " + " | ".join(f"better by {gap}" for gap in GAPS) + " |"
    yield "|" + " --- |" * (len(GAPS) + 2)
    for line in families:
        pairs = [line.left_out, *(line.power[str(gap)] for gap in GAPS)]
        figures = " | ".join(f"{own:.3f} ({alone:.3f}, {of_pairs:.3f})" for own, alone, of_pairs in pairs)
        yield f"| {line.metric}, {line.seeds}, {line.spread} | {figures} |"


def _summary(name: str, cells: Sequence[Cell]) -> Iterator[str]:
    for what in ("coverage", "noisiest", "false_positives"):
        values = sorted(getattr(c, what) for c in cells)
        yield f"{name}: {what} {values[0]:.3f} to {values[-1]:.3f}, mean {np.mean(values):.3f}"
    worst = max(c.deviation for c in cells)
    below = sum(c.coverage < 0.93 for c in cells)
    wide, wider = (sum(c.coverage > 0.97 + errors * c.deviation for c in cells) for errors in (0, 2))
    false, falser = (sum(c.false_positives > 0.05 + errors * c.deviation for c in cells) for errors in (0, 2))
    yield f"{name}: coverage below .93 in {below} of {len(cells)}, above .97 in {wide}, by two errors in {wider}"
    yield f"{name}: false positives above .05 in {false}, by two standard errors (of up to {worst:.4f}) in {falser}"


def _table(lines: Sequence[Any], shown: Callable[[Any], str]) -> Iterator[str]:
    heads = list(dict.fromkeys((line.spread, line.items) for line in lines))
    yield "| metric, seeds | " + " | ".join(f"{spread} {items}" for spread, items in heads) + " |"
    yield "|" + " --- |" * (len(heads) + 1)
    for metric, seeds in dict.fromkeys((line.metric, line.seeds) for line in lines):
        own = {(line.spread, line.items): shown(line) for line in lines if (line.metric, line.seeds) == (metric, seeds)}
        yield f"| {metric}, {seeds} | " + " | ".join(own[head] for head in heads) + " |"


def main() -> None:
    from threadpoolctl import threadpool_limits

    parser = argparse.ArgumentParser(description="Coverage, false positives and power of the board's statistics.")
    parser.add_argument("--quick", action="store_true", help="two metrics, few seeds and items")
    parser.add_argument("--worlds", type=int, default=100, help="worlds for each figure (default 100)")
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
