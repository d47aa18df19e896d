"""A user's own files, fed damage: rows, or one line that says what is wrong; never another error, a hang, a file made.

Short here. `MMBENCH_FUZZ=5000 pytest -n 0 tests/security/test_fuzz_data.py` looks longer.
"""

import io
import json
import tomllib
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmbench_own.dataset import make
from mmbench_own.guess import task
from PIL import Image

from mmbench.errors import MMBenchError
from tests.security.test_fuzz import JSON, cut, places, put

FUZZ = settings.get_profile("fuzz")
ROWS = [
    {"words": word, "kind": kind, "size": size, "picture": f"{number}.png", "day": f"2024-01-{number:02}"}
    for number, (word, kind, size) in enumerate(
        [("a cat", "x", 1.5), ("a dog", "y", -2.0), ("", "x", None), ("é 猫", "y", 1e30)] * 3, start=1
    )
]
TABLE: dict[str, Any] = {
    "columns": {
        "words": "words",
        "facts": {"columns": ["size", "day"], "kind": "tabular"},
        "picture": {"column": "picture", "kind": "image"},
    },
    "target": {"label": "kind"},
    "split": {"train": 0.5, "validation": 0.25, "test": 0.25, "stratify": False},
}
WORDS = [
    b"\n",
    b'"',
    b",",
    b"\t",
    b"\x00",
    b"\xff\xfe",
    b"nan",
    b"1e999",
    b"../",
    b"{",
    b"[" * 500,
    b"\xe2\x80\xae",
    b"PAR1",
]


def _separated(mark: str) -> bytes:
    lines = [mark.join(ROWS[0]), *(mark.join("" if v is None else str(v) for v in row.values()) for row in ROWS)]
    return "\n".join(lines).encode()


def _parquet() -> bytes:
    stream = io.BytesIO()
    pa.parquet.write_table(pa.Table.from_pylist(ROWS), stream)
    return stream.getvalue()


def _arrow() -> bytes:
    stream = io.BytesIO()
    table = pa.Table.from_pylist(ROWS)
    with pa.ipc.new_file(stream, table.schema) as writer:
        writer.write_table(table)
    return stream.getvalue()


CONTENT: dict[str, Callable[[], bytes]] = {
    "rows.csv": lambda: _separated(","),
    "rows.tsv": lambda: _separated("\t"),
    "rows.jsonl": lambda: "\n".join(map(json.dumps, ROWS)).encode(),
    "rows.parquet": _parquet,
    "rows.arrow": _arrow,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    for number in range(1, len(ROWS) + 1):
        Image.fromarray(np.full((4, 5, 3), number * 20, np.uint8)).save(folder / f"{number}.png")
    return folder


def read(table: dict[str, Any], folder: Path) -> None:
    for split in make("own", table, folder).load(folder / "cache").values():
        split.with_format("arrow")[:]


def look(folder: Path, name: str, table: dict[str, Any]) -> None:
    """Guess a table for the file and read it by the guess; read it by `table` too. Nothing may be made beside it."""
    before = set(folder.iterdir())
    with suppress(MMBenchError):
        guessed = tomllib.loads(task("own", folder / name, folder))
        read(guessed["task"][0]["data"], folder)
    with suppress(MMBenchError):
        read({"files": [name], **table}, folder)
    assert set(folder.iterdir()) - {folder / "cache"} == before - {folder / "cache"}


@pytest.mark.parametrize("name", CONTENT)
def test_what_is_damaged_below_is_sound(place: Path, name: str) -> None:
    """Else its readers would stop before they get to what the tests change."""
    (place / name).write_bytes(CONTENT[name]())
    read({"files": [name], **TABLE}, place)
    read(tomllib.loads(task("own", place / name, place))["task"][0]["data"], place)


@settings(FUZZ)
@given(data=st.data())
def test_bytes_of_a_table(place: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(list(CONTENT)))
    (place / name).write_bytes(cut(data, CONTENT[name](), WORDS))
    look(place, name, TABLE)


@settings(FUZZ)
@given(data=st.data())
def test_values_of_a_table(place: Path, data: st.DataObject) -> None:
    """Rows of JSON may hold anything anywhere; so may what the suite says of them."""
    rows, table = deepcopy(ROWS), deepcopy(TABLE)
    for value in data.draw(st.lists(st.sampled_from([rows, table]), min_size=1, max_size=3)):
        put(value, data.draw(st.sampled_from(places(value)[1:])), deepcopy(data.draw(JSON)))
    (place / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    look(place, "rows.jsonl", table)


@settings(FUZZ)
@given(data=st.data())
def test_bytes_of_a_picture(place: Path, data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"]))
    stream = io.BytesIO()
    Image.fromarray(np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)).save(stream, form)
    sound = (place / "1.png").read_bytes()
    (place / "1.png").write_bytes(cut(data, stream.getvalue(), [b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"IHDR"]))
    (place / "rows.csv").write_bytes(CONTENT["rows.csv"]())
    try:
        look(place, "rows.csv", TABLE)
    finally:
        (place / "1.png").write_bytes(sound)
