"""A real run of the toy suite, made once for all tests that only read one."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
TOYS = str(TESTS / "toys.py")


@pytest.fixture(scope="session")
def toy_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run: four contenders that work and one that fails."""
    place = tmp_path_factory.mktemp("toy")
    chosen = [word for name in ("majority", "only", "concat", "raises") for word in ("--contender", name)]
    command = [sys.executable, "-m", "mmbench", "run", str(TESTS / "toy.toml"), "--plugin", TOYS, *chosen]
    environ = {**os.environ, "MMBENCH_CACHE": str(place / "cache")}
    done = subprocess.run([*command, "--trials", "3", "-q"], cwd=place, env=environ, capture_output=True, check=False)
    assert done.returncode == 1, done.stderr
    return place / "results" / "toy"


@pytest.fixture
def toy(toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """`toy("one")` gives a copy of that run, results/one in an empty folder where the test stands."""
    monkeypatch.chdir(tmp_path)

    def copy(name: str) -> Path:
        return Path(shutil.copytree(toy_run, Path("results") / name))

    return copy
