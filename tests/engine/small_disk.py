"""Run by test_failures_disk in a mount namespace of its own: gives the run a disk of its own, fills it, empties it.

    python small_disk.py PLACE KIND COMMAND...

mounts an empty file system of a few megabytes on PLACE/KIND, runs COMMAND (in which {place} is PLACE) in the states
that KIND names, and prints what came of each as JSON: [[exit code, stderr], ...].
"""

import json
import os
import subprocess
import sys
from pathlib import Path

MEGABYTE = 2**20


def main(place: Path, kind: str, command: list[str]) -> None:
    disk = place / kind.partition("-")[0]
    disk.mkdir()
    mount("-t", "tmpfs", "-o", "size=8m", "none", str(disk))
    words = [word.format(place=place) for word in command]
    told = []
    if kind.endswith("-readonly"):
        mount("-o", "remount,ro", str(disk))
        told.append(run(words))
        mount("-o", "remount,rw", str(disk))
    else:
        for room in ROOMS[kind]:
            fill(disk, room)
            told.append(run(words))
            (disk / "filler").unlink(missing_ok=True)
    told.append(run(words))
    mount("-o", "remount,ro", str(disk))
    told.append(run(words))
    print(json.dumps(told))


ROOMS = {"cache": (0, 72 * 1024), "results": (0, 40 * 1024)}
"""Bytes left free, in turn. cache: nothing, so that no data set is built; then a data set, but not its features.
results: not even the folder's own files; some rows and predictions."""


def fill(disk: Path, room: int) -> None:
    """Write a file that leaves so many bytes free."""
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    (disk / "filler").write_bytes(bytes(max(0, free - room)))


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def run(words: list[str]) -> tuple[int, str]:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
