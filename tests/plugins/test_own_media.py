"""Your own pictures and sounds: paths in a table, folders of labels and of metadata, every odd picture and sound."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import soundfile
from mmbench_own.dataset import make
from PIL import Image

from mmbench.engine import identity
from mmbench.engine.data.report import lines
from mmbench.engine.data.sample import lines as looks
from mmbench.engine.data.tables import Table, examine, materialise
from mmbench.errors import DataError

PLAIN = 12


def table(column: str = "file", kind: str = "image", **more: Any) -> dict[str, Any]:
    return {"files": "rows.csv", "columns": {kind: {"column": column, "kind": kind}}, "target": {"label": "y"}, **more}


@pytest.fixture
def rows(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows.csv with these files in its first rows, and plain pictures below; gives its folder."""

    def write(names: list[str], plain: int = PLAIN) -> Path:
        folder = tmp_path / "data"
        folder.mkdir(exist_ok=True)
        for number in range(plain):
            Image.new("RGB", (8, 6), (number * 9, 0, 255)).save(folder / f"plain-{number}.png")
        every = [*names, *(f"plain-{number}.png" for number in range(plain))]
        (folder / "rows.csv").write_text("\n".join(["file,y", *(f"{n},{'ab'[i % 2]}" for i, n in enumerate(every))]))
        return folder

    return write


def made(folder: Path, what: dict[str, Any]) -> Table:
    return materialise(make("mine", what, folder), folder.parent / "cache")


def every(found: Table, kind: str = "image") -> list[Any]:
    return [value for split in ("train", "validation", "test") for value in found.values(split, kind)]


def test_every_odd_picture_is_read_as_its_colours(rows: Callable[..., Path]) -> None:
    folder = rows([])
    red = Image.new("RGB", (4, 4), (255, 0, 0))
    red.quantize(4).save(folder / "palette.gif")
    red.convert("CMYK").save(folder / "ink.tif")
    Image.new("LA", (4, 4), (0, 0)).save(folder / "clear.png")
    Image.fromarray(np.full((4, 4), 65535, np.uint16)).save(folder / "deep.png")
    Image.new("RGB", (1, 1), (255, 0, 0)).save(folder / "dot.png")
    red.save(folder / "film.gif", save_all=True, append_images=[Image.new("RGB", (4, 4), (0, 0, 255))])
    red.save(folder / "web.webp", lossless=True)
    turned = Image.new("RGB", (4, 2))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    turned.save(folder / "turned.jpg", exif=exif)
    names = ["palette.gif", "ink.tif", "film.gif", "web.webp", "dot.png", "clear.png", "deep.png", "turned.jpg"]
    folder = rows(names, plain=40)
    found = every(made(folder, table()))
    seen = {(value.size, value.getpixel((0, 0))) for value in found}
    assert all(value.mode == "RGB" for value in found)
    assert sum(value.size == (4, 4) and value.getpixel((0, 0)) == (255, 0, 0) for value in found) == 4
    assert sum(value.size == (4, 4) and value.getpixel((0, 0)) == (255, 255, 255) for value in found) == 2
    assert ((1, 1), (255, 0, 0)) in seen
    assert (2, 4) in {size for size, _ in seen}


def test_a_picture_of_400_megapixels_is_refused_before_it_is_unpacked(rows: Callable[..., Path]) -> None:
    folder = rows(["huge.png"])
    Image.new("1", (20_000, 20_000)).save(folder / "huge.png")
    with pytest.raises(DataError, match=r"huge.png: not an image that Pillow reads \(Image size \(400000000 pixels\)"):
        made(folder, table())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gone.png", r"column 'file': rows.csv, row 2: 'gone.png' is not there; .*unreadable = \"missing\""),
        ("/etc/passwd", "'/etc/passwd' is an absolute path"),
        ("../out.png", r"'\.\./out.png' leads out of the data's folder"),
        ("link.png", "'link.png' leads out of the data's folder"),
        ("http://a.org/x.png", "is an address: fetch it first"),
        ("drawn.svg", "'drawn.svg' is SVG, which has no pixels: draw it as PNG first"),
        ("folder", "'folder' is not there"),
    ],
)
def test_a_path_that_leads_nowhere_or_elsewhere(rows: Callable[..., Path], name: str, said: str) -> None:
    folder = rows([name])
    Image.new("RGB", (2, 2)).save(folder.parent / "out.png")
    (folder / "link.png").symlink_to(folder.parent / "out.png")
    (folder / "folder").mkdir()
    with pytest.raises(DataError, match=said):
        made(folder, table())


def test_what_can_t_be_read_may_count_as_missing_and_is_said(rows: Callable[..., Path]) -> None:
    folder = rows(["gone.png", "broken.png", ""], plain=20)
    (folder / "broken.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"'gone\.png' is not there"):
        made(folder, table())
    found = made(folder, table(unreadable="missing"))
    assert sum(value is None for value in every(found)) == 3
    assert any("2 values of 'image' that can't be read, taken as missing" in line for line in lines(examine(found)))


def test_a_picture_that_changes_makes_other_data(rows: Callable[..., Path]) -> None:
    folder = rows([])
    (folder / "dogs").mkdir()
    (folder / "plain-2.png").replace(folder / "dogs" / "plain-2.png")
    (folder / "rows.csv").write_text((folder / "rows.csv").read_text().replace("plain-2.", "dogs/plain-2."))
    hidden = make("mine", table(), folder).files()
    assert {"rows.csv", "dogs", "plain-3.png"} <= {path.name for path in hidden}
    assert "plain-2.png" not in {path.name for path in hidden}
    before = identity.fingerprint(make("mine", table(), folder))
    (folder / "dogs" / "other.png").write_bytes(b"named by no row")
    assert identity.fingerprint(make("mine", table(), folder)) == before
    Image.new("RGB", (9, 9)).save(folder / "plain-3.png")
    assert identity.fingerprint(make("mine", table(), folder)) != before


def test_sounds_of_any_rate_and_width_and_an_empty_one(rows: Callable[..., Path]) -> None:
    folder = rows([], plain=0)
    names = [f"{number}.wav" for number in range(20)]
    for number, name in enumerate(names):
        wave = np.sin(np.arange(800) * (number + 1) / 50)
        samples = np.stack([wave, -wave / 2], axis=1) if number % 2 else wave
        soundfile.write(folder / name, samples, 96_000 if number == 0 else 8_000)
    rows(names, plain=0)
    found = every(made(folder, table(kind="audio")), "audio")
    assert {value.rate for value in found} == {96_000, 8_000}
    assert {value.samples.ndim for value in found} == {1}
    soundfile.write(folder / "0.wav", np.zeros(0), 8_000)
    with pytest.raises(DataError, match=r"0.wav: a sound without samples"):
        made(folder, table(kind="audio"))


@pytest.fixture
def sorted_folder(tmp_path: Path) -> Path:
    """pets/cat and pets/dog, ten pictures each."""
    for label, shade in (("cat", 0), ("dog", 120)):
        (tmp_path / "pets" / label).mkdir(parents=True)
        for number in range(10):
            Image.new("RGB", (5, 5), (shade + number, 0, 0)).save(tmp_path / "pets" / label / f"{number}.png")
    return tmp_path


FOLDER: dict[str, Any] = {
    "folder": "pets",
    "columns": {"image": {"column": "file_name", "kind": "image"}},
    "target": {"label": "label"},
}


def test_a_folder_of_labels(sorted_folder: Path) -> None:
    found = made(sorted_folder, FOLDER)
    assert found.facts["classes"] == ["cat", "dog"]
    assert found.facts["rows"] == {"train": 12, "validation": 4, "test": 4}
    for value, label in zip(found.values("test", "image"), found.targets("test"), strict=True):
        assert (value.getpixel((0, 0))[0] >= 120) == bool(label)
    assert "image: 5 x 5 pixels" in looks(found)
    kept = [path for path in found.folder.rglob("*") if path.is_file()]
    assert not any(b"cat/" in path.read_bytes() for path in kept)  # else a part would read the labels of test
    (sorted_folder / "pets" / "cat" / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"pets/cat/notes.txt ends with none of .png"):
        made(sorted_folder, FOLDER)


def test_a_folder_that_is_divided_and_described(tmp_path: Path) -> None:
    for split, count in (("train", 12), ("val", 6), ("test", 6)):
        place = tmp_path / "set" / split
        place.mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (5, 5), (number, 0, len(split))).save(place / f"{number}.png")
        lines_ = ["file_name,caption,kind", *(f"{n}.png,a picture {n},{'xy'[n % 2]}" for n in range(count))]
        (place / "metadata.csv").write_text("\n".join(lines_))
    both = {"image": {"column": "file_name", "kind": "image"}, "caption": "caption"}
    what = {"folder": "set", "columns": both, "target": {"label": "kind"}, "split": {"by": "given"}}
    found = made(tmp_path, what)
    assert found.facts["rows"] == {"train": 12, "validation": 6, "test": 6}
    assert {value.getpixel((0, 0))[2] for value in found.values("validation", "image")} == {3}
    assert list(found.values("test", "caption"))[:2] == ["a picture 0", "a picture 1"]


def test_pictures_that_nothing_says_anything_of(tmp_path: Path) -> None:
    (tmp_path / "pets").mkdir()
    with pytest.raises(DataError, match=r"folder 'pets' holds no .png"):
        made(tmp_path, FOLDER)
    Image.new("RGB", (2, 2)).save(tmp_path / "pets" / "a.png")
    with pytest.raises(DataError, match=r"pets/a.png lies in no label's folder: write metadata.csv"):
        made(tmp_path, FOLDER)


def test_pictures_inside_parquet_and_series_inside_json_lines(tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (3, 2), (number, 0, 0)) for number in range(20)]
    names = datasets.ClassLabel(names=["no", "yes"])
    kinds = datasets.Features({"photo": datasets.Image(), "y": names})
    rows = datasets.Dataset.from_dict({"photo": pictures, "y": [n % 2 for n in range(20)]}, kinds)
    rows.to_parquet(str(tmp_path / "rows.parquet"))
    photo = {"photo": {"column": "photo", "kind": "image"}}
    found = made(tmp_path, {"files": "rows.parquet", "columns": photo, "target": {"label": "y"}})
    assert found.facts["classes"] == ["no", "yes"]
    for value, label in zip(found.values("train", "photo"), found.targets("train"), strict=True):
        assert value.getpixel((0, 0))[0] % 2 == label
    lines_ = [json.dumps({"steps": [[n, 1.5]] * (n + 1), "y": "ab"[n % 2]}) for n in range(20)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines_))
    series = {"files": "rows.jsonl", "columns": {"s": {"column": "steps", "kind": "series"}}, "target": {"label": "y"}}
    for value in every(made(tmp_path, series), "s"):
        assert value.shape == (value[0, 0] + 1, 2)


def test_a_column_of_words_is_no_series(rows: Callable[..., Path]) -> None:
    folder = rows([])
    with pytest.raises(DataError, match="column 'file' holds text: a series or a video must be lists of numbers"):
        made(folder, table(kind="video"))
