"""Every type of target and several kinds of modality: the export predicts what is stored, and so do its graphs."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmbench import plugins, session
from mmbench.api.data import Label, Labels, Match, Number, Text
from mmbench.api.suite import Budget, ContenderSpec, Suite, TaskSpec
from mmbench.errors import MMBenchError, StoreError
from mmbench.exports import graphs, taking
from mmbench.exports.loading import load_export

TOYS = str(Path(__file__).parents[1] / "toys.py")
SUITE = Suite(
    name="kinds",
    version=1,
    budget=Budget(trials=1, batch=1, epochs=2, refit_seeds=1, trial_seconds=60),
    tasks=(
        TaskSpec("toy", "toy", "accuracy"),
        TaskSpec("number", "toy_number", "r2"),
        TaskSpec("labels", "toy_labels", "macro_f1"),
        TaskSpec("text", "toy_text", "exact_match"),
        TaskSpec("match", "toy_match", "recall@1"),
        TaskSpec("motions", "basic_motions", "accuracy", encoders={"accelerometer": ("gru",), "gyroscope": ("cnn1d",)}),
    ),
    contenders=(ContenderSpec("concat", fusion=("concat",)), ContenderSpec("logistic", fusion=("logistic",))),
    keep_weights=True,
)


def test_predictions_become_columns() -> None:
    shares = np.array([[0.2, 0.8], [0.9, 0.1]])
    assert Label("y").answers(shares, ["no", "yes"]) == {
        "y": ["yes", "no"],
        "probability no": [0.2, 0.9],
        "probability yes": [0.8, 0.1],
    }
    both = Labels("y").answers(np.array([[0.5, 0.8], [0.4, 0.1]]), None)
    assert both == {"y": ["0; 1", ""], "probability 0": [0.5, 0.4], "probability 1": [0.8, 0.1]}
    assert Number("y").answers(np.array([1.5]), None) == {"y": [1.5]}
    assert Text("y").answers(np.array(["a cat"], dtype=object), None) == {"y": ["a cat"]}
    scores = np.array([[0.1, 0.7], [0.9, 0.3]])
    assert Match(("a",), ("b",)).answers(scores, None) == {"match": [2, 1], "score": [0.7, 0.9]}


def test_a_format_that_is_not_known_or_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MMBenchError, match="did you mean 'onnx'"):
        graphs.check(["onx"])
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(MMBenchError, match=r"--format onnx needs onnx: pip install 'mmbench\[onnx\]'"):
        graphs.check(["onnx"])


@pytest.mark.slow
def test_every_target_predicts_as_stored_and_by_its_graphs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    formats = ["torch", "onnx"] if _has_onnx() else ["torch"]
    monkeypatch.setenv("MMBENCH_CACHE", str(tmp_path / "cache"))
    run = session.run(SUITE, plugins=[TOYS], results=tmp_path / "results", workers=2)
    assert not run.failed, [record.reason for record in run.failed]
    catalog = plugins.load([TOYS])
    notes: dict[str, list[str]] = {}
    for task in SUITE.tasks:
        to = tmp_path / task.name
        export, notes[task.name] = taking.take(
            run.data, catalog, f"{task.name}/concat", to, cache=tmp_path / "cache", formats=formats
        )
        assert export.manifest.refit.difference is not None
        assert export.manifest.refit.difference < 1e-6, task.name
        again = load_export(to, [TOYS])
        found = again.predict_split("test").predictions
        columns = again.answers(found)
        assert {len(column) for column in columns.values()} == {len(found)}
        if (to / "model.pt2").exists():
            _check_graph(again, to)
    told = "\n".join(f"{task}: {note}" for task, own in notes.items() for note in own)
    for name in ("toy", "number", "labels", "motions"):
        assert all(note.startswith("model.") for note in notes[name]), told
    for name, why in (("match", "compares all rows"), ("text", "head 'text'")):
        assert all(note.startswith("no model.") and why in note for note in notes[name]), told
    with pytest.raises(StoreError, match="is logistic, which scikit-learn fits: it has no weights to take"):
        taking.take(run.data, catalog, "toy/logistic", tmp_path / "x", cache=tmp_path / "cache")
    shutil.rmtree(tmp_path / "cache")


def _check_graph(export: Any, folder: Path) -> None:
    """The stored program on real rows, one at a time and all at once, without mmbench."""
    program = torch.export.load(folder / "model.pt2").module()
    arrays = graphs._arrays(export, 9)
    whole = program(*arrays)
    for row in range(9):
        one = program(*(array[row : row + 1] for array in arrays))
        torch.testing.assert_close(one, whole[row : row + 1], atol=1e-4, rtol=1e-4)


def _has_onnx() -> bool:
    try:
        graphs.check(["onnx"])
    except MMBenchError:
        return False
    return True
