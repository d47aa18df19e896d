"""Writing the site whole or not at all, and telling whether a folder still is what the runs say.

The files are drafted beside the folder, brought to the disk, and renamed into its place; an earlier site steps aside
for that and is then removed. A folder that holds anything but an earlier site of ours is left alone. Used by `publish`.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from mmbench.board.site.render import MANIFEST, SITE
from mmbench.errors import MMBenchError, StoreError
from mmbench.store.chain import open_file, sync_folder, write_file


def write(made: Mapping[str, bytes], to: Path) -> None:
    """Put the files in place as the folder `to`, in the stead of an earlier site.

    Raises MMBenchError if `to` is something else, or can't be written; then nothing has changed.
    """
    try:
        _recover(to)
        _check(to)
        to.parent.mkdir(parents=True, exist_ok=True)
        draft, old = _beside(to, "draft"), _beside(to, "old")
        try:
            for path, content in made.items():
                place = draft / path
                place.parent.mkdir(parents=True, exist_ok=True)
                write_file(place, content)
            if to.exists():
                to.rename(old)
            draft.rename(to)
            sync_folder(to.parent)
        except BaseException:
            if old.exists() and not to.exists():
                old.rename(to)
            raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        if old.exists():
            _discard(old, draft)
    except OSError as error:
        raise MMBenchError(f"{to} can't be written: {error.strerror or error}") from error


def differences(made: Mapping[str, bytes], to: Path) -> list[str]:
    """Where the folder is not as it would be written now: "changed: index.html", "missing: ...", "not ours: ..."."""
    if to.is_symlink() or not to.is_dir():
        return [f"missing: {to}"]
    there = set(_files(to))
    found = []
    for path, content in made.items():
        if path not in there:
            found.append(f"missing: {to / path}")
        elif read(to / path) != content:
            found.append(f"changed: {to / path}")
    return sorted(found) + [f"not ours: {to / path}" for path in sorted(there - set(made))]


def read(path: Path) -> bytes | None:
    """A file's content, no symbolic link followed; None if it can't be had so."""
    try:
        with open_file(path, os.O_RDONLY) as file:
            return file.read()
    except (OSError, StoreError):
        return None


def _files(folder: Path) -> Iterator[str]:
    """Every file and link below the folder, as paths with slashes; links are not followed."""
    for place, folders, files in os.walk(folder):
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        yield from ((Path(place) / name).relative_to(folder).as_posix() for name in (*files, *links))


def _check(to: Path) -> None:
    """Raises MMBenchError unless `to` is free, empty, or an earlier site of ours with nothing beside it."""
    if to.is_symlink():
        raise MMBenchError(f"{to} is a symbolic link; give --to the folder itself")
    if not to.exists():
        return
    if not to.is_dir():
        raise MMBenchError(f"{to} is a file; give another --to")
    there = set(_files(to))
    if not there:
        return
    listed = _listed(to)
    if listed is None:
        raise MMBenchError(f"{to} holds files but is no site that mmbench wrote; give another --to")
    strangers = sorted(there - listed - {MANIFEST})
    if strangers:
        raise MMBenchError(f"{to} holds {strangers[0]!r}, which is not of the site; move it away, or give another --to")


def _listed(folder: Path) -> set[str] | None:
    """The files that the folder's manifest names; None if it has no sound one."""
    try:
        content = json.loads(read(folder / MANIFEST) or b"")
        if content["mmbench_site"] != SITE:
            return None
        return {path for path in content["files"] if not PurePosixPath(path).is_absolute()}
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _beside(to: Path, what: str) -> Path:
    return to.with_name(f".{to.name}.{what}-{os.getpid()}")


def _recover(to: Path) -> None:
    """Mend what a killed process left: bring back a site that had stepped aside, and remove drafts."""
    import psutil

    if not to.parent.is_dir():
        return
    for place in sorted(path for path in to.parent.iterdir() if path.name.startswith(f".{to.name}.")):
        what, _, process = place.name.removeprefix(f".{to.name}.").partition("-")
        ours = what in ("draft", "old") and process.isdigit() and not place.is_symlink() and place.is_dir()
        if not ours or (int(process) != os.getpid() and psutil.pid_exists(int(process))):
            continue
        if what == "old" and not to.exists() and not to.is_symlink():
            place.rename(to)
        elif what == "draft":
            shutil.rmtree(place, ignore_errors=True)
        elif _listed(place) is not None:
            _discard(place, _beside(to, "draft"))


def _discard(site: Path, draft: Path) -> None:
    """Remove a site, as a draft: were this killed half-way, the manifest that says whose it is might be gone first."""
    site.rename(draft)
    shutil.rmtree(draft, ignore_errors=True)
