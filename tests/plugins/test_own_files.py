"""Your own data from files: what is read, how it is typed and split, and how each mistake is said in one line."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pytest
from mmbench_own.dataset import make
from pyarrow import parquet

from mmbench.api import columns
from mmbench.engine import identity
from mmbench.errors import DataError

Load = Callable[..., datasets.DatasetDict]
HEADER = "age,sex,day,caption,y"
ROWS = [f"{20 + n},{'mf'[n % 2]},2026-01-{n % 28 + 1:02},a text {n},{'no' if n % 2 else 'yes'}" for n in range(40)]
TABLE: dict[str, Any] = {
    "files": "data.csv",
    "columns": {"facts": {"numbers": ["age"], "categories": ["sex"], "dates": ["day"]}, "caption": "caption"},
    "target": {"label": "y"},
}


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """The splits of a table; `rows` are the lines of data.csv below its header."""

    def load(table: Mapping[str, Any] = TABLE, rows: list[str] = ROWS, **more: Any) -> datasets.DatasetDict:
        (tmp_path / "data.csv").write_text("\n".join([HEADER, *rows]) + "\n")
        return make("mine", {**table, **more}, tmp_path).load(tmp_path / "cache")

    return load


def cells(split: datasets.Dataset, modality: str = "facts") -> np.ndarray[Any, Any]:
    return np.array(split.with_format("arrow")[:].column(modality).to_pylist(), dtype=float)


def with_row(number: int, line: str) -> list[str]:
    """ROWS with another line in row `number` of the file, whose header is row 1."""
    return [*ROWS[: number - 2], line, *ROWS[number - 1 :]]


def test_numbers_categories_and_dates_become_one_row_of_numbers(load: Load) -> None:
    splits = load()
    assert {name: len(split) for name, split in splits.items()} == {"train": 24, "validation": 8, "test": 8}
    first = cells(splits["train"])[0]
    age = int(first[0])
    assert first.tolist()[1:5] == [age % 2, 1 - age % 2, 0, 0]  # f, m, another word, none
    assert first[5] == 20454 + (age - 20) % 28  # days since 1970 of 2026-01-01 and later
    assert first[6] == 1
    assert first[7] == (3 + (age - 20) % 28) % 7  # 2026-01-01 is a Thursday
    assert splits["train"].features["y"].names == ["no", "yes"]


def test_words_that_train_lacks_and_missing_ones_have_places_of_their_own(load: Load) -> None:
    rows = [line.replace(",m,", ",,") if n == 0 else line for n, line in enumerate(ROWS)]
    rows = [line.replace(",f,", ",x,") if n == 39 else line for n, line in enumerate(rows)]
    splits = load(rows=rows, split={"time": "age"})  # the last row is in test
    assert cells(splits["train"])[0].tolist()[1:5] == [0, 0, 0, 1]
    assert cells(splits["test"])[-1].tolist()[1:5] == [0, 0, 1, 0]


def test_a_missing_number_is_missing_and_known_to_be(load: Load) -> None:
    rows = ["," + line.partition(",")[2] if n % 5 == 0 else line for n, line in enumerate(ROWS)]
    found = cells(load(rows=rows)["train"])
    gone = np.isnan(found[:, 0])
    assert gone.any()
    assert (found[:, 1] == gone).all()


def test_the_classes_are_spread_alike_unless_told_otherwise(load: Load) -> None:
    splits = load()
    assert [np.bincount(split["y"]).tolist() for split in splits.values()] == [[12, 12], [4, 4], [4, 4]]
    loose = load(split={"stratify": False, "seed": 1})
    assert [np.bincount(split["y"]).tolist() for split in loose.values()] != [[12, 12], [4, 4], [4, 4]]


def test_a_group_stays_together_and_time_goes_forward(load: Load) -> None:
    grouped = load(split={"group": "day"})
    days = [set(split["group: day"]) for split in grouped.values()]
    assert not days[0] & days[1]
    assert not (days[0] | days[1]) & days[2]
    timed = load(split={"time": "age"})
    ages = [cells(split)[:, 0] for split in timed.values()]
    assert timed["train"]["time: age"] == ages[0].tolist()  # as folds by time need it
    assert ages[0].max() < ages[1].min() < ages[1].max() < ages[2].min()
    assert [list(split["time: age"]) for split in timed.values()] == [age.tolist() for age in ages], "as folds need it"


def test_splits_by_files_and_by_a_column_under_other_names(load: Load, tmp_path: Path) -> None:
    for name, part in (("a", ROWS[:20]), ("b", ROWS[20:30]), ("c", ROWS[30:])):
        (tmp_path / f"{name}.csv").write_text("\n".join([HEADER, *part]))
    given = load(files={"train": "a.csv", "validation": "b.csv", "test": "c.csv"})
    assert [len(split) for split in given.values()] == [20, 10, 10]
    names = ["lern", "dev", "Test"]
    (tmp_path / "s.csv").write_text(
        "\n".join([f"{HEADER},part", *(f"{line},{names[n % 3]}" for n, line in enumerate(ROWS))])
    )
    with pytest.raises(DataError, match=r"^data of 'mine': split: s.csv, row 2: 'lern' is no split; write names"):
        load(files="s.csv", split={"column": "part"})
    own = load(files="s.csv", split={"column": "part", "names": {"train": "lern"}})
    assert [len(split) for split in own.values()] == [14, 13, 13]


def test_validation_is_taken_from_train_where_there_is_none(load: Load, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\n".join([HEADER, *ROWS[:30]]))
    (tmp_path / "c.csv").write_text("\n".join([HEADER, *ROWS[30:]]))
    files = {"train": "a.csv", "test": "c.csv"}
    with pytest.raises(
        DataError, match=r"validation has no row of 40: .*write validation = 0.2 in \[task.data.split\]"
    ):
        load(files=files)
    assert [len(split) for split in load(files=files, split={"validation": 0.2}).values()] == [24, 6, 10]


@pytest.mark.parametrize("form", ["tsv", "jsonl", "parquet", "arrow"])
def test_every_format_gives_the_same_rows(load: Load, tmp_path: Path, form: str) -> None:
    rows = [dict(zip(HEADER.split(","), line.split(","), strict=True)) for line in ROWS]
    typed = [{**row, "age": int(row["age"])} for row in rows]
    file = tmp_path / f"data.{form}"
    if form == "tsv":
        file.write_text("\n".join(line.replace(",", "\t") for line in [HEADER, *ROWS]))
    elif form == "jsonl":
        file.write_text("\n".join(json.dumps(row) for row in typed))
    elif form == "parquet":
        parquet.write_table(pa.Table.from_pylist(typed), file)
    else:
        made = pa.Table.from_pylist(typed)
        with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, made.schema) as writer:
            writer.write_table(made)
    here, there = load(), load(files=file.name)
    assert (cells(here["train"]) == cells(there["train"])).all()
    assert here["train"]["caption"][:] == there["train"]["caption"][:]


def test_several_labels_numbers_texts_and_matches(load: Load) -> None:
    text = {"caption": "caption"}
    several = load(columns=text, target={"labels": "day", "separator": "-"})
    assert several["train"]["day"][0][-2:] != several["train"]["day"][1][-2:] or len(several["train"]["day"][0]) > 2
    assert set(np.unique(several["train"]["day"])) == {0, 1}
    assert load(columns=text, target={"number": "age"})["train"]["age"][0] >= 20
    assert load(columns=text, target={"text": "y"})["train"]["y"][0] in ("yes", "no")
    sides = {"caption": "caption", "facts": {"columns": ["age", "sex"]}}
    assert load(columns=sides, target={"match": {"left": ["caption"], "right": ["facts"]}})["train"].num_rows == 24


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "abc,m,2026-01-01,t,yes",
            "column 'age': data.csv, row 7: 'abc' is no number; mend it, or name 'age' among the",
        ),
        ("inf,m,2026-01-01,t,yes", "row 7: 'inf' is infinite"),
        ("1e300,m,2026-01-01,t,yes", "row 7: '1e300' is too large for float32"),
        ("1e999,m,2026-01-01,t,yes", "row 7: '1e999' is too large for float32"),
        ("1,m,01.02.2026,t,yes", "column 'day': data.csv, row 7: '01.02.2026' is no date; write dates as"),
        ("1,m,2026-01-01,t,", "column 'y': data.csv, row 7: no label; give each row a label, or leave the row out"),
        ("1,m,2026-01-01,t", "data.csv, row 7 has 4 cells, but the header 5; put cells that hold a ',' into quotes"),
        ("1,m,2026-01-01,t,u,yes", "data.csv, row 7 has 6 cells, but the header 5"),
    ],
)
def test_a_mistake_names_file_row_and_column(load: Load, line: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        load(rows=with_row(7, line))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rows_are_counted_as_a_spreadsheet_does_whatever_is_blank(load: Load) -> None:
    bad = ["abc,m,2026-01-01,t,yes", "1,m,2026-01-01,t,yes", "", "def,m,2026-01-01,t,yes"]
    rows = [*ROWS[:3], "", "", "", ",,,,", *bad, "x,m,,t,yes", "y,m,,t,yes", *ROWS]
    with pytest.raises(DataError, match=r"data.csv, row 9: 'abc' is no number; data.csv, row 12: 'def'.*; and 1 more"):
        load(rows=rows)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [line.replace(",yes", ",no") for line in ROWS],
            "every row has the label 'no': there is nothing to tell apart",
        ),
        (ROWS[:4], "split: test has no row of 4: more rows are needed"),
        ([], "data.csv has no rows"),
    ],
)
def test_rows_that_can_teach_nothing(load: Load, rows: list[str], said: str) -> None:
    with pytest.raises(DataError, match=said):
        load(rows=rows)


def test_a_label_of_no_class_and_classes_in_their_order(load: Load) -> None:
    with pytest.raises(
        DataError, match=r"column 'y': data.csv, row 3: 'no' is no class of target.classes.*and 17 more"
    ):
        load(target={"label": "y", "classes": ["yes", "maybe"]})
    assert load(target={"label": "y", "classes": ["yes", "no"]})["train"].features["y"].names == ["yes", "no"]


def test_a_column_that_one_file_lacks(load: Load, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\n".join([HEADER, *ROWS]))
    (tmp_path / "c.csv").write_text("\n".join([HEADER.replace(",y", ""), *(line.rpartition(",")[0] for line in ROWS)]))
    with pytest.raises(DataError, match=r"c.csv lacks the column 'y', which a.csv has"):
        load(files={"train": "a.csv", "test": "c.csv"})


def test_a_split_that_breaks_its_promise(load: Load, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\n".join([HEADER, *ROWS[:30]]))
    (tmp_path / "c.csv").write_text("\n".join([HEADER, *ROWS[30:]]))
    files = {"train": "a.csv", "validation": "c.csv", "test": "data.csv"}
    with pytest.raises(
        DataError, match=r"group '2026-01-03' of column 'day' is in train \(a.csv, row 4\) and in validation"
    ):
        load(files=files, split={"group": "day"})
    with pytest.raises(DataError, match=r"train has rows that are later than the first of test by 'age': a.csv, row 3"):
        load(files=files, split={"time": "age"})
    with pytest.raises(DataError, match=r"'a\.csv' is named twice"):
        load(files={"train": "a.csv", "test": "a.csv"})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"colums": {}}, "unknown key 'colums': did you mean 'columns'?"),
        ({"files": "data.xls"}, "files: 'data.xls' ends with none of .csv"),
        ({"files": "https://a.org/data.csv"}, "is an address: fetch it first"),
        ({"folder": "x"}, "write one of files, folder and hub, not files and folder"),
        ({"columns": {}}, "names no modality"),
        ({"columns": {"a": {"column": "b", "kind": "picture"}}}, "columns.a.kind: unknown kind of modality 'picture'"),
        ({"columns": {"a": {"kind": "image"}}}, "columns.a names no column"),
        ({"columns": {"a": {"numbers": ["y", "age"]}}}, "columns.a reads 'y', the target: every model would be given"),
        ({"target": {"label": "y", "number": "age"}}, "target must be one of label, labels, number, text, match"),
        ({"target": {"label": ["y", "age"]}}, "target.label must be a column's name"),
        ({"split": {"by": "chance"}}, 'split.by must be "given" or "fractions"'),
        ({"split": {"train": 0.5, "validation": 0.2, "test": 0.2}}, "the shares sum up to 0.9, not 1"),
        ({"split": {"train": 0.5}}, "split needs a share for each of train, validation, test"),
        ({"split": {"time": "day", "group": "sex"}}, "split by time can't be by group"),
        ({"background": "wite"}, "background 'wite' is no colour"),
    ],
)
def test_a_table_that_says_something_wrong(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError) as caught:
        make("mine", {**TABLE, **change}, tmp_path)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"hub": "a/b"}, "hub 'a/b' needs revision"),
        ({"hub": "a/b", "revision": "main"}, "revision 'main' is no commit"),
        ({"files": "data.csv", "revision": "0" * 40}, "revision is only for a hub's data"),
    ],
)
def test_a_hub_needs_a_pinned_commit(tmp_path: Path, table: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        make("mine", {"columns": TABLE["columns"], "target": TABLE["target"], **table}, tmp_path)


def test_unknown_columns_are_answered_with_the_nearest(load: Load) -> None:
    with pytest.raises(DataError, match=r"data.csv: unknown column 'captoin': did you mean 'caption'\?"):
        load(columns={"caption": "captoin"})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a,b\n1,\xff\n", "data.csv, line 2 is not UTF-8 text"),
        (b"a;b\n1;2\n", "write separator = \";\""),
        (b"a,a\n1,2\n", "two columns are named 'a'"),
        (b"a,\n1,2\n", "column 2 has no name"),
        (b"", "is empty: its first row must name the columns"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_table(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "data.csv").write_bytes(content)
    with pytest.raises(DataError) as caught:
        make("mine", {**TABLE, "columns": {"a": "a"}, "target": {"label": "b"}}, tmp_path).load(tmp_path)
    assert said in str(caught.value)


def test_json_lines_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text('{"a": 1}\n\n{"a": 2\n')
    table = {"files": "data.jsonl", "columns": {"a": "a"}, "target": {"label": "b"}}
    with pytest.raises(DataError, match=r"data.jsonl, row 3 is not JSON"):
        make("mine", table, tmp_path).load(tmp_path)


def test_what_the_rows_are_is_the_table_and_what_the_files_hold(load: Load, tmp_path: Path) -> None:
    load()
    before = identity.fingerprint(make("mine", TABLE, tmp_path))
    assert identity.fingerprint(make("mine", dict(TABLE), tmp_path)) == before
    assert identity.fingerprint(make("mine", {**TABLE, "split": {"seed": 1}}, tmp_path)) != before
    (tmp_path / "data.csv").write_text((tmp_path / "data.csv").read_text().replace("a text 3,", "a text 4,"))
    assert identity.fingerprint(make("mine", TABLE, tmp_path)) != before


def test_whole_numbers_beyond_float32_are_counted_not_lost(load: Load) -> None:
    rows = [line.replace("20,", "16777217,", 1) if n == 0 else line for n, line in enumerate(ROWS)]
    column = load(rows=rows, split={"time": "age"})["test"].with_format("arrow")[:].column("facts")
    assert columns.rounded(column) == 1


def test_a_damaged_arrow_file_is_refused_before_it_is_believed(tmp_path: Path) -> None:
    """Its offsets may point anywhere in memory: reading there would end the process."""
    table = pa.table({"caption": ["a text", "another"] * 20, "y": ["no", "yes"] * 20})
    with pa.OSFile(str(tmp_path / "data.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    content = (tmp_path / "data.arrow").read_bytes()
    offsets = np.array([0, 6, 13, 19], np.int32).tobytes()
    assert offsets in content
    (tmp_path / "data.arrow").write_bytes(content.replace(offsets, np.array([0, 6, 2**30, 19], np.int32).tobytes()))
    given = {"files": "data.arrow", "columns": {"caption": "caption"}, "target": {"label": "y"}}
    with pytest.raises(DataError, match=r"data\.arrow is no arrow file"):
        make("mine", given, tmp_path).load(tmp_path / "cache")


@pytest.mark.parametrize("name", ["data.csv", "data.jsonl"])
def test_a_zero_byte_in_the_name_of_a_column(tmp_path: Path, name: str) -> None:
    rows = {"data.csv": "a\0b,y\n" + "x,1\nz,2\n" * 9, "data.jsonl": '{"a\\u0000b": "x", "y": 1}\n' * 9}
    (tmp_path / name).write_text(rows[name])
    given = {"files": name, "columns": {"text": "a\0b"}, "target": {"label": "y"}}
    with pytest.raises(DataError, match=r"column 'a\\x00b' has a zero byte in its name: rename it"):
        make("mine", given, tmp_path).load(tmp_path / "cache")
