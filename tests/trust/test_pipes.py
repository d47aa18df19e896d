"""A named pipe in the place of any file of a run folder keeps nobody waiting: a finding, or one line."""

import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from mmbench import session
from mmbench.errors import MMBenchError
from mmbench.store import reading
from mmbench.trust import seal

if TYPE_CHECKING:
    from tests.trust.conftest import Examine, Forger

READ_WHOLE = ("seal.json", "seal.json.sig", "plan.jsonl", "trials.jsonl", "records.jsonl")


@pytest.fixture(autouse=True)
def no_waiting() -> Iterator[None]:
    """Who waits for the other end of a pipe is woken, and fails."""

    def wake(*_: object) -> None:
        raise TimeoutError("it waits for a pipe")

    before = signal.signal(signal.SIGALRM, wake)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def pipe(forger: "Forger", name: str) -> None:
    (forger.folder / name).unlink(missing_ok=True)
    os.mkfifo(forger.folder / name)


@pytest.mark.parametrize("name", READ_WHOLE)
def test_verify_says_which_file_is_none(forger: "Forger", examine: "Examine", name: str) -> None:
    pipe(forger, name)
    with pytest.raises(MMBenchError, match=f"{name} is no ordinary file"):
        examine(forger.folder)


@pytest.mark.parametrize("name", ["environment.json", "suite.toml"])
def test_verify_still_looks_at_the_rest(forger: "Forger", examine: "Examine", name: str) -> None:
    pipe(forger, name)
    if name == "environment.json":
        with pytest.raises(MMBenchError, match="is no ordinary file"):
            seal.compute(forger.folder)
    with pytest.raises(MMBenchError, match=f"{name} is no ordinary file"):
        examine(forger.folder)


def test_a_pipe_of_predictions_is_a_finding(forger: "Forger", examine: "Examine") -> None:
    name = f"predictions/{forger.cell('gated')}.tuned.0.safetensors"
    pipe(forger, name)
    assert any("is no ordinary file" in str(finding) for finding in examine(forger.folder).findings)


def test_a_board_says_it_too(forger: "Forger") -> None:
    pipe(forger, "seal.json")
    with pytest.raises(MMBenchError, match=r"seal\.json is no ordinary file"):
        seal.notes({forger.folder: "small"})
    pipe(forger, "suite.toml")
    with pytest.raises(MMBenchError, match="no run"):
        session.find_folder(str(forger.folder))
    with pytest.raises(MMBenchError, match="is not a file"):
        reading.read_run(forger.folder)
