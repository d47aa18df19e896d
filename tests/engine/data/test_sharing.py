"""Features made by several processes: nothing twice, little lost with one that is killed, the same whoever did it."""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import mmbench as mb
from mmbench.engine.data import features, units
from mmbench.engine.data.features import PRESENT, Prepared
from mmbench.engine.data.tables import Table, materialise
from mmbench.errors import DataError

SPAWN = multiprocessing.get_context("spawn")


class Rows(mb.Dataset):
    """1,000 rows of two numbers; every seventh is missing."""

    name = "rows"
    columns = {"numbers": "tabular"}
    target: ClassVar[Any] = mb.Number("target")
    licence = "CC0-1.0"

    def load(self, cache: Path) -> Any:
        from datasets import Dataset, DatasetDict, Features, List, Value

        form = Features(numbers=List(Value("float32")), target=Value("float32"))
        splits = {}
        for split, n in {"train": 1000, "validation": 300, "test": 40}.items():
            numbers = [None if i % 7 == 3 else [float(i), 1.0] for i in range(n)]
            splits[split] = Dataset.from_dict({"numbers": numbers, "target": [0.0] * n}, features=form)
        return DatasetDict(splits)


class Slow(mb.Encoder):
    """Takes its time, and writes down which rows it was given."""

    name = "slow"
    kind = "tabular"

    def fit(self, column: Sequence[Any], params: Mapping[str, Any]) -> dict[str, Any]:
        self.note("fit", len(column))
        return dict(params)

    def transform(self, state: Mapping[str, Any], column: Sequence[Any]) -> dict[str, Any]:
        self.note("rows", [float(value[0]) for value in column])
        if len(column) > 1:  # nobody goes on before all have begun
            wait_for(lambda: len(list(Path(os.environ["NOTES"]).iterdir())) >= int(os.environ.get("TOGETHER", "1")))
        time.sleep(float(os.environ.get("SLOW", "0.02")))
        return {"x": np.stack(column) * 2, "half": np.stack(column).astype(np.float16)}

    def note(self, what: str, value: Any) -> None:
        with (Path(os.environ["NOTES"]) / f"{os.getpid()}.jsonl").open("a") as file:
            file.write(json.dumps([what, value]) + "\n")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    (tmp_path / "notes").mkdir()
    return tmp_path / "cache"


def prepared(cache: Path) -> Prepared:
    return Prepared(materialise(Rows(), cache), "numbers", Slow(), {}, cache=cache, code=("", {}))


def make(cache: Path) -> None:
    prepared(cache).ensure()


def take_part(cache: Path) -> None:
    prepared(cache).assist()


def notes(cache: Path) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {"fit": [], "rows": []}
    for path in (cache.parent / "notes").iterdir():
        for line in path.read_text().splitlines():
            what, value = json.loads(line)
            found[what].append(value)
    return found


def given(cache: Path) -> int:
    return sum(map(len, notes(cache)["rows"]))


def check(made: Prepared) -> None:
    """Every value is where it belongs."""
    for split, n in {"train": 1000, "validation": 300, "test": 40}.items():
        arrays, rows = made.arrays(split), np.arange(n)
        here = rows % 7 != 3
        assert (arrays[PRESENT] == here).all()
        assert (arrays["x"] == np.where(here[:, None], np.c_[2 * rows, np.full(n, 2)], 0)).all()
        assert arrays["half"].dtype == np.float16
    left = [path.name for path in made.folder.parent.iterdir() if path != made.folder]
    assert all(name.endswith((".lock", ".use")) for name in left), left


PRESENT_ROWS = sum(n - len(range(3, n, 7)) for n in (1000, 300, 40))


@pytest.mark.slow
def test_three_processes_share_the_work(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOGETHER", "3")
    materialise(Rows(), cache)
    processes = [SPAWN.Process(target=make, args=(cache,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    found = notes(cache)
    assert len(found["fit"]) == 1
    assert given(cache) == PRESENT_ROWS + 1, "no row twice, but for one, to learn the shape of a row"
    assert len(list((cache.parent / "notes").iterdir())) == 3, "each took part, while the others were at it"
    check(prepared(cache))


def test_what_a_killed_process_had_done_is_not_done_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLOW", "0.1")
    materialise(Rows(), cache)
    process = SPAWN.Process(target=make, args=(cache,))
    process.start()
    wait_for(lambda: given(cache) > units.SIZE + 64)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    monkeypatch.setenv("SLOW", "0")
    before = given(cache)
    made = prepared(cache)
    assert not made.folder.exists()
    made.ensure()
    assert len(notes(cache)["fit"]) == 1
    assert given(cache) <= PRESENT_ROWS + 1 + units.SIZE, "only the unit in hand is lost"
    assert given(cache) > before
    check(made)


@pytest.mark.slow
def test_a_helper_goes_when_nothing_is_left_and_the_last_unit_is_taken_over(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLOW", "0.1")
    materialise(Rows(), cache)
    take_part(cache)  # nothing is begun yet
    process = SPAWN.Process(target=make, args=(cache,))
    process.start()
    wait_for(lambda: len(notes(cache)["rows"]) > 1)
    take_part(cache)
    assert not prepared(cache).folder.exists() or process.exitcode == 0
    process.join()
    assert process.exitcode == 0
    assert given(cache) == PRESENT_ROWS + 1
    check(prepared(cache))


def test_a_draft_of_another_boot_is_not_trusted(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = prepared(cache)
    with monkeypatch.context() as patch:
        patch.setattr(features, "boot", lambda: "earlier")
        patch.setattr(Slow, "transform", interrupted)
        with pytest.raises(KeyboardInterrupt):
            made.ensure()
    assert [path.name for path in made.folder.parent.glob("*.draft")] == [f"{made.folder.name}.earlier.draft"]
    made.ensure()
    assert len(notes(cache)["fit"]) == 2


def interrupted(self: Slow, state: Any, column: Sequence[Any]) -> dict[str, Any]:
    if len(column) > 1:
        raise KeyboardInterrupt
    return {"x": np.stack(column), "half": np.stack(column)}


def test_a_full_disk_is_met_before_anything_is_computed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    made = prepared(cache)
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(DataError, match=r"can't write .*: No space left on device; free some space and run again"):
            made.ensure()
    assert not list(made.folder.parent.glob("*.draft"))
    assert given(cache) == 1
    made.ensure()
    check(made)


def test_what_is_written_to_the_arrays_is_not_kept(cache: Path) -> None:
    made = prepared(cache)
    made.ensure()
    made.arrays("test")["x"][:] = 7
    check(made)


def test_values_are_read_by_place_slice_and_in_turn(cache: Path) -> None:
    column = materialise(Rows(), cache).values("train", "numbers")
    assert len(column) == 1000
    assert column[3] is None
    assert column[-1] is not None
    assert [v if v is None else v[0] for v in column[2:5]] == [2.0, None, 4.0]
    assert [v is not None for v in column] == column.present.tolist()
    some = column.only(column.present)
    assert [value[0] for value in some] == [float(i) for i in range(1000) if i % 7 != 3]
    few = Table(Rows(), materialise(Rows(), cache).folder, limit=10).values("train", "numbers")
    assert [v is None or v[0] == 111 * i for i, v in enumerate(few)] == [True] * 10
    assert [i for i, v in enumerate(few) if v is None] == [i for i in range(10) if 111 * i % 7 == 3]
    with pytest.raises(IndexError):
        column[1000]


def wait_for(true: Any) -> None:
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)
