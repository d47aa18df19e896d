"""Data sets without Python: a suite's `[task.data]` table says what they are, `mmbench new suite --from` writes it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mmbench as mb


@mb.hookimpl
def mmbench_own_data(name: str, table: Mapping[str, Any], folder: Path) -> mb.Dataset:
    from mmbench_own.dataset import make

    return make(name, table, folder)


@mb.hookimpl
def mmbench_guess(name: str, source: Path, folder: Path) -> str:
    from mmbench_own.guess import task

    return task(name, source, folder)
