"""Files are taken into the cache, every value is read before anything is trained, and what can't be read is said."""

import io
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from PIL import Image as Pillow

import mmbench as mb
from mmbench.api.progress import listen
from mmbench.engine.data import tables
from mmbench.errors import DataError

GREY = {"train": [10, 20, 30, 40], "validation": [50, 60], "test": [70, 80]}


def png(grey: int) -> bytes:
    file = io.BytesIO()
    Pillow.new("L", (3, 2), grey).save(file, "PNG")
    return file.getvalue()


class Greys(mb.Dataset):
    """Grey pictures and a number each; `column` makes the pictures' column of what `cells` gives."""

    name = "greys"
    columns = {"scan": "image", "number": "tabular"}
    target = mb.Number("y")
    licence = "CC0-1.0"
    place: ClassVar[Path]
    kind: ClassVar[Literal["image", "struct", "path"]] = "image"
    bad: ClassVar[dict[str, dict[int, Any]]] = {}
    """{split: {row: what stands there}}"""

    def load(self, cache: Path) -> Any:
        from datasets import Dataset, DatasetDict, Features, Image, List, Value

        struct = {"bytes": Value("binary"), "path": Value("string")}
        scan = {"image": Image(), "struct": struct, "path": {"path": Value("string")}}[self.kind]
        features = Features(scan=scan, number=List(Value("float64")), y=Value("float32"))
        made = {}
        for split, greys in GREY.items():
            cells: list[Any] = []
            for grey in greys:
                file = self.place / f"{grey}.png"
                file.write_bytes(png(grey))
                cells.append(str(file) if self.kind == "image" else {"bytes": None, "path": str(file)})
            numbers: list[Any] = [[float(grey)] for grey in greys]
            for row, cell in self.bad.get(split, {}).items():
                (numbers if isinstance(cell, list) else cells)[row] = cell
            rows = {"scan": cells, "number": numbers, "y": [grey / 7 for grey in greys]}
            made[split] = Dataset.from_dict(rows, features=features)
        return DatasetDict(made)


def of(place: Path, **changed: Any) -> Greys:
    made: type[Greys] = type("Changed", (Greys,), {"place": place, **changed})
    return made()


def read(table: tables.Table, split: str = "train") -> list[int | None]:
    return [value and value.getpixel((0, 0))[0] for value in table.values(split, "scan")]


@pytest.mark.parametrize("kind", ["image", "struct", "path"])
def test_a_file_that_changes_later_changes_no_row(tmp_path: Path, kind: str) -> None:
    table = tables.materialise(of(tmp_path, kind=kind), tmp_path / "cache")
    for file in tmp_path.glob("*.png"):
        file.unlink()
    (tmp_path / "10.png").write_bytes(png(99))
    assert read(table) == GREY["train"]
    assert read(table, "test") == GREY["test"]
    assert sorted(path.name for path in table.folder.iterdir()) == [
        "facts.json",
        "report.json",
        "rows",
        "targets-train.safetensors",
        "targets-validation.safetensors",
    ]


@pytest.mark.parametrize("kind", ["image", "struct", "path"])
def test_what_a_file_was_called_is_kept_nowhere(tmp_path: Path, kind: str) -> None:
    """Who tunes may read the rows: a picture of a folder `cats` would say its class, of test too."""
    (tmp_path / "cats").mkdir()
    table = tables.materialise(of(tmp_path / "cats", kind=kind), tmp_path / "cache")
    assert read(table, "test") == GREY["test"]
    files = [path for path in table.folder.rglob("*") if path.is_file()]
    assert len(files) > 4
    assert not [path.name for path in files if b"cats" in path.read_bytes()]


def broken(place: Path) -> dict[int, Any]:
    (place / "text.png").write_text("<html>404</html>")
    (place / "cut.png").write_bytes(png(1)[:50])
    return {0: str(place / "gone.png"), 1: str(place / "text.png"), 3: str(place / "cut.png")}


def test_what_can_not_be_read_is_refused_in_one_line_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        tables.materialise(of(tmp_path, bad={"train": broken(tmp_path)}), tmp_path / "cache")
    said = str(caught.value)
    assert said.startswith("dataset 'greys', split 'train', column 'scan', 3 rows can't be read: row 0: ")
    for name, what in (("gone", "No such file or directory"), ("text", "not an image"), ("cut", "not an image")):
        assert f"{tmp_path / name}.png: {what}" in said
    assert "\n" not in said
    assert 'set unreadable = "missing"' in said
    assert not list((tmp_path / "cache" / "tables").glob("*/"))


@pytest.mark.parametrize("kind", ["image", "struct", "path"])
def test_or_it_counts_as_missing_which_the_report_says(tmp_path: Path, kind: str) -> None:
    cells = broken(tmp_path)
    if kind != "image":
        cells = {row: {"bytes": None, "path": path} for row, path in cells.items()}
    bad = {"train": cells, "test": {1: [float("inf")]}}
    table = tables.materialise(of(tmp_path, kind=kind, bad=bad, unreadable="missing"), tmp_path / "cache")
    assert read(table) == [None, None, 30, None]
    assert table.values("train", "scan").present.tolist() == [False, False, True, False]
    assert [value and value.tolist() for value in table.values("test", "number")[:]] == [[70.0], None]
    assert table.report is not None
    assert table.report["modalities"]["scan"]["unreadable"] == {"train": 3, "validation": 0, "test": 0}
    assert table.report["modalities"]["scan"]["missing"] == {"train": 0, "validation": 0, "test": 0}
    assert table.warnings(["scan"]) == [
        "3 values of 'scan' that can't be read, taken as missing (train 3, validation 0, test 0)"
    ]
    assert table.warnings(["number"])[0].startswith("1 value of 'number' that can't be read")


def test_a_column_of_which_nothing_can_be_read_is_refused_all_the_same(tmp_path: Path) -> None:
    gone = {row: str(tmp_path / f"no{row}.png") for row in range(2)}
    with pytest.raises(DataError, match="split 'test', column 'scan', 2 rows can't be read"):
        tables.materialise(of(tmp_path, bad={"test": gone}, unreadable="missing"), tmp_path / "cache")


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (
            {"test": {0: "https://example.org/a.png"}},
            r"split 'test'.*a.png: an address, not a file: load must fetch it",
        ),
        ({"train": {2: [float("-inf")]}}, r"split 'train', column 'number', row 2: a number that is infinite"),
        ({"train": {2: [1.0, 2.0]}}, r"split 'train': column 'number' has rows of 1 and 2 numbers"),
    ],
)
def test_other_values_that_are_refused(tmp_path: Path, bad: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        tables.materialise(of(tmp_path, bad=bad), tmp_path / "cache")


def test_the_background_is_the_data_set_s(tmp_path: Path) -> None:
    Pillow.new("RGBA", (1, 1), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    for background, grey in (("white", 255), ("#070707", 7)):
        made = of(tmp_path, bad={"train": {0: str(tmp_path / "clear.png")}}, background=background, name=f"on_{grey}")
        assert read(tables.materialise(made, tmp_path / "cache"))[0] == grey
    with pytest.raises(DataError, match="'greys': background 'whitte' is no colour"):
        tables.materialise(of(tmp_path, background="whitte"), tmp_path / "cache")


def test_reading_tells_how_far_it_is(tmp_path: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    with listen(lambda *said: heard.append(said)):
        tables.materialise(of(tmp_path), tmp_path / "cache")
    assert ("greys: read scan of train", 4, 4) in heard


def test_each_value_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mmbench.api import columns, media

    calls: list[Any] = []

    def counted(*given: Any) -> Any:
        calls.append(given)
        return media.picture(*given)

    monkeypatch.setattr(columns, "picture", counted)
    tables.materialise(of(tmp_path), tmp_path / "cache")
    assert len(calls) == 8
