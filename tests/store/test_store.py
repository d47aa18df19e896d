"""The run folder: what is stored comes back, through kills, torn lines, full disks and tampering."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmbench.errors import StoreError
from mmbench.store.reading import finished, history, load_predictions, load_targets, read_run
from mmbench.store.writing import Store
from tests.store.lines import CELL, SUITE, record, refit, trial


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "results" / "small"


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    with Store.open(folder, SUITE) as opened:
        yield opened


def lines(folder: Path, name: str = "trials.jsonl") -> list[bytes]:
    return (folder / name).read_bytes().splitlines(keepends=True)


def test_what_is_stored_comes_back(store: Store, folder: Path) -> None:
    probabilities = np.array([[0.5, 0.5], [1, 0], [0, 1]], np.float32)
    for number in (1, 0, 2):
        store.add_trial(trial(number))
    kept = store.add_refit(refit(7), {"test": probabilities, "weights": probabilities[:, ::-1]})
    store.add_targets("digits", np.array([0, 1, 1]))
    store.set_environment({"torch": "2", "load": float("nan")})
    assert not finished(folder)
    store.add_record(record(refits=[kept]))

    assert finished(folder) == {CELL}
    cell = history(folder)[CELL]
    assert cell.trials == [trial(0), trial(1), trial(2)]
    assert cell.refits == [kept]
    run = read_run(folder)
    assert run.suite == SUITE
    assert run.records == (record(refits=[kept]),)
    stored = load_predictions(folder, run.records[0].refits[0])
    assert np.array_equal(stored["test"], probabilities)
    assert np.array_equal(stored["weights"], probabilities[:, ::-1])
    assert np.array_equal(load_targets(folder, "digits"), [0, 1, 1])
    assert json.loads((folder / "environment.json").read_text()) == {"torch": "2", "load": {"$float": "nan"}}
    assert kept.predictions is not None
    assert kept.predictions["file"] == f"{CELL}.tuned.7.safetensors"
    assert not list(folder.rglob(".*.tmp"))


def test_texts_come_back(store: Store, folder: Path) -> None:
    answers = np.array(["a cat", "größe ☕", ""], dtype=object)
    kept = store.add_refit(refit(7), {"test": answers})
    store.add_targets("digits", answers)
    assert load_predictions(folder, kept)["test"].tolist() == answers.tolist()
    assert load_targets(folder, "digits").tolist() == answers.tolist()
    with pytest.raises(StoreError, match="neither numbers nor a text a row"):
        store.add_refit(refit(8), {"test": np.array([object()])})


def test_numbers_that_are_not_finite_come_back_and_the_file_is_strict_json(store: Store, folder: Path) -> None:
    odd = trial(0, score=float("-inf"), curve=[float("inf"), 0.5], params={"x": np.float32(0.5), "s": "NaN"})
    store.add_trial(odd)
    store.add_trial(trial(1, score=float("nan")))
    first, second = history(folder)[CELL].trials
    assert first == odd
    assert second.score is not None
    assert np.isnan(second.score)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    for line in lines(folder):
        json.loads(line, parse_constant=refuse)


def test_the_last_record_of_a_contender_counts(store: Store, folder: Path) -> None:
    store.add_record(record(cell="a" * 16))
    store.add_record(record("other"))
    store.add_record(record(cell="b" * 16, status="error", reason="NaN"))
    assert [(r.contender, r.cell) for r in read_run(folder).records] == [("other", CELL), ("concat", "b" * 16)]
    assert finished(folder) == {"a" * 16, "b" * 16, CELL}


def test_test_is_seen_once_and_trials_are_counted(store: Store, folder: Path) -> None:
    store.add_trial(trial(0))
    store.add_refit(refit(0))
    store.add_refit(refit(1, status="error"))
    store.add_refit(refit(1))
    store.close()
    with Store.open(folder, SUITE) as again:
        with pytest.raises(StoreError, match="was scored on test before"):
            again.add_refit(refit(0))
        with pytest.raises(StoreError, match="has a trial 0 already"):
            again.add_trial(trial(0))
        again.add_refit(refit(0, role="default"))
        again.add_trial(trial(1))
    assert len(lines(folder)) == 6


def test_targets_are_written_once(store: Store, folder: Path) -> None:
    for _ in range(2):
        store.add_targets("digits", np.arange(3))
    assert len(lines(folder, "records.jsonl")) == 1
    store.add_targets("digits", np.arange(4))
    assert len(load_targets(folder, "digits")) == 4
    with pytest.raises(StoreError, match=r"unknown task '\.\./digits'"):
        store.add_targets("../digits", np.arange(3))
    with pytest.raises(StoreError, match="no targets are stored for task 'other'"):
        load_targets(folder, "other")


def test_file_names_come_from_keys_only(store: Store, folder: Path) -> None:
    kept = store.add_refit(refit(0, cell="../../x y"), {"test": np.zeros(2)})
    assert kept.predictions is not None
    assert re.fullmatch(r"[0-9a-f]{32}\.tuned\.0\.safetensors", kept.predictions["file"])
    assert (folder / "predictions" / kept.predictions["file"]).is_file()


def test_arrays_that_safetensors_cannot_hold(store: Store) -> None:
    with pytest.raises(StoreError, match="can't be stored"):
        store.add_refit(refit(0), {"test": np.array([object()])})


# One writer.


OPEN = """
import sys
from pathlib import Path
from mmbench.store import suitefile
from mmbench.store.writing import Store
folder = Path(sys.argv[1])
Store.open(folder, suitefile.read(folder / "suite.toml"))
"""


def test_a_second_writer_is_told_who_the_first_is(store: Store, folder: Path) -> None:
    with pytest.raises(StoreError, match=rf"in use by another run \(process {os.getpid()}\)"):
        Store.open(folder, SUITE)
    done = subprocess.run([sys.executable, "-c", OPEN, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"StoreError: {folder} is in use by another run (process {os.getpid()})" in done.stderr
    store.close()
    Store.open(folder, SUITE).close()


def test_altered_predictions_and_paths_that_lead_out(store: Store, folder: Path, tmp_path: Path) -> None:
    kept = store.add_refit(refit(0), {"test": np.zeros(2)})
    assert kept.predictions is not None
    path = folder / "predictions" / kept.predictions["file"]
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"\x01")
    with pytest.raises(StoreError, match="was altered"):
        load_predictions(folder, kept)
    outside = tmp_path / "outside.safetensors"
    outside.write_bytes(content)
    for name in ("../../../outside.safetensors", str(outside), "", ".hidden.safetensors", "a\n.safetensors"):
        with pytest.raises(StoreError, match="is no name of a file of predictions"):
            load_predictions(folder, replace(kept, predictions={**kept.predictions, "file": name}))
    path.unlink()
    with pytest.raises(StoreError, match="can't be read: No such file"):
        load_predictions(folder, kept)
    path.symlink_to(outside)
    with pytest.raises(StoreError, match="is a symbolic link"):
        load_predictions(folder, kept)
    with pytest.raises(StoreError, match="has no stored predictions"):
        load_predictions(folder, refit(0))


@pytest.mark.parametrize("name", ["", "trials.jsonl", "records.jsonl", "suite.toml", ".lock", ".owner"])
def test_symbolic_links_in_a_run_folder_are_refused(folder: Path, tmp_path: Path, name: str) -> None:
    Store.open(folder, SUITE).close()
    place = folder / name if name else folder
    outside = tmp_path / "outside"
    place.rename(outside)
    before = outside.read_bytes() if outside.is_file() else b""
    place.symlink_to(outside)
    with pytest.raises(StoreError, match="is a symbolic link"):
        Store.open(folder, SUITE)
    assert (outside.read_bytes() if outside.is_file() else b"") == before


@pytest.mark.parametrize("name", ["trials.jsonl", "records.jsonl", "suite.toml", ".lock", ".owner"])
def test_pipes_in_a_run_folder_are_refused(folder: Path, name: str) -> None:
    Store.open(folder, SUITE).close()
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(StoreError, match=r"is no ordinary file|is not a file"):
        Store.open(folder, SUITE)


def test_a_linked_folder_of_predictions_is_refused(store: Store, folder: Path, tmp_path: Path) -> None:
    (folder / "predictions").symlink_to(tmp_path)
    with pytest.raises(StoreError, match="is a symbolic link"):
        store.add_refit(refit(0), {"test": np.zeros(2)})
    assert not list(tmp_path.glob("*.safetensors"))


FULL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import numpy as np
from mmbench.store.writing import Store
from mmbench.errors import StoreError
from tests.store.lines import CELL, SUITE, record, refit, trial
from test_store import SUITE, refit, trial
store = Store.open(Path(sys.argv[1]), SUITE)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
for attempt in (lambda: [store.add_trial(trial(n)) for n in range(100)],
                lambda: store.add_refit(refit(0), {"test": np.zeros(1000)})):
    try:
        attempt()
    except StoreError as error:
        print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.add_trial(trial(50))
"""


def test_a_full_disk_is_said_and_leaves_no_half_line(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(folder), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=True,
    )
    row, arrays = done.stdout.splitlines()
    assert row == f"{folder / 'trials.jsonl'} can't be written: File too large; no earlier row is lost"
    assert arrays == f"{folder / 'predictions' / CELL}.tuned.0.safetensors can't be written: File too large"
    numbers = [t.number for t in history(folder)[CELL].trials]
    assert numbers == [*range(len(numbers) - 1), 50]
    assert len(numbers) > 3
    assert not list((folder / "predictions").iterdir())
    with Store.open(folder, SUITE) as again:
        assert again.notes == []


def test_what_a_killed_process_left_half_written_is_swept(folder: Path) -> None:
    Store.open(folder, SUITE).close()
    (folder / "predictions").mkdir()
    partial = folder / "predictions" / ".x.safetensors.1.tmp"
    partial.write_bytes(b"half")
    Store.open(folder, SUITE).close()
    assert not partial.exists()


# Which folder.


def test_a_changed_suite_is_a_new_run_and_says_so(tmp_path: Path) -> None:
    results = tmp_path / "results"
    folder, note = Store.resolve(results, SUITE)
    assert (folder, note) == (results / "small", None)
    Store.open(folder, SUITE).close()
    assert Store.resolve(results, replace(SUITE, description="words")) == (results / "small", None)
    changed = replace(SUITE, seed=1)
    other, note = Store.resolve(results, changed)
    assert re.fullmatch("small-[0-9a-f]{6}", other.name)
    assert note == f"suite 'small' has changed since {folder}, so this is another run: {other}"
    Store.open(other, changed).close()
    assert Store.resolve(results, changed)[0] == other
    with pytest.raises(StoreError, match="holds another suite"):
        Store.resolve(results, changed, "small")
    with pytest.raises(StoreError, match="holds another suite"):
        Store.open(folder, changed)
    assert Store.resolve(results, changed, fresh=True) == (results / "small", None)
    assert Store.resolve(results, changed, "my-run") == (results / "my-run", None)


@pytest.mark.parametrize("name", ["../x", "/x", ".", "..", "a/b", "Upper", ".hidden", "a\n", "x" * 200])
def test_run_names_are_never_paths(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match="run: "):
        Store.resolve(tmp_path, SUITE, name)


def test_a_linked_run_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "small").symlink_to(tmp_path)
    with pytest.raises(StoreError, match="is a symbolic link"):
        Store.resolve(tmp_path / "results", SUITE)


def test_fresh_moves_the_old_run_aside(folder: Path) -> None:
    for number in range(3):
        with Store.open(folder, replace(SUITE, seed=number), fresh=True) as store:
            store.add_trial(trial(number))
    assert sorted(p.name for p in folder.parent.iterdir()) == ["small", "small.old-1", "small.old-2"]
    assert history(folder)[CELL].trials == [trial(2)]
    assert history(folder.with_name("small.old-1"))[CELL].trials == [trial(0)]
    with Store.open(folder, SUITE, fresh=True), pytest.raises(StoreError, match="in use"):
        Store.open(folder, SUITE, fresh=True)


def test_a_folder_that_is_no_run(folder: Path) -> None:
    with pytest.raises(StoreError, match="is no run folder"):
        read_run(folder)
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"holds files but no suite\.toml"):
        Store.open(folder, SUITE)
    (folder / "suite.toml").write_text("name = ")
    with pytest.raises(StoreError, match="the run folder is damaged"):
        Store.open(folder, SUITE)
    (folder.parent / "file").write_text("")
    with pytest.raises(StoreError, match="can't be written"):
        Store.open(folder.parent / "file", SUITE)


def test_a_record_of_a_newer_mmbench_is_refused(store: Store, folder: Path) -> None:
    store.add_record(record(schema=99))
    with pytest.raises(StoreError, match=r"records\.jsonl, line 5: .* newer mmbench"):
        read_run(folder)
