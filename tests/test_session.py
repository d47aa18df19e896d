"""`mmbench.run` as a notebook calls it: lone names for lists, a Run of one line, a table without empty columns."""

from pathlib import Path

import pytest

import mmbench as mb
from mmbench.errors import MMBenchError

TESTS = Path(__file__).parent
TOY, TOYS = TESTS / "toy.toml", str(TESTS / "toys.py")


def test_a_run_in_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMBENCH_CACHE", str(tmp_path / "cache"))
    run = mb.run(TOY, plugins=TOYS, contenders=["concat", "only left"], trials=1, results=tmp_path / "results")
    assert repr(run) == f"Run('{tmp_path}/results/toy': 2 cells, 0 failed)"
    table = run.leaderboard(plugins=[TOYS])
    assert sorted(table["contender"]) == ["concat", "only left"]
    assert "fusion_gain.mean" in table
    assert "fusion_gain" not in table, "a single modality, which has no gain, makes no column of its own"


def test_a_lone_name_is_a_name(tmp_path: Path) -> None:
    with pytest.raises(MMBenchError, match="unknown contender 'conkat': did you mean 'concat'"):
        mb.run(TOY, plugins=TOYS, contenders="conkat", results=tmp_path)
