"""A real run, made once, and a forger who has a copy of it: one who knows the format and can do all arithmetic anew."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mmbench import plugins, session
from mmbench.plugins import Catalog
from mmbench.store.chain import FIRST, to_line
from mmbench.trust import seal
from mmbench.trust.findings import Report
from mmbench.trust.verify import verify

HERE = Path(__file__).parent
TOYS = str(HERE.parent / "toys.py")
Row: TypeAlias = dict[str, Any]


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return plugins.load([TOYS])


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, as `mmbench run` leaves it. Not to be changed."""
    place = tmp_path_factory.mktemp("trust")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMBENCH_CACHE", str(place / "cache"))
        run = session.run(HERE / "small.toml", plugins=[TOYS], results=place / "results", workers=2)
    assert not run.failed
    return run.folder


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run whose search is long enough for its later trials to depend on the scores of earlier ones."""
    place = tmp_path_factory.mktemp("searched")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMBENCH_CACHE", str(place / "cache"))
        return session.run(HERE / "searched.toml", plugins=[TOYS], results=place / "results", workers=2).folder


class Forger:
    """Changes a copy of a run. `rows` and `write` go through a chained file and compute its checksums anew."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def lines(self, name: str) -> list[bytes]:
        return (self.folder / name).read_bytes().splitlines(keepends=True)

    def replace(self, name: str, lines: list[bytes]) -> None:
        """Change a file and nothing else."""
        (self.folder / name).write_bytes(b"".join(lines))

    def rows(self, name: str) -> list[tuple[str, Row]]:
        return [(line["kind"], line["row"]) for line in map(json.loads, self.lines(name))]

    def write(self, name: str, rows: list[tuple[str, Row]]) -> None:
        """Write a chained file in which every checksum is right."""
        content, previous = b"", FIRST
        for number, (kind, row) in enumerate(rows):
            line, previous = to_line(number, previous, kind, row)
            content += line
        (self.folder / name).write_bytes(content)

    def change(self, name: str, what: Callable[[str, Row], None]) -> None:
        """Call `what(kind, row)` on each row, and write them all with right checksums."""
        rows = self.rows(name)
        for kind, row in rows:
            what(kind, row)
        self.write(name, rows)

    def drop(self, name: str, unwanted: Callable[[str, Row], bool]) -> None:
        self.write(name, [(kind, row) for kind, row in self.rows(name) if not unwanted(kind, row)])

    def become(self, contender: str, trial: Row) -> None:
        """Have a contender's record and its tuned refits say that this trial won; what it spent is counted anew."""
        cell, params = self.cell(contender), trial["params"]
        first = trial["number"] == 0
        if first:
            self.drop("trials.jsonl", lambda kind, row: row["cell"] == cell and row.get("role") == "default")
        self.change("trials.jsonl", lambda kind, row: _retuned([row] if kind == "refit" else [], cell, params))
        rows = [row for _, row in self.rows("trials.jsonl") if row["cell"] == cell]
        trials, refits = [row for row in rows if "number" in row], [row for row in rows if "role" in row]
        spent = {
            "trials": len(trials),
            "pruned": sum(row["status"] == "pruned" for row in trials),
            "failed": sum(row["status"] not in ("ok", "pruned") for row in trials),
            "epochs": sum(row["epochs"] for row in trials),
            "seconds": sum(row["seconds"] for row in rows),
            "test_accesses": len(refits),
        }
        own = {"params": params, "refits": refits, "spent": spent}
        self.change("records.jsonl", lambda kind, row: row.update(own) if row.get("cell") == cell else None)

    def seal(self) -> None:
        seal.write(self.folder)

    def record(self, contender: str) -> Row:
        return next(
            row for kind, row in self.rows("records.jsonl") if kind == "record" and row["contender"] == contender
        )

    def cell(self, contender: str) -> str:
        return str(self.record(contender)["cell"])

    def with_default(self) -> str:
        """A contender whose default configuration did not win, so that it was refitted too."""
        for kind, row in self.rows("records.jsonl"):
            if kind == "record" and any(refit["role"] == "default" for refit in row["refits"]):
                return str(row["contender"])
        raise AssertionError("the run has no such contender")

    def refits(self, contender: str, change: Callable[[Row], None], *, where: Callable[[Row], bool]) -> None:
        """Change a contender's refits alike in trials.jsonl and in its record, with right checksums."""
        cell = self.cell(contender)
        self.change("trials.jsonl", lambda kind, row: _apply([row] if kind == "refit" else [], cell, change, where))
        self.change("records.jsonl", lambda kind, row: _apply(row.get("refits", []), cell, change, where))

    def arrays(self, file: str, change: Callable[[dict[str, Any]], None]) -> str:
        """Change stored arrays; gives the file's new sha256."""
        path = self.folder / "predictions" / file
        arrays = {name: np.array(array) for name, array in load_file(path).items()}
        change(arrays)
        save_file(arrays, path)
        return str(seal.digest(path))

    @staticmethod
    def flip(array: Any) -> None:
        """Turn one item's decision, or one item's class, into another."""
        array[0] = array[0][::-1].copy() if array.ndim == 2 else (array[0] + 1) % 4


def _retuned(refits: list[Row], cell: str, params: Row) -> None:
    _apply(refits, cell, lambda refit: refit.update(params=params), lambda refit: refit["role"] == "tuned")


def _apply(refits: list[Row], cell: str, change: Callable[[Row], None], where: Callable[[Row], bool]) -> None:
    for refit in refits:
        if refit["cell"] == cell and where(refit):
            change(refit)


@pytest.fixture
def forger(honest: Path, tmp_path: Path) -> Forger:
    return Forger(Path(shutil.copytree(honest, tmp_path / "small")))


@pytest.fixture
def searcher(searched: Path, tmp_path: Path) -> Forger:
    """The forger of `searched`."""
    return Forger(Path(shutil.copytree(searched, tmp_path / "searched")))


Examine: TypeAlias = Callable[..., Report]


@pytest.fixture(scope="session")
def examine(catalog: Catalog) -> Examine:
    def run(folder: Path, **options: Any) -> Report:
        return verify(folder, catalog, **options)

    return run
