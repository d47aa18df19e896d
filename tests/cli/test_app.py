"""The frame of the command line: exit codes, one-line errors, pipes, commands that plugins add."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mmbench as mb
from mmbench.cli import app
from mmbench.errors import PluginError


def test_help_names_every_command(mmbench: Callable[..., Any]) -> None:
    answer = mmbench("--help")
    assert answer.code == 0
    assert all(f"\n  {name} " in answer.out for name in app.COMMANDS)


def test_no_words_are_a_call_for_help(mmbench: Callable[..., Any]) -> None:
    assert mmbench() == mmbench("--help")


@pytest.mark.parametrize("command", app.COMMANDS)
def test_every_help_teaches_by_example(mmbench: Callable[..., Any], command: str) -> None:
    answer = mmbench(command, "--help")
    assert answer.code == 0
    assert f"\n    mmbench {command}" in answer.out.split("Examples:")[1]


def test_version(mmbench: Callable[..., Any]) -> None:
    assert mmbench("--version").out == f"mmbench {mb.__version__}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lst"], "No such command 'lst'. Did you mean 'list'?"),
        (["list", "--formt", "json"], "--formt"),
        (["list", "--format", "yaml"], "'yaml'"),
        (["run"], "SUITE"),
        (["run", "starter", "--workers", "0"], "--workers"),
        (["run", "startr"], "did you mean 'starter'?"),
        (["info", "gatd"], "did you mean 'gated'?"),
        (["list", "fusion"], "did you mean 'fusions'?"),
        (["leaderboard", "no-such-run"], "no-such-run"),
        (["check", "no_such_plugin.py"], "does not exist"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(mmbench: Callable[..., Any], words: list[str], said: str) -> None:
    answer = mmbench(*words)
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.startswith("mmbench: error: ")
    assert answer.err.count("\n") == 1
    assert said in answer.err


def test_a_bug_keeps_its_traceback(mmbench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setitem(app.COMMANDS, "list", broken)
    with pytest.raises(ZeroDivisionError):
        mmbench("list")


def test_a_reader_that_leaves_is_no_error() -> None:
    program = "from mmbench.cli.app import main; main()"
    command = [sys.executable, "-c", program, "list", "--format", "json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Make `code` an installed distribution with an entry point."""
    info = folder / "mmbench_visitor-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mmbench-visitor\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mmbench]\nvisitor = visiting_plugin\n")
    (folder / "visiting_plugin.py").write_text(code)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "visiting_plugin", raising=False)


COMMAND = """
import mmbench as mb

@mb.hookimpl
def mmbench_commands(app):
    @app.command("{name}")
    def greet(who: str) -> None:
        "Say hello."
        print("hello", who)
"""


def test_a_plugin_adds_a_command(mmbench: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, COMMAND.format(name="greet"))
    assert "greet" in mmbench("--help").out
    assert mmbench("greet", "world").out == "hello world\n"
    assert mmbench("list").code == 0


def test_a_plugin_can_not_take_a_command_s_name(
    mmbench: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, COMMAND.format(name="list"))
    assert "adds the command 'list'" in mmbench("greet").err


def test_help_still_helps_when_a_plugin_is_broken(
    mmbench: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, "import no_such_module")
    answer = mmbench("--help")
    assert (answer.code, "leaderboard" in answer.out) == (0, True)
    assert answer.err.startswith("mmbench: warning: plugin 'visitor' (visiting_plugin) fails to import")
    assert mmbench("list").code == 2
    assert mmbench("lst").code == 2


def test_ctrl_c_is_exit_code_130(mmbench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped() -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(app.COMMANDS, "list", stopped)
    assert mmbench("list").code == 130


def test_the_error_line_is_red_on_a_terminal_only(capsys: pytest.CaptureFixture[str]) -> None:
    from mmbench.cli import terminal

    terminal.warn(str(PluginError("two\nlines, \x1b[2Jand a trick")), level="error")
    assert capsys.readouterr().err == "mmbench: error: two lines, \\x1b[2Jand a trick\n"


def test_prose_is_broken_between_words_and_equations_stay() -> None:
    from mmbench.cli import terminal

    text = "One sentence of\nsome words.\n\n    z = sigmoid(V x)   [B]\n    h = z * x\n\nThe end."
    assert terminal.fitted(text, 40) == text
    assert terminal.fitted(text, 24) == (
        "One sentence of some\nwords.\n\n    z = sigmoid(V x)\n    [B]\n    h = z * x\n\nThe end."
    )
    assert terminal.fitted("fits  one, two, three", 16, hanging=6) == "fits  one, two,\n      three"
