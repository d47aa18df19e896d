"""What the data sets that are tables are made with: cells, splits by time, gaps, windows of weather, lab values."""

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from datasets import Features, List, Value
from mmbench_data.aeon.series import official, parse
from mmbench_data.rdatasets.cells import OFTEN, Cells
from mmbench_data.rdatasets.flights import HOURS, filled, past
from mmbench_data.rdatasets.mapped import lists, mapped
from mmbench_data.rdatasets.nafld import diagnoses, labs
from mmbench_data.rdatasets.order import by_time, without_repeats

from mmbench.errors import DataError


def test_cells_of_a_category_are_those_that_train_has_often() -> None:
    values = ["a"] * OFTEN + ["b"] * (OFTEN - 1) + [None] + ["c"] * 2 * OFTEN
    cells = Cells(range(2 * OFTEN))
    cells.category("kind", values)
    assert list(cells.columns) == ["kind: a", "kind is known"]
    assert cells.rows()[[0, OFTEN, 2 * OFTEN - 1, -1]].tolist() == [[1, 1], [0, 1], [0, 0], [0, 1]]


def test_cells_of_numbers_say_which_are_known() -> None:
    cells = Cells([0])
    cells.numbers({"height": np.array([1.5, np.nan]), "mass": np.array([1.0, 2.0])})
    assert list(cells.columns) == ["height", "height is known", "mass"]
    np.testing.assert_array_equal(cells.rows(), [[1.5, 1, 1], [np.nan, 0, 2]])


def test_a_split_by_time_cuts_no_moment() -> None:
    times = np.array([5, 1, 1, 2, 3, 3, 3, 4, 9, 0])
    rows = by_time(times)
    assert rows == {"train": [9, 1, 2, 3], "validation": [4, 5, 6, 7], "test": [0, 8]}


def test_rows_that_an_earlier_split_has_are_left_out() -> None:
    texts, tables = ["a", "b", "a", "b", "a"], [np.ones(2), np.ones(2), np.ones(2), np.zeros(2), np.ones(2)]
    rows = without_repeats({"train": [0, 1], "validation": [2], "test": [3, 4]}, [texts, tables])
    assert rows == {"train": [0, 1], "validation": [], "test": [3]}


def test_gaps_of_a_series_are_filled_by_what_was_known() -> None:
    nan = np.nan
    series = np.array([[[nan, nan], [1, nan], [nan, nan], [4, nan]]], np.float32)
    np.testing.assert_array_equal(filled(series)[0], [[1, 0], [1, 0], [1, 0], [4, 0]])


def test_past_weather_ends_before_its_hour() -> None:
    series = np.random.default_rng(0).normal(size=(2, 60, 3))
    windows = past(series)
    assert windows.shape == (2, 60, HOURS, 3)
    for hour in (HOURS, 59):
        np.testing.assert_array_equal(windows[1, hour], series[1, hour - HOURS : hour])
    np.testing.assert_array_equal(windows[0, 1], np.repeat(series[0, :1], HOURS, axis=0))


def test_lab_values_stop_before_day_0_and_carry_the_last_one_known() -> None:
    measured: dict[str, Any] = {
        "id": [7, 7, 7, 7, 8, 9],
        "days": [-365.25, -730.5, -730.5, 0, 5, -1],
        "test": ["b", "a", "b", "a", "a", "a"],
        "value": [3.0, 1.0, 2.0, 99.0, 99.0, 5.0],
    }
    one, none, other = labs({k: np.array(v) for k, v in measured.items()}, ids=[7, 8, 9], train=[0])
    assert one is not None
    assert one.tolist() == [[-2, 1, 2, 1, 1], [-1, 1, 3, 0, 1]]
    assert none is None
    assert other is not None
    np.testing.assert_allclose(other, [[-1 / 365.25, 5, 2.5, 1, 0]])  # 2.5: the mean of b in train


def test_diagnoses_are_those_before_day_0_in_order_each_once() -> None:
    events: dict[str, Any] = {
        "id": [1, 1, 1, 1, 2],
        "days": [-5, -9, -2, 1, 0],
        "event": ["htn", "diabetes", "diabetes", "nash", "htn"],
    }
    assert diagnoses({k: np.array(v) for k, v in events.items()}, ids=[2, 1]) == [None, "diabetes, htn"]


def test_mapped_rows_are_those_given_and_their_files_go_with_them(tmp_path: Path) -> None:
    numbers = np.arange(24, dtype=np.float32).reshape(2, 4, 3)
    features = Features({"x": List(List(Value("float32"))), "y": List(Value("float32")), "t": Value("string")})

    def batches() -> Any:
        yield {"x": lists(numbers), "y": lists(numbers[:, 0], np.array([True, False])), "t": ["a", None]}
        yield {"x": lists(numbers[:1]), "y": lists(numbers[:1, 0]), "t": pa.array(["c"])}

    found = mapped(tmp_path, "some", {"train": batches(), "test": iter(())}, features)
    assert found["train"].features == found["test"].features == features
    assert (len(found["train"]), len(found["test"])) == (3, 0)
    assert found["train"]["x"][:] == [*numbers.tolist(), numbers[0].tolist()]
    assert found["train"]["y"][:] == [[0, 1, 2], None, [0, 1, 2]]
    assert found["train"]["t"][:] == ["a", None, "c"]
    assert len(list(tmp_path.iterdir())) == 1
    del found
    gc.collect()
    assert not list(tmp_path.iterdir())


TS = "# words\n@problemName toy\n@data\n1,2,3:4,5,6:b\n7:8:a\n"


def test_a_collection_of_series_is_read_step_by_step() -> None:
    series, labels = parse(TS)
    assert [one.tolist() for one in series] == [[[1, 4], [2, 5], [3, 6]], [[7, 8]]]
    assert labels == ["b", "a"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1,2:a\n", "no @data"),
        (TS + "1,2:3:a\n", "line 6 .* can't be read"),
        (TS + "1,x:3,4:a\n", "line 6 .* can't be read"),
        (TS + "1,nan:3,4:a\n", "line 6 .* no series of numbers"),
        (TS + "a\n", "line 6 .* no series of numbers"),
    ],
)
def test_a_broken_collection_of_series_is_a_data_error(text: str, why: str) -> None:
    with pytest.raises(DataError, match=why):
        parse(text)


def test_the_official_test_part_stays_whole() -> None:
    rows = official(["a", "b"] * 4 + ["a"] * 3, train=8)
    assert rows == {"train": [0, 1, 2, 3, 4, 5], "validation": [6, 7], "test": [8, 9, 10]}
