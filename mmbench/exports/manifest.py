"""What an export's folder holds: its files, and export.json, which says what the weights are of.

Everything in it is JSON or safetensors: nothing of it is executed when it is loaded, and the parts that it names are
looked up among the plugins that are installed.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from mmbench.errors import DataError, told

SCHEMA = 1
MANIFEST, WEIGHTS, STATES, README = "export.json", "weights.safetensors", "states.safetensors", "README.md"
LARGEST = 200_000_000
"""Bytes of an export.json: vocabularies are the largest part of it."""


@dataclass(frozen=True)
class Input:
    """One array that an encoder's module is given."""

    dtype: str
    shape: list[int]
    """Of a row."""


@dataclass(frozen=True)
class Refit:
    """The training that the weights are of."""

    seed: int
    valid: float
    """The tuned metric on validation."""
    metrics: Mapping[str, float]
    """On test."""
    retrained: bool
    """Whether the weights were not kept, and the training was done again."""
    difference: float | None = None
    """The largest between what the export predicts of test and what was stored; None where nothing was."""


@dataclass(frozen=True)
class Data:
    """The data set, and which rows were train."""

    name: str
    fingerprint: str
    licence: str
    limit: int | None = None
    fold: Mapping[str, Any] | None = None
    size: int | None = None
    table: Mapping[str, Any] | None = None
    """The suite's `[task.data]`; None: one of a plugin."""
    learned: Mapping[str, Any] = field(default_factory=dict)
    """What was learned of train to read rows, as the words of a category."""


@dataclass(frozen=True)
class Manifest:
    """export.json."""

    schema: int
    mmbench: str
    protocol: int
    suite: Mapping[str, Any]
    seal: str | None
    """The first digits of the run's."""
    task: str
    contender: str
    cell: str
    metric: str
    """The tuned one."""
    scores: Mapping[str, Mapping[str, float | None]]
    """{metric: {"mean", "low", "high"}} on test, of all refits, with the 95% interval."""
    refit: Refit
    data: Data
    columns: Mapping[str, str]
    """{modality: kind}"""
    target: str
    classes: list[str] | None
    params: Mapping[str, Any]
    parts: Mapping[str, str]
    """{"fusion.gated": hash of its source}, of the parts that it is made of."""
    libraries: Mapping[str, str]
    inputs: Mapping[str, Mapping[str, Input]]
    """{modality: {array: what its module is given}}"""
    states: Mapping[str, Mapping[str, Any]]
    """{modality, or "" for the head: what it has learned of train}; its arrays are in states.safetensors."""
    files: Mapping[str, str]
    """{file: its SHA-256}"""
    encoders: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """{name: its table}, of the encoders that the suite describes."""


def write(folder: Path, manifest: Manifest) -> None:
    content = msgspec.json.format(msgspec.json.encode(asdict(manifest)), indent=1)
    (folder / MANIFEST).write_bytes(content + b"\n")


def read(folder: Path) -> Manifest:
    """Read export.json. Raises DataError, one line, if it is none, or a newer mmbench's."""
    file = folder / MANIFEST
    if not file.is_file():
        raise DataError(
            f"{folder} is no export: it has no {MANIFEST}; `mmbench export RUN --cell ... --to DIR` makes one"
        )
    if file.stat().st_size > LARGEST:
        raise DataError(f"{file} has more than {LARGEST:,} bytes, which no export has")
    content = file.read_bytes()
    try:
        schema = msgspec.json.decode(content, type=dict[str, Any]).get("schema")
        if isinstance(schema, int) and schema > SCHEMA:
            raise DataError(f"{file} was written by a newer mmbench: upgrade this one")
        return msgspec.json.decode(content, type=Manifest)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DataError(f"{file} is not what mmbench writes: {told(error)}") from error


def content(folder: Path, manifest: Manifest, name: str) -> bytes:
    """A file of the folder. Raises DataError if it is not the one that was written."""
    file = folder / name
    try:
        found = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} can't be read: {error.strerror}") from error
    if hashlib.sha256(found).hexdigest() != manifest.files.get(name):
        raise DataError(f"{file} was altered: its SHA-256 is not that in {MANIFEST}")
    return found


def digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
