"""`mmbench check`: the contract on a plugin's parts, a line for each rule."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmbench.cli.commands import check

Type = Callable[..., Any]
METRICS = """
import mmbench as mb

class Fine(mb.Metric):
    "The share of items whose likeliest class is right."
    name = "fine"
    targets = ("label",)
    def score(self, truth, prediction):
        import numpy as np
        if not np.isfinite(prediction).all():
            raise ValueError("a prediction is not finite")
        return float((prediction.argmax(1) == truth).mean())

class Torn(Fine):
    "Not what it says."
    name = "torn"
    def score(self, truth, prediction):
        raise RuntimeError("it is torn")

@mb.hookimpl
def mmbench_metrics():
    return [Fine{more}]
"""


def command(*words: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """pytest runs inside the command, so it gets a process of its own; `cwd` has settings that it must not obey."""
    (cwd / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    program = "from mmbench.cli.app import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, "check", *words], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_a_plugin_that_keeps_the_contract(plugin: Type, tmp_path: Path) -> None:
    done = command(plugin(METRICS.format(more="")), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("metric fine\n  ok    ")
    assert "broken" not in done.stdout


@pytest.mark.slow
def test_a_broken_rule_is_named_with_its_reason(plugin: Type, tmp_path: Path) -> None:
    file = plugin(METRICS.format(more=", Torn"))
    done = command(file, cwd=tmp_path)
    assert done.returncode == 1
    fine, torn = done.stdout.split("metric torn")
    assert "fail" not in fine
    assert ": RuntimeError: it is torn\n" in torn
    assert torn.count(": RuntimeError: it is torn\n") == 1, "a reason is told once"
    assert ": the same\n" in torn
    assert torn.endswith(f"where each failed: mmbench check {file} --verbose\n")
    assert "in score" not in done.stdout
    assert 'raise RuntimeError("it is torn")' in command(file, "--verbose", cwd=tmp_path).stdout


def test_parts_of_an_installed_distribution_or_module(plugin: Type) -> None:
    module = {part.name for part in check.brought("mmbench_fusion")}
    assert {"concat", "gated"} <= module
    assert module < {part.name for part in check.brought("mmbench")}


def test_a_plugin_without_parts(mmbench: Type, plugin: Type) -> None:
    answer = mmbench("check", plugin("import mmbench"))
    assert answer.code == 2
    assert "brings no part" in answer.err
