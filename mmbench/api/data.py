"""Data as parts see it: kinds of modality, targets, tasks.

What a value of each kind of modality is, as an encoder's `fit` and `transform` receive it
(a missing value is None in a Dataset, and never reaches an encoder):

    tabular   float32 array [D]
    text      str
    image     PIL.Image.Image, mode RGB
    audio     Sound(samples float32 [n], rate)
    series    float32 array [T, C], T may vary
    video     uint8 array [T, H, W, 3], T may vary
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    import numpy as np

Kind: TypeAlias = Literal["tabular", "text", "image", "audio", "series", "video"]
KINDS: tuple[str, ...] = get_args(Kind)
SPLITS = ("train", "validation", "test")
LONGEST_NAME = 100  # of a modality


@dataclass(frozen=True)
class Sound:
    """One recording: float32 `samples` [n] in -1..1, at `rate` samples a second."""

    samples: "np.ndarray[Any, Any]"
    rate: int


@dataclass(frozen=True)
class Label:
    """One of several classes; the column is a `datasets.ClassLabel`."""

    column: str
    type: ClassVar[str] = "label"


@dataclass(frozen=True)
class Labels:
    """Any number of several classes; the column is a sequence of 0 and 1, one for each class."""

    column: str
    type: ClassVar[str] = "labels"


@dataclass(frozen=True)
class Number:
    """A real number; the column is a float."""

    column: str
    type: ClassVar[str] = "number"


@dataclass(frozen=True)
class Match:
    """Cross-modal retrieval: in each row the modalities of `left` belong with those of `right`."""

    left: tuple[str, ...]
    right: tuple[str, ...]
    type: ClassVar[str] = "match"


Target: TypeAlias = Label | Labels | Number | Match


def modality_problem(name: object) -> str | None:
    """Why a modality can't have that name; None if it can: nearly every name that a table's column may have."""
    if not isinstance(name, str) or not name.strip():
        return f"modality {name!r} needs a name: the column's, as text"
    if len(name) > LONGEST_NAME:
        return f"modality {name[:20]!r}... has a name of {len(name)} characters; {LONGEST_NAME} are the most"
    return None if name.isprintable() else f"modality {name!r} has characters in its name that can't be shown"


def columns_problem(columns: Mapping[str, Kind], target: Target) -> str | None:
    """Why a data set can't have such modalities beside such a target; None if it can."""
    if not columns:
        return "columns names no modality"
    if found := next(filter(None, map(modality_problem, columns)), None):
        return found
    if isinstance(target, Match):
        strangers = sorted({*target.left, *target.right} - set(columns))
        return f"{strangers[0]!r} is a side of the match, but no modality" if strangers else None
    if target.column in columns:
        return f"the target column {target.column!r} is a modality too: every model would be given the answer"
    return None


def policy_problem(unreadable: str) -> str | None:
    """Why that can't become of what can't be read; None if it can."""
    policies = ("refuse", "missing")
    return None if unreadable in policies else f"unreadable is {unreadable!r}; choose from {', '.join(policies)}"


@dataclass(frozen=True)
class Task:
    """A dataset with its target and its tuned metric, as parts see it in `supports(task)`."""

    name: str
    dataset: str
    modalities: Mapping[str, str]
    """{modality: kind}, only those that take part."""
    target: Target
    metric: str
