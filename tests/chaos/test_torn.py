"""A row cut after each of its bytes: the last is repaired and computed anew, one in the middle is refused by name."""

from pathlib import Path

import pytest

from mmbench.api.record import Trial
from mmbench.errors import StoreError
from mmbench.store import reading, suitefile
from mmbench.store.writing import Store

SUITE = suitefile.read(Path(__file__).parent / "chaos.toml")
TRIALS = [Trial("a" * 20, n, {"train.lr": 0.1}, "ok", None, n / 7, [n / 7], 1, 0.5) for n in range(3)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Store.open(tmp_path / "run", SUITE) as writer:
        for trial in TRIALS:
            writer.add_trial(trial)
    return tmp_path / "run"


def numbers(folder: Path) -> list[int]:
    return [trial.number for cell in reading.history(folder).values() for trial in cell.trials]


def test_a_last_row_torn_after_any_byte_is_repaired_and_goes_on(folder: Path) -> None:
    """What a reader sees meanwhile is the rows before; the writer sets the rest aside and appends behind them."""
    path = folder / "trials.jsonl"
    whole = path.read_bytes()
    last = whole.rfind(b"\n", 0, -1) + 1
    for cut in range(last, len(whole)):
        path.write_bytes(whole[:cut])
        assert numbers(folder) == [0, 1], cut
        if (cut - last) % 16 == 0 or cut > len(whole) - 90 or whole[cut : cut + 1] in b'{}":,\n':
            with Store.open(folder, SUITE) as writer:
                writer.add_trial(TRIALS[2])
            assert path.read_bytes() == whole, cut
            (folder / "trials.jsonl.torn").unlink(missing_ok=True)


def test_a_byte_changed_anywhere_before_the_last_row_is_refused_with_its_line(folder: Path) -> None:
    path = folder / "trials.jsonl"
    whole = path.read_bytes()
    second, third = (i + 1 for i, byte in enumerate(whole) if byte == ord("\n") and i < len(whole) - 1)
    for place in range(second, third, 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(StoreError, match=r"trials\.jsonl, line 2: "):
            Store.open(folder, SUITE)
    path.write_bytes(whole[:second] + whole[third:])
    with pytest.raises(StoreError, match=r"line 2: does not follow from the line before it"):
        reading.history(folder)
