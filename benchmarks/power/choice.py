"""Does the protocol of `starter` tell more apart? Real trainings by the engine, held against the truth on many rows.

    mmbench run benchmarks/power/choice.toml
    python -m benchmarks.power.choice results/choice [--items N] [--worlds N] [--json FILE]

The run trains starter's contenders, but for the slowest, on 800 rows of two large data sets, with 21 seeds each. What
is true of a contender is its mean over all seeds and test rows. A world is what a small task would have: N of the
test rows, 3 or 9 of the seeds. Its board is asked who is worse than the best, and which gains there are, by the tests
of before (Holm's over all pairs) and by today's. Worlds share the search's choice and the seeds' pool.
docs/statistics.md has the table.
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

from mmbench.board.stats import resampling
from mmbench.board.stats.family import Family, holm
from mmbench.board.stats.moderated import moderated
from mmbench.board.stats.reference import LEVEL

Array: TypeAlias = np.ndarray[Any, Any]

SEEDS = (3, 9)
LEAST = 0.1
"""A true difference that a protocol should find, as a share of what the best contender is away from the majority."""


@dataclass(frozen=True)
class Task:
    """What the run holds of one task: each contender's item values, where less is better."""

    name: str
    contenders: list[str]
    values: list[Array]
    """Of each contender: [S, N]."""
    reference: int
    rivals: list[int]


@dataclass(frozen=True)
class Line:
    """One task by so many seeds: shares over worlds, by all pairs and by the board."""

    task: str
    seeds: int
    worse: int
    """Contenders that are truly worse than the best."""
    left_out: tuple[float, float]
    """Of these: shown not to be the best."""
    differ: int
    """Rivals that truly differ from the best single modality."""
    gains: tuple[float, float]
    """Of these: shown, on the right side."""
    lost: tuple[float, float]
    """How often the best is left out."""
    wrong: tuple[float, float]
    """How often any gain is shown on the wrong side."""


def tasks(folder: Path) -> Iterator[Task]:
    """Those of a stored run, whose metric is a mean over rows."""
    from mmbench import plugins
    from mmbench.store import reading

    run, metrics = reading.read_run(folder), plugins.load().metrics
    for name in run.tasks:
        truth = reading.load_run_targets(run, name)
        contenders: list[str] = []
        values: list[Array] = []
        valid: dict[int, float] = {}
        for record in run.records:
            if record.task != name or record.status != "ok":
                continue
            metric: Any = metrics[record.metric]
            refits = [refit for refit in record.refits if refit.role == "tuned"]
            own = np.stack([metric.items(truth, reading.load_predictions(folder, refit)["test"]) for refit in refits])
            if not np.allclose(own.mean(1), [refit.metrics[record.metric] for refit in refits], atol=1e-6):
                raise ValueError(f"{name}, {record.contender}: item values do not give the stored scores")
            if len(record.modalities) == 1 and record.contender.startswith("only "):
                valid[len(contenders)] = float(np.mean([refit.valid for refit in refits]))
            contenders.append(record.contender)
            values.append(own)
        reference = min(valid, key=lambda place: valid[place])
        yield Task(name, contenders, values, reference, [k for k in range(len(contenders)) if k not in valid])


def board(values: list[Array], resamples: resampling.Resamples, weight: Array) -> list[resampling.Draws]:
    """The contenders' draws as a board has them, from [S, items] of each."""
    found = []
    for own in values:
        alike = bool(np.ptp(own, axis=0).max() < 1e-12)
        scores = [float(score) for score in own.mean(1)]
        found.append(resampling.of_resamples(own @ weight.T, scores, resamples, alike=alike))
    return [draws for draws in moderated(found) if draws is not None]


def line(task: Task, seeds: int, *, items: int, worlds: int) -> Line:
    """What boards of so many seeds say of what is true."""
    true = np.array([own.mean() for own in task.values])
    best, near = int(np.argmin(true)), LEAST * (true.max() - true.min())
    worse = [k for k in range(len(true)) if true[k] > true[best] + near]
    differ = [k for k in task.rivals if k != task.reference and abs(true[k] - true[task.reference]) > near]
    resamples = resampling.item_rows(items)
    weight = np.stack([np.bincount(rows, minlength=items) for rows in resamples.rows]) / items
    draw = np.random.default_rng([seeds, items])
    told = []
    for _ in range(worlds):
        rows = draw.choice(task.values[0].shape[1], items, replace=False)
        some = [own[draw.choice(len(own), min(seeds, len(own)), replace=False)][:, rows] for own in task.values]
        told.append(_told(task, true, board(some, resamples, weight), best=best, worse=worse, differ=differ))
    figures = np.mean(told, axis=0)
    pairs = [(float(one), float(other)) for one, other in figures]
    return Line(task.name, seeds, len(worse), pairs[0], len(differ), pairs[1], pairs[2], pairs[3])


def _told(
    task: Task, true: Array, found: list[resampling.Draws], *, best: int, worse: list[int], differ: list[int]
) -> list[list[float]]:
    """[left out, gains, lost, wrong], each by all pairs and by the board."""
    order = sorted(range(len(found)), key=lambda k: found[k].mean)

    def p_value(first: str, second: str) -> float:
        return resampling.difference(found[int(first)], found[int(second)]).p

    family = Family(
        list(map(str, order)),
        p_value,
        covariance=resampling.covariance([found[k] for k in order]),
        reference=str(task.reference),
        rivals=list(map(str, task.rivals)),
    )
    every = list(combinations(map(str, order), 2))
    shown = {
        (int(a), int(b)) for (a, b), p in zip(every, holm([p_value(*pair) for pair in every]), strict=True) if p < LEVEL
    }
    ranks = family.ranks()
    beaten = {loser for _, loser in shown}
    left_out = [[k in beaten, ranks[str(k)] > 1] for k in worse]
    gains, wrong = [], [False, False]
    for k in task.rivals:
        if k == task.reference:
            continue
        better, loser = (k, task.reference) if true[k] < true[task.reference] else (task.reference, k)
        right = order.index(better) < order.index(loser)
        said = family.p(str(k), str(task.reference)) < LEVEL
        if k in differ:
            gains.append([(better, loser) in shown, said and right])
        wrong = [wrong[0] or (loser, better) in shown, wrong[1] or (said and not right)]
    lost = [best in beaten, ranks[str(best)] > 1]
    return [
        list(np.mean(left_out, axis=0)),
        list(np.mean(gains, axis=0)),
        list(map(float, lost)),
        list(map(float, wrong)),
    ]


def table(lines: list[Line]) -> Iterator[str]:
    """As Markdown; each figure by all pairs, then by the board."""
    yield "| task | seeds | worse than the best | left out | rivals that differ | shown | best lost | wrong side |"
    yield "|" + " --- |" * 8
    for own in lines:
        told = [f"{a:.3f}, {b:.3f}" for a, b in (own.left_out, own.gains, own.lost, own.wrong)]
        yield f"| {own.task} | {own.seeds} | {own.worse} | {told[0]} | {own.differ} | {' | '.join(told[1:])} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="What starter's protocol tells apart, on real trainings.")
    parser.add_argument("run", type=Path, help="a run of benchmarks/power/choice.toml")
    parser.add_argument("--items", type=int, default=350, help="test rows of a world (default 350)")
    parser.add_argument("--worlds", type=int, default=200, help="for each task and number of seeds (default 200)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    chosen = parser.parse_args()
    lines = []
    for task in tasks(chosen.run):
        for seeds in SEEDS:
            lines.append(line(task, seeds, items=chosen.items, worlds=chosen.worlds))
            print(f"\r{len(lines)} lines", end="", file=sys.stderr)
    print(file=sys.stderr)
    print("\n".join(table(lines)))
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(own) for own in lines], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
