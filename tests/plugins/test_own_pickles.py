"""Pickles of multimodal sentiment, with MMSA's and MultiBench's keys: what is read, what is refused, and not run."""

import os
import pickle
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from mmbench_own.dataset import make
from mmbench_own.guess import task

from mmbench.engine.data.tables import materialise
from mmbench.errors import DataError

SERIES = {name: {"column": name, "kind": "series"} for name in ("text", "audio", "vision")}
TABLE: dict[str, Any] = {"files": "s.pkl", "columns": SERIES, "target": {"number": "regression_labels"}}
SIZES = {"train": 8, "valid": 4, "test": 5}
STEPS = 6
Layout = dict[str, dict[str, Any]]


def mmsa(seed: int = 0) -> Layout:
    """As `unaligned_50.pkl`: padded series with their lengths, texts, labels of three forms, and ids."""
    draw = np.random.default_rng(seed)
    made: Layout = {}
    for split, rows in SIZES.items():
        series = {name: draw.normal(size=(rows, STEPS, d)) for name, d in (("text", 5), ("audio", 3), ("vision", 2))}
        lengths = [1 + n % STEPS for n in range(rows)]
        made[split] = {
            "id": [f"v{n}$_${split}" for n in range(rows)],
            "raw_text": np.array([f"words of {n}" for n in range(rows)]),
            "text_bert": draw.integers(0, 99, (rows, 3, STEPS)).astype(np.float32),
            **{name: values.astype(np.float32) for name, values in series.items()},
            "audio_lengths": lengths,
            "vision_lengths": np.array(lengths),
            "annotations": ["Positive"] * rows,
            "classification_labels": np.ones(rows),
            "regression_labels": draw.uniform(-3, 3, rows).astype(np.float32),
        }
    return made


def multibench() -> Layout:
    """As `mosi_raw.pkl`: labels [N, 1, 1], ids of several parts, and Fortran order, which is another path of NumPy."""
    draw = np.random.default_rng(1)
    return {
        split: {
            "vision": np.asfortranarray(draw.normal(size=(rows, STEPS, 2))),
            "audio": draw.normal(size=(rows, STEPS, 3)),
            "text": draw.normal(size=(rows, STEPS, 5)).astype(">f4"),
            "labels": draw.uniform(-3, 3, (rows, 1, 1)),
            "id": np.array([[f"video{n}", "0.5", str(n)] for n in range(rows)], object),
        }
        for split, rows in SIZES.items()
    }


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., datasets.DatasetDict]:
    def load(content: Any, protocol: int = 4, **more: Any) -> datasets.DatasetDict:
        written = content if isinstance(content, bytes) else pickle.dumps(content, protocol)
        (tmp_path / "s.pkl").write_bytes(written)
        return make("mosi", {**TABLE, **more}, tmp_path).load(tmp_path / "cache")

    return load


Load = Callable[..., datasets.DatasetDict]


def test_mmsa(load: Load) -> None:
    """Padding is cut where lengths are there, and stays where they aren't."""
    given = mmsa()
    splits = load(given, columns={**SERIES, "words": "raw_text"})
    for name, key in (("train", "train"), ("validation", "valid"), ("test", "test")):
        found, own = splits[name], given[key]
        assert found["words"][:] == own["raw_text"].tolist()
        assert found["regression_labels"][:] == own["regression_labels"].tolist()
        for row, length in enumerate(own["audio_lengths"]):
            assert np.array_equal(np.array(found[row]["audio"], np.float32), own["audio"][row, :length])
            assert np.array_equal(np.array(found[row]["text"], np.float32), own["text"][row])


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_multibench_in_every_protocol(load: Load, protocol: int) -> None:
    given = multibench()
    splits = load(given, protocol, target={"number": "labels"}, columns={**SERIES, "id": "id"})
    assert splits["test"]["labels"][:] == given["test"]["labels"].ravel().tolist()
    assert splits["test"]["id"][1] == "video1 0.5 1"
    for name in ("text", "vision"):
        assert np.array_equal(np.array(splits["validation"][name][:]), given["valid"][name])


def test_a_series_of_no_step_is_missing_and_ragged_ones_are_read(load: Load) -> None:
    given = mmsa()
    given["train"]["audio_lengths"][2] = 0
    for own in given.values():
        own["vision"] = [values[: 1 + n % 3] for n, values in enumerate(own["vision"])]
        del own["vision_lengths"]
    train = load(given)["train"]
    assert [row for row in range(8) if train[row]["audio"] is None] == [2]
    assert [len(values) for values in train["vision"][:4]] == [1, 2, 3, 1]


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_what_is_not_finite_is_refused_zero_or_missing(load: Load, value: float, tmp_path: Path) -> None:
    given = mmsa()
    given["valid"]["audio"][1, 0, 2] = value
    where = r"^data of 'mosi': column 'audio': s.pkl valid, row 2: a number that is not finite; .*unreadable = \"zero\""
    with pytest.raises(DataError, match=where):
        load(given)
    mended = load(given, unreadable="zero")["validation"]["audio"]
    given["valid"]["audio"][1, 0, 2] = 0
    assert np.array_equal(np.array(mended[1]), given["valid"]["audio"][1, :2])
    assert [len(row) for row in mended] == given["valid"]["audio_lengths"]
    given["valid"]["audio"][1, 0, 2] = value
    load(given, unreadable="missing")
    made = make("mosi", {**TABLE, "unreadable": "missing"}, tmp_path)
    report = materialise(made, tmp_path).report
    assert report is not None
    assert report["modalities"]["audio"]["unreadable"]["validation"] == 1


def test_a_suite_is_guessed(tmp_path: Path) -> None:
    """What says the target in another form, or how long a row is, is left out."""
    (tmp_path / "s.pkl").write_bytes(pickle.dumps(mmsa()))
    suite = tomllib.loads(task("mosi", tmp_path / "s.pkl", tmp_path))
    (own,) = suite["task"]
    assert own["data"]["columns"] == {**SERIES, "raw_text": "raw_text"}
    assert own["data"]["target"] == {"number": "regression_labels"}
    made = make("mosi", own["data"], tmp_path).load(tmp_path / "cache")
    assert {name: len(split) for name, split in made.items()} == {"train": 8, "validation": 4, "test": 5}


class Runs:
    """A pickle of it would make a file."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.place),)


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_nothing_runs(load: Load, tmp_path: Path, protocol: int) -> None:
    given = mmsa()
    given["test"]["id"][0] = Runs(tmp_path / "run")
    with pytest.raises(DataError, match=r"^data of 'mosi': s.pkl asks for '\w+\.mkdir', .*: nothing of it is run$"):
        load(given, protocol)
    assert not (tmp_path / "run").exists()
    pickle.loads(pickle.dumps(given, protocol))  # noqa: S301  it would have
    assert (tmp_path / "run").exists()


def endless() -> list[Any]:
    """2 ** 60 texts in a file of some hundred bytes."""
    found: list[Any] = ["a"]
    for _ in range(60):
        found = [found, found]
    return found


def test_damage_is_said_and_nothing_else_is_raised(load: Load) -> None:
    """Bytes changed at random, and files cut short."""
    draw = np.random.default_rng(0)
    whole = [pickle.dumps(multibench(), protocol) for protocol in (2, 5)]
    said: list[str] = []
    for number in range(60):
        content = bytearray(whole[number % 2])
        places = draw.integers(0, 300, 3) if number % 3 else draw.integers(0, len(content), 3)
        for place in places:
            content[place] = draw.integers(0, 256)
        try:
            load(bytes(content[: draw.integers(1, len(content))] if number % 10 == 0 else content))
        except DataError as error:
            said.append(str(error))
    assert len(said) > 20
    assert not [line for line in said if "\n" in line]


def without(key: str) -> Layout:
    given = mmsa()
    del given["test"][key]
    return given


def changed(split: str, key: str, value: Any) -> Layout:
    given = mmsa()
    given[split][key] = value
    return given


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "s.pkl holds a list, not one dict a split"),
        ({"train": [1]}, "s.pkl 'train' is no split, a dict of arrays"),
        (b"train,valid", "s.pkl is no pickle of arrays: "),
        (pickle.dumps(mmsa())[:-900], "s.pkl is no pickle of arrays: "),
        (pickle.dumps({"train": np.zeros(3)}, 4).replace(b"f8", b"V8"), "s.pkl holds an array of 'V8', not of numbers"),
        (changed("valid", "vision", np.zeros((3, 2, 2))), "s.pkl, 'valid': 'vision' has 3 rows, 'id' 4"),
        (
            changed("test", "audio_lengths", [9] * 5),
            "s.pkl, 'test', 'audio': row 1 has 6 steps, but its length is said",
        ),
        (changed("test", "id", [{1: 2}, "a"] * 2 + ["b"]), "s.pkl, 'test', 'id': holds a dict, not a text"),
        (changed("test", "id", [endless()] * 5), "s.pkl, 'test', 'id': holds a list, not a text"),
        (changed("test", "audio_lengths", [endless()] * 5), "s.pkl, 'test', 'audio' can't be read as a column: "),
        (changed("train", "split", ["a"] * 8), "s.pkl, 'train': a key is called 'split'"),
        (without("audio"), "s.pkl test lacks the column 'audio', which s.pkl train has"),
        (
            changed("train", "regression_labels", np.full(8, np.nan)),
            "column 'regression_labels': s.pkl train, row 1: no",
        ),
        ({**mmsa(), "extra": mmsa()["test"]}, "split: s.pkl extra, row 1: 'extra' is no split"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_said_in_one_line(load: Load, content: Any, said: str) -> None:
    with pytest.raises(DataError) as caught:
        load(content)
    assert str(caught.value).startswith(f"data of 'mosi': {said}")
    assert "\n" not in str(caught.value)


def test_another_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match='unreadable is \'zeros\': write "refuse", "missing" or "zero"'):
        make("mosi", {**TABLE, "unreadable": "zeros"}, tmp_path)


def test_a_file_for_each_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'a.pkl' holds its splits itself: write files = \"a.pkl\""):
        make("mosi", {**TABLE, "files": {"train": "a.pkl", "test": "b.pkl"}}, tmp_path)
