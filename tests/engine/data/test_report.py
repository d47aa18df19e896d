"""What a data set holds is counted when it is made, and warned of in plain sentences."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from PIL import Image as Pillow

import mmbench as mb
from mmbench.api.data import Target
from mmbench.engine.data import report, tables
from mmbench.engine.space import Fold
from mmbench.errors import DataError

Splits = dict[str, dict[str, list[Any]]]


def picture(grey: int, form: str = "PNG") -> dict[str, Any]:
    file = io.BytesIO()
    Pillow.new("RGB", (2, 2), (grey, 7, 9)).save(file, form)
    return {"bytes": file.getvalue(), "path": None}


class Notes(mb.Dataset):
    """Pictures with a note and numbers, of two classes, all different; `change` may alter the rows."""

    name = "notes"
    columns = {"icon": "image", "note": "text", "facts": "tabular"}
    target: ClassVar[Target] = mb.Label("y")
    licence = "CC0-1.0"
    change: Callable[[Splits], Any] = staticmethod(lambda splits: None)

    def load(self, cache: Path) -> Any:
        from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, List, Value

        rows: Splits = {}
        for start, (split, n) in zip((0, 20, 30), (("train", 20), ("validation", 10), ("test", 10)), strict=True):
            numbers = range(start, start + n)
            rows[split] = {
                "icon": [picture(number) for number in numbers],
                "note": [f"note {number}" for number in numbers],
                "facts": [[number, 0.5] for number in numbers],
                "y": [number % 2 for number in numbers],
                "number": [float(number) for number in numbers],
                "labels": [[number % 2, 1] for number in numbers],
            }
        self.change(rows)
        features = Features(icon=Image(), note=Value("string"), facts=List(Value("float64")))
        features |= Features(y=ClassLabel(names=["a", "b", "c'\n"][: self.classes]), number=Value("float32"))
        features |= Features(labels=List(Value("int8")))
        return DatasetDict({split: Dataset.from_dict(columns, features=features) for split, columns in rows.items()})

    classes: ClassVar[int] = 2


def made(place: Path, change: Callable[[Splits], Any] = lambda rows: None, **attributes: Any) -> tables.Table:
    kind: type[Notes] = type("Changed", (Notes,), {"change": staticmethod(change), **attributes})
    return tables.materialise(kind(), place)


def warnings(place: Path, change: Callable[[Splits], Any] = lambda rows: None, **attributes: Any) -> list[str]:
    return made(place, change, **attributes).warnings(["icon", "note", "facts"])


def test_a_data_set_without_faults_has_no_warnings(tmp_path: Path) -> None:
    table = made(tmp_path)
    found = table.report
    assert found is not None
    assert found["warnings"] == []
    assert found["rows"] == {"train": 20, "validation": 10, "test": 10}
    assert found["classes"]["a"] == {"train": 10, "validation": 5, "test": 5}
    assert found["modalities"]["icon"]["distinct"] == 40
    assert report.lines(found)[0] == "rows: train 20, validation 10, test 10"
    assert "icon (image): 40 different values" in report.lines(found)


def test_groups_and_times_that_the_own_splits_do_not_keep_are_said(tmp_path: Path) -> None:
    apart = made(tmp_path / "apart", groups="number", time="number")
    assert apart.warnings(["icon"]) == []
    met = made(
        tmp_path / "met", lambda s: put("test", "number", {0: 3.0, 1: 4.0, 2: 4.0})(s), groups="number", time="number"
    )
    said = [
        "2 of 9 groups ('number') of test are in train too",
        "17 of 20 train rows are not earlier ('number') than all test rows",
    ]
    assert met.warnings(["icon"]) == said
    assert [f"warning: {text}" for text in said] == report.lines(met.report or {})[-2:]
    folded = tables.Table(met.dataset, met.folder, fold=Fold(1, 3))
    assert folded.warnings(["icon"]) == [], "folds keep groups apart"


def put(split: str, column: str, rows: dict[int, Any]) -> Callable[[Splits], None]:
    def change(splits: Splits) -> None:
        for row, value in rows.items():
            splits[split][column][row] = value

    return change


def copied(splits: Splits) -> None:
    """The first four test rows are train's, their pictures stored in another form."""
    for column in ("note", "facts"):
        splits["test"][column][:4] = splits["train"][column][:4]
    splits["test"]["icon"][:4] = [picture(number, "BMP") for number in range(4)]


SAID: list[tuple[Callable[[Splits], Any], dict[str, Any], list[str]]] = [
    (copied, {}, ["4 of 10 test rows are train rows"]),
    (
        put("test", "note", {0: "note 3", 5: "note 21"}),
        {},
        [
            "1 of 10 values of 'note' in test are in train too",
            "1 of 10 values of 'note' in test are in validation too",
        ],
    ),
    (put("test", "icon", {9: picture(0, "TIFF")}), {}, ["1 of 10 values of 'icon' in test are in train too"]),
    (
        lambda s: (
            put("test", "note", dict.fromkeys(range(10), "yes"))(s)
            or put("train", "note", dict.fromkeys(range(20), "yes"))(s)
        ),
        {},
        [],
    ),
    (
        lambda s: [put(split, "note", dict.fromkeys(range(len(s[split]["y"])), "yes"))(s) for split in s],
        {},
        ["all values of 'note' are alike"],
    ),
    (
        lambda s: [
            put(
                split,
                "icon",
                {n: picture(3, form) for n, form in enumerate(["PNG", "BMP"] * (len(s[split]["y"]) // 2))},
            )(s)
            for split in s
        ],
        {},
        [
            "10 of 10 values of 'icon' in test are in train too",
            "10 of 10 values of 'icon' in test are in validation too",
            "10 of 10 values of 'icon' in validation are in train too",
            "all values of 'icon' are alike",
        ],
    ),
    (put("test", "y", {1: 2, 3: 2}), {"classes": 3}, ['train has no row of class "c\'\\n", test has 2']),
    (lambda s: None, {"classes": 3}, ['no split has a row of class "c\'\\n"']),
    (
        put("validation", "y", dict.fromkeys(range(10), 1)),
        {},
        ["validation has no row of class 'a', train has 10"],
    ),
    (put("test", "icon", dict.fromkeys(range(5))), {}, ["'icon' is missing in 5 of 10 test rows"]),
    (put("test", "icon", dict.fromkeys(range(4))), {}, []),
    (put("test", "note", {n: " " * n for n in range(5)}), {}, ["'note' is an empty text in 5 of 10 test rows"]),
    (
        put("train", "facts", {0: [2**24 + 1, 0.5], 1: [1_700_000_000_001, 0.5]}),
        {},
        ["2 whole numbers of 'facts' rounded: encoders get float32, which holds them up to 16,777,216 only"],
    ),
    (
        put("test", "number", dict.fromkeys(range(10), 3.0)),
        {"target": mb.Number("number")},
        ["every target of test is the same"],
    ),
    (
        put("test", "note", {0: "note 31"}),
        {"target": mb.Match(("note",), ("icon", "facts"))},
        ["2 test rows share their 'note' with another, so that more than one match is right"],
    ),
    (
        put("train", "labels", {n: [0, 1] for n in range(20)}),
        {"target": mb.Labels("labels")},
        ["train has no row of class '0', test has 5", "train has no row of class '0', validation has 5"],
    ),
]


@pytest.mark.parametrize(
    ("change", "attributes", "said"), SAID, ids=[(said or ["nothing"])[0][:40] for *_, said in SAID]
)
def test_what_is_warned_of(tmp_path: Path, change: Any, attributes: dict[str, Any], said: list[str]) -> None:
    assert warnings(tmp_path, change, **attributes) == said


def test_rows_that_repeat_each_other(tmp_path: Path) -> None:
    def change(splits: Splits) -> None:
        for column in ("icon", "note", "facts"):
            splits["test"][column][1] = splits["test"][column][0]

    table = made(tmp_path, change)
    assert table.warnings(["icon"]) == ["2 of 10 test rows are not the only ones of their content"]
    assert table.report is not None
    assert table.report["whole"]["repeated"] == {"train": 0, "validation": 0, "test": 2}


def test_what_concerns_other_modalities_is_left_out_and_a_limit_is_said(tmp_path: Path) -> None:
    table = made(tmp_path, put("test", "icon", {9: picture(0)}))
    assert table.warnings(["note", "facts"]) == []
    limited = tables.Table(table.dataset, table.folder, limit=5)
    assert limited.warnings(["icon"])[-1].endswith("of which at most 5 rows a split are used")


def test_the_report_tells_no_row_s_target(tmp_path: Path) -> None:
    """Processes that tune may read it: it holds what is the same however the targets of test are dealt out."""

    def shuffled(splits: Splits) -> None:
        splits["test"]["y"].reverse()

    one, other = made(tmp_path, name="one"), made(tmp_path, shuffled, name="other")
    assert one.targets("test").tolist() != other.targets("test").tolist()
    assert one.report == other.report


def test_a_table_of_an_older_mmbench_is_read_when_it_is_needed(tmp_path: Path) -> None:
    table = made(tmp_path, copied)
    before = table.report
    (table.folder / "report.json").unlink()
    assert table.report is None
    assert table.warnings(["icon"]) == []
    assert tables.examine(tables.Table(table.dataset, table.folder, limit=3)) == before
    assert table.report == before
    assert not list(table.folder.glob("*.draft"))


def test_an_older_table_with_a_picture_that_can_not_be_read_is_refused(tmp_path: Path) -> None:
    from datasets import load_from_disk

    table = made(tmp_path)
    (table.folder / "report.json").unlink()
    place = table.folder / "rows" / "test"
    rows = load_from_disk(str(place))
    bad = [{"bytes": b"no", "path": None}, *([picture(1)] * 9)]
    changed = rows.remove_columns("icon").add_column("icon", bad).cast_column("icon", rows.features["icon"])
    changed.save_to_disk(str(tmp_path / "changed"))
    shutil.rmtree(place)
    (tmp_path / "changed").rename(place)
    with pytest.raises(DataError, match="split 'test', column 'icon', row 0: not an image"):
        tables.examine(table)


def test_the_report_is_json_of_its_own_form(tmp_path: Path) -> None:
    table = made(tmp_path)
    assert json.loads((table.folder / "report.json").read_text())["form"] == report.FORM
