"""What both a clumsy hand and a forger do to files that no chain covers; the forger seals anew."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from tests.trust.conftest import Forger

Attack: TypeAlias = "Callable[[Forger], tuple[str, str]]"
"""Changes a run; gives the check that must find it, and what the finding must say."""


def more_trials_in_the_suite(forger: "Forger") -> tuple[str, str]:
    path = forger.folder / "suite.toml"
    path.write_text(path.read_text().replace("trials = 4", "trials = 40"))
    return "suite", "toy/concat: it was made for a suite of hash"


def another_machine(forger: "Forger") -> tuple[str, str]:
    path = forger.folder / "environment.json"
    path.write_text(path.read_text().replace('"device": "cpu"', '"device": "cuda"'))
    return "environment", "device is 'cuda', not 'cpu'"
