"""Where output goes: closed, ASCII alone, a dumb or a narrow terminal; every command prints something right."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]
PLAIN = {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def mmbench(*words: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "mmbench", *words]
    return subprocess.run(command, **({"capture_output": True, "text": True, "check": False} | options))


@pytest.mark.parametrize("environ", [pytest.param(PLAIN[0], marks=pytest.mark.slow), PLAIN[1]], ids=["io", "locale"])
def test_an_output_of_ascii_alone(tmp_path: Path, environ: dict[str, str]) -> None:
    """Tables are plain; JSON says the same as elsewhere; names of files and classes are escaped."""
    plugin = tmp_path / "töys.py"
    plugin.write_text((TESTS / "toys.py").read_text().replace('list("abcd")', 'list("äbcd")'), encoding="utf-8")
    env = os.environ | {"MMBENCH_CACHE": str(tmp_path / "cache")}
    words = ["--plugin", str(plugin), "--contender", "concat", "--trials", "1", "--results", str(tmp_path / "rés")]
    done = mmbench("run", str(TESTS / "toy.toml"), *words, env=env | environ)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout.startswith("toy > ")
    listed = mmbench("list", "--format", "json", env=env | environ)
    assert json.loads(listed.stdout) == json.loads(
        mmbench("list", "--format", "json", env=env, encoding="utf-8").stdout
    )
    assert mmbench("info", "toy", "--plugin", str(plugin), env=env | environ).returncode == 0
    (board,) = (tmp_path / "rés").glob("*")
    shown = mmbench("leaderboard", str(board), "--format", "json", "--plugin", str(plugin), env=env | environ)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert json.loads(shown.stdout)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
@pytest.mark.parametrize(
    ("words", "closed", "code"),
    [("list", ">&-", 0), ("list", "2>&-", 0), ("list nothing", "2>&-", 2), ("doctor --offline", ">&- 2>&- <&-", 0)],
)
def test_closed_outputs(words: str, closed: str, code: int) -> None:
    shell = f"{sys.executable} -m mmbench {words} {closed}"
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, "")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_a_run_whose_outputs_are_closed(tmp_path: Path) -> None:
    """What is opened gets their numbers: nothing that is printed goes into a file of the run."""
    env = os.environ | {"MMBENCH_CACHE": str(tmp_path / "cache")}
    words = f"{TESTS / 'toy.toml'} --plugin {TESTS / 'toys.py'} --contender concat --trials 1 --results {tmp_path}/r"
    shell = f"{sys.executable} -m mmbench run {words} >&- 2>&- <&-"
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=False, env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    told = mmbench("verify", str(tmp_path / "r" / "toy"), "--plugin", str(TESTS / "toys.py"), env=env)
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(
    ("environ", "colour", "width"),
    [({"TERM": "dumb"}, False, 80), ({"TERM": "xterm", "NO_COLOR": "1"}, False, 80), ({"TERM": "xterm"}, True, 20)],
)
def test_terminals(environ: dict[str, str], colour: bool, width: int) -> None:
    import pty

    ours, theirs = pty.openpty()
    env = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | environ
    env["COLUMNS"] = str(width)
    error = mmbench("list", "nothing", env=env, capture_output=False, stdout=theirs, stderr=theirs)
    assert error.returncode == 2
    assert ("\x1b[31m" in os.read(ours, 10_000).decode()) == colour
    # the shortest list: nobody reads while it is written, and a pseudo-terminal holds four kilobytes
    assert mmbench("list", "schedules", env=env, capture_output=False, stdout=theirs, stderr=theirs).returncode == 0
    text = os.read(ours, 10_000).decode()
    assert "constant" in text, "a column never becomes so narrow that names can't be read"
    os.close(theirs)
    os.close(ours)
