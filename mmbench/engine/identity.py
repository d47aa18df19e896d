"""What a result depends on, as a cell's key: exactly what changes it, and nothing else.

A key is made of the suite's words for this cell, the protocol's number, the data's fingerprint, the code of the parts
that it may use, and the versions of the libraries that these import. It is not made of mmbench's own code: `PROTOCOL`
stands for that, and golden runs (tests/golden) hold that it is raised when results change and only then. `plan` makes
keys; `changes` says why one is not what it was.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from mmbench import sources
from mmbench.api.parts import Dataset, Part
from mmbench.api.record import Record
from mmbench.engine.space import Cell
from mmbench.errors import DataError, MMBenchError, blamed
from mmbench.sources import Source

PROTOCOL = 2
"""Two results of one protocol may share a board. Raised by hand when the engine gives other results than before."""
COSTS = 2
"""The same for what `jobs.measure` measures: a change in how costs are taken voids no score."""
FORM = 2
"""Of a data set as it is kept; part of its fingerprint, so that none is used that an older check let through."""
OTHER = "the suite asks for something else"
"""Why a key is another where nothing else has changed."""
LIBRARIES = ("torch", "optuna", "numpy")
"""What the engine itself computes with."""
DECODERS = {"image": ("pillow",), "audio": ("soundfile",)}
"""What turns a kind's stored bytes into values."""


def source(part: Part) -> Source:
    """The part's code and what it reads beside it. Raises DataError if a file that it names can't be read."""
    beside = () if isinstance(part, Dataset) else part.files()  # a data set's are in its origin
    return sources.of({cls.__module__ for cls in type(part).__mro__}, beside)


def fingerprint(dataset: Dataset) -> str:
    """A hash of what a dataset's rows are made from; known without loading them. Raises DataError if it can't be."""
    try:
        dataset.files()
        origin = dataset.origin()
    except MMBenchError:
        raise
    except Exception as error:
        raise DataError(f"dataset {dataset.name!r}: origin raises {blamed(error)}") from error
    code = source(dataset)
    return digest([FORM, dataset.name, dataset.version, code.hash, sorted(code.libraries.items()), origin])


def libraries(parts: Mapping[str, Source], kinds: Iterable[str]) -> dict[str, dict[str, str]]:
    """{"engine" or a part's name: {library: public version}} of all that a cell's result depends on."""
    decoders = [name for kind in kinds for name in DECODERS.get(kind, ())]
    own = {"engine": sources.public_versions([*LIBRARIES, *decoders])}
    return own | {name: dict(part.libraries) for name, part in parts.items()}


def key(cell: Cell, device: str) -> str:
    """The cell's key. Its device is a class: which of several alike it was changes nothing."""
    content = {name: value for name, value in asdict(cell).items() if name not in ("key", "skip", "sources")}
    if cell.fold is None:  # keys of before there were folds stay what they are
        del content["fold"]
    elif cell.fold.by is None:
        del content["fold"]["by"]
    if cell.size is None:
        del content["size"]
    if cell.budget.default_seeds is None:
        del content["budget"]["default_seeds"]
    del content["parent"]
    if cell.parent:
        content["parent"] = cell.parent.key
    return digest(content | {"protocol": PROTOCOL, "device": device.partition(":")[0]})


def told(cell: Cell) -> dict[str, Any]:
    """What a record says of its cell's identity, so that a later run can say what has changed."""
    return {
        "protocol": PROTOCOL,
        "libraries": {name: version for found in cell.libraries.values() for name, version in found.items()},
        "files": {part: {_short(path): code[:12] for path, code in files.items()} for part, files in _files(cell)},
    }


JUDGES = "metrics"
"""What of a record's identity is no part of its cell's key."""


def judges(metrics: Iterable[Part]) -> dict[str, dict[str, str]]:
    """What a record says of the code of all metrics that scored it."""
    return {JUDGES: {metric.name: source(metric).hash for metric in metrics}}


def judged_by(record: Record) -> Mapping[str, str]:
    """{metric: hash of its code} when the record was scored; empty where it does not say."""
    found = record.identity.get(JUDGES)
    return found if isinstance(found, Mapping) else {}


def changes(cell: Cell, record: Record) -> list[str]:
    """Why the cell is not the one that `record` is of, each reason in a few words: "torch 2.13.0 → 2.14.1"."""
    then, now = record.identity, told(cell)
    if not then:
        return ["made before results had a protocol"]
    found = [f"protocol {then.get('protocol')} → {PROTOCOL}"] if then.get("protocol") != PROTOCOL else []
    before, after = then.get("libraries") or {}, now["libraries"]
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            found.append(f"{name} {before.get(name, 'absent')} → {after.get(name, 'absent')}")
    for name in sorted({*record.parts, *cell.parts}):
        if record.parts.get(name) != cell.parts.get(name):
            found.append(_changed(name, (then.get("files") or {}).get(name) or {}, now["files"].get(name) or {}))
    if not found and record.dataset.get("fingerprint") != cell.fingerprint:  # else its code or a library says it
        found.append(f"the data of {cell.task.dataset} changed")
    if not found and record.space_hash != cell.space_hash:
        found.append("the search space changed")
    return found or [OTHER]


def _changed(part: str, before: Mapping[str, str], after: Mapping[str, str]) -> str:
    if not after:
        return f"{part} is no longer used"
    if not before:
        return f"{part} is new"
    files = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    return f"{part}: {', '.join(files) or 'its code'} changed"


def _files(cell: Cell) -> Iterable[tuple[str, Mapping[str, str]]]:
    return cell.sources.items()


def _short(path: str) -> str:
    """The last two names of a path: enough to know the file, and nothing of where it lies."""
    name = "/".join(path.replace("\\", "/").rsplit("/", 2)[-2:])
    return name.encode(errors="surrogateescape").decode(errors="replace")  # one that the locale can't read


def digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:20]
