"""Time to quality: what a search by mmbench and a plain script need until the same validation score.

Both run from the start of their process until a trial reaches the task's target, or `most` trials are spent; a run that
does not reach it counts with what it spent. One seed of each side is a pair; they take turns.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import tasks
from benchmarks.measure import ROOT, Figure, Reading, compare
from benchmarks.tasks import TASKS, SearchTask

OURS, PLAIN = "mmbench", "plain script"


@dataclass(frozen=True)
class Variant:
    """One way to compare on one task."""

    name: str
    task: SearchTask
    claim: str
    frozen: bool = False
    """The plain script runs the pretrained encoders in each epoch; mmbench prepares their features in its own time."""


VARIANTS = (
    Variant("features ready-made, emoji", TASKS["emoji"], ">= 3"),
    Variant("features ready-made, uci_mfeat", TASKS["uci_mfeat"], ">= 3"),
    Variant("trained encoders, av_digits", TASKS["av_digits-400"], ">= 4"),
    Variant("frozen encoders, emoji", TASKS["emoji-200"], ">= 30", frozen=True),
)
SEEDS = {True: 3, False: 5}
"""{frozen: how many}: a search that runs the encoders again takes minutes."""


@dataclass(frozen=True)
class Search:
    """One side's search until the target."""

    reading: Reading
    trials: int
    reached: bool


def measure(*, quick: bool = False, seeds: int | None = None, most: int = 32) -> Iterator[Figure]:
    """For each variant, how many times mmbench's CPU-seconds the plain script needs."""
    variants, most = (VARIANTS[:1], min(most, 8)) if quick else (VARIANTS, most)
    with tempfile.TemporaryDirectory(prefix="mmbench-benchmark-") as folder:
        for variant in variants:
            data = Path(folder) / f"{variant.task.name}.safetensors"
            if not data.exists():
                _export(variant.task.name, data)
            count = seeds or (2 if quick else SEEDS[variant.frozen])
            yield pair(variant, data, seeds=range(count), most=most)


def pair(variant: Variant, data: Path, *, seeds: Sequence[int], most: int) -> Figure:
    """Both sides, a seed after the other."""
    found: dict[str, list[Search]] = {OURS: [], PLAIN: []}
    for seed in seeds:
        told = ["--task", variant.task.name, "--trials", str(most), "--seed", str(seed)]
        told += ["--target", str(variant.task.target)]
        with tempfile.TemporaryDirectory(prefix="mmbench-benchmark-") as folder:
            environ = _bare_cache(Path(folder)) if variant.frozen else {}
            found[OURS].append(_search("benchmarks.tasks", told, variant.task.target, environ))
        plain = ["--dataset", variant.task.dataset, *told[2:], "--data", str(data), "--epochs", str(tasks.EPOCHS)]
        plain += ["--frozen"] if variant.frozen else []
        found[PLAIN].append(_search("benchmarks.plain.script", plain, variant.task.target, {}))
    facts: dict[str, Any] = {"target": variant.task.target, "rows": variant.task.limit or "all", "most trials": most}
    for side, searches in found.items():
        facts[f"{side}: trials"] = [search.trials for search in searches]
        facts[f"{side}: reached"] = f"{sum(search.reached for search in searches)} of {len(searches)}"
    readings = {side: [search.reading for search in searches] for side, searches in found.items()}
    name = f"time to {variant.task.target:g}, {variant.name}: plain script / mmbench"
    return compare(name, readings, over=(PLAIN, OURS), claim=variant.claim, facts=facts)


def _search(module: str, told: Sequence[str], target: float, environ: Mapping[str, str]) -> Search:
    """Run one side in a process of its own, from its start to its last line."""
    done = subprocess.run(
        [sys.executable, "-m", module, *told],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise RuntimeError(f"{module} tried nothing: {done.stderr.strip()[-2000:]}")
    last = lines[-1]
    reached = max(line["score"] for line in lines) >= target
    return Search(Reading(cpu=last["cpu"], wall=last["wall"]), len(lines), reached)


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
