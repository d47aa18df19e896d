"""How everything here is measured: sides take turns in one run, and the ratio of each round is kept.

A ratio of two runs that stand side by side survives a busy machine, a single timing does not. CPU time is
`time.process_time` of a process with one thread; wall time is shown beside it. Called by every benchmark.
"""

import ctypes
import gc
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeAlias

ROOT = Path(__file__).parent.parent
LIBRARIES = ("torch", "optuna", "numpy", "scikit-learn", "lightning-fabric", "skorch", "accelerate")
TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""Their numbers in glibc's malloc.h."""
Side: TypeAlias = Callable[[], Callable[[], Any]]
"""Makes one run ready, which is not timed, and gives what is."""


@dataclass(frozen=True)
class Reading:
    """One run of one side, in seconds."""

    cpu: float
    wall: float


@dataclass(frozen=True)
class Spread:
    """A figure over rounds: its median and quartiles."""

    median: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        if len(values) == 1:
            return cls(values[0], values[0], values[0], 1)
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high, len(values))


@dataclass(frozen=True)
class Figure:
    """One line of the table: a ratio, or a figure with a unit."""

    name: str
    value: Spread
    unit: str = "x"
    wall: Spread | None = None
    """The same by wall time."""
    claim: str | None = None
    """What the project set itself, such as "<= 1.03"."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """{side: median CPU-seconds}"""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What else was found or fixed: rows, trials, the target score."""

    @property
    def reached(self) -> bool | None:
        """Whether the median keeps the claim; None without one."""
        if self.claim is None:
            return None
        sign, bound = self.claim.split()
        return self.value.median <= float(bound) if sign == "<=" else self.value.median >= float(bound)


def take_turns(sides: Mapping[str, Side], rounds: int, *, warm: int = 1) -> dict[str, list[Reading]]:
    """Run every side once a round, another one first in each; the first `warm` rounds are not kept."""
    names = list(sides)
    readings: dict[str, list[Reading]] = {name: [] for name in names}
    for index in range(warm + rounds):
        first = index % len(names)
        for name in names[first:] + names[:first]:
            reading = clock(sides[name]())
            if index >= warm:
                readings[name].append(reading)
    return readings


def clock(run: Callable[[], Any]) -> Reading:
    """Run it once, its rubbish of earlier runs collected before."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return Reading(cpu=time.process_time() - cpu, wall=time.perf_counter() - wall)


def compare(
    name: str,
    readings: Mapping[str, Sequence[Reading]],
    *,
    over: tuple[str, str],
    claim: str | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Figure:
    """How many times the time of the second of `over` the first takes, round by round."""
    above, below = (readings[side] for side in over)
    pairs = list(zip(above, below, strict=True))
    return Figure(
        name=name,
        value=Spread.of([a.cpu / b.cpu for a, b in pairs]),
        wall=Spread.of([a.wall / b.wall for a, b in pairs]),
        claim=claim,
        seconds={side: statistics.median(reading.cpu for reading in readings[side]) for side in over},
        facts=facts or {},
    )


def like_a_worker() -> None:
    """Arithmetic on one thread, in this process and its children, and freed memory kept in this one, as mmbench's
    workers do: a loop whose largest tensors are mapped anew at each step would be measured by its page faults."""
    import torch

    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    torch.set_num_threads(1)
    if allocator := getattr(ctypes.CDLL(None), "mallopt", None):  # glibc has it
        allocator(MMAP_MAX, 0)
        allocator(TRIM_THRESHOLD, 2**31 - 1)


def machine() -> dict[str, Any]:
    """Where and when: what a reader needs to weigh the figures."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": {name: found for name in LIBRARIES if (found := _version(name))},
        "commit": _git("rev-parse", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--untracked-files=no")),
    }


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    for line in facts.read_text().splitlines() if facts.exists() else ():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(*command: str) -> str | None:
    try:
        done = subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
