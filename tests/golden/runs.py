"""Runs the golden suite and gives what it found in a form that can be kept: scores and parameters of every trial."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmbench import session
from mmbench.store import reading

HERE = Path(__file__).parent
SUITE, TOYS = HERE / "golden.toml", HERE.parent / "toys.py"
NEAR = 1e-4
"""How far a score may be from the kept one, in parts of it: processors round differently."""


def run(place: Path) -> dict[str, Any]:
    """{"TASK, CONTENDER": {"trials": [...], "refits": [...]}} of a run below `place`."""
    done = session.run(SUITE, plugins=[str(TOYS)], results=place, workers=2)
    stored = reading.history(done.folder)
    return {
        f"{record.task}, {record.contender}": {
            "status": record.status,
            "trials": [
                {"params": dict(t.params), "status": t.status, "score": t.score, "epochs": t.epochs}
                for t in stored[record.cell].trials
            ],
            "refits": [
                {"role": r.role, "seed": r.seed, "valid": r.valid, "metrics": dict(r.metrics), "curves": dict(r.curves)}
                for r in record.refits
            ],
        }
        for record in sorted(done.data.records, key=lambda record: (record.task, record.contender))
    }


def kept() -> dict[int, dict[str, Any]]:
    """What was found under each protocol, {its number: as `run` gives it}."""
    files = {int(path.stem.rpartition("-")[2]): path for path in HERE.glob("protocol-*.json")}
    return {number: json.loads(files[number].read_text()) for number in sorted(files)}


def keep(number: int, found: dict[str, Any]) -> None:
    text = json.dumps(found, indent=1, sort_keys=True)
    (HERE / f"protocol-{number}.json").write_text(text + "\n")


def differences(before: Any, after: Any, where: str = "") -> Iterator[str]:
    """Each place where two runs differ by more than rounding."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted({*before, *after}):
            yield from differences(before.get(name), after.get(name), f"{where}/{name}")
    elif isinstance(before, list | tuple) and isinstance(after, list | tuple) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from differences(one, other, f"{where}/{index}")
    elif isinstance(before, float) and isinstance(after, float):
        if abs(before - after) > NEAR * max(1.0, abs(before)):
            yield f"{where}: {before} -> {after}"
    elif before != after:
        yield f"{where}: {before} -> {after}"
