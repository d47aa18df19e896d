"""Data sets: named, typed columns with a target and fixed splits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from mmbench.api.data import Kind, Target, columns_problem, policy_problem
from mmbench.api.parts.part import Part
from mmbench.errors import DataError
from mmbench.sources import content_hash

if TYPE_CHECKING:
    from datasets import Dataset as Rows
    from datasets import DatasetDict


@dataclass(frozen=True)
class NewRows:
    """Rows that are not of a data set, read as its own are."""

    columns: "Rows"
    """The modalities alone, with the features that `load` gives them."""
    file: str
    """As messages call it."""
    numbers: Sequence[int]
    """Of each row its number in the file, as its user counts them."""


class Dataset(Part):
    """Named, typed columns with a target and fixed splits.

    `version` goes into the fingerprint: raise it when `load` gives other rows than before.
    """

    role = "dataset"
    columns: ClassVar[Mapping[str, Kind]]
    target: ClassVar[Target]
    licence: ClassVar[str]
    citation: ClassVar[str] = ""
    version: ClassVar[str] = "1"
    background: "ClassVar[str | tuple[int, int, int]]" = "white"
    """What lies behind the transparent parts of pictures: a colour by name, as "#rrggbb", or as (r, g, b)."""
    unreadable: ClassVar[Literal["refuse", "missing"]] = "refuse"
    """What happens to a picture, a sound or a row of numbers that can't be read: the data set is refused, or the value
    counts as missing, which the report of the data and the board say."""

    groups: ClassVar[str | None] = None
    """A column of every split that says which rows belong together (a patient, a speaker, a document): where rows are
    cut into folds, no group is on two sides. Contenders see none of these three columns."""
    stratify: ClassVar[str | None] = None
    """A column of every split whose values are spread evenly over folds and train sizes; None: the target's classes,
    if it has any."""
    time: ClassVar[str | None] = None
    """A column of every split that says when a row is from, in what can be ordered (numbers, dates as "2024-05-31"):
    what `by = "time"` cuts by."""

    @property
    def about(self) -> str:
        return f"{' + '.join(self.columns)} → {self.target.type}"

    def kinds_read(self) -> Sequence[str]:
        return tuple(self.columns.values())

    def problem(self) -> str | None:
        for what, column in self.declared().items():
            if column in self.columns or (column in self.target.columns and what != "strata"):
                return f"the column of {what} {column!r} is a modality or the target"
        return columns_problem(self.columns, self.target) or policy_problem(self.unreadable)

    def declared(self) -> dict[str, str]:
        """{"groups", "strata" or "time": the column that says so}, of those that it declares."""
        columns = {"groups": self.groups, "strata": self.stratify, "time": self.time}
        return {what: column for what, column in columns.items() if column is not None}

    def load(self, cache: Path) -> "DatasetDict":
        """Give the splits `train`, `validation` and `test`, the same rows in the same order each time.

        The features of a column by kind: tabular `List(Value("float32"))`, text `Value("string")`,
        image `Image()`, audio `Audio(decode=False)` (WAV or FLAC bytes), series and video
        `List(List(...))` or `Array2D/4D`. Called once; mmbench keeps what it gives under `cache`. So may it what it
        reads, in a folder of its own there: processes that tune can't read that.
        """
        raise NotImplementedError

    def files(self) -> Sequence[Path]:
        """The files and folders of this machine that `load` reads, if any. As they contain test labels, processes
        that tune can't read them, where the system supports that (see SECURITY.md)."""
        return ()

    def origin(self) -> str:
        """What the rows are made from, beside the code: names and hashes of carriers or files. Must be quick.

        Unless overridden: a hash of what `files` hold.
        """
        return content_hash(map(Path, self.files()))

    def learn_rows(self, cache: Path) -> Mapping[str, Any]:
        """What `load` learns from the rows of train, as JSON: with it `read_rows` reads others in the same way.
        "classes", if it is among it, names the classes of a target that does not name its own."""
        return {}

    def read_rows(self, file: Path, learned: Mapping[str, Any]) -> NewRows:
        """Rows of a file that `load` has not seen, for `mmbench predict`. Raises DataError for one that can't be read,
        with file, row and column."""
        raise DataError(f"data set {self.name!r} reads no other rows than its own: give --split test, or another split")
