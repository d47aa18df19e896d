"""The feature store's limit: the least recently used go, what is in use stays, and a dataset is never touched."""

import errno
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import pytest

from mmbench.engine.data import shelf
from mmbench.errors import MMBenchError

MEGABYTE = 10**6
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(shelf.LIMIT, raising=False)
    return tmp_path


def put(cache: Path, name: str, *, age: float = 0.0, kind: str = "features") -> Path:
    """A megabyte that was last used `age` seconds ago."""
    folder = cache / kind / name
    folder.mkdir(parents=True)
    (folder / "train.x.npy").write_bytes(bytes(MEGABYTE))
    shelf.Hold(folder)
    then = time.time() - age
    os.utime(folder.with_name(f"{name.split('.')[0]}.use"), (then, then))
    return folder


def names(cache: Path) -> set[str]:
    return {entry.folder.name for entry in shelf.entries(cache)}


def test_the_least_recently_used_go(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, age in (("new", 1), ("old", 300), ("older", 400), ("middle", 200)):
        put(cache, name, age=age)
    put(cache, "data-0123", age=10**6, kind="tables")
    assert shelf.trim(cache) == []
    monkeypatch.setenv(shelf.LIMIT, "2.5 MB")
    assert [entry.folder.name for entry in shelf.trim(cache)] == ["older", "old"]
    assert names(cache) == {"new", "middle", "data-0123"}
    shelf.Hold(cache / "features" / "middle")
    monkeypatch.setenv(shelf.LIMIT, "1MB")
    shelf.trim(cache)
    assert names(cache) == {"middle", "data-0123"}, "it was used last"


def hold(folder: Path, ready: Any, end: Any) -> None:
    held = shelf.Hold(folder)
    ready.set()
    end.wait()
    del held


def test_what_another_process_uses_stays(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(shelf.LIMIT, "0")
    folder, ready, end = put(cache, "used"), SPAWN.Event(), SPAWN.Event()
    put(cache, "unused")
    process = SPAWN.Process(target=hold, args=(folder, ready, end))
    process.start()
    ready.wait()
    assert [entry.folder.name for entry in shelf.trim(cache)] == ["unused"]
    assert folder.exists()
    process.kill()
    process.join()
    assert [entry.folder.name for entry in shelf.trim(cache)] == ["used"], "its hold died with the process"
    assert not list(folder.parent.iterdir())


def test_old_drafts_are_swept_and_young_ones_left(cache: Path) -> None:
    put(cache, "a.0123abcd.draft", age=2 * shelf.DAY)
    put(cache, "b.0123abcd.draft", age=60)
    put(cache, "c.draft-x1y2", age=2 * shelf.DAY)
    held = shelf.Hold(put(cache, "d.0123abcd.draft", age=2 * shelf.DAY))
    assert len(shelf.trim(cache)) == 2
    assert names(cache) == {"b.0123abcd.draft", "d.0123abcd.draft"}
    del held


def test_a_hold_outlives_a_deletion_that_was_under_way(cache: Path) -> None:
    """Whoever waited for a deletion to end holds the file that stands there afterwards, not the deleted one."""
    folder = put(cache, "x")
    use = folder.with_name("x.use")
    with shelf._alone(folder) as free:
        assert free
        process = SPAWN.Process(target=take, args=(folder,))
        process.start()
        time.sleep(1.0)
        assert process.is_alive(), "it waits"
    process.join()
    assert process.exitcode == 0
    assert use.exists()


def take(folder: Path) -> None:
    held = shelf.Hold(folder)
    with shelf._alone(folder) as free:
        if free:
            raise SystemExit("the hold does not hold")
    del held


@pytest.mark.parametrize(
    ("given", "size"), [("500", 500), ("20GB", 20 * 10**9), ("1.5 tb", 1.5 * 10**12), ("3k", 3000), ("2GiB", 2 * 10**9)]
)
def test_limits(cache: Path, monkeypatch: pytest.MonkeyPatch, given: str, size: int) -> None:
    monkeypatch.setenv(shelf.LIMIT, given)
    assert shelf.limit(cache) == size


def test_a_limit_that_is_none(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(shelf.LIMIT, "much")
    with pytest.raises(MMBenchError, match="MMBENCH_CACHE_LIMIT can't be 'much': give a size such as"):
        shelf.trim(cache)


def test_a_cache_that_is_only_to_be_read_is_used_without_a_hold(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(cache, "x")

    def refuse(*_: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", refuse)
    shelf.Hold(cache / "features" / "x")
    with pytest.raises(MMBenchError, match=r"can't delete .*: Read-only file system"):
        shelf.remove(shelf.entries(cache)[0])
