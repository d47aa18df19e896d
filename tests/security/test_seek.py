"""In folds every row is test once: a worker reads the train and validation targets of its own fold, and no others."""

import json
from pathlib import Path
from typing import Any

import pytest

from mmbench import session
from mmbench.api.suite import Budget, ContenderSpec, Suite, TaskSpec
from mmbench.engine.executors import sandbox

K = 3
SUITE = Suite(
    name="folded",
    version=1,
    budget=Budget(trials=1, batch=1, epochs=1, refit_seeds=1),
    tasks=(TaskSpec("toy", "toy", "accuracy", folds=K),),
    contenders=(ContenderSpec("seek", ("seek",)),),
)


def reports(folder: Path, monkeypatch: pytest.MonkeyPatch, **environment: str) -> list[dict[str, Any]]:
    """What the fusion could read in each fold."""
    (folder / "reports").mkdir()
    place = {"MMBENCH_CACHE": str(folder / "cache"), "SEEK_REPORT": str(folder / "reports")}
    for name, value in (place | environment).items():
        monkeypatch.setenv(name, value)
    plugin = str(Path(__file__).with_name("seek.py"))
    run = session.open_run(SUITE, plugins=[plugin], results=folder / "results").execute(workers=1)
    assert not run.failed
    found = [json.loads(path.read_text()) for path in (folder / "reports").iterdir()]
    assert {report["fold"] for report in found} == set(range(1, K + 1))
    return found


@pytest.mark.skipif(sandbox.state().startswith("none"), reason=sandbox.state())
def test_a_worker_reads_the_targets_of_its_own_fold_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for report in reports(tmp_path, monkeypatch):
        own = {f"fold {report['fold']} {split}" for split in ("train", "validation")}
        assert {way for way in report["ways"] if not way.startswith("file")} == own
        files = [Path(way.removeprefix("file ")) for way in report["ways"] if way.startswith("file")]
        assert {file.parent.name for file in files} == {str(report["fold"])}
        assert {file.name for file in files} == {"targets-train.safetensors", "targets-validation.safetensors"}


@pytest.mark.slow
def test_without_it_a_worker_reads_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the test above can fail."""
    for report in reports(tmp_path, monkeypatch, MMBENCH_SANDBOX="off"):
        assert report["ways"] == report["tried"]
        assert len([way for way in report["tried"] if way.startswith("file tables")]) == 2
