"""`mmbench doctor`: each thing it looks at, well and not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmbench.cli.commands import doctor

Type = Callable[..., Any]


def findings(tmp_path: Path, **options: Any) -> dict[str, doctor.Finding]:
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
