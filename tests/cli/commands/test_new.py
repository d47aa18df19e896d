"""`mmbench new`: what it makes works as it stands; what it refuses, and why."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmbench import plugins

Type = Callable[..., Any]


def test_the_folder_passes_its_own_tests_and_the_check(mmbench: Type, tmp_path: Path) -> None:
    made = mmbench("new", "fusion", "my_own", "--to", str(tmp_path))
    assert made.code == 0
    folder = tmp_path / "mmbench-my-own"
    assert {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} == {
        "README.md",
        "my_own.py",
        "pyproject.toml",
        "tests/test_my_own.py",
    }
    assert str(folder / "my_own.py") in made.out
    part = plugins.load([str(folder / "my_own.py")]).fusions["my_own"]
    assert type(part).__name__ == "MyOwn"
    tested = subprocess.run([sys.executable, "-m", "pytest", "-q"], cwd=folder, capture_output=True, text=True)
    assert tested.returncode == 0, tested.stdout
    assert " passed" in tested.stdout


def test_the_generated_packaging_names_its_entry_point(mmbench: Type, tmp_path: Path) -> None:
    import tomllib

    mmbench("new", "fusion", "mine", "--to", str(tmp_path))
    project = tomllib.loads((tmp_path / "mmbench-mine/pyproject.toml").read_text())
    assert project["project"]["name"] == "mmbench-mine"
    assert project["project"]["entry-points"]["mmbench"] == {"mine": "mine"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Mine", "lower-case letters"),
        ("my-fusion", "lower-case letters"),
        ("1st", "lower-case letters"),
        ("class", "lower-case letters"),
        ("größe", "lower-case letters"),
        ("json", "Python has another of that name; try 'my_json'"),
        ("torch", "Python has another of that name"),
        ("concat", "a fusion named 'concat' is there already"),
    ],
)
def test_a_name_that_would_be_in_the_way(mmbench: Type, tmp_path: Path, name: str, said: str) -> None:
    answer = mmbench("new", "fusion", name, "--to", str(tmp_path))
    assert answer.code == 2
    assert said in answer.err
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_over(mmbench: Type, tmp_path: Path) -> None:
    (tmp_path / "mmbench-mine").mkdir()
    answer = mmbench("new", "fusion", "mine", "--to", str(tmp_path))
    assert answer.code == 2
    assert "exists already" in answer.err


def test_a_place_that_can_not_be_written(mmbench: Type, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = mmbench("new", "fusion", "mine", "--to", str(tmp_path / "file"))
    assert answer.code == 2
    assert "can't write" in answer.err


def test_a_data_set_passes_its_own_tests_and_is_run_by_its_suite(
    mmbench: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMBENCH_CACHE", str(tmp_path / "cache"))
    made = mmbench("new", "dataset", "my_wines", "--to", str(tmp_path))
    folder = tmp_path / "mmbench-my-wines"
    assert made.code == 0
    assert f"mmbench run {folder / 'suite.toml'} --plugin {folder / 'my_wines.py'}" in made.out
    assert 'include = ["my_wines.py", "my_wines.csv"]' in (folder / "pyproject.toml").read_text()
    tested = subprocess.run([sys.executable, "-m", "pytest", "-q"], cwd=folder, capture_output=True, text=True)
    assert tested.returncode == 0, tested.stdout
    run = ["run", str(folder / "suite.toml"), "--plugin", str(folder / "my_wines.py"), "--contender", "only numbers"]
    board = mmbench(*run, "--trials", "1", "--results", str(tmp_path / "results"))
    assert (board.code, "80 test rows" in board.out) == (0, True), board.out + board.err


def test_a_head_of_its_own_target_goes_all_the_way(
    mmbench: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its target is of a class that only the plugin has: workers must have that before they read their job."""
    monkeypatch.setenv("MMBENCH_CACHE", str(tmp_path / "cache"))
    assert mmbench("new", "head", "my_counts", "--to", str(tmp_path)).code == 0
    folder = tmp_path / "mmbench-my-counts"
    checked = mmbench("check", str(folder / "my_counts.py"))
    assert checked.code == 0, checked.out
    run = ["run", str(folder / "suite.toml"), "--plugin", str(folder / "my_counts.py"), "--contender", "only left"]
    board = mmbench(*run, "--trials", "1", "--results", str(tmp_path / "results"))
    assert (board.code, "200 test rows" in board.out) == (0, True), board.out + board.err


def test_a_suite_resolves(mmbench: Type, tmp_path: Path) -> None:
    made = mmbench("new", "suite", "ours", "--to", str(tmp_path))
    assert (made.code, [path.name for path in tmp_path.iterdir()]) == (0, ["ours.toml"])
    planned = mmbench("plan", str(tmp_path / "ours.toml"), "--results", str(tmp_path))
    assert planned.code == 0
    assert "4 of 4 cells to do" in planned.out
    assert "exists already" in mmbench("new", "suite", "ours", "--to", str(tmp_path)).err


def test_what_can_not_be_begun(mmbench: Type) -> None:
    answer = mmbench("new", "leaderboard", "mine")
    assert answer.code == 2
    assert "'leaderboard' is not one of 'fusion', 'dataset', 'encoder', 'objective', 'optimizer'" in answer.err
    assert "Value error" not in answer.err, "what a library calls it is not the user's business"


CELLS = {"encoder": 8, "objective": 5, "optimizer": 5, "schedule": 5, "compressor": 5, "metric": 4, "corruption": 4}
"""How many cells the suite has that comes with a part of each role."""


@pytest.mark.slow
def test_every_part_passes_its_own_tests_and_its_suite_is_planned(mmbench: Type, tmp_path: Path) -> None:
    """All in one process, which is spared importing torch for each."""
    folders = {what: tmp_path / f"mmbench-my-{what}" for what in CELLS}
    for what in CELLS:
        assert mmbench("new", what, f"my_{what}", "--to", str(tmp_path)).code == 0
    own = ["-o", f"pythonpath={' '.join(map(str, folders.values()))}", "--import-mode=importlib"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *own, *map(str, folders.values())]
    tested = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert tested.returncode == 0, tested.stdout
    for what, folder in folders.items():
        planned = mmbench("plan", str(folder / "suite.toml"), "--plugin", str(folder / f"my_{what}.py"))
        said = f"{CELLS[what]} of {CELLS[what]} cells to do"
        assert (planned.code, said in planned.out) == (0, True), planned.out + planned.err
