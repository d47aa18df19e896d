"""Ten times the rows, the same memory: preparing and reading features holds a few rows at a time."""

import multiprocessing
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import mmbench as mb
from mmbench.engine.data.features import Prepared
from mmbench.engine.data.tables import materialise

WIDTH = 1024
SPAWN = multiprocessing.get_context("spawn")


class Wide(mb.Dataset):
    """Rows of 4 kB."""

    name = "wide"
    columns = {"numbers": "tabular"}
    target: ClassVar[Any] = mb.Number("target")
    licence = "CC0-1.0"

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def origin(self) -> str:
        return str(self.rows)

    def load(self, cache: Path) -> Any:
        from datasets import Dataset, DatasetDict, Features, List, Value

        form = Features(numbers=List(Value("float32")), target=Value("float32"))

        def rows(n: int) -> Iterator[dict[str, Any]]:
            for number in range(n):
                yield {"numbers": np.full(WIDTH, number, np.float32), "target": 0.0}

        return DatasetDict(
            {
                split: Dataset.from_generator(rows, features=form, gen_kwargs={"n": n}, cache_dir=str(cache / split))
                for split, n in {"train": self.rows, "validation": 50, "test": 50}.items()
            }
        )


class Threefold(mb.Encoder):
    """The row, three times."""

    name = "threefold"
    kind = "tabular"

    def fit(self, column: Sequence[Any], params: Mapping[str, Any]) -> dict[str, Any]:
        return {"mean": float(sum(value.mean() for value in column) / len(column))}

    def transform(self, state: Mapping[str, Any], column: Sequence[Any]) -> dict[str, Any]:
        return {"x": np.tile(np.stack(column), 3)}


def build(cache: Path, rows: int) -> None:
    materialise(Wide(rows), cache)


def work(cache: Path, rows: int, answer: Any) -> None:
    """Prepare, then read every row in batches; tells by how many bytes anonymous memory grew at most."""
    import datasets  # noqa: F401  so that libraries are there before memory is looked at
    import safetensors.numpy  # noqa: F401

    table = materialise(Wide(rows), cache)
    before, peak, end = anonymous(), [0], threading.Event()

    def look() -> None:
        while not end.wait(0.002):
            peak[0] = max(peak[0], anonymous())

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    made = Prepared(table, "numbers", Threefold(), {}, cache=cache, code=("", {}))
    made.ensure()
    x = made.arrays("train")["x"]
    order = np.random.default_rng(0).permutation(rows)
    total = sum(float(x[order[start : start + 64]].sum(dtype=np.float64)) for start in range(0, rows, 64))
    end.set()
    watcher.join()
    assert total == 3 * WIDTH * rows * (rows - 1) / 2
    answer.put((peak[0] - before, x.nbytes))


def anonymous() -> int:
    return 1024 * int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of memory")
def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    found = {}
    for rows in (500, 5_000):
        answer = SPAWN.Queue()
        for target, arguments in ((build, (tmp_path, rows)), (work, (tmp_path, rows, answer))):
            process = SPAWN.Process(target=target, args=arguments)
            process.start()
            if target is work:
                found[rows] = answer.get(timeout=120)
            process.join()
            assert process.exitcode == 0
    (few, _), (many, size) = found[500], found[5_000]
    assert size > 60_000_000
    assert many - few < 8_000_000, f"{few:,} bytes for 500 rows, {many:,} for 5,000"
