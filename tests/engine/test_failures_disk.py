"""A disk that is full or read-only, for real: a small file system of the run's own, in a mount namespace.

Needs Linux, `unshare` and the right to use it; elsewhere these tests are left out.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mmbench.store import reading

TESTS = Path(__file__).parents[1]
SMALL_DISK = str(TESTS / "engine" / "small_disk.py")
RUN = ["run", str(TESTS / "toy.toml"), "--plugin", str(TESTS / "toys.py"), "--contender", "logistic", "--quiet"]


def may_mount() -> bool:
    if not shutil.which("unshare"):
        return False
    probe = ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not may_mount(), reason="needs a mount namespace of its own")


def on_small_disk(place: Path, kind: str) -> list[tuple[int, str]]:
    """(exit code, stderr) of each run that small_disk.py makes: with the disk full, with room again, read-only."""
    words = ["env", "MMBENCH_CACHE={place}/cache", sys.executable, "-m", "mmbench", *RUN]
    command = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, SMALL_DISK, str(place), kind, *words]
    done = subprocess.run([*command, "--results", "{place}/results"], capture_output=True, text=True, check=True)
    told: list[tuple[int, str]] = [(code, said) for code, said in json.loads(done.stdout)]
    return told


def refused(told: tuple[int, str], *expected: str) -> None:
    """Exit code 2, and one line that says what and where."""
    code, said = told
    assert code == 2, said
    assert said.startswith("mmbench: error: "), said
    assert len(said.strip().splitlines()) == 1, said
    for words in expected:
        assert words in said, said


@pytest.mark.slow
def test_no_room_for_data_or_features(tmp_path: Path) -> None:
    """The run stops with one line, charges no contender, and is done once there is room. It then needs no disk."""
    no_data, no_features, after, read_only = on_small_disk(tmp_path, "cache")
    refused(no_data, "/toy-", "No space left on device; free some space and run again")
    refused(no_features, "cache", "No space left on device", "free some space and run again")
    assert after == (0, "")
    assert read_only == (0, ""), "a cache that is complete is only read"
    assert [record.status for record in reading.read_run(tmp_path / "results" / "toy").records] == ["ok"]


@pytest.mark.slow
def test_no_room_for_results(tmp_path: Path) -> None:
    """What was stored stays: the run goes on behind it when there is room."""
    nothing, some, after, read_only = on_small_disk(tmp_path, "results")
    refused(nothing, "results/toy", "No space left on device")
    refused(some, "results/toy/", "can't be written: No space left on device")
    assert after == (0, "")
    refused(read_only, "results/toy can't be written: Read-only file system")


def test_stdout_on_a_full_disk(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    command = [sys.executable, "-m", "mmbench", "list", "fusions"]
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    refused((done.returncode, done.stderr), "stdout can't be written: No space left on device")
