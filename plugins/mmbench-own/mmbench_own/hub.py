"""Rows of a data set of the Hugging Face hub, at a pinned commit.

All that the client keeps is put below our cache, a folder for each commit: processes that tune can't read it there, and
no commit is answered with what is kept of another, as `datasets` does where it can't reach the one that was asked for.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mmbench.errors import DataError, told
from mmbench_own.form import Form
from mmbench_own.reading import Rows, joined, placed

if TYPE_CHECKING:
    import pyarrow as pa


def rows(form: Form, cache: Path) -> "tuple[Rows, list[str]]":
    """All rows, and the split of each as the hub calls it. Raises DataError if they can't be had."""
    import numpy as np
    from datasets import Audio, Image, load_dataset

    name = str(form.hub)
    place = cache / "hub" / str(form.revision)
    try:
        with _kept_in(place / "files"):
            found = load_dataset(name, form.configuration, revision=form.revision, cache_dir=str(place))
    except Exception as error:  # whatever the client, the network and the files make of it
        said = told(error) or type(error).__name__
        raise DataError(f"hub {name!r} at {str(form.revision)[:12]}: {said[:300]}") from error
    tables: list[pa.Table] = []
    splits: list[str] = []
    features = None
    for number, (split, part) in enumerate(found.items()):
        for column, feature in part.features.items():
            if isinstance(feature, Image | Audio):
                part = part.cast_column(column, type(feature)(decode=False))
        features = features or part.features
        table = part.with_format("arrow")[:]
        tables.append(placed(table, number, np.arange(1, 1 + table.num_rows)))
        splits += [str(split)] * table.num_rows
    files = tuple(f"{name} {split}" for split in found)
    return Rows(joined(tables), files, features), splits


@contextmanager
def _kept_in(folder: Path) -> Iterator[None]:
    """Have the client of the hub keep the files that it fetches in `folder`; they are read only once, and deleted."""
    from huggingface_hub import constants

    usual = constants.HF_HUB_CACHE
    constants.HF_HUB_CACHE = str(folder)
    try:
        yield
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        constants.HF_HUB_CACHE = usual
