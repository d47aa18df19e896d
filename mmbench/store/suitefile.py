"""Suite files: finding them, reading TOML into a `Suite`, writing it back, and the hash of what it asks for.

A mistake in a suite file is a SuiteError of one line: file, table, key, what is wrong. Whether the names of
parts exist is not known here; the engine's plan checks them against the Catalog.
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmbench.api.space import Value
from mmbench.api.suite import Budget, ContenderSpec, CorruptionSpec, OwnData, Suite, TaskSpec
from mmbench.errors import SuiteError, unknown

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from mmbench.store.suiteform import ContenderTable, SuiteTable, TaskTable

LARGEST_FILE = 1_000_000
LONGEST_LINE = 20_000
MOST_PARTS = 100  # tomllib takes quadratic time and memory over a key of many dots
_PART = r"""(?:[\w-]++|"[^"]*+"|'[^']*+')\s*+\.\s*+"""
_DEEP_KEY = re.compile(rf"(?<![\w-])(?:{_PART}){{{MOST_PARTS}}}")
BARE = re.compile(r"[A-Za-z0-9_-]+")
WANTED = {
    "string_type": "a string",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
}


def installed() -> dict[str, Path]:
    """The suites that come with mmbench, {name: file}."""
    package = Path(__file__).resolve().parents[1]
    inside, beside = package / "suites", package.parent / "suites"
    return _listing(inside if inside.is_dir() else beside)


def find(name: str) -> Path:
    """The file of a suite: `name` as a path, then ./suites/NAME.toml, then the installed suites.

    Raises SuiteError, with the nearest name, if there is none.
    """
    try:
        if Path(name).is_file():
            return Path(name)
    except OSError as error:
        raise SuiteError(f"suite {name[:100]!r}: {error.strerror}") from error
    if Path(name).suffix == ".toml" or len(Path(name).parts) > 1:
        raise SuiteError(f"suite file {name!r} does not exist")
    known = {**installed(), **_listing(Path("suites"))}
    if name not in known:
        raise SuiteError(unknown("suite", name, known))
    return known[name]


def _listing(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob("*.toml")) if path.is_file()}


def read(path: Path) -> Suite:
    """Read a suite file. Raises SuiteError, one line, for the first thing that is wrong in it."""
    from pydantic import ValidationError

    from mmbench.store.suiteform import SuiteTable

    data = _parse(path)
    try:
        form = SuiteTable.model_validate(data)
    except ValidationError as error:
        raise SuiteError(f"{path}: {_explain(_telling(error.errors(include_url=False)), data)}") from error
    except RecursionError as error:
        raise SuiteError(f"{path}: tables are nested too deep") from error
    return _suite(form, path.parent)


def _parse(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file():
            raise SuiteError(f"suite file {str(path)!r} " + ("is not a file" if path.exists() else "does not exist"))
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise SuiteError(f"suite file {str(path)!r} can't be read: {error.strerror}") from error
    if len(content) > LARGEST_FILE:
        raise SuiteError(f"{path}: is larger than {LARGEST_FILE:,} bytes, which no suite is")
    try:
        text = content.decode()
        for number, line in enumerate(text.split("\n"), 1):
            if len(line) > LONGEST_LINE:
                raise SuiteError(f"{path}: line {number} is longer than {LONGEST_LINE:,} characters")
            if line.count(".") >= MOST_PARTS and _DEEP_KEY.search(line):
                raise SuiteError(f"{path}: line {number} has a name of more than {MOST_PARTS} parts")
        return tomllib.loads(text)
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b"\n") + 1
        raise SuiteError(f"{path}: line {number} is not UTF-8 text") from error
    except RecursionError as error:
        raise SuiteError(f"{path}: values are nested too deep") from error
    except ValueError as error:  # a TOMLDecodeError says at which line and column
        raise SuiteError(f"{path}: is not valid TOML: {' '.join(str(error).split())}") from error


def _suite(form: "SuiteTable", folder: Path) -> Suite:
    return Suite(
        name=form.name,
        version=form.version,
        budget=Budget(**form.budget.model_dump()),
        tasks=tuple(_task(task, folder) for task in form.task),
        contenders=tuple(map(_contender, form.contender)),
        description=form.description,
        seed=form.seed,
        limit=form.limit,
        encoders={name: OwnData(table, str(folder.absolute())) for name, table in form.encoder.items()},
    )


def _task(form: "TaskTable", folder: Path) -> TaskSpec:
    return TaskSpec(
        name=form.called,
        dataset=form.dataset or form.called,
        metric=form.metric,
        encoders={modality: tuple(names) for modality, names in form.encoders.items()},
        modalities=None if form.modalities is None else tuple(form.modalities),
        corruptions=tuple(
            CorruptionSpec(name=c.name, modality=c.modality, severities=tuple(c.severities), params=c.params)
            for c in form.corruptions
        ),
        params=form.params,
        give_up=form.give_up,
        folds=form.folds,
        by=form.by,
        train_sizes=tuple(form.train_sizes),
        data=None if form.data is None else OwnData(form.data, str(folder.absolute())),
    )


def _contender(form: "ContenderTable") -> ContenderSpec:
    return ContenderSpec(
        name=form.name,
        fusion=None if form.fusion is None else tuple(form.fusion),
        objective=tuple(form.objective),
        optimizer=tuple(form.optimizer),
        schedule=tuple(form.schedule),
        only=None if form.only is None else tuple(form.only),
        each_modality=form.each_modality,
        tasks=None if form.tasks is None else tuple(form.tasks),
        params=form.params,
        of=form.of,
        compressor=tuple(form.compressor),
    )


def _telling(problems: "list[ErrorDetails]") -> "ErrorDetails":
    """The complaint that says most: a misspelt key before the key that is therefore missing."""
    return next((problem for problem in problems if problem["type"] == "extra_forbidden"), problems[0])


def _explain(problem: "ErrorDetails", data: Mapping[str, Any]) -> str:
    """One line for pydantic's first complaint: the table as the author wrote it, the key, what is wrong."""
    from mmbench.store.suiteform import TABLES

    where, table, key = _place(problem["loc"], data)
    kind, given = problem["type"], problem["input"]
    if kind == "extra_forbidden":
        return ": ".join((*where, unknown("key", key, TABLES[table].model_fields)))
    if kind == "missing":
        return ": ".join((*where, f"needs the key {key!r}"))
    if kind == "value_error":
        said = str(problem["ctx"]["error"])
    elif kind == "list_type" and isinstance(given, dict):
        said = f"must be a list of tables: write [[{key}]], not [{key}]"
    elif kind == "too_short":
        said = "must not be empty"
    elif kind in WANTED:
        said = f"must be {WANTED[kind]}, not {_shown(given)}"
    else:
        message = problem["msg"].replace("Input should be", "must be").replace("should have", "must have")
        said = f"{message[:1].lower()}{message[1:]}, not {_shown(given)}"
    return ": ".join((*where, *([key] if key else []), said))


def _place(loc: Sequence[int | str], data: Mapping[str, Any]) -> tuple[list[str], tuple[str, ...], str]:
    """Split pydantic's location into the tables as written, the path of their keys, and the key within them."""
    from mmbench.store.suiteform import TABLES

    where: list[str] = []
    table: tuple[str, ...] = ()
    value: Any = data
    rest = list(loc)
    while rest and isinstance(rest[0], str) and (*table, rest[0]) in TABLES:
        name = rest[0]
        many = (*table, name) != ("budget",)
        if len(rest) < 2 or (many and not isinstance(rest[1], int)):
            break
        rest.pop(0)
        table = (*table, name)
        value = _step(value, name)
        label = ".".join(table).replace("corruptions", "corruption")
        if many:
            index = int(rest.pop(0))
            value = _step(value, index)
            named = _step(value, "name") or _step(value, "dataset")
            where.append(f"[[{label}]] {index + 1}" + (f" {json.dumps(named[:100])}" if isinstance(named, str) else ""))
        else:
            where.append(f"[{label}]")
    keys = (str(part + 1) if isinstance(part, int) else part for part in rest)
    return where, table, " ".join(key if key.isprintable() and len(key) < 100 else repr(key[:100]) for key in keys)


def _step(value: Any, key: int | str) -> Any:
    if isinstance(value, dict):
        found = value.get(key)
        return value.get("corruption") if found is None and key == "corruptions" else found
    if isinstance(value, list) and isinstance(key, int) and key < len(value):
        return value[key]
    return None


def _shown(value: Any) -> str:
    """A short form of a value, as the author wrote it."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value.bit_length() > 100:
        return "a number of that size"  # one of 4,300 digits can't even be printed
    text = json.dumps(value, ensure_ascii=True) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def write(suite: Suite) -> str:
    """TOML text that `read` turns into an equal suite."""
    top: dict[str, Any] = {"name": suite.name, "version": suite.version, "description": suite.description}
    top |= {"seed": suite.seed, "limit": suite.limit}
    top["encoder"] = {name: own.table for name, own in suite.encoders.items()}
    blocks = [_table(None, top), _table("[budget]", asdict(suite.budget))]
    for task in suite.tasks:
        row = {key: value for key, value in asdict(task).items() if key != "corruptions"}
        if task.data:
            row |= {"dataset": None, "data": task.data.table}
        blocks.append(_table("[[task]]", row))
        blocks += [_table("[[task.corruption]]", asdict(corruption)) for corruption in task.corruptions]
    blocks += [_table("[[contender]]", asdict(contender)) for contender in suite.contenders]
    return "\n".join(blocks)


def _table(header: str | None, row: Mapping[str, Any]) -> str:
    keep = {key: value for key, value in row.items() if value is not None and value not in ("", {}, ())}
    lines = [f"{key} = {_toml(value)}" for key, value in keep.items()]
    return "\n".join([*([header] if header else []), *lines]) + "\n"


def _toml(value: Value | Sequence[Any] | Mapping[str, Any]) -> str:
    if isinstance(value, Mapping):
        value = {key: entry for key, entry in value.items() if entry is not None}
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
        return text.translate({ord(c): f"\\U{ord(c):08x}" for c in set(text) if not c.isprintable()})
    if isinstance(value, Mapping):
        return (
            "{"
            + ", ".join(
                f"{key if BARE.fullmatch(key) else _toml(key)} = {_toml(entry)}" for key, entry in value.items()
            )
            + "}"
        )
    if isinstance(value, Iterable):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return repr(value)


def suite_hash(suite: Suite) -> str:
    """SHA-256 of what a suite asks for: everything but the description."""
    return _digest({key: value for key, value in _content(suite).items() if key != "description"})


def terms(suite: Suite) -> str:
    """SHA-256 of what all contenders of a suite have in common, on whatever task: budget, seed and limit. Names, the
    version and who else competes are no terms: they change no result."""
    return _digest({key: _content(suite)[key] for key in ("budget", "seed", "limit")})


def task_terms(suite: Suite, task: str) -> str:
    """SHA-256 of what a suite asks on one task; empty if it has no such task."""
    found = [spec for spec in _content(suite)["tasks"] if spec["name"] == task]
    return _digest(found[0]) if found else ""


def _content(suite: Suite) -> dict[str, Any]:
    content = asdict(suite)
    content["budget"]["trial_seconds"] = float(suite.budget.trial_seconds)  # 120 and 120.0 are one budget
    if suite.budget.default_seeds is None:
        del content["budget"]["default_seeds"]
    content["encoders"] = {name: own["table"] for name, own in content["encoders"].items()}
    if not suite.encoders:
        del content["encoders"]
    for contender in content["contenders"]:  # what says nothing is left out: suites of before have these hashes
        for key in ("optimizer", "schedule", "of", "compressor"):
            if not contender[key]:
                del contender[key]
    for task in content["tasks"]:
        for key in ("folds", "by", "train_sizes"):
            if not task[key]:
                del task[key]
        if task["data"] is None:
            del task["data"]
        else:
            task["data"] = task["data"]["table"]
        for corruption in task["corruptions"]:
            corruption["severities"] = [float(severity) for severity in corruption["severities"]]
    return content


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
