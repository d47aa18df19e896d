"""The dataset contract can fail: each fault is found by the test that is meant to find it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from datasets import ClassLabel, DatasetDict, List, Value, disable_progress_bars, enable_progress_bars
from datasets import Dataset as Table

import mmbench as mb
from mmbench.errors import DataError
from mmbench.testing.dataset import DatasetContract


@pytest.fixture(autouse=True)
def _no_bars() -> Iterator[None]:
    disable_progress_bars()
    yield
    enable_progress_bars()


def table(start: int, **columns: list[Any]) -> Table:
    rows = range(start, start + 6)
    split = Table.from_dict(
        {"x": [[float(n), float(n % 3)] for n in rows], "text": [f"row {n}" for n in rows], "y": [n % 2 for n in rows]}
    )
    for name, values in columns.items():
        split = split.remove_columns(name).add_column(name, values)
    return split.cast_column("y", ClassLabel(names=["no", "yes"])).cast_column("x", List(Value("float32")))


class Sound(mb.Dataset):
    """A data set without fault."""

    name = "sound_rows"
    columns = {"x": "tabular", "text": "text"}
    target: ClassVar[Any] = mb.Label("y")
    licence = "CC0-1.0"

    def load(self, cache: Path) -> DatasetDict:
        return DatasetDict(train=table(0), validation=table(6), test=table(12))


class TestSound(DatasetContract):
    part = Sound


def broken(test: str, **change: Any) -> None:
    """Run one test of the contract on the data set with `change` made to it."""
    part = type("Broken", (Sound,), {"__doc__": "A broken data set."} | change)
    contract = type("Contract", (DatasetContract,), {"part": part})()
    method = getattr(contract, test)
    with pytest.raises(AssertionError):
        method() if test in ("test_it_says_what_it_is", "test_origin_is_quick_and_steady") else method(
            part().load(Path())
        )


def loading(**splits: Table) -> dict[str, Any]:
    return {
        "load": lambda self, cache: DatasetDict({"train": table(0), "validation": table(6), "test": table(12)} | splits)
    }


def test_no_licence_no_docstring_or_a_match_of_unknown_modalities() -> None:
    broken("test_it_says_what_it_is", licence=" ")
    broken("test_it_says_what_it_is", __doc__=None)
    broken("test_it_says_what_it_is", target=mb.Match(("x",), ("sound",)))


def test_an_origin_that_changes() -> None:
    answers = iter("ab")
    broken("test_origin_is_quick_and_steady", origin=lambda self: next(answers))


def test_a_split_that_is_missing_or_empty() -> None:
    broken("test_it_has_the_three_splits", load=lambda self, cache: DatasetDict(train=table(0), test=table(6)))
    broken("test_it_has_the_three_splits", **loading(test=table(12).select([])))


def test_values_that_are_not_of_their_kind() -> None:
    broken("test_each_modality_holds_values_of_its_kind", **loading(train=table(0, text=["a", ""] * 3)))
    broken("test_each_modality_holds_values_of_its_kind", **loading(train=table(0, text=[None] * 6)))
    with pytest.raises(DataError, match="a number that is infinite"):
        broken("test_each_modality_holds_values_of_its_kind", **loading(train=table(0, x=[[float("inf")]] * 6)))


def test_tabular_rows_of_unequal_width() -> None:
    broken("test_tabular_rows_are_equally_wide", **loading(test=table(12, x=[[1.0]] * 6)))


def test_a_label_that_is_no_class_label_or_a_number_that_never_changes() -> None:
    plain = table(0).cast_column("y", Value("int64"))
    broken("test_the_target_column_fits_the_target", **loading(train=plain))
    constant = table(6, y=[1] * 6)
    broken("test_the_target_column_fits_the_target", target=mb.Number("y"), **loading(validation=constant))


def test_a_class_that_train_lacks() -> None:
    broken("test_the_target_column_fits_the_target", **loading(train=table(0, y=[0] * 6)))


def test_a_row_in_two_splits() -> None:
    broken("test_no_row_is_in_two_splits", **loading(test=table(11)))


def test_a_match_with_two_right_answers() -> None:
    match = mb.Match(("x",), ("text",))
    broken("test_no_value_of_a_side_has_two_answers", target=match, **loading(test=table(12, text=["same"] * 6)))


def test_a_target_that_leaks() -> None:
    broken("test_the_target_is_no_modality", target=mb.Label("text"))
    broken("test_the_target_is_no_modality", **loading(train=table(0, x=[[n % 2, 7.0 * n] for n in range(6)])))
    broken("test_the_target_is_no_modality", **loading(train=table(0, text=["No", "Yes"] * 3)))


def test_rows_that_change_from_one_load_to_the_next() -> None:
    starts = iter((0, 0, 1))

    def load(self: Any, cache: Path) -> DatasetDict:
        return DatasetDict(train=table(next(starts)), validation=table(6), test=table(12))

    next(starts)
    broken("test_loading_twice_gives_the_same_rows", load=load)
