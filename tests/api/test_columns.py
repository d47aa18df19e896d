"""Columns become values and targets, whatever the split's indices, chunks and missing rows."""

import io
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import soundfile
from datasets import Array4D, Audio, ClassLabel, Dataset, Features, Image, List, Value
from PIL import Image as Pillow

from mmbench.api.columns import Unreadable, decode, rounded, targets, values
from mmbench.api.data import Label, Labels, Match, Number, Sound
from mmbench.errors import DataError


def split(rows: list[Any], feature: Any) -> Dataset:
    return Dataset.from_dict({"x": rows}, features=Features({"x": feature}))


def picture(colour: tuple[int, ...], mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Pillow.new(mode, (5, 4), colour).save(file, "PNG")
    return file.getvalue()


def wav(samples: "np.ndarray[Any, Any]", rate: int = 8000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="FLOAT")
    return file.getvalue()


def test_tabular_rows_are_float32_and_a_missing_row_is_none_and_a_missing_cell_nan() -> None:
    column = values(split([[1, 2], None, [3, None]], List(Value("float64"))), "x", "tabular")
    assert column[0].dtype == np.float32
    assert column[0].tolist() == [1, 2]
    assert column[1] is None
    assert column[2][0] == 3
    assert np.isnan(column[2][1])
    column[0][0] = 9  # writable: torch warns about arrays that are not


def test_a_column_of_plain_numbers_is_tabular_of_width_one() -> None:
    column = values(split([1.5, None, 2.5], Value("float64")), "x", "tabular")
    np.testing.assert_array_equal(np.stack(column), np.array([[1.5], [np.nan], [2.5]], dtype=np.float32))


@pytest.mark.parametrize("length", [-1, 2])
def test_missing_rows_of_lists_and_of_fixed_size_lists(length: int) -> None:
    column = values(split([[1, 2], None, [3, 4]], List(Value("int32"), length=length)), "x", "tabular")
    assert [None if c is None else c.tolist() for c in column] == [[1, 2], None, [3, 4]]


def test_series_of_unequal_length_keep_their_order_through_select_and_chunks() -> None:
    rows = [[[float(r), float(t)] for t in range(r)] for r in range(6)]
    first, second = (split(rows[:3], List(List(Value("float32")))), split(rows[3:], List(List(Value("float32")))))
    joined = datasets.concatenate_datasets([first, second]).select([5, 0, 2, 4])
    column = values(joined, "x", "series")
    assert [c.shape for c in column] == [(5, 2), (0, 2), (2, 2), (4, 2)]
    assert column[3].tolist() == rows[4]


def test_series_with_steps_of_unequal_size_are_an_error() -> None:
    with pytest.raises(DataError, match="unequal size"):
        values(split([[[1.0, 2.0], [3.0]]], List(List(Value("float32")))), "x", "series")


def test_video_of_both_features() -> None:
    clip = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    for feature in (Array4D(shape=(None, 3, 4, 3), dtype="uint8"), List(List(List(List(Value("uint8")))))):
        (value,) = values(split([clip.tolist()], feature), "x", "video")
        assert value.dtype == np.uint8
        np.testing.assert_array_equal(value, clip)


def test_images_are_rgb_from_bytes_or_path(tmp_path: Path) -> None:
    (tmp_path / "grey.png").write_bytes(picture((7,), "L"))
    rows = [{"bytes": picture((1, 2, 3, 255), "RGBA"), "path": None}, None, str(tmp_path / "grey.png")]
    column = values(split(rows, Image()), "x", "image")
    assert column[1] is None
    assert (column[0].mode, column[0].size, column[0].getpixel((0, 0))) == ("RGB", (5, 4), (1, 2, 3))
    assert (column[2].mode, column[2].getpixel((0, 0))) == ("RGB", (7, 7, 7))


def test_bytes_that_are_no_image_name_the_row() -> None:
    with pytest.raises(DataError, match="column 'x', row 1: not an image"):
        values(
            split([{"bytes": b, "path": None} for b in (picture((1, 2, 3)), b"no")], Image(decode=False)), "x", "image"
        )


def test_all_rows_that_can_not_be_read_are_counted_and_the_first_named(tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes(picture((1, 2, 3))[:40])
    rows: list[Any] = [str(tmp_path / name) for name in ("a.png", "cut.png", "b.png", "c.png")]
    column = split([*rows, None, {"bytes": picture((1, 2, 3)), "path": None}], Image())
    with pytest.raises(DataError) as caught:
        values(column, "x", "image")
    said = str(caught.value)
    assert said.startswith(
        f"column 'x', 4 rows can't be read: row 0: {tmp_path}/a.png: No such file or directory; row 1: "
    )
    assert "cut.png: not an image" in said
    assert said.endswith("; and 1 more")
    assert "c.png" not in said


def test_rows_that_can_not_be_read_are_noted_where_it_is_asked_for() -> None:
    found: list[Unreadable] = []
    column = split([b"no", picture((1, 2, 3)), None], Value("binary"))
    read = decode(column.with_format("arrow")[:].column("x"), "x", "image", first=10, unreadable=found)
    assert [value is None for value in read] == [True, False, True]
    assert [row for row, _ in found] == [10]


def test_a_column_that_holds_no_files_is_no_matter_of_rows() -> None:
    with pytest.raises(
        DataError, match=r"holds string, not the bytes or the path of a file: cast it to datasets.Image"
    ):
        values(split(["a.png"], Value("string")), "x", "image")


@pytest.mark.parametrize(
    ("kind", "rows", "bad"),
    [
        ("tabular", [[1.0, 2.0], [float("inf"), 0.0], [1e300, 0.0], [float("nan"), None]], [1, 2]),
        ("series", [[[1.0], [2.0]], [], [[float("nan")]], [[1e39], [0.0]], [[None]]], [2, 3, 4]),
    ],
)
def test_numbers_that_float32_can_not_hold(kind: str, rows: list[Any], bad: list[int]) -> None:
    feature = List(Value("float64")) if kind == "tabular" else List(List(Value("float64")))
    found: list[Unreadable] = []
    read = decode(split(rows, feature).with_format("arrow")[:].column("x"), "x", kind, unreadable=found)
    assert [row for row, _ in found] == bad
    assert [row for row, value in enumerate(read) if value is None] == bad


@pytest.mark.parametrize(
    ("kind", "given", "stored"),
    [
        ("uint16", [0, 257 * 9, 65535], [0, 9, 255]),
        ("int64", [0, 9, 255], [0, 9, 255]),
        ("float32", [0, 0.5, 1], [0, 128, 255]),
        ("bool", [False, True, True], [0, 255, 255]),
    ],
)
def test_video_is_scaled_as_pictures_are(kind: str, given: list[Any], stored: list[int]) -> None:
    (read,) = values(split([[[[given]]]], List(List(List(List(Value(kind)))))), "x", "video")
    assert (read.dtype, read.ravel().tolist()) == (np.uint8, stored)


@pytest.mark.parametrize(("kind", "given"), [("int64", [0, 1, 256]), ("int64", [-1, 0, 0]), ("float32", [0, 1, 255])])
def test_video_of_another_range_is_refused(kind: str, given: list[Any]) -> None:
    with pytest.raises(DataError, match="row 0: numbers that are neither whole ones from 0 to 255 nor floats"):
        values(split([[[[given]]]], List(List(List(List(Value(kind)))))), "x", "video")


@pytest.mark.parametrize(
    ("kind", "rows", "count"),
    [
        ("int64", [[2**24, 2**24 + 1, None], [2**53, 2**53 + 1, 2**63 - 1], None], 3),
        ("uint32", [[2**24 + 1, 2**32 - 1, 2**31]], 2),
        ("float64", [[2.0**24 + 1, 0.1, float("inf"), float("nan")]], 1),
        ("float32", [[1e30, 16777218.0]], 0),
    ],
)
def test_whole_numbers_that_float32_rounds_are_counted(kind: str, rows: list[Any], count: int) -> None:
    column = split(rows, List(Value(kind))).with_format("arrow")[:].column("x")
    assert rounded(column) == count


@pytest.mark.parametrize("decoded", [True, False])
def test_sounds_are_mono_float32_whichever_decoder_the_column_names(decoded: bool) -> None:
    left = np.linspace(-0.5, 0.5, 80, dtype=np.float32)
    rows = [{"bytes": wav(np.stack([left, -left], axis=1), 16000), "path": None}, None]
    plain = split(rows, {"bytes": Value("binary"), "path": Value("string")})
    stored = plain.cast_column("x", Audio(decode=decoded))
    first, second = values(stored, "x", "audio")
    assert isinstance(first, Sound)
    assert (first.rate, first.samples.dtype, first.samples.shape) == (16000, np.float32, (80,))
    assert np.abs(first.samples).max() < 1e-6
    assert second is None


def test_text_stays_text_and_numbers_are_no_text() -> None:
    assert values(split(["a", None], Value("string")), "x", "text") == ["a", None]
    with pytest.raises(DataError, match="not text"):
        values(split([1], Value("int32")), "x", "text")


@pytest.mark.parametrize(("kind", "feature"), [("series", List(Value("float32"))), ("tabular", List(Value("string")))])
def test_a_column_of_another_shape_is_an_error(kind: str, feature: Any) -> None:
    with pytest.raises(DataError, match="column 'x' holds"):
        values(split([[1.0]] if kind == "series" else [["a"]], feature), "x", kind)


@pytest.mark.parametrize("kind", ["tabular", "text", "image", "audio", "series", "video"])
def test_a_column_that_is_missing_everywhere_is_all_none(kind: str) -> None:
    assert values(Dataset.from_dict({"x": [None, None]}), "x", kind) == [None, None]


def test_an_unknown_column_or_kind_is_named() -> None:
    with pytest.raises(DataError, match="unknown column 'images'"):
        values(split(["a"], Value("string")), "images", "text")
    with pytest.raises(DataError, match="did you mean 'series'"):
        values(split(["a"], Value("string")), "x", "serie")


def test_targets_by_noun() -> None:
    label = targets(split(["b", "a"], ClassLabel(names=["a", "b"])), Label("x"))
    assert (label.dtype, label.tolist()) == (np.int64, [1, 0])
    labels = targets(split([[1, 0, 1], [0, 0, 0]], List(Value("int8"))), Labels("x"))
    assert (labels.dtype, labels.tolist()) == (np.float32, [[1, 0, 1], [0, 0, 0]])
    number = targets(split([0.5, 2.0], Value("float64")), Number("x"))
    assert (number.dtype, number.tolist()) == (np.float32, [0.5, 2.0])
    assert targets(split(["a", "b"], Value("string")), Match(("x",), ("y",))).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("rows", "feature", "target"),
    [
        ([1, None], Value("int64"), Label("x")),
        ([-1, 0], Value("int64"), Label("x")),
        (["a", "b"], Value("string"), Label("x")),
        ([1.0, float("nan")], Value("float64"), Number("x")),
        ([[0, 1], [1]], List(Value("int8")), Labels("x")),
        ([[0, 2]], List(Value("int8")), Labels("x")),
    ],
)
def test_targets_that_are_missing_or_wrong_are_errors(rows: list[Any], feature: Any, target: Any) -> None:
    with pytest.raises(DataError, match="target 'x'"):
        targets(split(rows, feature), target)
