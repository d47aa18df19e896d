"""Whatever lies in the folder that the user stands in, only what was named is run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
COMMAND = [sys.executable, "-P", "-c", "from mmbench.cli.app import main; main()"]  # as the script `mmbench` does
MODULE = [sys.executable, "-m", "mmbench"]
RUN = ["run", str(TESTS / "toy.toml"), "--plugin", str(TESTS / "toys.py"), "--contender", "concat", "--trials", "1"]
EARLY = ["copyreg", "inspect", "re", "signal", "types"]
"""What `python -m` itself imports, before any code of ours."""
STRANGERS = [
    *("bottleneck", "conftest", "dataclasses", "datasets", "fcntl", "json", "mmbench_fusion", "numexpr", "numpy"),
    *("optuna", "pickle", "pip", "pluggy", "pyarrow", "pytest", "random", "rich", "selectors", "socket", "struct"),
    *("tempfile", "torch", "triton", "typer", "typing"),
]
TRAP = """
from pathlib import Path
Path(__file__).with_suffix(".ran").touch()
raise SystemExit("a module of the current folder was imported")
"""
PLUGIN = """
import mmbench as mb

class Mine(mb.Fusion):
    "The sum."
    name = "mine"

@mb.hookimpl
def mmbench_fusions():
    return [Mine]
"""


@pytest.fixture
def trapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MMBENCH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "here"
    folder.mkdir()
    for name in STRANGERS:
        (folder / f"{name}.py").write_text(TRAP)
    return folder


@pytest.mark.parametrize("how", ["command", pytest.param("module", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "words", [RUN, ["check", "mmbench_audio"], ["doctor"], ["new", "fusion", "mine"]], ids=lambda words: words[0]
)
def test_no_module_of_the_current_folder_is_imported(trapped: Path, how: str, words: list[str]) -> None:
    """Neither by the command, nor by the server of its workers, the workers, or pip."""
    if how == "command":
        for name in EARLY:
            (trapped / f"{name}.py").write_text(TRAP)
    command = COMMAND if how == "command" else MODULE
    done = subprocess.run([*command, *words], cwd=trapped, capture_output=True, text=True, check=False)
    assert not list(trapped.glob("*.ran"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a module of the current folder" not in done.stdout + done.stderr


@pytest.mark.parametrize("file", ["mine_here.py", "mine_here/__init__.py"])
def test_a_module_of_the_current_folder_that_is_named(trapped: Path, file: str) -> None:
    (trapped / file).parent.mkdir(exist_ok=True)
    (trapped / file).write_text(PLUGIN)
    words = ["list", "fusions", "--plugin", "mine_here"]
    done = subprocess.run([*COMMAND, *words], cwd=trapped, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\nmine " in done.stdout
    assert not list(trapped.glob("*.ran"))


def test_its_neighbours_were_not_named(trapped: Path) -> None:
    (trapped / "mine_here.py").write_text("import my_neighbour\n")
    (trapped / "my_neighbour.py").write_text(TRAP)
    words = ["list", "--plugin", "mine_here"]
    done = subprocess.run([*COMMAND, *words], cwd=trapped, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "plugin 'mine_here' fails to import: ModuleNotFoundError: No module named 'my_neighbour'" in done.stderr
    assert not list(trapped.glob("*.ran"))


def test_an_installed_module_comes_before_one_of_the_current_folder(trapped: Path) -> None:
    words = ["list", "fusions", "--plugin", "mmbench_fusion"]
    done = subprocess.run([*COMMAND, *words], cwd=trapped, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert not list(trapped.glob("*.ran"))


SCRIPT = """
import json, os, sys
from mmbench.engine.executors.starting import starting

os.chdir(sys.argv[1])
sys.path.insert(0, "")
before = list(sys.path)
with starting():
    during = list(sys.path)
assert sys.path == before
print(json.dumps(during))
"""


def test_a_script_s_folder_comes_last_in_its_workers(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "elsewhere")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    path = json.loads(done.stdout)
    assert path[-2:] == ["", str(tmp_path)]
    assert any("site-packages" in place for place in path[:-2])
