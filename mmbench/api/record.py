"""What a run leaves behind: trials (validation only), refits (test, once a seed) and records (the final word)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

SCHEMA = 2
FAILED, AFTER = "every trial failed", "after its refits"
"""How the reason of a record begins that failed so: as its trials show; and by what none of its rows can show."""
Status: TypeAlias = Literal["ok", "pruned", "oom", "timeout", "error", "skipped"]


@dataclass(frozen=True, slots=True)
class Trial:
    """One configuration tried, scored on validation only."""

    cell: str
    number: int
    params: Mapping[str, Any]
    status: Status
    reason: str | None
    score: float | None
    """The tuned metric at its best epoch."""
    curve: Sequence[float]
    """The tuned metric after each epoch."""
    epochs: int
    seconds: float
    together: int = 1
    """How many trials trained as one program with it, itself included; their seconds are shared evenly."""


@dataclass(frozen=True, slots=True)
class Refit:
    """The chosen configuration (or the default one) trained with one seed, scored on test once."""

    cell: str
    role: Literal["tuned", "default"]
    seed: int
    params: Mapping[str, Any]
    status: Status
    reason: str | None
    valid: float | None
    metrics: Mapping[str, float]
    curves: Mapping[str, Sequence[tuple[float, float | None]]]
    """{"corruption modality": [(severity, tuned metric), ...]}; None where there is no score."""
    predictions: Mapping[str, str] | None
    """{"file": name below predictions/, "sha256": of that file}."""
    epochs: int
    seconds: float
    train_throughput: float | None
    """Rows a second while training, evaluation left out."""
    unscored: Mapping[str, str] = field(default_factory=dict)
    """{metric that has no score on test: why}; of a point of a curve {"metric at severity 0.5 of 'curve'": why}."""
    weights: Mapping[str, str] | None = None
    """{"file": name below weights/, "sha256": of that file}, where they were kept."""


@dataclass(frozen=True, slots=True)
class Record:
    """One cell's final scores on test, with their cost and provenance."""

    cell: str
    suite: Mapping[str, Any]
    """{"name", "version", "hash"}"""
    task: str
    contender: str
    status: Status
    reason: str | None
    metric: str
    """The tuned one."""
    directions: Mapping[str, str]
    """{metric: "max" or "min"}"""
    dataset: Mapping[str, Any]
    """{"name", "fingerprint", "licence", "rows": {split: n}, "warnings": sentences, if there are any}"""
    modalities: Mapping[str, str]
    params: Mapping[str, Any]
    default_params: Mapping[str, Any]
    space_hash: str
    parts: Mapping[str, str]
    """{"fusion.concat": hash of its source, ...}: every part the cell might have used."""
    identity: Mapping[str, Any] = field(default_factory=dict)
    """{"protocol", "libraries": {name: version}, "files": {part: {file: hash}}}: what else its key was made of; empty
    where there was no protocol yet."""
    refits: Sequence[Refit] = ()
    cost: Mapping[str, Any] = field(default_factory=dict)
    budget: Mapping[str, Any] = field(default_factory=dict)
    spent: Mapping[str, Any] = field(default_factory=dict)
    """{"trials", "failed", "pruned", "seconds", "test_accesses"}"""
    environment: Mapping[str, Any] = field(default_factory=dict)
    derived: Mapping[str, Any] = field(default_factory=dict)
    """{"of": contender, "cell": its key}, of what takes another's trained models."""
    schema: int = SCHEMA

    def scores(self, metric: str, role: str = "tuned") -> list[float]:
        """The metric on test, one for each refit seed."""
        return [r.metrics[metric] for r in self.refits if r.role == role and metric in r.metrics]


@dataclass(frozen=True, slots=True)
class History:
    """What is stored of a cell whose search is not finished."""

    trials: list[Trial] = field(default_factory=list)
    """In the order of their numbers."""
    refits: list[Refit] = field(default_factory=list)
    """In the order in which they were stored."""


def winner(trials: Iterable[Trial], *, sign: int) -> Trial | None:
    """The first trial of the best configuration; of equal ones the earliest. sign: 1 where more is better, else -1.

    A configuration that was drawn several times counts by the mean of its scores: one lucky seed among its repeats does
    not make it better than it is.
    """
    repeats: dict[str, list[Trial]] = {}
    for trial in sorted(trials, key=lambda trial: trial.number):
        if trial.status == "ok" and trial.score is not None:
            repeats.setdefault(repr(sorted(trial.params.items())), []).append(trial)

    def place(own: list[Trial]) -> tuple[float, int]:
        scores = [trial.score or 0.0 for trial in own]
        return -sign * (scores[0] if len(set(scores)) == 1 else sum(scores) / len(scores)), own[0].number

    return min(repeats.values(), key=place)[0] if repeats else None


def to_json(item: Trial | Refit | Record) -> dict[str, Any]:
    return asdict(item)


def trial_from_json(data: Mapping[str, Any]) -> Trial:
    return Trial(**data)


def refit_from_json(data: Mapping[str, Any]) -> Refit:
    return Refit(**data)


def record_from_json(data: Mapping[str, Any]) -> Record:
    return Record(**{**data, "refits": [refit_from_json(r) for r in data.get("refits", ())]})


BYTES, ENDS = ":utf8", ":ends"


def pack(arrays: "Mapping[str, Array]") -> "dict[str, Array]":
    """Arrays as a safetensors file holds them. An array of texts becomes two: NAME:utf8, the bytes of all of them, and
    NAME:ends, where each ends. Raises ValueError for an array of anything but numbers and texts."""
    import numpy as np

    packed: dict[str, Array] = {}
    for name, array in arrays.items():
        if name.endswith((BYTES, ENDS)):
            raise ValueError(f"no array can be named {name!r}")
        if array.dtype.kind in "biuf":
            packed[name] = np.ascontiguousarray(array)
            continue
        if array.ndim != 1 or not all(isinstance(text, str) for text in array):
            raise ValueError(f"{name!r} holds neither numbers nor a text a row, but {array.dtype} {array.shape}")
        encoded = [text.encode() for text in array]
        packed[name + BYTES] = np.frombuffer(b"".join(encoded), np.uint8)
        packed[name + ENDS] = np.cumsum([len(text) for text in encoded], dtype=np.int64)
    return packed


def unpack(packed: "Mapping[str, Array]") -> "dict[str, Array]":
    """What `pack` was given. Raises ValueError if the texts are not such as it writes."""
    import numpy as np

    arrays: dict[str, Array] = {}
    for name, array in packed.items():
        own = name.removesuffix(BYTES)
        if name.endswith(ENDS) and name.removesuffix(ENDS) + BYTES in packed:
            continue
        if own == name:
            arrays[name] = array
            continue
        ends = packed.get(own + ENDS)
        if ends is None or array.dtype != np.uint8 or ends.dtype != np.int64 or array.ndim != 1 or ends.ndim != 1:
            raise ValueError(f"{own!r} is no array of texts")
        starts = np.concatenate([[0], ends])[:-1].astype(np.int64)
        if (ends < starts).any() or (ends[-1] if len(ends) else 0) != len(array):
            raise ValueError(f"the texts of {own!r} do not end where they should")
        content = array.tobytes()
        texts = [content[start:end].decode() for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
        arrays[own] = np.array(texts, dtype=object)
    return arrays
