"""A suite: tasks times contenders, one budget and one protocol. Written as TOML, read by `mmbench.store.suitefile`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from mmbench.api.space import Setting, Value


@dataclass(frozen=True)
class Budget:
    """What each contender may spend on each task: the same for all."""

    trials: int = 8
    batch: int = 4
    """Trials asked together: part of the protocol, so that the number of workers changes nothing."""
    epochs: int = 20
    patience: int = 6
    """Epochs without a better validation score before a training stops."""
    refit_seeds: int = 3
    trial_seconds: float = 120.0
    pruning: Literal["halving", "median", "none"] = "halving"
    """Which trainings end before their last epoch. halving: one that is not in the better half of all that came so far,
    asked after a quarter and after half of the epochs. median: one whose best score is below the median of earlier
    trials, asked after each epoch but the first."""
    cohort: int = 1
    """How many of the trials asked together share all that shapes a model (widths, parts, batch size), so that they can
    train as one program; they differ in learning rate, decay, dropout and the like."""
    tune_preparation: bool = False
    """Whether parameters of stage "prepare" are searched too; each new value prepares the whole data set again."""
    default_seeds: int | None = None
    """With how many seeds the default configuration is refitted, where another one won; None: with as many as that."""

    def seeds(self, role: str) -> range:
        """The seed numbers of the refits of that role."""
        fewer = role == "default" and self.default_seeds is not None
        return range(self.default_seeds or 0) if fewer else range(self.refit_seeds)


@dataclass(frozen=True)
class CorruptionSpec:
    """Score the refitted models again on test inputs damaged by `name` in `modality`, at each severity."""

    name: str
    modality: str
    severities: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    params: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class OwnData:
    """A `[task.data]` or `[encoder.NAME]` table: a data set or an encoder that the suite describes."""

    table: Mapping[str, Any]
    folder: str = field(default="", compare=False)
    """What its paths are relative to: where the suite file lies. Where that is changes no result."""


@dataclass(frozen=True)
class TaskSpec:
    name: str
    dataset: str
    metric: str
    encoders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """{modality: encoders to choose from}; a modality that is absent may use every encoder of its kind."""
    modalities: tuple[str, ...] | None = None
    corruptions: tuple[CorruptionSpec, ...] = ()
    params: Mapping[str, Setting] = field(default_factory=dict)
    """What is fixed, narrowed or opened for every contender that has it, by full name: {"model.width": 64,
    "train.lr": Range(1e-5, 1e-3)}."""
    give_up: float | None = None
    """A contender whose best validation score is worse than this after half of its trials searches no further."""
    folds: int | None = None
    """Join the rows of all splits and cut them into so many folds, each of which is test once; None: the data set's own
    splits."""
    by: Literal["time"] | None = None
    """What folds are cut by: "time", so that each is tested on what comes later than all that it learned from; None:
    at random."""
    train_sizes: tuple[int, ...] = ()
    """Learn from so many train rows, each size a task of its own on the board; none: from all of them."""
    data: OwnData | None = None
    """The data set itself, which has the task's name then; None: one of a plugin."""


@dataclass(frozen=True)
class ContenderSpec:
    """A named part of the search space."""

    name: str
    fusion: tuple[str, ...] | None = None
    """None: every fusion that fits, baselines left out."""
    objective: tuple[str, ...] = ()
    """Objectives to choose from, "a+b" for both at once; none: the task's loss alone."""
    only: tuple[str, ...] | None = None
    """The modalities it may see; None: all."""
    each_modality: bool = False
    """One contender for each modality, named "NAME MODALITY"."""
    tasks: tuple[str, ...] | None = None
    params: Mapping[str, Setting] = field(default_factory=dict)
    """What is fixed, narrowed or opened, by full name: {"fusion.low_rank.rank": 4}."""
    optimizer: tuple[str, ...] = ()
    """Optimizers to choose from; none: the usual one."""
    schedule: tuple[str, ...] = ()
    """Schedules of the learning rate to choose from; none: the usual one."""
    of: str | None = None
    """The contender whose trained models it takes, and changes by `compressor`; None: it trains its own."""
    compressor: tuple[str, ...] = ()
    """Compressors to choose from, "a+b" for one after the other."""


@dataclass(frozen=True)
class Suite:
    name: str
    version: int
    budget: Budget
    tasks: tuple[TaskSpec, ...]
    contenders: tuple[ContenderSpec, ...]
    description: str = ""
    seed: int = 0
    limit: int | None = None
    """Use only the first rows of each split, for a quick look."""
    encoders: Mapping[str, OwnData] = field(default_factory=dict)
    """{name: what describes it}, of the encoders that the suite itself brings."""

    @property
    def own(self) -> dict[str, OwnData]:
        """{data set: what describes it}, of those that the suite itself describes."""
        return {task.dataset: task.data for task in self.tasks if task.data}


def placed(described: Mapping[str, OwnData], folder: Path) -> dict[str, OwnData]:
    """The same, their paths relative to `folder`: a suite that was copied into a run is not where its files are."""
    return {name: replace(one, folder=str(folder)) for name, one in described.items()}


FOLD = re.compile(r"(.*)#([1-9][0-9]*)")
SIZE = re.compile(r"(.*)@([1-9][0-9]*)")


def fold_name(task: str, number: int) -> str:
    """What a fold of a task is called, counted from 1: no suite can give a task that name."""
    return f"{task}#{number}"


def fold_of(name: str) -> tuple[str, int | None]:
    """The task that a name is of, and the number of its fold; None where the name is the task's own."""
    found = FOLD.fullmatch(name)
    return (found[1], int(found[2])) if found else (name, None)


def size_name(task: str, size: int) -> str:
    """What a task with so many train rows is called: no suite can give a task that name."""
    return f"{task}@{size}"


def size_of(name: str) -> tuple[str, int | None]:
    """The task that a name on a board is of, and how many train rows it has; None where it has all."""
    found = SIZE.fullmatch(name)
    return (found[1], int(found[2])) if found else (name, None)


def task_of(name: str) -> str:
    """The task as its suite has it, of its own name or that of one of its folds and train sizes."""
    return size_of(fold_of(name)[0])[0]


def on_board(task: TaskSpec) -> list[str]:
    """The names under which a task stands on a board: its own, or one for each of its train sizes."""
    return [size_name(task.name, size) for size in task.train_sizes] or [task.name]
