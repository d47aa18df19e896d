"""How rows stand in a run's files: what many share is said once, old rows are read, types are held, little is held."""

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmbench.api.record import Record, to_json
from mmbench.errors import StoreError
from mmbench.store import reading, rows
from mmbench.store.chain import FIRST, to_line
from mmbench.store.reading import finished, history, read_run
from mmbench.store.writing import Store
from tests.store.lines import CELL, SUITE, record, refit, trial


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "results" / "small"


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    with Store.open(folder, SUITE) as opened:
        yield opened


def test_what_records_share_is_said_once(store: Store, folder: Path) -> None:
    shared: dict[str, Any] = {
        "environment": {"torch": "2", "cpu": "x" * 500},
        "params": {"width": 7},
        "default_params": {"width": 32},
    }
    written = [
        record(name, refits=[refit(0, params={"width": 7}), refit(0, role="default"), refit(1)], **shared)
        for name in ("concat", "gated", "film")
    ]
    for one in written:
        store.add_record(one)
    store.close()
    with Store.open(folder, SUITE) as again:  # what was said before is remembered
        again.add_record(record("late", **shared))
    assert read_run(folder).records == (*written, record("late", **shared))
    text = (folder / "records.jsonl").read_text()
    assert text.count("x" * 500) == text.count('"licence"') == 1
    assert text.count('{"$own":"params"}') == text.count('{"$own":"default_params"}') == 3


def test_what_nobody_said_is_missed(store: Store, folder: Path) -> None:
    store.add_record(record(environment={"$said": "0" * 16}))
    assert read_run(folder).records[0].environment == {"$said": "0" * 16}, "a mapping of that form is said, too"
    store._records.append("record", to_json(record("other", environment={"$said": "1" * 16})))
    with pytest.raises(StoreError, match=r"records\.jsonl, line 7: .* which no earlier row says"):
        read_run(folder)


def test_rows_that_spell_everything_out_are_read(store: Store, folder: Path) -> None:
    old = record(schema=1, params={"width": 32})
    store._records.append("record", to_json(old))
    assert read_run(folder).records == (old,)
    assert finished(folder) == {CELL}


def test_records_beyond_what_is_held_in_memory(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    written = [record(f"c{n}", task=f"t{n % 2}") for n in range(5)]
    for one in [*written, replace(written[1], status="error")]:
        store.add_record(one)
    monkeypatch.setattr(reading, "EAGER", 3)
    run = read_run(folder)
    expected = [written[0], *written[2:], replace(written[1], status="error")]
    assert not isinstance(run.records, tuple)
    assert list(run.records) == expected
    assert list(run.records[1:3]) == expected[1:3]
    assert {task: [r.contender for r in run.of(task)] for task in run.tasks} == {
        "t0": ["c0", "c2", "c4"],
        "t1": ["c3", "c1"],
    }
    assert list(run.cells) == [(record.task, record.contender) for record in expected]
    monkeypatch.setattr(reading, "EAGER", 10)
    assert read_run(folder).of("t1") == run.of("t1")


@pytest.mark.parametrize("remembered", [0, 2, 10_000])
def test_the_last_record_of_each_contender_counts(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch, remembered: int
) -> None:
    """Whatever its row begins with: with another cell, another suite, or a name that JSON escapes."""
    monkeypatch.setattr(rows, "REMEMBERED", remembered)
    names = ["a", 'b "quoted"', "c"]
    for turn in range(4):
        for name in names:
            store.add_record(record(name, cell=f"{turn % 3:016x}", space_hash=str(turn)))
    store._records.append("record", {"status": "ok", **to_json(record("a", space_hash="other order"))})
    found = read_run(folder).records
    assert [(one.contender, one.space_hash) for one in found] == [(names[1], "3"), ("c", "3"), ("a", "other order")]


def test_of_superseded_records_nothing_is_kept() -> None:
    latest = rows.Latest()
    row = b'{"cell":"%d","suite":{},"task":"t","contender":"c%d","status":"ok"}'
    for number in range(1000):
        latest.see(row % (number % 7, number % 3), number)
    assert latest.cells == [("t", "c0"), ("t", "c1"), ("t", "c2")]
    assert list(latest.starts) == [999, 997, 998]


def test_a_part_of_a_run_is_read_when_it_is_asked_for(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        store.add_record(record(f"c{number}", task=f"t{number % 2}"))
    monkeypatch.setattr(reading, "EAGER", 3)
    run = read_run(folder)
    decoded: list[str] = []
    spell_out = rows.Said.record

    def heard(said: rows.Said, raw: bytes) -> Record:
        decoded.append(rows.record_key(raw)[2])
        return spell_out(said, raw)

    monkeypatch.setattr(rows.Said, "record", heard)
    part = run.part([4, 1, 2], called=lambda name: f"my {name}").part([0, 1])
    assert part.cells == [("t0", "my c4"), ("t1", "my c1")]
    assert (set(part.tasks), len(part.records), decoded) == ({"t0", "t1"}, 2, [])
    assert part.of("t1") == [replace(run.records[1], contender="my c1")]
    assert set(decoded) == {"c1"}
    assert list(part.records[:1]) == [replace(run.records[4], contender="my c4")]


def test_each_cell_has_its_own_rows(store: Store, folder: Path) -> None:
    cells = (CELL, "f" * 16, 'odd "cell"')
    for number in (1, 0):
        for cell in cells:
            store.add_trial(trial(number, cell=cell))
            store.add_refit(refit(number, cell=cell))
    store.add_record(record(cell="f" * 16))
    found = history(folder)
    assert set(found) == set(cells)
    assert "unknown" not in found
    for cell in cells:
        rows_of_it = [trial(0, cell=cell), trial(1, cell=cell)], [refit(1, cell=cell), refit(0, cell=cell)]
        assert (found[cell].trials, found[cell].refits) == rows_of_it
    assert finished(folder) == {"f" * 16}


def test_what_is_stored_is_read_cell_by_cell(store: Store, folder: Path) -> None:
    """Of 4,000 trials only 8 bytes each are held, and the trials of one cell while it is looked at."""
    cells, each = 20, 200
    previous, path = FIRST, folder / "trials.jsonl"
    with path.open("wb") as file:
        for number in range(cells * each):
            row = to_json(trial(number // cells, cell=f"{number % cells:016x}"))
            line, previous = to_line(number, previous, "trial", row)
            file.write(line)
    tracemalloc.start()
    try:
        found = history(folder)
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        one = len(found[f"{7:016x}"].trials), tracemalloc.get_traced_memory()[1] - held
        tracemalloc.reset_peak()
        assert [[t.number for t in cell.trials] for cell in found.values()] == [list(range(each))] * cells
        every = tracemalloc.get_traced_memory()[1] - held
    finally:
        tracemalloc.stop()
    assert one[0] == each
    assert held < 10 * cells * each + 2_000 * cells + 20_000
    assert every < 3 * one[1]


def test_what_is_stored_later_is_not_in_the_history(store: Store, folder: Path) -> None:
    store.add_trial(trial(0))
    assert not store.history
    store.close()
    with (folder / "trials.jsonl").open("ab") as file:
        file.write(b'{"seq":1,"kind":"trial","row":{"cell":"torn')
    with Store.open(folder, SUITE) as again:
        found = history(folder)
        again.add_trial(trial(1))
        again.add_trial(trial(0, cell="f" * 16))
        for before in (again.history, found):
            assert list(before) == [CELL]
            assert before[CELL].trials == [trial(0)]
    assert [stored.number for stored in history(folder)[CELL].trials] == [0, 1]


def test_a_row_that_is_gone_when_it_is_asked_for_is_an_error(store: Store, folder: Path) -> None:
    store.add_trial(trial(0))
    found = history(folder)
    (folder / "trials.jsonl").write_bytes(b"")
    with pytest.raises(StoreError, match=r"trials\.jsonl, line 1: is no row"):
        found[CELL]
    (folder / "trials.jsonl").unlink()
    with pytest.raises(StoreError, match=r"trials\.jsonl can't be read: No such file"):
        found[CELL]


@pytest.mark.parametrize("value", ["5", 5.5, None, [5]])
def test_rows_of_wrong_types_are_refused(store: Store, folder: Path, value: object) -> None:
    store.add_trial(trial(0))
    store._trials.append("trial", to_json(trial(1)) | {"epochs": value})
    with pytest.raises(StoreError, match=r"trials\.jsonl, line 2: is no row that mmbench wrote: Expected `int`"):
        history(folder)[CELL]
    store._trials.append("trial", to_json(trial(1)) | {"number": value})
    store.close()
    with pytest.raises(StoreError, match=r"trials\.jsonl, line 3: is no row that mmbench wrote: Expected `int`"):
        Store.open(folder, SUITE)


def test_any_text_that_an_error_may_hold_can_be_read_again(folder: Path) -> None:
    reasons = ["half \ud800 of a pair", "🦉 a whole one", "back\\slash \\ud800", "a\x00b\x1b[31m\n\u2028", "ünï"]
    with Store.open(folder, SUITE) as store:
        for number, reason in enumerate(reasons):
            store.add_trial(replace(trial(number), status="error", reason=reason))
    stored = [found.reason for found in history(folder)[CELL].trials]
    assert stored == ["half ? of a pair", *reasons[1:]]


def test_warnings_of_the_data_are_sentences(store: Store, folder: Path) -> None:
    warned = record(dataset={**record().dataset, "warnings": ["4 of 10 test rows are train rows"]})
    store.add_record(warned)
    assert read_run(folder).records == (warned,)
    for wrong in ("one sentence", [1], {"a": "b"}):
        store.add_record(record(dataset={**warned.dataset, "warnings": wrong}))
        with pytest.raises(StoreError, match=r"dataset\.warnings is no list of sentences"):
            read_run(folder)
