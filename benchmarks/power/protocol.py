"""What a suite's seeds and folds buy at what price, on paper: from the noise that a published run was measured to have.

    python -m benchmarks.power.protocol [--run FOLDER] [--worlds N] [--json FILE]

Each world draws what is true of a task's contenders (those within .1 of the best from what the run lets one believe:
its means, drawn together by their noise) and what a protocol would have measured: items that err together as the run's
do, seeds as each contender's do. The board's own tests judge it; a protocol costs the run's seconds of search and
refits. docs/statistics.md has the table.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from mmbench.board.stats.family import Family, holm
from mmbench.board.stats.moderated import PRIOR
from mmbench.board.stats.reference import LEVEL, Spread
from mmbench.board.stats.resampling import TRAINING, Draws

Array: TypeAlias = np.ndarray[Any, Any]
NEAR = 0.1
LEAST = 0.01
"""A true difference that a protocol should find."""


@dataclass(frozen=True)
class Protocol:
    """How many refit seeds, of how many folds; `closer`: so many for those whose validation score is near the best."""

    tuned: int
    default: int
    folds: int = 1
    closer: int = 0


PROTOCOLS = (
    Protocol(3, 3),
    Protocol(5, 1),
    Protocol(9, 1),
    Protocol(9, 3),
    Protocol(15, 1),
    Protocol(5, 1, closer=20),
    Protocol(1, 1, folds=3),
    Protocol(3, 1, folds=3),
    Protocol(1, 1, folds=5),
)


@dataclass(frozen=True)
class Task:
    """What a run says of one task, K contenders, the best first."""

    name: str
    means: Array
    valid: Array
    items: Array
    """Covariance of what items do, [K, K], without each one's luck."""
    luck: Array
    """Variance of one seed's score by luck with single items."""
    seeds: Array
    """Variance of one seed's score over seeds."""
    rows: int
    """In test."""
    share: float
    """Of all rows that are in test."""
    validation: float
    """Variance of a validation score by its items."""
    reference: int
    rivals: list[int]
    seconds: Array
    """[K, 3]: of the search, of one tuned refit, of one default refit."""


@dataclass(frozen=True)
class Line:
    """One protocol: its price, and how many of the differences that are there it shows, mean over tasks."""

    protocol: Protocol
    seconds: float
    left_out: list[float]
    """Of those that are worse than the best by LEAST: shown not to be the best; by all pairs, then by the board."""
    gains: list[float]
    """Of the rivals that differ from the reference by LEAST: shown, on the right side."""
    lost: float
    """How often the best is left out."""


def tasks(folder: Path) -> list[Task]:
    """Those of a stored run."""
    from mmbench import plugins
    from mmbench.board.entries import entries
    from mmbench.board.rank import reference_first
    from mmbench.board.stats.resampling import covariance
    from mmbench.store.reading import read_run

    run, metrics = read_run(folder), plugins.load().metrics
    found = []
    for name in run.tasks:
        of = [entry for entry in entries([run], metrics, name) if entry.score is not None]
        of.sort(key=lambda entry: -(entry.score or 0.0))
        reference = of.index(reference_first(of)[0])
        drawn = [entry.draws(entry.record.metric) for entry in of]
        draws: list[Draws] = [own for own in drawn if own is not None]
        assert len(draws) == len(of)
        seeds = np.array([own.spread.seeds * own.seeds for own in draws])
        luck = np.array([own.spread.chance * own.seeds for own in draws])
        items = covariance(drawn)
        np.fill_diagonal(items, [max(own.spread.items - own.spread.chance, 0.0) for own in draws])
        sizes, axes = np.linalg.eigh(items)
        items = (axes * np.maximum(sizes, 1e-3 * sizes.max() / len(sizes))) @ axes.T
        rows = of[0].record.dataset["rows"]
        seconds = []
        for entry in of:
            refits = {role: [r.seconds for r in entry.refits(role)] for role in ("tuned", "default")}
            search = entry.record.spent["seconds"] - sum(map(sum, refits.values()))
            tuned, default = (float(np.mean(own)) if own else 0.0 for own in refits.values())
            seconds.append((search, tuned, default))
        found.append(
            Task(
                name,
                np.array([entry.score for entry in of]),
                np.array([entry.valid for entry in of]),
                items,
                luck,
                seeds,
                rows["test"],
                rows["test"] / sum(rows.values()),
                float(np.diag(items).mean() * rows["test"] / rows["validation"]),
                reference,
                [place for place, entry in enumerate(of) if not entry.single],
                np.array(seconds),
            )
        )
    return found


def truth(task: Task, draw: np.random.Generator) -> Array:
    """What may be true: means near the best, drawn together as far as their noise says, and what that leaves open."""
    near = task.means > task.means.max() - NEAR
    noise = float(np.mean(np.diag(task.items - task.items[near][:, near].mean())[near] + task.seeds[near] / 3))
    between = max(float(task.means[near].var(ddof=1)) - noise, 0.1 * noise)
    kept = between / (between + noise)
    found = task.means.copy()
    centre = found[near].mean()
    found[near] = centre + kept * (found[near] - centre) + draw.normal(0, (kept * noise) ** 0.5, near.sum())
    return found


def seeds_of(task: Task, protocol: Protocol, true: Array, draw: np.random.Generator) -> Array:
    """How many each contender gets, by validation alone."""
    seeds = np.full(len(true), protocol.tuned)
    if protocol.closer:
        valid = (
            true + draw.normal(0, task.validation**0.5, len(true)) / 2
        )  # items are the same for all: half is its own
        seeds[valid > valid.max() - 2 * task.validation**0.5] = protocol.closer
    return seeds


def world(task: Task, protocol: Protocol, draw: np.random.Generator) -> tuple[Array, Array, Family, Array]:
    """What is true, seeds, the tests of a measurement, and the p of all pairs by Holm [K, K], the better one first."""
    true = truth(task, draw)
    seeds, count = seeds_of(task, protocol, true, draw), len(true)
    items = task.items * (task.share * (1 + TRAINING) if protocol.folds > 1 else 1.0)
    root = np.linalg.cholesky(items + 1e-12 * np.eye(count))
    of_seeds = task.seeds / protocol.folds / seeds
    means = true + root @ draw.standard_normal(count) + draw.standard_normal(count) * of_seeds**0.5
    own = np.maximum(seeds - 1, 1)
    observed = of_seeds * draw.chisquare(own) / own
    pooled = of_seeds.mean() / (task.luck / seeds).mean() * task.luck / seeds / protocol.folds
    believed = np.where(seeds > 1, (PRIOR * of_seeds + own * observed) / (PRIOR + own), pooled)
    moves = task.luck > 0
    believed, freedom = np.where(moves, believed, 0.0), PRIOR + np.where(seeds > 1, own, 0)
    order = np.argsort(-means)

    def p_value(first: str, second: str) -> float:
        a, b = int(first), int(second)
        apart = items[a, a] + items[b, b] - 2 * items[a, b]
        squares = believed[a] ** 2 / freedom[a] + believed[b] ** 2 / freedom[b]
        return Spread(apart, 0.0, believed[a] + believed[b], squares, task.rows - 1).p(means[a] - means[b])

    pairs = list(combinations(map(str, order), 2))
    family = Family(
        list(map(str, order)),
        p_value,
        covariance=(items + np.diag(believed))[np.ix_(order, order)],
        reference=str(task.reference),
        rivals=list(map(str, task.rivals)),
    )
    adjusted = np.ones((count, count))
    for (one, other), p in zip(pairs, holm([p_value(*pair) for pair in pairs]), strict=True):
        adjusted[int(one), int(other)] = p  # the first has the better mean
    return true, seeds, family, adjusted


def line(found: list[Task], protocol: Protocol, *, worlds: int) -> Line:
    """All tasks of a run by one protocol."""
    draw = np.random.default_rng(0)
    left_out: list[list[float]] = []
    gains: list[list[float]] = []
    lost, seconds = [], 0.0
    for task in found:
        for _ in range(worlds):
            true, seeds, family, pairs = world(task, protocol, draw)
            best, ranks = int(np.argmax(true)), family.ranks()
            near = [k for k in range(len(true)) if task.means[k] > task.means.max() - NEAR]
            worse = [k for k in near if true[k] < true[best] - LEAST]
            if worse:
                told = [[pairs[:, k].min() < LEVEL, ranks[str(k)] > 1] for k in worse]
                left_out.append(list(np.mean(told, axis=0)))
            gain = true - true[task.reference]
            differ = [k for k in task.rivals if abs(gain[k]) > LEAST and k in near and k != task.reference]
            if differ and task.reference in near:
                told = [_shown(family, pairs, k, task.reference, float(gain[k])) for k in differ]
                gains.append(list(np.mean(told, axis=0)))
            lost.append(ranks[str(best)] > 1)
            each = task.seconds[:, 0] + task.seconds[:, 1] * seeds + task.seconds[:, 2] * protocol.default
            seconds += protocol.folds * float(each.sum()) / worlds
    told_worse, told_gains = ([float(own) for own in np.mean(figures, axis=0)] for figures in (left_out, gains))
    return Line(protocol, seconds, told_worse, told_gains, float(np.mean(lost)))


def _shown(family: Family, pairs: Array, one: int, reference: int, gain: float) -> list[bool]:
    """Whether a gain is shown on its right side: by all pairs, and by the rivals of the reference."""
    better, worse = (one, reference) if gain > 0 else (reference, one)
    names = family.names
    right = names.index(str(better)) < names.index(str(worse))
    return [bool(pairs[better, worse] < LEVEL), right and family.p(str(one), str(reference)) < LEVEL]


def table(lines: list[Line]) -> Iterator[str]:
    """As Markdown; the price against that of the first protocol."""
    heads = ("left out, all pairs", "set of the best", "gains, all pairs", "rivals", "best lost")
    yield f"| tuned seeds | default seeds | folds | CPU | {' | '.join(heads)} |"
    yield "|" + " --- |" * 9
    for own in lines:
        protocol = own.protocol
        tuned = f"{protocol.tuned}, {protocol.closer} near the best" if protocol.closer else str(protocol.tuned)
        figures = " | ".join(f"{figure:.3f}" for figure in (*own.left_out, *own.gains, own.lost))
        price = f"{own.seconds / lines[0].seconds:.2f}"
        folds = protocol.folds if protocol.folds > 1 else "–"
        yield f"| {tuned} | {protocol.default} | {folds} | {price} | {figures} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="What a suite's seeds and folds buy, at what price.")
    parser.add_argument("--run", type=Path, default=Path("results/published/starter"), help="a stored run")
    parser.add_argument("--worlds", type=int, default=60, help="for each task and protocol (default 60)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    chosen = parser.parse_args()
    found, lines = tasks(chosen.run), []
    for protocol in PROTOCOLS:
        lines.append(line(found, protocol, worlds=chosen.worlds))
        print(f"\r{len(lines)} of {len(PROTOCOLS)} protocols", end="", file=sys.stderr)
    print(file=sys.stderr)
    print("\n".join(table(lines)))
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(own) for own in lines], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
