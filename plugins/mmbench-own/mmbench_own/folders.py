"""Folders of pictures or sounds: FOLDER/LABEL/FILE, or files beside a metadata file, each perhaps below train,
validation and test, as Hugging Face's imagefolder has them."""

from collections.abc import Iterator
from pathlib import Path

from mmbench.errors import DataError
from mmbench_own.form import Form
from mmbench_own.reading import FILE, Rows, joined, placed, read
from mmbench_own.splits import ALIASES

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
NAME = "file_name"
"""The column of a metadata file that names the file of its row."""
IMAGES = ("png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff", "ppm", "pgm")
SOUNDS = ("wav", "flac", "ogg", "mp3", "aiff", "aif")
MEDIA = {**dict.fromkeys(IMAGES, "image"), **dict.fromkeys(SOUNDS, "audio")}
"""{how a file's name ends: its kind}"""


def rows(folder: Path, form: Form | None = None) -> tuple[Rows, list[str] | None]:
    """The rows of a folder with the columns "file_name" and "label", or those of its metadata files; paths are relative
    to the folder. And the name of each row's split, if the folder is divided. Raises DataError for another layout."""
    import numpy as np
    import pyarrow as pa

    if not folder.is_dir():
        raise DataError(f"folder {folder.name!r} is not there: paths are relative to the suite's file")
    parts = divided(folder)
    tables: list[pa.Table] = []
    files: list[str] = []
    splits: list[str] = []
    for name, place in parts.items() or {"": folder}.items():
        for part in _described(folder, place) if metadata(place) else _labelled(folder, place, len(files)):
            table = part.table.set_column(
                part.table.column_names.index(FILE), FILE, pa.array(np.full(len(part), len(files)))
            )
            tables.append(table)
            files += part.files
            splits += [name] * len(part)
    if not tables:
        raise DataError(f"folder {folder.name!r} holds no {', '.join(f'.{e}' for e in MEDIA)}, and no {METADATA[0]}")
    return Rows(joined(tables), tuple(files), None, folder), splits if parts else None


def divided(folder: Path) -> dict[str, Path]:
    """{name: folder} of train, validation and test, if there is one of train."""
    known = {alias for aliases in ALIASES.values() for alias in aliases}
    found = {place.name: place for place in sorted(folder.iterdir()) if place.is_dir() and place.name.lower() in known}
    return found if any(name.lower() in ALIASES["train"] for name in found) else {}


def metadata(place: Path) -> Path | None:
    return next((place / name for name in METADATA if (place / name).is_file()), None)


def _described(folder: Path, place: Path) -> Iterator[Rows]:
    import pyarrow as pa

    file = metadata(place)
    if file is None:
        return
    part = read([file])
    if NAME not in part.names:
        raise DataError(f"{file.name} needs the column {NAME!r}, which names the file of each row")
    below = place.relative_to(folder).as_posix()
    cells = [f"{below}/{cell}" if cell and below != "." else cell for cell in part.column(NAME).to_pylist()]
    table = part.table.set_column(part.table.column_names.index(NAME), NAME, pa.array(cells, pa.string()))
    yield Rows(table, (file.relative_to(folder).as_posix(),), None, folder)


def _labelled(folder: Path, place: Path, number: int) -> Iterator[Rows]:
    import numpy as np
    import pyarrow as pa

    labels = [own for own in sorted(place.iterdir()) if own.is_dir() and not own.name.startswith(".")]
    if stray := [f for f in sorted(place.iterdir()) if f.is_file() and ending(f) in MEDIA]:
        raise DataError(
            f"{stray[0].relative_to(folder.parent).as_posix()} lies in no label's folder: write {METADATA[0]} with the "
            f"column {NAME!r} beside the files, or sort them as FOLDER/LABEL/FILE"
        )
    for label in labels:
        files = [file for file in sorted(label.rglob("*")) if file.is_file() and not file.name.startswith(".")]
        files = [file for file in files if file.name not in ("Thumbs.db", "desktop.ini")]
        if odd := [file for file in files if ending(file) not in MEDIA]:
            known = ", ".join(f".{e}" for e in MEDIA)
            raise DataError(f"{odd[0].relative_to(folder.parent).as_posix()} ends with none of {known}: take it away")
        if not files:
            raise DataError(f"label {label.name!r} has no file in {place.relative_to(folder.parent).as_posix()}")
        names = [file.relative_to(folder).as_posix() for file in files]
        table = pa.table({NAME: names, "label": [label.name] * len(names)})
        shown = label.relative_to(folder).as_posix()
        yield Rows(placed(table, number, np.arange(1, 1 + len(names))), (shown,), None, folder)


def ending(file: Path) -> str:
    return file.suffix.lstrip(".").lower()
