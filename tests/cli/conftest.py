"""The command line in this process: what a test types, and what comes back."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

from mmbench.cli.app import call


@dataclass(frozen=True)
class Answer:
    """An exit code, and what was printed."""

    code: int
    out: str
    err: str


Type = Callable[..., Answer]


@pytest.fixture
def mmbench(capsys: pytest.CaptureFixture[str]) -> Type:
    """`mmbench("list", "fusions")` runs that command line."""

    def run(*words: str) -> Answer:
        capsys.readouterr()
        code = call(words)
        printed = capsys.readouterr()
        return Answer(code, printed.out, printed.err)

    return run


@pytest.fixture
def plugin(tmp_path: Path) -> Callable[[str], str]:
    """Writes a plugin file and gives its path."""

    def write(code: str, name: str = "my_plugin.py") -> str:
        path = tmp_path / name
        path.write_text(dedent(code), encoding="utf-8")
        return str(path)

    return write
