"""Appending survives kills; torn lines are set aside, other damage is named, nonsense is refused."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmbench.api.record import Trial, to_json
from mmbench.api.suite import Budget, ContenderSpec, Suite, TaskSpec
from mmbench.errors import StoreError
from mmbench.store.chain import to_line
from mmbench.store.reading import history, read_run
from mmbench.store.writing import Store

CELL = "0123456789abcdef"
SUITE = Suite("small", 1, Budget(), (TaskSpec("digits", "digits", "accuracy"),), (ContenderSpec("concat"),))


def trial(number: int, score: float = 0.5) -> Trial:
    return Trial(CELL, number, {"width": 32}, "ok", None, score, [0.25, 0.5], epochs=2, seconds=0.125)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "results" / "small"


def lines(folder: Path) -> list[bytes]:
    return (folder / "trials.jsonl").read_bytes().splitlines(keepends=True)


APPEND = """
import sys
from pathlib import Path
from mmbench.store import suitefile
from mmbench.store.reading import history
from mmbench.store.writing import Store
sys.path.insert(0, sys.argv[2])
from test_chain import CELL, SUITE, trial
store = Store.open(Path(sys.argv[1]), SUITE)
stored = history(Path(sys.argv[1]))
start = len(stored[CELL].trials) if stored else 0
print(start, flush=True)
for number in range(start, 1_000_000):
    store.add_trial(trial(number))
"""


def test_a_backup_of_hard_links_stays_what_it_was(folder: Path, tmp_path: Path) -> None:
    """As `cp -al` makes one: an appended row would be in both."""
    with Store.open(folder, SUITE) as store:
        store.add_trial(trial(0))
    backup = tmp_path / "backup.jsonl"
    backup.hardlink_to(folder / "trials.jsonl")
    with Store.open(folder, SUITE) as store:
        store.add_trial(trial(1))
    assert (len(backup.read_bytes().splitlines()), len(lines(folder))) == (1, 2)
    assert sorted(path.name for path in folder.iterdir() if path.suffix == ".tmp") == []


def test_kill_9_while_appending_loses_no_stored_row(folder: Path) -> None:
    seen = 0
    for _ in range(4):
        worker = subprocess.Popen(
            [sys.executable, "-c", APPEND, str(folder), str(Path(__file__).parent)], stdout=subprocess.PIPE, text=True
        )
        assert worker.stdout is not None
        start = int(worker.stdout.readline())
        assert start >= seen
        reading_until = time.monotonic() + 0.3
        while time.monotonic() < reading_until:  # a reader needs no lock
            found = history(folder)
            seen = max(seen, len(found[CELL].trials) if found else 0)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        worker.stdout.close()
    assert seen > 10
    with Store.open(folder, SUITE):
        trials = history(folder)[CELL].trials
    assert [t.number for t in trials] == list(range(len(trials)))
    assert len(trials) >= seen


@pytest.mark.parametrize("cut", [1, 2, 30, 75, 79, 150])
def test_a_torn_last_line_is_set_aside_and_the_rest_goes_on(folder: Path, cut: int) -> None:
    with Store.open(folder, SUITE) as first:
        for number in range(3):
            first.add_trial(trial(number))
        assert first.notes == []
    path = folder / "trials.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert len(history(folder)[CELL].trials) == 2
    with Store.open(folder, SUITE) as again:
        assert again.notes == ["trials.jsonl: the last line was incomplete, and is set aside in trials.jsonl.torn"]
        again.add_trial(trial(2))
    assert path.read_bytes() == whole
    assert (folder / "trials.jsonl.torn").read_bytes() == lines(folder)[-1][:-cut] + b"\n"


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_told_to_stop_while_a_row_goes_to_the_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row is whole: it stays, and the next one follows it."""
    to_disk = os.fsync

    def stopped(descriptor: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        to_disk(descriptor)

    with Store.open(folder, SUITE) as store:
        store.add_trial(trial(0))
        with monkeypatch.context() as now:
            now.setattr(os, "fsync", stopped)
            with pytest.raises(KeyboardInterrupt):
                store.add_trial(trial(1))
        store.add_trial(trial(2))
    assert [t.number for t in history(folder)[CELL].trials] == [0, 1, 2]


@pytest.mark.parametrize("tail", [b"\x00" * 5000, b"garbage\n", b'{"seq":2', b"\n"])
def test_bytes_after_the_last_line_are_set_aside(folder: Path, tail: bytes) -> None:
    with Store.open(folder, SUITE) as first:
        first.add_trial(trial(0))
    path = folder / "trials.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + tail)
    assert len(history(folder)[CELL].trials) == 1
    Store.open(folder, SUITE).close()
    assert path.read_bytes() == whole


def test_a_damaged_line_elsewhere_is_named(folder: Path) -> None:
    with Store.open(folder, SUITE) as first:
        for number in range(4):
            first.add_trial(trial(number))
    path, good = folder / "trials.jsonl", lines(folder)
    for wrong, said in (
        ([good[0], good[1].replace(b'"ok"', b'"no"'), *good[2:]], "line 2: is damaged: its checksum is wrong"),
        ([good[0], b"\n", *good[1:]], "line 2: is damaged"),
        ([good[0], *good[2:]], "line 2: does not follow from the line before it"),
        ([good[1], good[0], *good[2:]], "line 1: does not follow from the line before it"),
        ([*good, good[-1]], "line 5: does not follow from the line before it"),
    ):
        path.write_bytes(b"".join(wrong))
        for attempt in (lambda: history(folder), lambda: Store.open(folder, SUITE)):
            with pytest.raises(StoreError, match=re.escape(f"{path}, {said}")):
                attempt()


def test_a_row_that_was_rewritten_and_signed_anew_breaks_the_chain(folder: Path) -> None:
    with Store.open(folder, SUITE) as first:
        for number in range(3):
            first.add_trial(trial(number))
    good = lines(folder)
    previous = json.loads(good[0])["sha256"]
    forged, _ = to_line(1, previous, "trial", to_json(trial(1, score=0.99)))
    (folder / "trials.jsonl").write_bytes(good[0] + forged + good[2])
    with pytest.raises(StoreError, match="line 3: does not follow from the line before it"):
        history(folder)


ROW = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["trial", "refit", "record", "targets", "other"]),
            st.dictionaries(st.sampled_from(["cell", "task", "params", "metrics", "refits", "schema", "x"]), ROW),
        ),
        min_size=1,
        max_size=3,
    ),
    st.binary(max_size=40),
)
def test_no_file_gives_anything_but_a_store_error(
    tmp_path: Path, rows: list[tuple[str, dict[str, object]]], tail: bytes
) -> None:
    """Well-signed nonsense, then bytes: readers give rows or a StoreError."""
    folder = tmp_path / "fuzz"
    if not folder.exists():
        Store.open(folder, SUITE).close()
    previous, content = "0" * 64, b""
    for number, (kind, row) in enumerate(rows):
        line, previous = to_line(number, previous, kind, row)
        content += line
    for name in ("trials.jsonl", "records.jsonl"):
        (folder / name).write_bytes(content + tail)
    for read in (read_run, lambda place: dict(history(place)), lambda place: Store.open(place, SUITE).close()):
        with suppress(StoreError):
            read(folder)
