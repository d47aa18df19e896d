"""A notebook: code that is edited between two runs of one process is the code that runs, and that is named."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
MINE = """
import mmbench as mb
from torch import nn

from {package}.scale import SCALE


class Sum(nn.Module):
    def __init__(self, inputs, width):
        super().__init__()
        self.project = nn.ModuleDict({{m: nn.Linear(spec.width, width) for m, spec in inputs.items()}})

    def forward(self, features):
        return SCALE * sum(self.project[m](f.pooled) for m, f in features.items())


class Mine(mb.Fusion):
    "A sum."
    name = "mine"

    def build(self, inputs, width, params):
        return Sum(inputs, width)


@mb.hookimpl
def mmbench_fusions():
    return [Mine]
"""
CELLS = """
from pathlib import Path
import mmbench as mb

def go(scale):
    Path({scale!r}).write_text(f"SCALE = {{scale}}\\n")
    run = mb.run({suite!r}, plugins={plugins!r}, contenders=["mine"], trials=1, results="results")
    (record,) = run.data.records
    print(record.cell, round(record.scores("accuracy")[0], 2), flush=True)

go(0.0)
go(1.0)
go(0.0)
"""


@pytest.mark.parametrize("installed", [pytest.param(False, marks=pytest.mark.slow), True])
def test_code_edited_in_a_living_process_is_what_runs(installed: bool, tmp_path: Path) -> None:
    """Installed plugins are imported once by the server that workers are forked from, which lives as long."""
    package = tmp_path / "site" / "my_lab"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from my_lab.parts import mmbench_fusions\n")
    (package / "parts.py").write_text(MINE.format(package="my_lab"))
    (package / "scale.py").write_text("SCALE = 3.0\n")
    plugins = [str(TESTS / "toys.py"), *([] if installed else ["my_lab"])]
    if installed:
        told = tmp_path / "site" / "my_lab-1.0.dist-info"
        told.mkdir()
        (told / "METADATA").write_text("Metadata-Version: 2.1\nName: my-lab\nVersion: 1.0\n")
        (told / "entry_points.txt").write_text("[mmbench]\nmy_lab = my_lab\n")
    cells = CELLS.format(scale=str(package / "scale.py"), suite=str(TESTS / "toy.toml"), plugins=plugins)
    path = os.pathsep.join(filter(None, [str(tmp_path / "site"), os.environ.get("PYTHONPATH")]))
    environ = os.environ | {"PYTHONPATH": path, "MMBENCH_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-c", cells]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    nothing, whole, again = (line.split() for line in done.stdout.splitlines())
    assert again == nothing != whole
    assert float(whole[1]) > float(nothing[1]) + 0.1, "a fusion that throws its input away guesses"
