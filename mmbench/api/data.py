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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias, get_args

from mmbench.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

Kind: TypeAlias = Literal["tabular", "text", "image", "audio", "series", "video"]
KINDS: tuple[str, ...] = get_args(Kind)
SPLITS = ("train", "validation", "test")
LONGEST_NAME = 100  # of a modality


@dataclass(frozen=True)
class Sound:
    """One recording: float32 `samples` [n] in -1..1, at `rate` samples a second."""

    samples: "np.ndarray[Any, Any]"
    rate: int


class Columns(Protocol):
    """A split's columns as a target reads them (`mmbench.api.columns.Columns`). Raises DataError for other contents."""

    def __len__(self) -> int:
        """How many rows there are."""
        ...

    def numbers(self, name: str, needed: str = "a number in each row") -> "Array":
        """A number a row, [N], none missing; `needed` is what an error asks for."""
        ...

    def lists(self, name: str) -> "list[Array]":
        """A list of numbers a row, float32, none missing."""
        ...

    def texts(self, name: str) -> list[str]:
        """A text a row, none missing."""
        ...


class Target:
    """What is to be predicted, as a data set declares it: what its column holds, and how the truth (labels) is read.

    What is learned of it is the head's business: the `mmbench.Head` whose name is this `type`. A type of your own is a
    frozen dataclass that inherits this, and a head. A truth is an array of numbers or of texts, [N, ...].
    """

    type: ClassVar[str]
    like: ClassVar[str] = ""
    """The built-in type, if any, whose truth, encoded truth and predictions are of the same form: parts that know only
    built-in types then take it for that one. An order of classes is not "label" to a metric that asks for numbers."""

    @property
    def form(self) -> str:
        """The type that parts may take it for."""
        return self.like or self.type

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that hold it: no contender sees them."""
        return ()

    @property
    def sides(self) -> tuple[tuple[str, ...], ...]:
        """For a target about pairs of rows: the modalities of each side."""
        return ()

    def read(self, columns: Columns) -> "Array":
        """The truth of one split, as metrics take it. Raises DataError if a row has none, or one of another form."""
        raise NotImplementedError

    def names(self, splits: "Mapping[str, Mapping[str, Any]]") -> list[str] | None:
        """The names of the classes, if it has any, from `{split: {column: feature}}`. Raises DataError if they differ
        between splits, or a number would mean one class here and another there."""
        return None

    def some(self, truth: "Array", rows: "Array") -> "Array":
        """The truth of some rows of a split, which are then all there are."""
        return truth[rows]

    def counts(self, truth: "Array", names: list[str] | None) -> dict[str, int] | None:
        """{class: rows that have it}, if there are classes."""
        return None

    def words(self, truth: "Array", names: list[str] | None) -> list[str] | None:
        """The truth of each row in words, if it can be said so: what no text modality may hold."""
        return None

    def fault(self, truth: "Array", names: list[str] | None, split: str) -> str | None:
        """What is wrong with the truth of a whole split, None if nothing. For the contract of datasets."""
        return None

    def answers(self, predictions: "Array", names: Sequence[str] | None) -> dict[str, list[Any]]:
        """Predictions, as metrics take them, as columns of a table; `names` are those of the classes. Unless
        overridden: a column, or one for each number of a row."""
        if predictions.ndim == 1:
            return {"prediction": predictions.tolist()}
        flat = predictions.reshape(len(predictions), -1)
        return {f"prediction {place}": flat[:, place].tolist() for place in range(flat.shape[1])}


@dataclass(frozen=True)
class _OneColumn(Target):
    column: str

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)


@dataclass(frozen=True)
class Label(_OneColumn):
    """One of several classes; the column is a `datasets.ClassLabel`. Truth: int64 [N]."""

    type = "label"

    def read(self, columns: Columns) -> "Array":
        labels = columns.numbers(self.column, "a ClassLabel").astype("int64")
        if labels.size and labels.min() < 0:
            raise DataError(f"target {self.column!r} holds {labels.min()}: every row needs a label")
        return labels

    def counts(self, truth: "Array", names: list[str] | None) -> dict[str, int]:
        return {name: int((truth == place).sum()) for place, name in enumerate(names or ())}

    def names(self, splits: "Mapping[str, Mapping[str, Any]]") -> list[str]:
        from datasets import ClassLabel

        where = f"the target column {self.column!r}"
        cast = f"splits.cast_column({self.column!r}, datasets.ClassLabel(names=[...]))"
        found: dict[str, list[str]] = {}
        for split, features in splits.items():
            feature = features.get(self.column)
            if not isinstance(feature, ClassLabel):
                other = "missing" if feature is None else f"{getattr(feature, 'dtype', None) or feature}, no ClassLabel"
                raise DataError(f"{where} is {other} in {split}: load may end with {cast}")
            found[split] = list(feature.names)
            first = next(iter(found))
            if found[split] != found[first]:
                raise DataError(f"{where} has other classes in {split} than in {first}: cast all with one list, {cast}")
        return next(iter(found.values()))

    def words(self, truth: "Array", names: list[str] | None) -> list[str]:
        return [(names or [])[label] for label in truth]

    def fault(self, truth: "Array", names: list[str] | None, split: str) -> str | None:
        there, every = set(truth.tolist()), set(range(len(names or ())))
        if there - every:
            return f"{max(there)} is no class of {len(every)}"
        absent = sorted(every - there) if split == "train" else []
        return f"it has no row of the classes {absent}" if absent else None

    def answers(self, predictions: "Array", names: Sequence[str] | None) -> dict[str, list[Any]]:
        """The likeliest class, and the probability of each."""
        known = names or [str(place) for place in range(predictions.shape[1])]
        chosen = [known[place] for place in predictions.argmax(axis=1)]
        shares = {f"probability {name}": predictions[:, place].tolist() for place, name in enumerate(known)}
        return {self.column: chosen, **shares}


@dataclass(frozen=True)
class Labels(_OneColumn):
    """Any number of several classes; the column is a sequence of 0 and 1, one for each class. Truth: float32 [N, L]."""

    type = "labels"

    def read(self, columns: Columns) -> "Array":
        import numpy as np

        rows = columns.lists(self.column)
        found: Array = np.stack(rows) if len({row.shape for row in rows}) == 1 else np.full(1, np.nan)
        if not np.isin(found, (0, 1)).all():
            raise DataError(f"target {self.column!r} must hold a 0 or 1 for each class in each row")
        return found

    def fault(self, truth: "Array", names: list[str] | None, split: str) -> str | None:
        if split != "train":
            return None
        same = truth.any(axis=0) == truth.all(axis=0)
        return f"the classes {same.nonzero()[0].tolist()} are in every row or in none" if same.any() else None

    def counts(self, truth: "Array", names: list[str] | None) -> dict[str, int]:
        return {str(place): int(count) for place, count in enumerate(truth.sum(axis=0))}

    def answers(self, predictions: "Array", names: Sequence[str] | None) -> dict[str, list[Any]]:
        """The classes of probability 0.5 and more, with "; " between them, and the probability of each."""
        known = names or [str(place) for place in range(predictions.shape[1])]
        there = [[name for name, share in zip(known, row, strict=True) if share >= 0.5] for row in predictions]
        shares = {f"probability {name}": predictions[:, place].tolist() for place, name in enumerate(known)}
        return {self.column: ["; ".join(own) for own in there], **shares}


@dataclass(frozen=True)
class Number(_OneColumn):
    """A real number; the column is a float. Truth: float32 [N]."""

    type = "number"

    def answers(self, predictions: "Array", names: Sequence[str] | None) -> dict[str, list[Any]]:
        return {self.column: predictions.tolist()}

    def read(self, columns: Columns) -> "Array":
        import numpy as np

        numbers = columns.numbers(self.column).astype("float32")
        if not np.isfinite(numbers).all():
            raise DataError(f"target {self.column!r} holds a number that is not finite")
        return numbers

    def fault(self, truth: "Array", names: list[str] | None, split: str) -> str | None:
        return None if truth.std() > 0 else "every target is the same"


@dataclass(frozen=True)
class Text(_OneColumn):
    """A text: an answer, a description; the column is a string. Truth: an array of str [N]."""

    type = "text"

    def read(self, columns: Columns) -> "Array":
        import numpy as np

        texts = columns.texts(self.column)
        empty = sum(not text.strip() for text in texts)
        if empty:
            raise DataError(f"target {self.column!r} is empty in {empty} of {len(texts)} rows")
        return np.array(texts, dtype=object)

    def counts(self, truth: "Array", names: list[str] | None) -> dict[str, int] | None:
        """{class: rows that have it}, if there are classes."""
        return None

    def answers(self, predictions: "Array", names: Sequence[str] | None) -> dict[str, list[Any]]:
        return {self.column: predictions.tolist()}

    def words(self, truth: "Array", names: list[str] | None) -> list[str]:
        return list(truth)

    def fault(self, truth: "Array", names: list[str] | None, split: str) -> str | None:
        return None if len(set(truth)) > 1 else "every target is the same"


@dataclass(frozen=True)
class Match(Target):
    """Cross-modal retrieval: in each row the modalities of `left` belong with those of `right`. Truth: the row's index,
    int64 [N]."""

    left: tuple[str, ...]
    right: tuple[str, ...]
    type = "match"

    @property
    def sides(self) -> tuple[tuple[str, ...], ...]:
        return self.left, self.right

    def read(self, columns: Columns) -> "Array":
        import numpy as np

        return np.arange(len(columns))

    def some(self, truth: "Array", rows: "Array") -> "Array":
        import numpy as np

        return np.arange(len(rows))

    def answers(self, predictions: "Array", names: Sequence[str] | None) -> dict[str, list[Any]]:
        """Of each row's left the row, counted from 1, whose right fits best, and its score."""
        return {"match": (predictions.argmax(axis=1) + 1).tolist(), "score": predictions.max(axis=1).tolist()}


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
    strangers = sorted({name for side in target.sides for name in side} - set(columns))
    if strangers:
        return f"{strangers[0]!r} is a side of the match, but no modality"
    if given := next((name for name in target.columns if name in columns), None):
        return f"the target column {given!r} is a modality too: every model would be given the answer"
    return None


def policy_problem(unreadable: str) -> str | None:
    """Why that is not a way to treat unreadable values; None if it is."""
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
