"""Built-in plugin mmbench-hf: models of the hub, or of one's own, as a suite's `[encoder.NAME]` describes them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mmbench as mb


@mb.hookimpl
def mmbench_own_encoder(name: str, table: Mapping[str, Any], folder: Path) -> mb.Encoder | None:
    from mmbench_hf.form import make

    return make(name, table, folder)
