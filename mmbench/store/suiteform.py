"""The shape of a suite file: which tables and keys there are, their types and their bounds.

Used by `suitefile.read` only, which imports it when it is needed: pydantic is slow to load.
"""

import math
import re
from collections.abc import Hashable, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    model_validator,
)

from mmbench.api.space import Range, Setting, Value
from mmbench.errors import unknown
from mmbench.store.names import MOST, NAME_RULE, name_problem

LARGEST = 2**63 - 1
MOST_CELLS = 100_000
DEEPEST = 6
PART_NAME = re.compile(r"[a-z_][a-z0-9_]{0,99}")


def _name(name: str) -> str:
    problem = name_problem(name)
    if problem:
        raise ValueError(problem)
    return name


def _part_name(name: str) -> str:
    if not PART_NAME.fullmatch(name):
        raise ValueError(f"a part can't be called {name[:100]!r}: use lower-case letters, digits and _")
    return name


def _typed(table: dict[str, Any]) -> dict[str, Any]:
    if "type" not in table:
        raise ValueError("needs the key 'type': what kind of model it is")
    return table


def _listed(value: Any) -> Any:
    """A single name stands for a list of one."""
    if not isinstance(value, str | list):
        raise ValueError("must be a name or a list of names")
    return [value] if isinstance(value, str) else value


def _distinct(values: list[Hashable]) -> list[Hashable]:
    seen = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{value!r} is there twice")
        seen.add(value)
    return values


def _rising(values: list[float]) -> list[float]:
    if sorted(values) != values:
        raise ValueError("must rise")
    return values


def _told_apart(values: list[float]) -> list[float]:
    """Predictions on damaged inputs are stored under their severity, in six digits."""
    names = [f"{value:g}" for value in values]
    for index, name in enumerate(names):
        if name in names[:index]:
            other = values[names.index(name)]
            raise ValueError(f"{other!r} and {values[index]!r} are too close: both are stored as {name}")
    return values


def _constant(value: Any) -> Value:
    if not isinstance(value, bool | int | float | str):
        raise ValueError("must be a number, a string, true or false")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be a finite number")
    if (isinstance(value, int) and abs(value) > LARGEST) or (isinstance(value, str) and len(value) > 1000):
        raise ValueError("is too large")
    return value


def _setting(value: Any) -> Setting:
    """A value, a list to choose from, or {low = 1, high = 2}."""
    if isinstance(value, list):
        if not value:
            raise ValueError("must not be an empty list")
        return tuple(_distinct([_constant(entry) for entry in value]))  # type: ignore[arg-type]
    if isinstance(value, dict):
        low, high, log = value.get("low"), value.get("high"), value.get("log")
        numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high))
        if not numbers or not (log is None or isinstance(log, bool)):
            raise ValueError("a range needs two numbers: { low = 0.1, high = 1.0 }, and perhaps log = true")
        return Range(_constant(low), _constant(high), log)  # type: ignore[arg-type]
    return _constant(value)


def _plain(value: Any, depth: int = 0) -> Any:
    """Text, finite numbers, true, false, and lists and tables of them."""
    if depth > DEEPEST:
        raise ValueError("tables are nested too deep")
    if isinstance(value, dict):
        return {key: _plain(entry, depth + 1) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry, depth + 1) for entry in value]
    return _constant(value)


def _flat(value: Any) -> Any:
    """{"fusion": {"gated": {"rank": 4}}}, which is what TOML makes of bare dotted keys, as full names."""
    if not isinstance(value, dict):
        return value
    flat: dict[str, Any] = {}
    stack = [((), value)]
    while stack:
        path, table = stack.pop()
        if len(path) > DEEPEST:
            raise ValueError("tables are nested too deep")
        for key, entry in table.items():
            name = ".".join((*path, key))
            if isinstance(entry, dict) and not {"low", "high"} <= set(entry) <= {"low", "high", "log"}:
                stack.append(((*path, key), entry))  # type: ignore[arg-type]
            elif name in flat:
                raise ValueError(f"{name!r} is there twice")
            else:
                flat[name] = entry
    return flat


Name = Annotated[str, AfterValidator(_name)]
Part = Annotated[str, StringConstraints(min_length=1, max_length=200)]
PartName = Annotated[str, AfterValidator(_part_name)]
Typed = Annotated[dict[str, Any], AfterValidator(_plain), AfterValidator(_typed)]
Described = Annotated[dict[str, Any], AfterValidator(_plain), Field(min_length=1)]
Parts = Annotated[list[Part], BeforeValidator(_listed), Field(min_length=1, max_length=1000), AfterValidator(_distinct)]
Perhaps = Annotated[list[Part], BeforeValidator(_listed), Field(max_length=1000), AfterValidator(_distinct)]
Constant = Annotated[Any, PlainValidator(_constant)]
Settings = Annotated[
    dict[Part, Annotated[Any, PlainValidator(_setting)]], BeforeValidator(_flat), Field(max_length=1000)
]
Constants = Annotated[dict[Part, Constant], BeforeValidator(_flat), Field(max_length=1000)]
Severity = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=MOST["trials"])]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class BudgetTable(_Table):
    trials: Count = 8
    batch: Count = 4
    epochs: Count = 20
    patience: Count = 6
    refit_seeds: Annotated[int, Field(ge=1, le=1000)] = 3
    trial_seconds: Annotated[float, Field(gt=0, le=1e7, allow_inf_nan=False)] = 120.0
    tune_preparation: bool = False
    pruning: Literal["halving", "median", "none"] = "halving"
    cohort: Count = 1
    default_seeds: Annotated[int, Field(ge=1, le=1000)] | None = None


class CorruptionTable(_Table):
    name: Part
    modality: Part
    severities: Annotated[
        list[Severity],
        Field(min_length=1, max_length=100),
        AfterValidator(_distinct),
        AfterValidator(_rising),
        AfterValidator(_told_apart),
    ] = [0.0, 0.25, 0.5, 0.75, 1.0]
    params: Constants = {}


class TaskTable(_Table):
    dataset: Part | None = None
    name: Name | None = None
    metric: Part
    data: Described | None = None
    encoders: Annotated[dict[Part, Parts], Field(max_length=100)] = {}
    modalities: Parts | None = None
    corruptions: Annotated[list[CorruptionTable], Field(max_length=100)] = []
    params: Settings = {}
    give_up: Annotated[float, Field(allow_inf_nan=False)] | None = None
    folds: Annotated[int, Field(ge=3, le=100)] | None = None
    by: Literal["time"] | None = None
    train_sizes: Annotated[
        list[Annotated[int, Field(ge=1, le=MOST["limit"])]],
        Field(min_length=1, max_length=100),
        AfterValidator(_distinct),
        AfterValidator(_rising),
    ] = []

    @model_validator(mode="before")
    @classmethod
    def _either_spelling(cls, data: Any) -> Any:
        """`[[task.corruption]]` and `corruptions = [...]` say the same."""
        if not isinstance(data, dict) or "corruption" not in data:
            return data
        if "corruptions" in data:
            raise ValueError("write either [[task.corruption]] or corruptions = [...], not both")
        return {**{key: value for key, value in data.items() if key != "corruption"}, "corruptions": data["corruption"]}

    @model_validator(mode="after")
    def _has_a_name(self) -> "TaskTable":
        if self.data is not None:
            if self.dataset is not None:
                raise ValueError("write either dataset or [task.data], not both")
            if self.name is None:
                raise ValueError("needs the key 'name': that of the data in [task.data]")
        elif self.dataset is None:
            raise ValueError("needs the key 'dataset', or a table [task.data]")
        elif self.name is None and name_problem(self.dataset):
            raise ValueError(f"needs a name: that of its dataset, {self.dataset[:100]!r}, can't be one; {NAME_RULE}")
        return self

    @property
    def called(self) -> str:
        """The task's name."""
        return str(self.name or self.dataset)


class ContenderTable(_Table):
    name: Name
    fusion: Parts | None = None
    objective: Perhaps = []
    optimizer: Perhaps = []
    schedule: Perhaps = []
    only: Parts | None = None
    each_modality: bool = False
    tasks: Parts | None = None
    params: Settings = {}
    of: Name | None = None
    compressor: Perhaps = []

    @model_validator(mode="after")
    def _derived_or_trained(self) -> "ContenderTable":
        if bool(self.of) != bool(self.compressor):
            missing, given = ("compressor", "of") if self.of else ("of", "compressor")
            raise ValueError(f"{given} needs {missing}: of = CONTENDER, compressor = PART")
        for key in ("fusion", "objective", "optimizer", "schedule", "only", "each_modality"):
            if self.of and getattr(self, key):
                raise ValueError(f"write either of or {key}: what is derived takes the models of {self.of!r}")
        return self

    @model_validator(mode="after")
    def _one_way_to_narrow(self) -> "ContenderTable":
        if self.only is not None and self.each_modality:
            raise ValueError("write either only = [...] or each_modality = true, not both")
        return self


class SuiteTable(_Table):
    name: Name
    version: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    description: Annotated[str, StringConstraints(max_length=10_000)] = ""
    seed: Annotated[int, Field(ge=0, le=MOST["seed"])] = 0
    limit: Annotated[int, Field(ge=1, le=MOST["limit"])] | None = None
    budget: BudgetTable = BudgetTable()
    encoder: Annotated[dict[PartName, Typed], Field(max_length=100)] = {}
    task: Annotated[list[TaskTable], Field(min_length=1, max_length=1000)]
    contender: Annotated[list[ContenderTable], Field(min_length=1, max_length=1000)]

    @model_validator(mode="after")
    def _names_agree(self) -> "SuiteTable":
        cells = sum((task.folds or 1) * (len(task.train_sizes) or 1) for task in self.task) * len(self.contender)
        if cells > MOST_CELLS:
            raise ValueError(
                f"asks for {cells:,} cells (tasks x contenders x folds x train sizes); {MOST_CELLS:,} are the most"
            )
        tasks = [task.called for task in self.task]
        for kind, names in (("task", tasks), ("contender", [contender.name for contender in self.contender])):
            for index, name in enumerate(names):
                if name in names[:index]:
                    first = names.index(name) + 1
                    raise ValueError(f"[[{kind}]] {first} and {index + 1} are both named {name!r}; rename one")
        for index, contender in enumerate(self.contender, 1):
            for task in contender.tasks or ():
                if task not in tasks:
                    raise ValueError(f'[[contender]] {index} "{contender.name}": tasks: {unknown("task", task, tasks)}')
        return self


TABLES: Mapping[tuple[str, ...], type[BaseModel]] = {
    (): SuiteTable,
    ("budget",): BudgetTable,
    ("task",): TaskTable,
    ("task", "corruptions"): CorruptionTable,
    ("contender",): ContenderTable,
}
"""The table that a path of keys leads to, list indices left out."""
