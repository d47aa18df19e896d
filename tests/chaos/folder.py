"""What a run folder holds: as files of rows while a run is at work, and as a table that can be compared."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmbench.store import reading

TRIALS, RECORDS = "trials.jsonl", "records.jsonl"
TIMES = {"seconds", "train_throughput"}
"""What may differ between two runs."""


@dataclass(frozen=True)
class Rows:
    """The files of a run, read as bytes, without mmbench."""

    folder: Path

    def read(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            return b""

    def whole(self, name: str) -> bytes:
        """The complete lines: what was promised to last."""
        content = self.read(name)
        return content[: content.rfind(b"\n") + 1]

    def lines(self, name: str) -> list[Any]:
        return [json.loads(line) for line in self.whole(name).splitlines()]

    def count(self, kind: str) -> int:
        """How many rows of "trial", "refit" or "record" there are."""
        name = RECORDS if kind == "record" else TRIALS
        return self.whole(name).count(b'"kind":"%s"' % kind.encode())

    def repeated(self) -> list[Any]:
        """What is there more than once: trials, refits, records, targets."""
        seen: Counter[Any] = Counter()
        for name in (TRIALS, RECORDS):
            for line in self.lines(name):
                row, kind = line["row"], line["kind"]
                if kind == "trial":
                    seen[kind, row["cell"], row["number"]] += 1
                elif kind == "refit":
                    seen[kind, row["cell"], row["role"], row["seed"]] += 1
                elif kind in ("record", "targets"):
                    seen[kind, row["task"], row.get("contender")] += 1
        return [key for key, times in seen.items() if times > 1]


def table(folder: Path) -> dict[str, Any]:
    """All that a run found out, to the last bit of its predictions, without what it took."""
    run = reading.read_run(folder)
    cells = reading.history(folder)
    found: dict[str, Any] = {task: stored["sha256"] for task, stored in run.targets.items()}
    for record in run.records:
        row = asdict(record)
        for name in ("cost", "environment", "refits"):
            del row[name]
        cell = cells[record.cell]
        row["spent"] = _timeless(row["spent"])
        row["trials"] = [_timeless(asdict(trial)) for trial in cell.trials]
        row["refits"] = sorted((_timeless(asdict(r)) for r in cell.refits), key=lambda r: (r["role"], r["seed"]))
        found[f"{record.task}, {record.contender}"] = _plain(row)
    return found


def leftovers(*folders: Path) -> list[str]:
    """Half-made files and folders, which nobody will ever finish."""
    return [str(path) for folder in folders for path in folder.rglob("*") if ".draft" in path.name or _is_half(path)]


def _is_half(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(".tmp")


def _timeless(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in TIMES}


def _plain(row: Any) -> Any:
    return json.loads(json.dumps(row, sort_keys=True, default=dict))
