"""The pages for contributors say what is so: every path is there, no package is left out, pytest runs as they say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mmbench.api.roles import ROLES
from tests.test_house import ENGINE, FLOORS

ROOT = Path(__file__).parent.parent
MAP, GUIDE = ROOT / "docs/architecture.md", ROOT / "CONTRIBUTING.md"
PLACE = re.compile(r"`((?:mmbench|plugins|tests|docs|suites|results|benchmarks)/[\w./-]*)`")
BLOCK = re.compile(r"^```text\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)


def places(page: Path) -> set[str]:
    return set(PLACE.findall(page.read_text(encoding="utf-8")))


def floors(block: str) -> dict[str, int]:
    """{name: floor} of a drawing with a floor a line."""
    lines = [line.split() for line in block.splitlines()]
    return {name: int(number) for number, *names in lines for name in names}


@pytest.mark.parametrize("page", [MAP, GUIDE], ids=lambda page: page.name)
def test_every_path_is_there(page: Path) -> None:
    """NAME stands for any name."""
    named = places(page)
    assert len(named) > 20
    assert not [place for place in named if not list(ROOT.glob(place.rstrip("/").replace("NAME", "*")))]


def test_the_map_leaves_out_nothing_of_mmbench() -> None:
    packages = {f"{file.parent.relative_to(ROOT)}/" for file in (ROOT / "mmbench").rglob("*/__init__.py")}
    modules = {str(file.relative_to(ROOT)) for file in (ROOT / "mmbench").glob("[!_]*.py")}
    assert not (packages | modules) - places(MAP)


def test_the_floors_are_those_of_the_house() -> None:
    house, engine, _ = map(str, BLOCK.findall(MAP.read_text(encoding="utf-8")))
    assert floors(house) == FLOORS
    assert floors(engine) == ENGINE


def test_what_the_drawing_names_is_there() -> None:
    drawing = BLOCK.findall(MAP.read_text(encoding="utf-8"))[2]
    named = re.findall(r"\b([a-z]+)\.([a-z]+)\b", drawing.replace("suite.toml", ""))
    assert len(named) > 10
    there = {tuple(file.with_suffix("").parts[-2:]) for file in (ROOT / "mmbench").rglob("*")}
    assert not set(named) - there


def test_the_guide_says_how_to_add_each_role() -> None:
    told = re.findall(r"^\| \*\*(\w+)\*\*", GUIDE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert not {role.name for role in ROLES} - set(told)


@pytest.mark.parametrize("options", [["-p", "no:xdist"], ["-n", "0"]], ids=" ".join)
def test_pytest_runs_without_workers(options: list[str]) -> None:
    """With them it is what runs this."""
    command = [sys.executable, "-m", "pytest", "-q", *options, "tests/api/test_space.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
