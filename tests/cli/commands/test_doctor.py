"""`mmbench doctor`: each thing it looks at, well and not."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmbench.cli.commands import doctor
from mmbench.cli.machine import Finding

Type = Callable[..., Any]


def findings(tmp_path: Path, **options: Any) -> dict[str, Finding]:
    found = doctor.examine(results=tmp_path / "results", offline=True, **({"sources": []} | options))
    return {finding.what: finding for finding in found}


def test_a_machine_where_all_is_well(mmbench: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMBENCH_CACHE", str(tmp_path / "cache"))
    answer = mmbench("doctor", "--offline", "--results", str(tmp_path))
    assert answer.code == 0, answer.out
    for what in ("python", "cores", "memory", "cache", "results", "libraries", "torch", "device", "plugins"):
        assert f"\n{what} " in answer.out
    assert str(tmp_path / "cache") in answer.out
    assert not (tmp_path / "cache").exists(), "looking changes nothing"


def test_a_folder_that_can_not_be_written(mmbench: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MMBENCH_CACHE", str(tmp_path / "file/cache"))
    answer = mmbench("doctor", "--offline")
    assert answer.code == 1
    assert "broken: cache: set MMBENCH_CACHE to a folder that you may write to" in answer.out


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="the system has no such modes")
@pytest.mark.parametrize(
    ("mode", "told"), [(0o777, True), (0o757, True), (0o1777, False), (0o755, False), (0o700, False)]
)
@pytest.mark.parametrize("below", ["", "starter"])
def test_a_folder_that_others_can_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, told: bool, below: str
) -> None:
    monkeypatch.setenv("MMBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "results/starter").mkdir(parents=True, mode=0o755)
    (tmp_path / "results").chmod(0o755)
    (tmp_path / "results" / below).chmod(mode)
    found = findings(tmp_path)
    assert ("results access" in found) == told
    assert "cache access" not in found
    if told:
        assert f"{tmp_path / 'results' / below}: others can change" in found["results access"].detail
        assert found["results access"].advice == f"type: chmod -R go-w {tmp_path / 'results'}"
        (tmp_path / "results").rename(tmp_path / "some results")
        monkeypatch.setenv("MMBENCH_CACHE", str(tmp_path / "some results"))
        assert findings(tmp_path)["cache access"].advice == f"type: chmod -R go-w '{tmp_path / 'some results'}'"
        subprocess.run(findings(tmp_path)["cache access"].advice.removeprefix("type: "), shell=True, check=True)
        assert "cache access" not in findings(tmp_path), "what it says to type helps"


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_or_of_a_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMBENCH_CACHE", str(tmp_path / "cache"))
    for folder in ("cache", "results"):
        (tmp_path / folder).mkdir(mode=0o755)
    os.chown(tmp_path / "cache", 4242, -1)
    os.chown(tmp_path / "results", -1, 4242)
    (tmp_path / "results").chmod(0o775)
    found = findings(tmp_path)
    assert "belongs to user 4242" in found["cache access"].detail
    assert found["cache access"].advice == "set MMBENCH_CACHE to a folder of your own"
    assert "(drwxrwxr-x)" in found["results access"].detail
    os.chown(tmp_path / "results", -1, 0)
    assert "results access" not in findings(tmp_path), "root's own group has no other member"


def test_a_broken_plugin_is_told_and_not_fatal(tmp_path: Path) -> None:
    found = findings(tmp_path, sources=["no_such_module"])
    assert found["plugins"].level == "broken"
    assert "no_such_module" in found["plugins"].detail
    assert found["torch"].level == "ok"


def test_little_room_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "ROOM", 10**18)
    assert {findings(tmp_path)[what].level for what in ("cache", "results", "memory")} == {"warning"}


def test_an_index_out_of_reach_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.setenv(name, (tmp_path / "nowhere").as_uri())
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    finding = doctor._index()
    assert finding.level == "warning"
    assert "check the network" in finding.advice
