"""The options that several commands share, each defined once."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

Plugins: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin",
        metavar="MODULE_OR_FILE",
        help="Load this plugin too: a module or a .py file. Repeatable.",
        show_default=False,
    ),
]
SuiteName: TypeAlias = Annotated[
    str, typer.Argument(metavar="SUITE", help="A suite's file, or a name in ./suites or among the installed ones.")
]
Tasks: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--task", metavar="NAME", help="Only this task. Repeatable.", show_default=False),
]
Contenders: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--contender",
        metavar="NAME",
        help="Only this contender of the suite, or any fusion by name. Repeatable.",
        show_default=False,
    ),
]
Trials: TypeAlias = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Trials a cell, instead of the suite's.", show_default=False)
]
Limit: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=10, help="Only the first N rows of each split, for a quick look.", show_default=False
    ),
]
Seed: TypeAlias = Annotated[
    int | None, typer.Option(metavar="N", min=0, help="The seed, instead of the suite's.", show_default=False)
]
Results: TypeAlias = Annotated[Path, typer.Option(metavar="DIR", help="The folder that holds the runs.")]
Name: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="RUN", help="The run's name, instead of the suite's.", show_default=False),
]
Fresh: TypeAlias = Annotated[bool, typer.Option("--fresh", help="Start a new run, even if there is one to resume.")]
Device: TypeAlias = Annotated[str, typer.Option(metavar="DEVICE", help="auto, cpu, cuda or cuda:N.")]
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


class Form(StrEnum):
    """How `list` prints."""

    table = "table"
    json = "json"
