"""A soak: very many tiny cells through one real run, with somebody reading its folder all the time.

What is watched from outside: the resident memory and the open files of the run's process and of the server that its
workers are forked from, which must not grow with the cells; and the folder, which must be readable at every moment.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from mmbench.errors import MMBenchError
from mmbench.store import reading
from tests.chaos.folder import Rows

HERE = Path(__file__).parent
CONTENDERS = 50
"""Of each task: a board of thousands of rows is another test."""
HEAD = """
name = "soak"
[budget]
trials = 1
batch = 1
epochs = 1
refit_seeds = 1
"""
FLAT_BYTES, FLAT_FILES = 40_000, 0.02
"""What may be added for each cell. A stored cell is about 9 kB of text."""


@dataclass(frozen=True)
class Sample:
    """How a process stood when so many cells were done."""

    cells: int
    seconds: float
    memory: int
    files: int


@dataclass
class Soaked:
    """What was seen of it."""

    cells: int
    samples: list[Sample] = field(default_factory=list)
    server: list[Sample] = field(default_factory=list)
    readings: int = 0
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        lines = [f"soak: {self.cells} cells in {self.seconds:.0f} s, read {self.readings} times meanwhile"]
        for name, samples in (("run", self.samples), ("server", self.server)):
            if samples:
                first, last = samples[0], samples[-1]
                lines.append(
                    f"  {name:<7} {first.memory / 1e6:.0f} to {last.memory / 1e6:.0f} MB, "
                    f"{slope(samples, 'memory') / 1e3:+.2f} kB a cell; "
                    f"{first.files} to {last.files} files, {slope(samples, 'files'):+.4f} a cell"
                )
        return "\n".join([*lines, *(f"  fault: {fault}" for fault in self.faults)])


def soak(place: Path, *, cells: int, tell: Callable[[str], None] = print) -> Soaked:
    """Run so many cells below `place` and watch."""
    suite = place / "soak.toml"
    suite.write_text(_suite(cells))
    words = ["-m", "mmbench", "run", str(suite), "--plugin", str(HERE / "parts.py"), "--quiet", "--workers", "2"]
    environ = os.environ | {"MMBENCH_CACHE": str(place / "cache")}
    found = Soaked(cells)
    started = time.monotonic()
    with (place / "log").open("wb") as log:
        command = [sys.executable, *words, "--results", str(place / "results")]
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
    folder = place / "results" / "soak"
    reader = threading.Thread(target=_read, args=(folder, process, found))
    reader.start()
    try:
        _watch(process, folder, found, tell)
    finally:
        if process.poll() is None:
            process.kill()
        reader.join()
    found.seconds = time.monotonic() - started
    if process.returncode:
        found.faults.append(f"exit code {process.returncode}: {(place / 'log').read_text()[-2000:]}")
    else:
        _judge(folder, found)
    return found


def slope(samples: list[Sample], what: str) -> float:
    """What is added for each cell, by least squares, over the time after the first tenth."""
    some = [sample for sample in samples if sample.cells >= samples[-1].cells * 0.1]
    n = len(some)
    x = [sample.cells for sample in some]
    y = [getattr(sample, what) for sample in some]
    mean = sum(x) / n
    spread = sum((a - mean) ** 2 for a in x)
    return sum((a - mean) * (b - sum(y) / n) for a, b in zip(x, y, strict=True)) / spread if spread else 0.0


def _suite(cells: int) -> str:
    """As many tasks as it takes, the same contenders on each, fewer on the last."""
    tasks, last = -(-cells // CONTENDERS), (cells - 1) % CONTENDERS + 1
    text = HEAD
    for task in range(tasks):
        text += f'[[task]]\nname = "t{task:03}"\ndataset = "slow"\nmetric = "accuracy"\n'
        text += 'encoders = { left = ["patient"], right = ["patient"] }\n'
    but_last = [f"t{task:03}" for task in range(tasks - 1)]
    for number in range(min(cells, CONTENDERS)):
        fusion = "majority" if number % 2 else "logistic"
        text += f'[[contender]]\nname = "c{number:02}"\nfusion = "{fusion}"\n'
        text += "" if number < last else f"tasks = {json.dumps(but_last)}\n"
    return text


def _watch(process: "subprocess.Popen[bytes]", folder: Path, found: Soaked, tell: Callable[[str], None]) -> None:
    """Take a sample each half second, from the first refit on: everything is loaded then."""
    rows, started, said = Rows(folder), time.monotonic(), 0.0
    run = psutil.Process(process.pid)
    while process.poll() is None:
        time.sleep(0.5)
        # A cell is searched, and later, when all are, measured and recorded: half of it each.
        recorded = rows.count("record")
        done = rows.count("refit") + recorded
        if not done or recorded == found.cells:  # before that, and while the leaderboard is made, other things matter
            continue
        try:
            server = next(child for child in run.children() if any("forkserver" in word for word in child.cmdline()))
            for kept, who in ((found.samples, run), (found.server, server)):
                seconds = time.monotonic() - started
                kept.append(Sample(done // 2, seconds, who.memory_info().rss, who.num_fds()))
        except (psutil.NoSuchProcess, StopIteration):  # it is about to end
            continue
        if time.monotonic() - said > 30:
            said = time.monotonic()
            last = found.samples[-1]
            tell(f"  {last.seconds:5.0f} s, {done / 2:6.1f} cells, {last.memory / 1e6:.1f} MB, {last.files} files")


def _read(folder: Path, process: "subprocess.Popen[bytes]", found: Soaked) -> None:
    while process.poll() is None:
        if not (folder / reading.SUITE).exists():
            time.sleep(0.1)
            continue
        try:
            reading.read_run(folder)
            dict(reading.history(folder))
        except MMBenchError as error:
            found.faults.append(f"the folder can't be read after {found.readings} readings: {error}")
            return
        found.readings += 1
        time.sleep(0.2)


def _judge(folder: Path, found: Soaked) -> None:
    records = reading.read_run(folder).records
    if len(records) != found.cells or any(record.status != "ok" for record in records):
        found.faults.append(f"{len(records)} of {found.cells} cells have a record, or some failed")
    if repeated := Rows(folder).repeated():
        found.faults.append(f"more than once: {repeated[:3]}")
    for name, samples in (("the run", found.samples), ("the server", found.server)):
        for what, limit in (("memory", FLAT_BYTES), ("files", FLAT_FILES)):
            if len(samples) > 10 and slope(samples, what) > limit:
                found.faults.append(f"{name}: {what} grows by {slope(samples, what):.3f} a cell")
