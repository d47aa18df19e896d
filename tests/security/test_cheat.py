"""A run with parts that look everywhere for the test labels: confined they find nothing, else they find it."""

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from mmbench.engine.executors import sandbox

HERE = Path(__file__).parent
CLASSES, ROWS = 4, {"train": 160, "validation": 80, "test": 97}
SUITE = """
name = "cheat"
[budget]
trials = 1
batch = 1
epochs = 1
refit_seeds = 1
[[task]]
dataset = "noise"
metric = "accuracy"
encoders = { left = "spy", right = "mlp" }
[[contender]]
name = "peek"
fusion = "peek"
[[contender]]
name = "listen"
fusion = "concat"
objective = "listen"
"""


class Scene:
    """A cache with the data, a results folder with an earlier run's targets, and a place for reports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.truth = [byte % CLASSES for byte in os.urandom(ROWS["test"])]
        labels = {split: [byte % CLASSES for byte in os.urandom(n)] for split, n in ROWS.items()}
        wheel = folder / "cache" / "carriers" / "secret_data-1.0-py3-none-any.whl"
        earlier = folder / "results" / "earlier" / "predictions"
        for place in (wheel.parent, folder / "reports", earlier, folder / "t"):
            place.mkdir(parents=True)
        save_file({"target": np.array(self.truth)}, earlier / "noise.targets.safetensors")
        (earlier.parent / "suite.toml").write_text(SUITE)
        (earlier.parent / "trials.jsonl").write_text("log loss on test, in full precision\n")
        linked = folder / "away" / "rows.json"
        linked.parent.mkdir()
        linked.write_text(json.dumps(self.truth))
        (folder / "cache" / "linked").symlink_to(linked.parent)
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("secret/rows.json", json.dumps(labels | {"test": self.truth}))
        content = wheel.read_bytes()
        (folder / "cheat.toml").write_text(SUITE)
        (folder / "own.json").write_text(json.dumps(self.truth))
        self.environment = {
            **os.environ,
            "MMBENCH_CACHE": str(folder / "cache"),
            "CHEAT_SHA256": hashlib.sha256(content).hexdigest(),
            "CHEAT_SIZE": str(len(content)),
            "CHEAT_FILE": str(folder / "own.json"),
            "CHEAT_REPORT": str(folder / "reports"),
            "CHEAT_RESULTS": str(folder / "results"),
            "CHEAT_SOCKETS": str(folder / "t"),
            "TMPDIR": str(folder / "t"),
        }

    def mmbench(self, *words: str, **environment: str) -> str:
        command = [sys.executable, "-m", "mmbench", *words, "--plugin", str(HERE / "cheat.py")]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, **environment: str) -> list[dict[str, Any]]:
        """What the parts reported."""
        self.mmbench("run", "cheat.toml", "--quiet", **environment)
        reports = [json.loads(path.read_text()) for path in (self.folder / "reports").iterdir()]
        assert {report["who"] for report in reports} == {"fusion", "encoder fit", "encoder", "objective"}
        return reports

    def rows(self) -> dict[str, dict[str, Any]]:
        """{contender: its row on the board}"""
        content = json.loads(self.mmbench("leaderboard", "cheat", "--format", "json"))
        return {row["contender"]: row for row in content["rows"]}


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@pytest.mark.skipif(sandbox.state().startswith("none"), reason=sandbox.state())
def test_confined_parts_find_nothing(scene: Scene) -> None:
    for report in scene.run():
        assert not report["found"], report["who"]
        refused = report["refused"]
        assert {"tables", "load", "import"} <= set(refused)
        assert "Permission denied" in refused["load"]
        assert "Permission denied" in refused["own file"]
        assert "Permission denied" in refused["move"]
        assert "exit status 1" in refused["cat"]
        closed = {way.split("/")[1] for way in refused if way.startswith("file")}
        assert {"truth", "carriers", "noise-of-mine", "linked"} <= closed, "they are seen, and can't be read"
        earlier = {"predictions/noise.targets.safetensors", "trials.jsonl", "suite.toml"}
        assert {f"file results/earlier/{name}" for name in earlier} <= set(refused)
        assert "file results/cheat/trials.jsonl" in refused
        assert not any("read" in answer for answer in report["memory"].values())
        assert not report["processes"]
        assert not report["servers"]
        table = next((scene.folder / "cache" / "tables").glob("noise-*/facts.json")).parent.name
        own = {"features", "weights", "scratch", f"tables/{table}"}
        tops = {name.removeprefix("file cache/") for name in report["opened"]}
        assert not [name for name in tops if not name.startswith(tuple(own))], "nothing of any run, and of the cache"
    assert not (scene.folder / "cache" / "home").is_symlink(), "it would have led the next process to the labels"
    rows = scene.rows()
    assert rows["peek"]["metrics"]["accuracy"]["mean"] < 0.5
    assert {row["spent"]["test_accesses"] for row in rows.values()} == {1}
    board = scene.mmbench("leaderboard", "cheat", "--format", "markdown")
    assert "test: scored 2 times, once by each refit, at most 1 times a contender" in board
    assert "were hidden from the processes that tuned (Landlock)" in board


@pytest.mark.slow
@pytest.mark.skipif(sandbox.state().startswith("none"), reason=sandbox.state())
def test_nor_do_they_where_a_run_is_reproduced(scene: Scene) -> None:
    """The recorded run, wherever it lies, and what its data set reads."""
    scene.run()
    for report in (scene.folder / "reports").iterdir():
        report.unlink()
    (scene.folder / "results" / "cheat").rename(scene.folder / "cheat")
    scene.environment["CHEAT_RESULTS"] = str(scene.folder / "cheat")
    scene.mmbench("reproduce", "cheat", "--cell", "noise/peek")
    reports = [json.loads(path.read_text()) for path in (scene.folder / "reports").iterdir()]
    assert reports
    for report in reports:
        assert not report["found"], report["who"]
        assert {"own file", "file cheat/trials.jsonl", "file cheat/records.jsonl"} <= set(report["refused"])


@pytest.mark.slow
def test_without_it_they_find_the_truth(scene: Scene) -> None:
    """So the test above can fail."""
    reports = scene.run(MMBENCH_SANDBOX="off")
    for report in reports:
        ways = {way for way, labels in report["found"].items() if labels == scene.truth}
        assert {"tables", "load", "import", "cat", "own file"} <= ways, report["who"]
        assert any(way.startswith("file cache/truth") for way in ways)
        assert any(way.startswith("file cache/carriers") for way in ways)
        assert {"file cache/noise-of-mine/rows.json", "file cache/linked/rows.json"} <= ways
        assert {"file results/earlier/trials.jsonl", "file results/cheat/trials.jsonl"} <= set(report["opened"])
        assert report["processes"]
        assert any(way.startswith("file results/earlier/predictions") for way in ways)
        assert not any(way.startswith("file cache/tables") for way in ways), "rows hold no target"
        assert "objects" not in ways, "nor does the process"
    assert scene.rows()["peek"]["metrics"]["accuracy"]["mean"] == 1.0
    records = (scene.folder / "results" / "cheat" / "records.jsonl").read_text()
    assert "not hidden from the processes that tuned: switched off" in scene.mmbench("leaderboard", "cheat")
    assert '"sandbox":"none: switched off by MMBENCH_SANDBOX"' in records
