"""A metric that is edited after a run: no score of its former self stands on a board, and nothing is trained."""

from pathlib import Path

import pytest

from mmbench import plugins, session
from mmbench.api.suite import Suite
from mmbench.rescoring import changed
from mmbench.store import suitefile
from mmbench.trust import verify
from tests.engine.test_failures import small

TESTS = Path(__file__).parent
METRIC = '''
import mmbench as mb

class Mine(mb.Metric):
    """The share of rows whose most likely class is right, times a factor."""
    name = "mine"
    targets = ("label",)
    def score(self, truth, prediction):
        return FACTOR * float((prediction.argmax(1) == truth).mean())

@mb.hookimpl
def mmbench_metrics():
    return [Mine]
'''


@pytest.fixture
def suite() -> Suite:
    return small(suitefile.read(TESTS / "toy.toml"), "concat")


def test_an_edited_metric_leaves_no_score_behind(suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMBENCH_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "mine.py"
    loaded = [str(TESTS / "toys.py"), str(file)]

    def run(factor: str) -> tuple[session.Run, float, float, list[str]]:
        file.write_text(METRIC.replace("FACTOR", factor))
        done = session.run(suite, plugins=loaded, results=tmp_path / "results", workers=1)
        (board,) = done.boards(plugins.load(loaded))
        (row,) = board.rows
        return done, row["metrics"]["mine"]["mean"], row["metrics"]["accuracy"]["mean"], board.notes

    first, mine, accuracy, notes = run("1.0")
    assert mine == accuracy
    assert not [note for note in notes if "mine" in note]
    trained = (first.folder / "trials.jsonl").read_bytes()
    again, mine, same, notes = run("0.5")
    assert mine == pytest.approx(0.5 * accuracy), "the score that stands is that of the code that is here"
    assert same == accuracy
    assert any(note.startswith("mine: its code has changed since") for note in notes)
    assert (again.folder / "trials.jsonl").read_bytes() == trained, "nothing was trained again"
    catalog = plugins.load(loaded)
    assert list(changed(again.data.records, catalog)) == ["mine"]
    report = verify.verify(again.folder, catalog)
    assert any(note.startswith("mine: its source has changed since") for note in report.notes)
    assert {finding.check for finding in report.findings} == {"scores"}
