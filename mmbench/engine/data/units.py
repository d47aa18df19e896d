"""A long preparation in pieces: rows in units, each done once by whichever process claims it first. `features` uses it.

A claim is a file lock, which dies with its process, so that a killed one's unit is free again; what is done is marked
in a small file that all of them map into memory. Neither how many processes there are nor who did what can be seen in
the result.
"""

import shutil
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from mmbench.api.files import file_lock

if TYPE_CHECKING:
    import numpy as np

Unit: TypeAlias = tuple[str, int, int]
"""A split, and its rows from the first to before the last."""

SIZE = 256
DONE, CLAIMS = "done.npy", "claims"
PAUSE = 0.05  # seconds between two looks at what others still work on


class Units:
    """All units of a draft, and which are done."""

    def __init__(self, draft: Path, rows: Mapping[str, int], done: "np.ndarray[Any, Any]") -> None:
        import numpy as np

        self._draft, self._done = draft, done
        self._units = _cut(rows)
        self._sizes = np.array([stop - start for _, start, stop in self._units], np.int64)

    @classmethod
    def create(cls, draft: Path, rows: Mapping[str, int]) -> None:
        """Mark all as not done."""
        import numpy as np

        (draft / CLAIMS).mkdir()
        np.save(draft / DONE, np.zeros(len(_cut(rows)), np.uint8))

    @classmethod
    def open(cls, draft: Path, rows: Mapping[str, int]) -> "Units":
        """Raises FileNotFoundError if the draft has been finished or removed meanwhile."""
        import numpy as np

        return cls(draft, rows, np.load(draft / DONE, mmap_mode="r+", allow_pickle=False))

    @staticmethod
    def remove(draft: Path) -> None:
        """Clear away what only the work needed."""
        shutil.rmtree(draft / CLAIMS)
        (draft / DONE).unlink()

    def __len__(self) -> int:
        return len(self._units)

    @property
    def complete(self) -> bool:
        return bool(self._done.all())

    @property
    def rows(self) -> tuple[int, int]:
        """How many rows are done, by anyone, of how many."""
        return int(self._done @ self._sizes), int(self._sizes.sum())

    def claim(self, *, wait: bool) -> Generator[Unit]:
        """Units that nobody else works on; each counts as done when the next one is asked for.

        wait: go on until all are done, by anyone, and take over what a process leaves that dies. Close the iterator if
        you leave early. Raises FileNotFoundError if the draft has been removed meanwhile.
        """
        left = self._left()
        while left:
            yield from self._pass(left)
            left = self._left()
            if not wait:
                return
            if left:
                time.sleep(PAUSE)

    def _pass(self, numbers: list[int]) -> Generator[Unit]:
        from filelock import Timeout

        for number in numbers:
            if self._done[number]:
                continue
            try:
                with file_lock(self._draft / CLAIMS / f"{number}.lock", timeout=0):
                    if not (self._draft / DONE).exists():
                        raise FileNotFoundError(self._draft)
                    if not self._done[number]:
                        yield self._units[number]
                        self._done[number] = 1
            except Timeout:
                continue

    def _left(self) -> list[int]:
        return [number for number, done in enumerate(self._done) if not done]


def _cut(rows: Mapping[str, int]) -> list[Unit]:
    return [(split, start, min(start + SIZE, n)) for split, n in rows.items() for start in range(0, n, SIZE)]
