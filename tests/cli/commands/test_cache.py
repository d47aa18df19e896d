"""`mmbench cache`: what it lists, what it deletes, and what it leaves alone."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmbench.engine.data import shelf

Type = Callable[..., Any]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two folders of features, one used 40 days ago, and a dataset."""
    monkeypatch.setenv("MMBENCH_CACHE", str(tmp_path))
    monkeypatch.delenv(shelf.LIMIT, raising=False)
    for name, days in (("a" * 24, 40), ("b" * 24, 1)):
        folder = tmp_path / "features" / name
        folder.mkdir(parents=True)
        meta = {"what": f"toy: left by {name[0]}", "dataset": "toy", "encoder": name[0]}
        shelf.write_meta(folder, meta)
        (folder / "train.x.npy").write_bytes(b"x" * 2_000_000)
        shelf.Hold(folder)
        then = time.time() - days * 86_400
        os.utime(folder.with_name(f"{name}.use"), (then, then))
    table = tmp_path / "tables" / "toy-0123"
    table.mkdir(parents=True)
    (table / "facts.json").write_text("{}")
    return tmp_path


def test_lists_the_latest_first(mmbench: Type, cache: Path) -> None:
    listed = mmbench("cache").out.splitlines()
    assert [line.split()[0] for line in listed[2:5]] == ["dataset", "features", "features"]
    assert "toy: left by b" in listed[3]
    assert "2.0 MB" in listed[3]
    assert listed[-1].startswith(f"{cache}: 4.0 MB; features 4.0 MB of at most ")
    found = json.loads(mmbench("cache", "ls", "--format", "json").out)
    assert [(entry["kind"], entry["encoder"]) for entry in found] == [
        ("dataset", None),
        ("features", "b"),
        ("features", "a"),
    ]
    assert len(json.loads(mmbench("cache", "ls", "--format", "json", "--older-than", "30d").out)) == 1


def test_cleans_what_is_said_and_only_if_it_is_meant(mmbench: Type, cache: Path) -> None:
    asked = mmbench("cache", "clean", "--features", "--older-than", "30d")
    assert asked.out.splitlines()[-1] == "nothing was deleted; --yes deletes these 1, 2.0 MB"
    assert len(shelf.entries(cache)) == 3
    done = mmbench("cache", "clean", "--features", "--older-than", "30d", "--yes")
    assert done.out == "deleted 1, 2.0 MB\n"
    assert [entry.encoder for entry in shelf.entries(cache)] == ["b", None]
    assert mmbench("cache", "clean", "--datasets", "--yes").out.startswith("deleted 1, ")
    assert mmbench("cache", "clean", "--all", "--yes").out == "deleted 1, 2.0 MB\n"
    assert mmbench("cache", "clean", "--all").out == "nothing to delete\n"
    assert not any((cache / "features").iterdir())


def test_what_is_in_use_stays(mmbench: Type, cache: Path) -> None:
    hold = shelf.Hold(cache / "features" / ("b" * 24))
    answer = mmbench("cache", "clean", "--features", "--yes")
    assert answer.out == "deleted 1, 2.0 MB\nin use, and kept: toy: left by b\n"
    del hold
    assert mmbench("cache", "clean", "--features", "--yes").out == "deleted 1, 2.0 MB\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["clean"], "say what to clean: --features, --datasets or --all"),
        (["clean", "--all", "--older-than", "soon"], "--older-than can't be 'soon': give hours, days or weeks"),
    ],
)
def test_what_the_user_can_mend(mmbench: Type, cache: Path, words: list[str], said: str) -> None:
    answer = mmbench("cache", *words)
    assert answer.code == 2
    assert said in answer.err
    assert len(shelf.entries(cache)) == 3
