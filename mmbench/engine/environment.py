"""Where a run took place: written beside every record."""

import hashlib
import os
import platform
import subprocess
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mmbench.engine.executors import sandbox
from mmbench.engine.identity import PROTOCOL
from mmbench.plugins import Catalog


def environment(device: str, executor: str, catalog: Catalog) -> dict[str, Any]:
    """Machine, libraries, the commit of mmbench's own checkout if it is one, and the plugins that were loaded."""
    said = {"executor": executor, "sandbox": sandbox.state(), "device": device, "plugins": catalog.code}
    return {**_machine(), **said}


@cache
def _machine() -> dict[str, Any]:
    from mmbench import __version__

    return {
        "mmbench": __version__,
        "protocol": PROTOCOL,
        "engine": _engine_hash(),
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": 1,
        "libraries": _libraries(),
    }


def _engine_hash() -> str:
    """A hash of mmbench's api and engine: a note of which code it was, and no condition of anything."""
    root = Path(__file__).parent.parent
    files = sorted([*(root / "api").glob("*.py"), *(root / "engine").rglob("*.py")])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def _libraries() -> dict[str, str]:
    """The versions, with what is said of their build, of the libraries that costs may depend on."""
    found = {}
    for name in ("torch", "optuna", "numpy", "scikit-learn", "tokenizers", "datasets"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _commit() -> str | None:
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
