"""A fusion that cheats where rows are cut into folds: every row is test in one of them, and train in others.

What it could read of any fold's targets, or of the data set's own, goes to a file in SEEK_REPORT.
"""

import gc
import json
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import mmbench as mb
from tests.toys import Toy


def seek() -> None:
    """Try every file of the cache that may hold targets, and every view of the table that is in reach."""
    place = Path(os.environ["SEEK_REPORT"]) / f"{os.getpid()}.json"
    if place.exists():
        return
    table = next(one for one in gc.get_objects() if type(one).__name__ == "Table")
    cache = Path(os.environ["MMBENCH_CACHE"])
    ways: dict[str, Callable[[], Any]] = {"own test": lambda: table.targets("test")}
    for split in ("train", "validation", "test"):
        ways[f"own splits {split}"] = partial(replace(table, fold=None).targets, split)
        for number in range(1, table.fold.of + 1):
            other = replace(table, fold=replace(table.fold, number=number))
            ways[f"fold {number} {split}"] = partial(other.targets, split)
    for file in cache.rglob("*.safetensors"):
        if not file.is_relative_to(cache / "features"):
            ways[f"file {file.relative_to(cache)}"] = file.read_bytes
    found = []
    for way, look in ways.items():
        try:
            look()
            found.append(way)
        except OSError:
            continue
    place.write_text(json.dumps({"fold": table.fold.number, "ways": found, "tried": list(ways)}))


class Seek(mb.Fusion):
    """Looks around, and answers by a sum of projections."""

    name = "seek"

    def build(self, inputs: Any, width: int, params: Any) -> Any:
        from torch import nn

        seek()

        class Sum(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.project = nn.ModuleDict({m: nn.Linear(spec.width, width) for m, spec in inputs.items()})

            def forward(self, features: Any) -> Any:
                return sum(self.project[m](f.pooled) for m, f in features.items())

        return Sum()


@mb.hookimpl
def mmbench_datasets() -> list[type[mb.Dataset]]:
    return [Toy]


@mb.hookimpl
def mmbench_fusions() -> list[type[mb.Fusion]]:
    return [Seek]
