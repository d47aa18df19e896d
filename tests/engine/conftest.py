"""A cache and a results folder of its own for each test, and the toy suite run for real in worker processes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmbench import session
from mmbench.api.suite import Suite
from mmbench.store import suitefile

TESTS = Path(__file__).parents[1]
TOYS = str(TESTS / "toys.py")


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Data and features of the toys are made once for all tests of this folder."""
    monkeypatch.setenv("MMBENCH_CACHE", str(shared_cache))
    return shared_cache


@pytest.fixture
def suite() -> Suite:
    return suitefile.read(TESTS / "toy.toml")


@pytest.fixture
def execute(tmp_path: Path, suite: Suite) -> Callable[..., session.Run]:
    """Run the toy suite (or another) below `tmp_path`; options are those of `session.open_run`."""

    def run(
        which: Suite = suite, *, workers: int = 2, on_event: Any = lambda event: None, **options: Any
    ) -> session.Run:
        given: dict[str, Any] = {"plugins": [TOYS], "results": tmp_path / "results"} | options
        return session.open_run(which, **given).execute(workers=workers, on_event=on_event)

    return run
