"""Do the intervals of folds cover? Real trainings on sets drawn from a large one, held against the truth on the rest.

    python -m benchmarks.power.trainings [--quick] [--sets N] [--json FILE]

141,548 flights (the data set `flights`: all that were late, and as many that were not), of two modalities: the schedule
and the weather. From them many small data sets are drawn; each is cut into folds as a task is, and
six contenders are trained in each fold with three seeds: logistic regression, a small network on each modality, two of
different width on both, and the mean of the two single ones' logits. What is true of a contender is its mean score over
all sets and seeds on rows that none of the set's models saw. docs/statistics.md has the table.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from mmbench.board.stats import resampling
from mmbench.board.stats.moderated import moderated
from mmbench.board.stats.resampling import Draws

Array: TypeAlias = np.ndarray[Any, Any]

FOLDS = (3, 5, 10)
ITEMS = (300, 1000)
SEEDS = 3
SEEN = 10_000
"""Rows of the rest on which each set's models are scored."""
STEPS, RATE, DECAY = 60, 0.02, 1e-3
CONTENDERS = ("logistic", "only schedule", "only weather", "concat", "concat, wide", "mean_logits")


@dataclass(frozen=True)
class Line:
    """One setting: folds (0: one split, a fifth of the rows in test) and rows of each set."""

    metric: str
    folds: int
    items: int
    sets: int
    coverage: float
    """Of the 95% interval of a score, mean over contenders: of its mean over training sets."""
    of_these: float
    """The same of the true mean score of the models that were trained on this set."""
    false_positives: float
    """How often the interval of a difference lacks the true difference, mean over pairs."""
    deviation: float
    training: list[float]
    """What the training set does, by contender: the variance of a set's true score, in units of what the items do."""
    seeds: list[float]
    """The same of what seeds do to the mean over them."""
    of_differences: list[float]
    """As `training`, of each pair's difference."""


@dataclass(frozen=True)
class Rows:
    """The large data set: what each contender sees of it, and the truth."""

    views: dict[str, Array]
    """{modality: float32 [N, D], standardised}"""
    late: Array
    """bool [N], true for half of them."""


def flights(cache: Path) -> Rows:
    """The data set `flights`: all late flights and as many others, in random order."""
    from mmbench import plugins

    found = plugins.load().datasets["flights"].load(cache).with_format("numpy")
    splits = [found[name] for name in ("train", "validation", "test")]
    schedule = np.concatenate([np.stack(split["schedule"]) for split in splits])
    hours = np.concatenate([np.stack(split["weather"]) for split in splits])
    weather = np.concatenate([hours[:, -1], hours.mean(1)], axis=1)  # the last hour, and the mean of the day
    return balanced(schedule, weather, np.concatenate([split["late"] for split in splits]) > 0)


def balanced(schedule: Array, weather: Array, late: Array) -> Rows:
    """As many of each class, in random order."""
    draw = np.random.default_rng(0)
    chosen = draw.choice(np.flatnonzero(~late), late.sum(), replace=False)
    rows = draw.permutation(np.concatenate([np.flatnonzero(late), chosen]))
    views = {"schedule": schedule[rows], "weather": weather[rows]}
    return Rows(
        {name: ((x - x.mean(0)) / (x.std(0) + 1e-6)).astype(np.float32) for name, x in views.items()}, late[rows]
    )


class Networks:
    """F groups of S networks of one hidden layer, one group on the same rows [F, n, D]; without hidden units they are
    logistic regressions, which are the same for every seed. All are trained at once."""

    def __init__(self, x: Array, y: Array, hidden: int, draw: np.random.Generator) -> None:
        groups, rows, width = x.shape
        self.hidden, units = hidden, SEEDS * (hidden or 1)
        first = draw.standard_normal((groups, width, units), dtype=np.float32) / width**0.5 if hidden else None
        start = np.zeros((groups, width, units), np.float32) if first is None else first
        out = draw.standard_normal((groups, 1, units), dtype=np.float32) / max(hidden, 1) ** 0.5
        self.weights = [start, np.zeros((groups, 1, units), np.float32), out, np.zeros((groups, 1, SEEDS), np.float32)]
        moments = [[np.zeros_like(w), np.zeros_like(w)] for w in self.weights]
        target = y.astype(np.float32)[:, :, None]
        for step in range(1, STEPS + 1):
            some = draw.choice(rows, rows // 2, replace=False) if hidden else slice(None)
            found = self._gradients(x[:, some], target[:, some])
            for weights, gradient, (mean, square) in zip(self.weights, found, moments, strict=True):
                gradient += DECAY * weights
                mean += 0.1 * (gradient - mean)
                square += 0.01 * (gradient**2 - square)
                size = np.sqrt(square / (1 - 0.99**step)) + 1e-8
                weights -= RATE * mean / (1 - 0.9**step) / size

    def logits(self, x: Array) -> Array:
        """[F, m, S] of rows [F, m, D], or of the same [m, D] for all."""
        return self._forward(x)[1]

    def _forward(self, x: Array) -> tuple[Array, Array]:
        first, shift, out, base = self.weights
        inner = np.matmul(x, first)
        inner += shift
        if not self.hidden:
            return inner, inner
        np.tanh(inner, out=inner)
        return inner, (inner * out).reshape(*inner.shape[:2], SEEDS, self.hidden).sum(-1) + base

    def _gradients(self, x: Array, target: Array) -> list[Array]:
        inner, logits = self._forward(x)
        wrong = (_likely(logits) - target) / x.shape[1]
        across = x.transpose(0, 2, 1)
        if not self.hidden:
            nothing = [np.zeros_like(w) for w in self.weights[2:]]
            return [across @ wrong, wrong.sum(1, keepdims=True), *nothing]
        spread = np.repeat(wrong, self.hidden, axis=2)
        back = spread * self.weights[2] * (1 - inner**2)
        out = (spread * inner).sum(1, keepdims=True)
        return [across @ back, back.sum(1, keepdims=True), out, wrong.sum(1, keepdims=True)]


def _likely(logits: Array) -> Array:
    return 1 / (1 + np.exp(-logits))


def trained(x: dict[str, Array], y: Array, seen: list[dict[str, Array]], draw: np.random.Generator) -> list[Array]:
    """The logits of each contender [C][F, m, S] on each of the `seen` views, one after the other."""
    both = {**x, "both": np.concatenate([x["schedule"], x["weather"]], axis=2)}
    made = {
        "logistic": (Networks(both["both"], y, 0, draw), "both"),
        "only schedule": (Networks(x["schedule"], y, 12, draw), "schedule"),
        "only weather": (Networks(x["weather"], y, 12, draw), "weather"),
        "concat": (Networks(both["both"], y, 12, draw), "both"),
        "concat, wide": (Networks(both["both"], y, 24, draw), "both"),
    }
    found: list[list[Array]] = []
    for views in seen:
        joint = {**views, "both": np.concatenate([views["schedule"], views["weather"]], axis=-1)}
        own = {name: networks.logits(joint[view]) for name, (networks, view) in made.items()}
        own["mean_logits"] = (own["only schedule"] + own["only weather"]) / 2
        found.append([own[name] for name in CONTENDERS])
    return [np.stack(own) for own in found]


@dataclass(frozen=True)
class Sets:
    """What came of many sets of one setting: each contender's item values, and its true score on the rest."""

    values: dict[str, Array]
    """{metric: [sets, C, S, items]}"""
    true: dict[str, Array]
    """{metric: [sets, C]}, mean over the folds' models and seeds."""


METRICS = {"accuracy": True, "brier": False}
"""{name: whether it is a share}"""


def _values(logits: Array, y: Array) -> dict[str, Array]:
    likely = _likely(logits)
    return {"accuracy": ((likely > 0.5) == y).astype(np.float32), "brier": (likely - y) ** 2}


def sets(rows: Rows, *, folds: int, items: int, number: int, at_once: int = 10) -> Sets:
    """Draw sets of rows, cut each into folds, train in all of them.

    Without folds a fifth of the rows is test and three fifths are train, as in a data set with splits of its own; the
    set is five times as large, so that as many rows are tested.
    """
    draw = np.random.default_rng([folds, items])
    parts, whole = (folds, items) if folds else (5, 5 * items)
    size = whole // parts
    tests = range(folds or 1)
    values: dict[str, list[Array]] = {name: [] for name in METRICS}
    true: dict[str, list[Array]] = {name: [] for name in METRICS}
    for _ in range(0, number, at_once):
        drawn = np.stack([draw.choice(len(rows.late), whole + SEEN, replace=False) for _ in range(at_once)])
        own, rest = drawn[:, : size * parts].reshape(at_once, parts, size), drawn[:, whole:]
        test = np.stack([own[:, fold] for fold in tests], 1)
        train = np.stack([np.delete(own, [fold, (fold + 1) % parts], axis=1).reshape(at_once, -1) for fold in tests], 1)
        groups = at_once * len(tests)
        test, train = test.reshape(groups, -1), train.reshape(groups, -1)
        elsewhere = np.repeat(rest, len(tests), axis=0)
        seen = [{name: x[picked] for name, x in rows.views.items()} for picked in (test, elsewhere)]
        found = trained({name: x[train] for name, x in rows.views.items()}, rows.late[train], seen, draw)
        for which, picked, into in ((found[0], test, values), (found[1], elsewhere, true)):
            for name, each in _values(which, rows.late[picked][None, :, :, None]).items():
                each = each.reshape(len(CONTENDERS), at_once, len(tests), -1, SEEDS).transpose(1, 0, 4, 2, 3)
                each = each.reshape(at_once, len(CONTENDERS), SEEDS, -1)
                into[name].append(each.mean((2, 3)) if into is true else each)
    return Sets({n: np.concatenate(v) for n, v in values.items()}, {n: np.concatenate(v) for n, v in true.items()})


def line(found: Sets, metric: str, *, folds: int, items: int, training: float | None = None) -> Line:
    """What the board says of each set, held against what is true of all of them."""
    values, true = found.values[metric], found.true[metric]
    added = training if training is not None else resampling.TRAINING if folds else 0.0
    resamples = resampling.item_rows(values.shape[-1])
    weight = _weights(resamples)
    truth = true.mean(0)
    pairs = list(combinations(range(len(CONTENDERS)), 2))
    covered, of_these, positive = [], [], []
    for own, here in zip(values, true, strict=True):
        board = _board(own, resamples, weight, share=METRICS[metric], training=added)
        intervals = [draws.interval() for draws in board]
        covered.append([low <= value <= high for (low, high), value in zip(intervals, truth, strict=True)])
        of_these.append([low <= value <= high for (low, high), value in zip(intervals, here, strict=True)])
        apart = [(resampling.difference(board[a], board[b]), truth[a] - truth[b]) for a, b in pairs]
        positive.append([not difference.low <= value <= difference.high for difference, value in apart])
    of_items = values.mean(2).var(2) / values.shape[-1]
    apart_items = np.stack([(values[:, a] - values[:, b]).mean(1).var(1) for a, b in pairs], 1) / values.shape[-1]
    rest = values.shape[-1] / SEEN  # what the rest's own items leave of noise in `true`, in units of a set's
    of_pairs = np.stack([true[:, a] - true[:, b] for a, b in pairs], 1)
    return Line(
        metric,
        folds,
        items,
        len(values),
        coverage=float(np.mean(covered)),
        of_these=float(np.mean(of_these)),
        false_positives=float(np.mean(positive)),
        deviation=float(max(np.std(np.mean(own, axis=1)) for own in (covered, positive)) / len(values) ** 0.5),
        training=_ratios(true.var(0, ddof=1), of_items, rest),
        seeds=_ratios((values.mean(3).var(2, ddof=1) / SEEDS).mean(0), of_items, 0.0),
        of_differences=_ratios(of_pairs.var(0, ddof=1), apart_items, rest),
    )


def _ratios(variances: Array, of_items: Array, less: float) -> list[float]:
    return [float(own) for own in np.maximum(variances / of_items.mean(0) - less, 0.0)]


def _weights(resamples: resampling.Resamples) -> Array:
    """How often each item stands in each resample, [R, N], as a share."""
    rows, items = resamples.rows, resamples.items
    flat = (rows + items * np.arange(len(rows))[:, None]).ravel()
    return np.bincount(flat, minlength=rows.size).reshape(rows.shape).astype(np.float32) / items


def _board(
    values: Array, resamples: resampling.Resamples, weight: Array, *, share: bool, training: float
) -> list[Draws]:
    """A set's contenders as the board has them."""
    made = [
        resampling.of_resamples(
            (own @ weight.T).astype(np.float64),
            [float(score) for score in own.mean(1, dtype=np.float64)],
            resamples,
            share=share,
            alike=name == "logistic",
            training=training,
        )
        for name, own in zip(CONTENDERS, values, strict=True)
    ]
    return [draws for draws in moderated(made) if draws is not None]


def table(lines: list[Line]) -> Iterator[str]:
    """As Markdown."""
    heads = ("coverage", "of these models", "false positives", "training sets", "of differences", "seeds")
    yield f"| metric, items, folds | sets | {' | '.join(heads)} |"
    yield "|" + " --- |" * 8
    for own in lines:
        ratios = [f"{min(r):.2f} to {max(r):.2f}" for r in (own.training, own.of_differences, own.seeds)]
        figures = [f"{figure:.3f}" for figure in (own.coverage, own.of_these, own.false_positives)]
        head = f"{own.metric}, {own.items}, {own.folds or 'a split'}"
        yield f"| {' | '.join([head, str(own.sets), *figures, *ratios])} |"


def main() -> None:
    from threadpoolctl import threadpool_limits

    from mmbench.api.carrier import cache_folder

    parser = argparse.ArgumentParser(description="Coverage of the intervals of folds on real trainings.")
    parser.add_argument("--quick", action="store_true", help="three folds of 300 rows only")
    parser.add_argument("--sets", type=int, default=100, help="data sets for each setting (default 100)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    chosen = parser.parse_args()
    started, lines = time.process_time(), []
    with threadpool_limits(1):
        rows = flights(cache_folder())
        for items in ITEMS[:1] if chosen.quick else ITEMS:
            for folds in (3,) if chosen.quick else (0, *FOLDS):
                found = sets(rows, folds=folds, items=items, number=chosen.sets)
                lines += [line(found, metric, folds=folds, items=items) for metric in METRICS]
                print(f"\r{len(lines)} lines, {time.process_time() - started:.0f} CPU-seconds", end="", file=sys.stderr)
    print(file=sys.stderr)
    print("\n".join(table(lines)))
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(own) for own in lines], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
