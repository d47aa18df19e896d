"""Whole searches: trials a CPU-second against plain Optuna around a DataLoader loop, and what a second worker gives."""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks import tasks
from benchmarks.measure import ROOT, Figure, Reading, Side, clock, compare, take_turns
from benchmarks.plain import script

OURS, PLAIN = "mmbench", "Optuna + DataLoader"
CONTENDERS = ("concat", "sum", "gated", "attention")


def measure(*, quick: bool = False, trials: int | None = None, rounds: int | None = None) -> Iterator[Figure]:
    """Throughput on two cells whose features are ready, then one worker against two."""
    trials, rounds = trials or (4 if quick else 12), rounds or (1 if quick else 5)
    for name in ("uci_mfeat", "emoji"):
        yield throughput(tasks.TASKS[name], trials=trials, rounds=rounds)
    yield scaling(trials=trials if quick else 96, rounds=max(1, rounds // 2))  # long enough to outweigh the start


def throughput(task: tasks.SearchTask, *, trials: int, rounds: int) -> Figure:
    """The CPU-seconds of as many trials; start-up and data are not timed."""
    counted: dict[str, list[int]] = {OURS: [], PLAIN: []}
    with tempfile.TemporaryDirectory(prefix="mmbench-benchmark-") as folder:
        file = Path(folder) / "rows.safetensors"
        tasks.export(task, file)
        data = script.read(task.dataset, file, frozen=False)
    sides = {OURS: _ours(task, trials, counted[OURS]), PLAIN: _plain(task.dataset, data, trials, counted[PLAIN])}
    readings = take_turns(sides, rounds)
    facts: dict[str, Any] = {"trials": trials}
    for side, found in readings.items():
        seconds = statistics.median(reading.cpu for reading in found)
        facts[f"{side}: trials a CPU-second"] = round(trials / seconds, 2)
        facts[f"{side}: epochs a CPU-second"] = round(statistics.median(counted[side]) / seconds, 1)
    return compare(f"search, {task.name}: {PLAIN} / {OURS}", readings, over=(PLAIN, OURS), facts=facts)


def scaling(*, trials: int, rounds: int) -> Figure:
    """Wall time of the same run of four contenders with one worker and with two, from start to leaderboard."""
    readings: dict[str, list[Reading]] = {"1": [], "2": []}
    for _ in range(rounds):
        for workers, found in readings.items():
            found.append(clock(lambda workers=workers: _run(int(workers), trials)))  # type: ignore[misc]
    walls = {workers: [Reading(cpu=r.wall, wall=r.wall) for r in found] for workers, found in readings.items()}
    facts = {"trials": trials, "contenders": len(CONTENDERS), "load before": round(os.getloadavg()[0], 1)}
    return compare("a run, wall time: 1 worker / 2 workers", walls, over=("1", "2"), claim=">= 1.8", facts=facts)


def _ours(task: tasks.SearchTask, trials: int, counted: list[int]) -> Side:
    from mmbench.engine.jobs.search import search

    workspace = tasks.workspace(task, trials=trials)

    def run() -> None:
        done = search(workspace, [], begin=lambda tried: None, finished=lambda trial: None)
        counted.append(sum(trial.epochs for trial in done))

    return lambda: run


def _plain(dataset: str, data: script.Data, trials: int, counted: list[int]) -> Side:
    budget = script.Budget(epochs=tasks.EPOCHS, patience=tasks.PATIENCE)

    def run() -> None:
        with torch.random.fork_rng(devices=[]):
            counted.append(
                sum(epochs for *_, epochs in script.study(dataset, data, trials=trials, seed=0, budget=budget))
            )

    return lambda: run


def _run(workers: int, trials: int) -> None:
    """A process of its own, as `mmbench run` is."""
    code = (
        "import sys\nfrom benchmarks import tasks\nfrom mmbench.session import open_run\n"
        "if __name__ == '__main__':\n"
        f"    suite = tasks.TASKS['uci_mfeat'].suite(trials={trials}, fusions={CONTENDERS!r})\n"
        f"    open_run(suite, results=sys.argv[1]).execute(workers={workers})\n"
    )
    with tempfile.TemporaryDirectory(prefix="mmbench-benchmark-", ignore_cleanup_errors=True) as folder:
        subprocess.run([sys.executable, "-c", code, folder], cwd=ROOT, check=True, capture_output=True)
