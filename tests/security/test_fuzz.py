"""Readers of files from strangers, fed damage: a result, or an MMBenchError; never another error, a hang, a file made.

Short here. `MMBENCH_FUZZ=5000 pytest -n 0 tests/security/test_fuzz.py` looks longer.
"""

import hashlib
import json
import zipfile
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmbench import plugins
from mmbench.api.carrier import Carrier
from mmbench.board import report, store, suitefile
from mmbench.board.chain import FIRST, to_line
from mmbench.board.gate.boards import boards
from mmbench.board.trust.verify import verify
from mmbench.errors import MMBenchError
from mmbench.plugins import Catalog

FUZZ = settings.get_profile("fuzz")
STARTER = Path(__file__).parents[2] / "suites" / "starter.toml"
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(
        [10**400, -(2**63) - 1, 1e308, -0.0, {"$float": "nan"}, {"$float": []}, {"$said": "x"}, {"$own": 1}]
    )
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value within a JSON value."""
    found = [path]
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        found += places(entry, (*path, key))
    return found


def put(value: Any, path: tuple[Any, ...], new: Any) -> None:
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = new


def cut(data: st.DataObject, content: bytes, words: list[bytes]) -> bytes:
    """A few bytes replaced, inserted or removed, anywhere."""
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(damaged)))
        stop = min(len(damaged), start + data.draw(st.sampled_from([0, 1, 4, 100])))
        damaged[start:stop] = data.draw(st.binary(max_size=8) | st.sampled_from(words))
    return bytes(damaged)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return plugins.load()


@pytest.fixture
def nothing_made(tmp_path: Path) -> Callable[[], None]:
    """Call it once all is in place, and at the end it looks for files that came since."""
    known: set[Path] = set()

    def check() -> None:
        found = set(tmp_path.rglob("*"))
        assert not known or found == known, found - known
        known.update(found)

    return check


def read_all(folder: Path, catalog: Catalog) -> None:
    """Everything that is made of a run folder without a lock, from the rows to the page."""
    store.history(folder)
    run = store.read_run(folder)
    for board in boards([run], catalog.metrics):
        report.table(board.rows, 120)
        report.csv(board.rows)
        report.markdown(board.rows)
        json.loads(report.json(board.rows))
    verify(folder, catalog)
    for record in run.records:
        for refit in record.refits:
            with suppress(MMBenchError):
                store.load_predictions(folder, refit)


@settings(FUZZ)
@given(data=st.data())
def test_bytes_of_a_run_folder(folder: Path, catalog: Catalog, nothing_made: Any, data: st.DataObject) -> None:
    nothing_made()
    name = data.draw(st.sampled_from(["records.jsonl", "trials.jsonl", "suite.toml", "predictions"]))
    files = sorted((folder / name).iterdir()) if name == "predictions" else [folder / name]
    file = data.draw(st.sampled_from(files))
    sound = file.read_bytes()
    file.write_bytes(cut(data, sound, [b"\n", b'{"', b"[" * 2000, b"9" * 5000, b"\x00", b"NaN"]))
    try:
        with suppress(MMBenchError):
            read_all(folder, catalog)
    finally:
        file.write_bytes(sound)
    nothing_made()


@settings(FUZZ)
@given(data=st.data())
def test_values_of_rows_with_right_checksums(
    folder: Path, catalog: Catalog, nothing_made: Any, data: st.DataObject
) -> None:
    """What an attacker writes who knows how to make a chain."""
    nothing_made()
    file = folder / data.draw(st.sampled_from(["records.jsonl", "trials.jsonl"]))
    sound = file.read_bytes()
    lines = [json.loads(line) for line in sound.splitlines()]
    for _ in range(data.draw(st.integers(1, 3))):
        row = data.draw(st.sampled_from(lines))["row"]
        put(row, data.draw(st.sampled_from(places(row)[1:])), deepcopy(data.draw(JSON)))
    previous, content = FIRST, b""
    for number, line in enumerate(lines):
        made, previous = to_line(number, previous, line["kind"], line["row"])
        content += made
    file.write_bytes(content)
    try:
        with suppress(MMBenchError):
            read_all(folder, catalog)
    finally:
        file.write_bytes(sound)
    nothing_made()


@settings(FUZZ)
@given(data=st.data())
def test_bytes_of_a_suite(tmp_path: Path, nothing_made: Any, data: st.DataObject) -> None:
    path = tmp_path / "suite.toml"
    words = [b"[[", b"={", b".", b"'''", b"a.b.c.d = 1\n", b"0x" + b"f" * 900, b"1e999", b"nan", b"\xe2\x80\xae"]
    path.write_bytes(cut(data, STARTER.read_bytes(), words))
    nothing_made()
    with suppress(MMBenchError):
        suite = suitefile.read(path)
        path.write_text(suitefile.write(suite))
        assert suitefile.read(path) == suite, "what is stored reads back"
    nothing_made()


@settings(FUZZ)
@given(data=st.data())
def test_bytes_of_a_carrier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: st.DataObject) -> None:
    """One whose hash is right, as its author says which it is."""
    monkeypatch.setenv("MMBENCH_CACHE", str(tmp_path / "cache"))
    name = data.draw(
        st.sampled_from(["a/b.txt", "../b.txt", "/b.txt", "a//../../b.txt", "C:b", "a\\b", "a", "", "a/\x00"])
    )
    wheel = tmp_path / "made.whl"
    with zipfile.ZipFile(wheel, "w", data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))) as archive:
        archive.writestr("a/c.txt", b"one" * 50)
        archive.writestr(name or "x", b"two" * 50)
    content = cut(data, wheel.read_bytes(), [b"PK\x01\x02", b"PK\x03\x04", b"../", b"\xff\xff\xff\xff"])
    wheel.unlink()
    carrier = Carrier("fuzz", "1", hashlib.sha256(content).hexdigest(), len(content), "CC0")
    carrier.path.parent.mkdir(parents=True, exist_ok=True)
    carrier.path.write_bytes(content)
    for look in (lambda: carrier.read("a/c.txt"), lambda: carrier.extract("a"), lambda: carrier.extract([name])):
        with suppress(MMBenchError):
            look()
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    kept = {path.name.split("-")[0] for path in (tmp_path / "cache" / "carriers").iterdir()}
    assert kept <= {"fuzz", "extracted"}


@settings(FUZZ)
@given(content=st.binary(max_size=200) | st.text(max_size=80).map(str.encode), head=st.booleans())
def test_any_bytes_as_any_file(tmp_path: Path, catalog: Catalog, content: bytes, head: bool) -> None:
    place = tmp_path / "run"
    place.mkdir(exist_ok=True)
    (place / "suite.toml").write_bytes(STARTER.read_bytes() if head else content)
    for name in ("records.jsonl", "trials.jsonl"):
        (place / name).write_bytes(content)
    with suppress(MMBenchError):
        read_all(place, catalog)
