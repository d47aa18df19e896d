"""A small stored run to damage, and the command line as its reader meets it."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from mmbench.api.record import Record, Refit
from mmbench.api.suite import Budget, ContenderSpec, Suite, TaskSpec
from mmbench.cli.app import call
from mmbench.store.chain import FIRST, to_line
from mmbench.store.writing import Store

# `MMBENCH_FUZZ=5000 pytest tests/security` looks longer than the ordinary test run.
EXAMPLES = int(os.environ.get("MMBENCH_FUZZ", "40"))
settings.register_profile(
    "fuzz",
    max_examples=EXAMPLES,
    deadline=5000,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

OBEYED = re.compile(r"[^\n\x20-\x7e\xa0-\uffff\U00010000-\U0010ffff]|[\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
"""What a terminal, or a reader's eye, would obey: control characters, and those that turn or hide text."""
EVIL = (
    "\x1b[2J\x1b]8;;http://evil.example\x07x\x1b]8;;\x07 \u202e\u2066\u200b\r\n\n"
    "| a | <script>alert(1)</script> \x9b31m=1+1"
)
ROWS = 40


@dataclass(frozen=True)
class Answer:
    """An exit code, and what was printed."""

    code: int
    out: str
    err: str


Type = Callable[..., Answer]


@pytest.fixture
def mmbench(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Type:
    """`mmbench("list")` runs that command line in `tmp_path`; nothing it prints may act on a terminal."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Answer:
        capsys.readouterr()
        code = call(words)
        printed = capsys.readouterr()
        for text in (printed.out, printed.err):
            assert not OBEYED.search(text), (words, text)
        if code == 2:
            assert printed.err.startswith("mmbench: error: "), printed.err
            assert printed.err.count("\n") == 1, printed.err
            assert len(printed.err) < 2000, printed.err
        return Answer(code, printed.out, printed.err)

    return run


@pytest.fixture
def typed(tmp_path: Path) -> Type:
    """The same in a process of its own."""

    def run(*words: str, **environment: str) -> Answer:
        done = subprocess.run(
            [sys.executable, "-m", "mmbench", *words],
            cwd=tmp_path,
            env={**os.environ, "MMBENCH_CACHE": str(tmp_path / "cache"), **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Answer(done.returncode, done.stdout, done.stderr)

    return run


def record(task: str, contender: str, **other: Any) -> Record:
    """A record as a run leaves it."""
    made = Record(
        cell=hashlib.sha256(f"{task}/{contender}".encode()).hexdigest()[:20],
        suite={"name": "small", "version": 1, "hash": "x"},
        task=task,
        contender=contender,
        status="ok",
        reason=None,
        metric="accuracy",
        directions={"accuracy": "max"},
        dataset={"name": task, "fingerprint": "x", "licence": "MIT", "rows": {"test": ROWS}},
        modalities={"image": "image", "text": "text"},
        params={"width": 64},
        default_params={"width": 32},
        space_hash="x",
        parts={"fusion.concat": "x"},
        cost={"parameters": 12_345, "latency_ms_p50": 1.25, "throughput": 9_876.0, "peak_memory_bytes": 2**20},
        budget={"trials": 8},
        spent={"trials": 8, "failed": 0, "pruned": 1, "seconds": 75.0, "test_accesses": 1},
        environment={"mmbench": "0", "engine": "x", "sandbox": "landlock 7"},
    )
    return replace(made, **other)


def refit(of: Record, seed: int) -> Refit:
    return Refit(
        cell=of.cell,
        role="tuned",
        seed=seed,
        params={"width": 64},
        status="ok",
        reason=None,
        valid=0.5,
        metrics={"accuracy": 0.5},
        curves={"noise image": [(0.0, 0.5), (1.0, 0.25)]},
        predictions=None,
        epochs=1,
        seconds=1.0,
        train_throughput=500.0,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder: one task, two contenders, a failure."""
    place = tmp_path / "results" / "small"
    suite = Suite("small", 1, Budget(), (TaskSpec("a", "a", "accuracy"),), (ContenderSpec("concat"),))
    draw = np.random.default_rng(0)
    truth = draw.integers(0, 4, ROWS)
    with Store.open(place, suite) as store:
        store.add_targets("a", truth)
        for contender, modalities in (("concat", {"image": "image", "text": "text"}), ("only text", {"text": "text"})):
            made = record("a", contender, modalities=modalities)
            predictions = {"test": draw.random((ROWS, 4)).astype("float32")}
            stored = [store.add_refit(refit(made, seed), predictions) for seed in range(2)]
            store.add_record(replace(made, refits=stored))
        store.add_record(record("a", "broken", status="error", reason="loss became NaN"))
    return place


@pytest.fixture
def rewrite(folder: Path) -> Callable[..., None]:
    """`rewrite("records.jsonl", change)` lets `change(lines)` edit the rows, and writes a chain that is sound again:
    what an attacker does who knows how."""

    def write(name: str, change: Callable[[list[dict[str, Any]]], Any]) -> None:
        file = folder / name
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        change(lines)
        previous, content = FIRST, b""
        for number, line in enumerate(lines):
            made, previous = to_line(number, previous, line["kind"], line["row"])
            content += made
        file.write_bytes(content)

    return write


@pytest.fixture
def evil() -> str:
    """Text that acts on a terminal, turns round, breaks lines, and is mark-up of every kind."""
    return EVIL
