"""Plugins that a cell does not need: their code runs where the run is, and in no worker of that cell."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mmbench.store import reading

TESTS = Path(__file__).parents[1]
IMPORTED = """
import os
from pathlib import Path

import torch

import mmbench as mb

with Path(os.environ["IMPORTED_IN"], f"{name}-{{os.getpid()}}").open("w"):
    pass
torch.nn.Linear.reset_parameters = lambda self: [torch.nn.init.constant_(p, 0.01) for p in self.parameters()]


class Sum(mb.Fusion):
    '''The sum of projections.'''

    name = "{name}"
    libraries = ("{library}",)

    def build(self, inputs, width, params):
        class Module(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.project = torch.nn.ModuleDict({{m: torch.nn.Linear(s.width, width) for m, s in inputs.items()}})

            def forward(self, features):
                return sum(self.project[m](f.pooled) for m, f in features.items())

        return Module()


@mb.hookimpl
def mmbench_fusions():
    return [Sum]
"""
LIBRARY = """
import os
from pathlib import Path

Path(os.environ["IMPORTED_IN"], f"library-{os.getpid()}").touch()
"""


class Scene:
    """A plugin that is installed, one that is a file, and a library that the first names."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.notes = folder, folder / "notes"
        place = folder / "site"
        information = place / "meddler-1.0.dist-info"
        for made in (information, self.notes):
            made.mkdir(parents=True)
        (place / "meddler.py").write_text(IMPORTED.format(name="meddles", library="meddling"))
        (place / "meddling.py").write_text(LIBRARY)
        (information / "METADATA").write_text("Metadata-Version: 2.1\nName: meddler\nVersion: 1.0\n")
        (information / "entry_points.txt").write_text("[mmbench]\nmeddler = meddler\n")
        (folder / "named.py").write_text(IMPORTED.format(name="named", library="math"))

    def run(self, *words: str, installed: bool = True) -> dict[str, dict[str, Any]]:
        """{contender: its row on the board}; where each plugin was imported is in `notes`."""
        for note in self.notes.iterdir():
            note.unlink()
        suite = ["run", str(TESTS / "toy.toml"), "--trials", "1", "--workers", "1", "--quiet", "--fresh"]
        plugins = ["--plugin", str(TESTS / "toys.py"), "--plugin", str(self.folder / "named.py")]
        path = [str(self.folder / "site")] * installed
        done = subprocess.run(
            [sys.executable, "-m", "mmbench", *suite, *(plugins if installed else plugins[:2]), *words],
            cwd=self.folder,
            env={
                **os.environ,
                "MMBENCH_CACHE": str(self.folder / "cache"),
                "IMPORTED_IN": str(self.notes),
                "PYTHONPATH": os.pathsep.join([*path, *filter(None, [os.environ.get("PYTHONPATH")])]),
            },
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        run = reading.read_run(self.folder / "results" / "toy")
        return {record.contender: json.loads(json.dumps(dict(record.environment))) for record in run.records} | {
            "scores": {record.contender: record.scores("accuracy") for record in run.records},
            "keys": {record.contender: record.cell for record in run.records},
        }

    def imported(self, name: str) -> set[int]:
        """The processes that imported it."""
        return {int(path.name.partition("-")[2]) for path in self.notes.glob(f"{name}-*")}


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@pytest.mark.slow
def test_a_plugin_that_no_cell_needs_is_in_no_worker(scene: Scene) -> None:
    before = scene.run("--contender", "concat", installed=False)
    after = scene.run("--contender", "concat")
    (run,) = scene.imported("meddles")
    assert scene.imported("named") == {run}, "where the run is, and nowhere else"
    assert not scene.imported("library")
    assert before["keys"] == after["keys"]
    assert before["scores"] == after["scores"]
    assert {"meddler", "named.py", "toys.py"} <= {*after["concat"]["plugins"]}
    assert not {"meddler", "named.py"} & {*before["concat"]["plugins"]}


@pytest.mark.slow
def test_a_plugin_is_in_the_workers_of_its_own_cells_only(scene: Scene) -> None:
    before = scene.run("--contender", "concat", installed=False)
    after = scene.run("--contender", "concat", "--contender", "meddles", "--contender", "named")
    assert len(scene.imported("meddles")) > 1
    assert len(scene.imported("named")) > 1
    assert len(scene.imported("meddles") & scene.imported("named")) == 1, "the run alone has both"
    assert before["scores"]["concat"] == after["scores"]["concat"]
    assert before["keys"]["concat"] == after["keys"]["concat"]
