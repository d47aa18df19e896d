"""`mmbench.run` as a notebook calls it: lone names for lists, a Run of one line, a table without empty columns."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import mmbench as mb
from mmbench import plugins, session, sources
from mmbench.board.gate import conditions
from mmbench.engine.events import TrialFinished
from mmbench.errors import MMBenchError
from mmbench.store.writing import Store
from mmbench.trust import verify

TESTS = Path(__file__).parent
TOY, TOYS = TESTS / "toy.toml", str(TESTS / "toys.py")


def test_a_run_in_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMBENCH_CACHE", str(tmp_path / "cache"))
    run = mb.run(TOY, plugins=TOYS, contenders=["concat", "only left"], trials=1, results=tmp_path / "results")
    assert repr(run) == f"Run('{tmp_path}/results/toy': 2 cells, 0 failed)"
    table = run.leaderboard(plugins=[TOYS])
    assert sorted(table["contender"]) == ["concat", "only left"]
    assert "fusion_gain.mean" in table
    assert "fusion_gain" not in table, "a single modality, which has no gain, makes no column of its own"


def test_a_lone_name_is_a_name(tmp_path: Path) -> None:
    with pytest.raises(MMBenchError, match="unknown contender 'conkat': did you mean 'concat'"):
        mb.run(TOY, plugins=TOYS, contenders="conkat", results=tmp_path)


def test_a_suite_that_was_changed_keeps_the_cells_that_were_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A contender is added before the others: only that one is computed, and both runs share a board."""
    monkeypatch.setenv("MMBENCH_CACHE", str(tmp_path / "cache"))
    results = tmp_path / "results"
    text = TOY.read_text().replace("trials = 4", "trials = 2")
    head, *contenders = text.split("[[contender]]\n")
    (tmp_path / "toy.toml").write_text("[[contender]]\n".join([head, *contenders[2:]]))
    first = mb.run(tmp_path / "toy.toml", plugins=TOYS, results=results)
    (tmp_path / "toy.toml").write_text("[[contender]]\n".join([head, *contenders[::-1]]))
    opened = session.open_run(tmp_path / "toy.toml", plugins=[TOYS], results=results)
    assert opened.note
    assert "2 of its 5 cells are taken over from" in opened.note
    heard: list[Any] = []
    second = opened.execute(on_event=heard.append)
    assert {e.cell.contender for e in heard if isinstance(e, TrialFinished)} == {"majority", "only left", "only right"}
    old, new = ({r.contender: r for r in run.data.records} for run in (first, second))
    for name, record in old.items():
        assert [r.metrics for r in new[name].refits] == [r.metrics for r in record.refits]
    told = verify.verify(second.folder, plugins.load([TOYS]))
    assert not told.findings
    conditions.check([first.data, second.data])
    _take_over_again(first.folder, tmp_path / "toy.toml", contenders, head)


def _take_over_again(folder: Path, file: Path, contenders: list[str], head: str) -> None:
    """What a run that takes everything over leaves; where it was stopped on the way; where the earlier one has lost
    its predictions, so that it has nothing to give."""
    file.write_text("[[contender]]\n".join([head, *contenders[3:1:-1]]))
    options: dict[str, Any] = {"plugins": [TOYS], "results": folder.parent}
    for stopped in (False, True):
        opened = session.open_run(file, **options, name="again")
        assert len(opened.donors) == 1
        if stopped:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Store, "add_record", _stopped)
                with pytest.raises(KeyboardInterrupt):
                    opened.execute()
            opened = session.open_run(file, **options, name="again")
        made = opened.execute()
        assert not verify.verify(made.folder, plugins.load([TOYS])).findings
        shutil.rmtree(made.folder)
    for other in folder.parent.iterdir():
        shutil.rmtree(other / "predictions", ignore_errors=True)
    assert not session.open_run(file, **options, name="later").donors


def _stopped(*given: Any) -> None:
    raise KeyboardInterrupt


def test_a_plan_says_why_a_cell_is_to_do_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMBENCH_CACHE", str(tmp_path / "cache"))
    mine = tmp_path / "mine.py"
    mine.write_text(MINE.format(by=1))
    given: dict[str, Any] = {"contenders": ["mine"], "trials": 1, "results": tmp_path / "results"}
    mb.run(TOY, plugins=[TOYS, str(mine)], **given)
    mine.write_text(MINE.format(by=2))
    opened = session.open_run(TOY, plugins=[TOYS, str(mine)], **given)
    (row,) = session.estimate(opened)
    assert (row["status"], row["why"]) == ("to do", f"fusion.mine: {tmp_path.name}/mine.py changed")
    monkeypatch.setattr(sources, "_version", lambda name: "9.9" if name == "torch" else public(name))
    (row,) = session.estimate(session.open_run(TOY, plugins=[TOYS, str(mine)], **given))
    assert re.match(r"torch \d+\.\d+\.\d+ → 9\.9; fusion\.mine: .*mine\.py changed$", row["why"])


MINE = """
import mmbench as mb
from torch import nn

class Mine(mb.Fusion):
    "A sum."
    name = "mine"
    def build(self, inputs, width, params):
        class Sum(nn.Module):
            def __init__(self):
                super().__init__()
                self.project = nn.ModuleDict({{m: nn.Linear(s.width, width) for m, s in inputs.items()}})
            def forward(self, features):
                return {by} * sum(self.project[m](f.pooled) for m, f in features.items())
        return Sum()

@mb.hookimpl
def mmbench_fusions():
    return [Mine]
"""
public = sources._version
