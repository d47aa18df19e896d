"""How many cores a process may use: bound to some, in control groups of both versions, made for real where one may."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmbench.engine import cores

TELL = [sys.executable, "-c", "from mmbench.engine import cores; print(cores.usable())"]


@pytest.mark.skipif(not shutil.which("taskset"), reason="needs taskset")
def test_bound_to_one_core() -> None:
    one = str(min(os.sched_getaffinity(0)))
    assert subprocess.run(["taskset", "-c", one, *TELL], capture_output=True, text=True, check=True).stdout == "1\n"


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group that may use one core and a half, within one that may use many."""
    for top, file, text in (
        (Path("/sys/fs/cgroup/cpu"), "cpu.cfs_quota_us", "150000"),
        (Path("/sys/fs/cgroup"), "cpu.max", "150000 100000"),
    ):
        made = top / f"mmbench-test-{os.getpid()}"
        try:
            made.mkdir()
            (made / "within").mkdir()
            (made / file).write_text(text)
        except OSError:
            for folder in (made / "within", made):
                if folder.exists():
                    folder.rmdir()
            continue
        yield made / "within"
        (made / "within").rmdir()
        made.rmdir()
        return
    pytest.skip("needs leave to make a control group for cores")


def test_in_a_control_group(group: Path) -> None:
    def enter() -> None:
        (group / "cgroup.procs").write_text(str(os.getpid()))

    done = subprocess.run(TELL, capture_output=True, text=True, check=True, preexec_fn=enter)
    assert done.stdout == "1\n"


@pytest.mark.parametrize(
    ("line", "files", "found"),
    [
        ("0::/a/b", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "max 100000"}, [2.0]),
        ("0::/", {"cpu.max": "50000 100000"}, [0.5]),
        ("0::/not/seen/from/here", {"cpu.max": "300000 100000"}, [3.0]),
        ("4:cpu,cpuacct:/a", {"cpu,cpuacct/a/cpu.cfs_quota_us": "400000"}, [4.0]),
        ("4:cpu,cpuacct:/a", {"cpu,cpuacct/a/cpu.cfs_quota_us": "-1"}, []),
        ("4:cpuset:/a", {"cpuset/a/cpu.cfs_quota_us": "400000"}, []),
        ("0::/", {"cpu.max": "nonsense"}, []),
        ("0::/", {}, []),
    ],
)
def test_quotas_of_both_versions(tmp_path: Path, line: str, files: dict[str, str], found: list[float]) -> None:
    for name, text in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if name.endswith("quota_us"):
            path.with_name("cpu.cfs_period_us").write_text("100000")
    (tmp_path / "own").write_text(f"{line}\n")
    assert list(cores.quotas(tmp_path / "groups", tmp_path / "own")) == found


def test_without_control_groups(tmp_path: Path) -> None:
    assert list(cores.quotas(tmp_path, tmp_path / "none")) == []
