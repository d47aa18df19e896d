"""Time to quality: what a search by mmbench and a plain script need until the same validation score.

The target of a task is what the plain script's best of its first trials has, in the median of its seeds. Both sides
count from the start of their process until a trial reaches it. What a side needs is all that its searches spent,
divided by how many of them reached the target (the expected running time of Hansen et al., arXiv:1603.08785): a search
that never does is paid for by the others. The seeds of the sides take turns.
"""

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import tasks
from benchmarks.measure import ROOT, Figure, Spread
from benchmarks.tasks import TASKS, SearchTask

OURS, PLAIN = "mmbench", "plain script"
ENOUGH = 40
"""So many times what mmbench needed, the script that runs encoders again begins no further trial: it could take an
hour. It then counts with what it has spent."""


@dataclass(frozen=True)
class Variant:
    """One way to compare on one task."""

    name: str
    task: SearchTask
    claim: str
    seeds: int = 5
    first: int = 32
    """The trials of the plain script that set the target; each side tries up to twice as many."""
    frozen: bool = False
    """The plain script runs the pretrained encoders in each epoch; mmbench prepares their features in its own time."""


VARIANTS = (
    Variant("features ready-made, emoji", TASKS["emoji"], ">= 3", seeds=10),
    Variant("features ready-made, uci_mfeat", TASKS["uci_mfeat"], ">= 3", seeds=10),
    Variant("trained encoders, av_digits", TASKS["av_digits-400"], ">= 4", seeds=3),
    Variant("frozen encoders, emoji", TASKS["emoji-400"], ">= 30", first=8, frozen=True),
)
QUICK = Variant("features ready-made, emoji", TASKS["emoji-200"], ">= 3", seeds=2, first=3)


@dataclass(frozen=True)
class Tried:
    """One trial of one side; seconds since its process began."""

    score: float
    cpu: float
    wall: float


def measure(*, quick: bool = False) -> Iterator[Figure]:
    """For each variant, how many times mmbench's CPU-seconds the plain script needs."""
    with tempfile.TemporaryDirectory(prefix="mmbench-benchmark-") as folder:
        for variant in (QUICK,) if quick else VARIANTS:
            yield pair(variant, Path(folder) / f"{variant.task.name}.safetensors")


def pair(variant: Variant, data: Path) -> Figure:
    """Both sides, a seed after the other; `data` is written if it is not there."""
    if not data.exists():
        _export(variant.task.name, data)
    found: dict[str, list[list[Tried]]] = {OURS: [], PLAIN: []}
    if not variant.frozen:
        _ours(variant, 0, trials=1)  # now its features are ready-made, whatever the seed
    for seed in range(variant.seeds):
        found[OURS].append(_ours(variant, seed, trials=2 * variant.first))
        found[PLAIN].append(_plain(variant, data, seed))
    target = statistics.median(max(t.score for t in search[: variant.first]) for search in found[PLAIN])
    if variant.frozen:  # the scores are those of the same script on features, up to rounding: only its time differs
        limits = [ENOUGH * _end(target, search).cpu for search in found[OURS]]
        found[PLAIN] = [_plain(variant, data, seed, until=(target, limit)) for seed, limit in enumerate(limits)]
    facts: dict[str, Any] = {"target": target, "rows": variant.task.limit or "all", "most trials": 2 * variant.first}
    for side, searches in found.items():
        reached = [next((i for i, t in enumerate(search, 1) if t.score >= target), None) for search in searches]
        facts[f"{side}: trials"] = reached
        facts[f"{side}: reached"] = f"{sum(n is not None for n in reached)} of {len(reached)}"
        facts[f"{side}: CPU-seconds to the first trial"] = statistics.median(search[0].cpu for search in searches)
    ends = {side: [_end(target, search) for search in searches] for side, searches in found.items()}
    return Figure(
        name=f"time to quality, {variant.name}: plain script / mmbench",
        value=_ratio([[(t.cpu, t.score >= target) for t in ends[side]] for side in (PLAIN, OURS)]),
        wall=_ratio([[(t.wall, t.score >= target) for t in ends[side]] for side in (PLAIN, OURS)]),
        claim=variant.claim,
        seconds={side: _needed([(t.cpu, t.score >= target) for t in tried]) for side, tried in ends.items()},
        facts=facts,
    )


def _end(target: float, search: Sequence[Tried]) -> Tried:
    """The first trial that reaches the target, or the last one."""
    return next((tried for tried in search if tried.score >= target), search[-1])


def _needed(ends: Sequence[tuple[float, bool]]) -> float:
    """Seconds spent by all, over how many reached the target: half a one if none did."""
    return sum(seconds for seconds, _ in ends) / max(0.5, sum(reached for _, reached in ends))


def _ratio(sides: Sequence[Sequence[tuple[float, bool]]], draws: int = 2000) -> Spread:
    """How many times what the second side needs the first does, and the quartiles over draws of the seeds."""
    chance = random.Random(0)
    drawn = []
    for _ in range(draws):
        above, below = (_needed(chance.choices(ends, k=len(ends))) for ends in sides)
        drawn.append(above / below)
    spread, (above, below) = Spread.of(drawn), map(_needed, sides)
    return replace(spread, median=above / below, n=len(sides[0]))


def _ours(variant: Variant, seed: int, *, trials: int) -> list[Tried]:
    told = ["--task", variant.task.name, "--trials", str(trials), "--seed", str(seed)]
    with tempfile.TemporaryDirectory(prefix="mmbench-benchmark-") as folder:
        return _search("benchmarks.tasks", told, _bare_cache(Path(folder)) if variant.frozen else {})


def _plain(variant: Variant, data: Path, seed: int, *, until: tuple[float, float] | None = None) -> list[Tried]:
    """The script's search; `until`: with the encoders run again in each epoch, until this score or CPU-seconds."""
    told = ["--dataset", variant.task.dataset, "--data", str(data), "--epochs", str(tasks.EPOCHS)]
    told += ["--trials", str(2 * variant.first), "--seed", str(seed)]
    if until is not None:
        told += ["--frozen", "--target", str(until[0]), "--seconds", str(until[1])]
    return _search("benchmarks.plain.script", told, {})


def _search(module: str, told: Sequence[str], environ: Mapping[str, str]) -> list[Tried]:
    """Run one side in a process of its own, from its start to its last trial."""
    done = subprocess.run(
        [sys.executable, "-m", module, *told],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise RuntimeError(f"{module} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    return [Tried(line["score"], line["cpu"], line["wall"]) for line in lines]


def _bare_cache(folder: Path) -> dict[str, str]:
    """A cache that has data and weights, and no features: as it is when a user's first run has fetched them."""
    from mmbench.api.carrier import cache_folder

    for path in cache_folder().iterdir():
        if path.is_dir() and path.name not in ("features", "scratch"):
            shutil.copytree(path, folder / path.name, copy_function=_link, ignore=shutil.ignore_patterns("*.lock"))
    return {"MMBENCH_CACHE": str(folder)}


def _link(source: str, copy: str) -> str:
    try:
        os.link(source, copy)
    except OSError:  # another file system
        shutil.copy2(source, copy)
    return copy


def _export(task: str, data: Path) -> None:
    """In a process of its own: what it loads must not be on anybody's account."""
    code = "import sys, pathlib as p; from benchmarks.tasks import *; export(TASKS[sys.argv[1]], p.Path(sys.argv[2]))"
    subprocess.run([sys.executable, "-c", code, task, str(data)], cwd=ROOT, check=True)
