"""Folders of the cache that are made whole or not at all. Used by `tables` and `features`."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmbench.api.files import file_lock, remedy, share
from mmbench.errors import DataError


@contextmanager
def building(folder: Path) -> Iterator[Path | None]:
    """Make `folder` whole or not at all: yields a draft folder to fill, or None if another process was first.

    Raises DataError if it can't be written; what was half made is gone then, or swept by whoever builds it next.
    """
    from safetensors import SafetensorError

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(folder.with_name(f"{folder.name}.lock")):
            if folder.exists():
                yield None
                return
            for left in folder.parent.glob(f"{folder.name}.draft-*"):  # by a process that was killed: we have the lock
                shutil.rmtree(left, ignore_errors=True)
            draft = folder.with_name(f"{folder.name}.draft-{os.getpid()}")
            draft.mkdir()
            try:
                yield draft
                share(draft)
                sync(draft)
                draft.replace(folder)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        if isinstance(error, SafetensorError) and "I/O error" not in str(error):
            raise
        said = getattr(error, "strerror", None) or error
        raise DataError(f"can't make {folder}: {said}{remedy(error)}") from error


def sync(folder: Path, pattern: str = "*") -> None:
    """Wait until every file is on the disk: a folder in its place must be whole even after a loss of power."""
    for path in folder.rglob(pattern):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
