"""A run's winner taken along: what the export predicts is what the run has stored; rows that come later are read."""

import csv
import json
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import mmbench
from mmbench import plugins, reproduce, session
from mmbench.cli.app import call
from mmbench.errors import DataError, MMBenchError, StoreError
from mmbench.exports import taking
from mmbench.exports.loading import Export, load_export
from mmbench.plugins import Catalog
from mmbench.store import reading, suitefile
from mmbench.trust.verify import verify
from tests.toys import Toy

HEADER = ("speed", "height", "phase", "day", "remarks", "effect")
WIDTH = 2 + 2 + 5 + 4
"""Of a row of facts: speed and height, each with whether it is missing; the phase's words, "another" and "none"; the
day's three, with whether it is missing."""


def birds(file: Path) -> None:
    rng = np.random.default_rng(0)
    with file.open("w", newline="", encoding="utf-8") as text:
        writer = csv.writer(text)
        writer.writerow(HEADER)
        for row in range(90):
            hit = bool(rng.random() < 0.5)
            speed = "" if row % 9 == 0 else round(rng.normal(2 * hit, 1), 2)
            phase = ("climb", "cruise", "landing")[row % 3]
            remarks = ("none seen", "a strike on the wing")[hit] if row % 5 else ""
            day = f"2024-{1 + row % 12:02d}-03"
            facts = ["", "", "", ""] if row % 10 == 7 else [speed, row, phase, day]
            writer.writerow([*facts, remarks, ("none", "damage")[hit]])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the suite and its data lie; all commands are typed here."""
    folder = tmp_path_factory.mktemp("exports")
    shutil.copy(Path(__file__).with_name("suite.toml"), folder)
    birds(folder / "birds.csv")
    return folder


@pytest.fixture(autouse=True)
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("MMBENCH_CACHE", str(place / "cache"))


@pytest.fixture(scope="module")
def run(place: Path) -> session.Run:
    """A run that keeps its weights, as its suite says. Not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMBENCH_CACHE", str(place / "cache"))
        patch.chdir(place)
        return session.run("suite.toml", results=place / "results", workers=1)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return plugins.load()


@pytest.fixture(scope="module")
def exported(run: session.Run, catalog: Catalog, place: Path) -> Path:
    """The export of the winner. Not to be changed."""
    to = place / "exported"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        taking.take(run.data, catalog, "birds/concat", to, cache=place / "cache")
    return to


@pytest.fixture(scope="module")
def export(exported: Path, place: Path) -> Export:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        return load_export(exported)


def stored(run: session.Run, export: Export) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    record = next(r for r in run.data.records if r.cell == export.manifest.cell)
    refit = next(r for r in record.refits if (r.role, r.seed) == ("tuned", export.manifest.refit.seed))
    return reading.load_predictions(run.folder, refit)["test"]


def test_it_predicts_what_the_run_has_stored(run: session.Run, export: Export) -> None:
    np.testing.assert_allclose(export.predict_split("test").predictions, stored(run, export), atol=1e-6)
    assert export.manifest.refit.difference is not None
    assert export.manifest.refit.difference < 1e-6
    assert not export.differences
    best = max(r.valid or 0 for r in run.data.records[0].refits if r.role == "tuned")
    assert export.manifest.refit.valid == best, "which seed is taken is decided without test"
    assert set(export.manifest.scores["accuracy"]) == {"mean", "low", "high"}


def test_rows_of_a_file_are_prepared_as_train_was(export: Export, place: Path) -> None:
    """The file that it was trained on gives what its test split gave, wherever the rows stand; no target is needed."""
    with (place / "birds.csv").open(encoding="utf-8") as text:
        rows = list(csv.DictReader(text))
    wanted = {tuple(np.round(row, 5)) for row in export.predict_split("test").predictions.tolist()}
    with (place / "again.csv").open("w", newline="", encoding="utf-8") as text:
        writer = csv.DictWriter(text, [name for name in HEADER if name != "effect"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(reversed(rows))
    found = export.predict_file("again.csv")
    assert list(found.rows) == list(range(2, 92))
    assert wanted <= {tuple(np.round(row, 5)) for row in found.predictions.tolist()}


def test_a_word_that_train_has_never_seen_is_another(export: Export, place: Path) -> None:
    """Whichever it is, and whatever stands beside it in the file."""
    lines = [f"1.5,,{phase},2031-01-01,struck" for phase in ("taxi", "hover", "climb")]
    (place / "new.csv").write_text("\n".join(["speed,height,phase,day,remarks", *lines]))
    taxi, hover, climb = export.predict_file("new.csv").predictions
    np.testing.assert_allclose(taxi, hover, atol=1e-6)
    assert np.abs(taxi - climb).max() > 1e-4
    (place / "one.csv").write_text("\n".join(["speed,height,phase,day,remarks", lines[2]]))
    np.testing.assert_allclose(export.predict_file("one.csv").predictions, [climb], atol=1e-6)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "speed,height,phase,day,remarks\n1,2,climb,2024-01-01,x\nfast,2,climb,2024-01-01,x\n",
            "bad.csv, row 3: 'fast'",
        ),
        ("speed,height,phase,day\n1,2,climb,2024-01-01\n", "bad.csv: unknown column 'remarks'"),
        ("speed,height,phase,day,remarks\n1,2,climb\n", "bad.csv, row 2 has 3 cells"),
        ("speed,height,phase,day,remarks\n", "bad.csv has no rows"),
    ],
)
def test_bad_rows_are_one_line(
    exported: Path, place: Path, capsys: pytest.CaptureFixture[str], content: str, said: str
) -> None:
    (place / "bad.csv").write_text(content)
    assert call(["predict", "exported", "bad.csv", "--to", "out.csv"]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert len(printed.err.splitlines()) == 1
    assert not (place / "out.csv").exists()


def test_the_commands(run: session.Run, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["export", "tiny", "--cell", "birds/concat", "--to", "typed", "--seed", "0"]) == 0
    told = capsys.readouterr().out
    assert "it predicts what was stored of test" in told
    assert "CC0-1.0" in told
    assert json.loads((place / "typed/export.json").read_text())["refit"]["seed"] == 0
    assert call(["predict", "typed", "--split", "test", "--to", "test.csv"]) == 0
    with (place / "test.csv").open(encoding="utf-8") as text:
        rows = list(csv.DictReader(text))
    names = ("damage", "none")
    shares = np.array([[float(row[f"probability {name}"]) for name in names] for row in rows])
    np.testing.assert_allclose(shares, stored(run, load_export("typed")), atol=1e-6)
    assert [row["effect"] for row in rows] == [names[place] for place in shares.argmax(1)]
    assert [row["row"] for row in rows] == list(map(str, range(len(rows))))
    capsys.readouterr()
    for words, said in (
        (["export", "tiny", "--cell", "birds/concat", "--to", "typed"], "typed is there already"),
        (["export", "tiny", "--cell", "birds/conct", "--to", "x"], "did you mean 'birds/concat'?"),
        (["export", "tiny", "--cell", "birds/concat", "--to", "x", "--format", "onx"], "did you mean 'onnx'?"),
        (
            ["export", "tiny", "--cell", "birds/concat", "--to", "x", "--seed", "7"],
            "no refit of seed 7: there are [0, 1",
        ),
        (["predict", "typed", "--split", "tst"], "unknown split 'tst': did you mean 'test'?"),
        (["export", "tiny", "--cell", "birds/concat", "--to", "birds.csv/x"], "birds.csv/x can't be written: Not a"),
        (["predict", "typed", "birds.csv", "--to", "gone/x.csv"], "gone/x.csv can't be written: No such file"),
        (["predict", "typed"], "give a file of rows, or --split test"),
        (["predict", "typed", "gone.csv"], "gone.csv does not exist"),
        (["predict", "results", "birds.csv"], "is no export: it has no export.json"),
    ):
        assert call(words) == 2, words
        assert said in capsys.readouterr().err, words


def test_a_data_set_of_a_plugin_reads_no_file() -> None:
    with pytest.raises(DataError, match="'toy' reads no other rows than its own: give --split test"):
        Toy().read_rows(Path("rows.csv"), {})


def test_values_of_a_program(exported: Path) -> None:
    """Lists of numbers; a modality that is missing; what is not given is said."""
    export = mmbench.load_export(exported)
    facts = [[0.5] * WIDTH, [1.0] * WIDTH]
    found = export.predict({"facts": facts, "remarks": ["none seen", None]})
    assert found.shape == (2, 2)
    alone = export.predict({"facts": facts[1:], "remarks": [None]})
    np.testing.assert_allclose(found[1:], alone, atol=1e-6)
    with pytest.raises(DataError, match="modality 'remarks' is not given"):
        export.predict({"facts": facts})
    with pytest.raises(DataError, match="unequal numbers of rows"):
        export.predict({"facts": facts, "remarks": ["x"]})
    with pytest.raises(DataError, match="'facts'"):
        export.predict({"facts": [[1.0, 2.0]], "remarks": [None]})


def test_what_was_altered_is_found(exported: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(exported, tmp_path / "altered")
    weights = load_file(copy / "weights.safetensors")
    save_file({name: -value for name, value in weights.items()}, copy / "weights.safetensors")
    with pytest.raises(DataError, match=r"weights.safetensors was altered"):
        load_export(copy)
    said = json.loads((copy / "export.json").read_text())
    (copy / "export.json").write_text(json.dumps({**said, "schema": 9}))
    with pytest.raises(DataError, match="newer mmbench"):
        load_export(copy)
    (copy / "export.json").write_text(json.dumps({**said, "params": 3}))
    with pytest.raises(DataError, match=r"export.json is not what mmbench writes"):
        load_export(copy)


def test_predictions_other_than_the_stored_ones_are_no_export(run: session.Run, catalog: Catalog, place: Path) -> None:
    """Weights that are not those of the refit: here of another seed, under its name."""
    (record,) = run.data.records
    first, second = (refit for refit in record.refits if refit.role == "tuned")
    swapped = replace(record, refits=[replace(first, weights=second.weights), replace(second, weights=first.weights)])
    other = replace(run.data, records=[swapped])
    with pytest.raises(DataError, match="does not predict what was stored of test"):
        taking.take(other, catalog, "birds/concat", place / "swapped", cache=place / "cache")
    assert not (place / "swapped").exists()
    assert not list(place.glob(".*draft"))


def test_weights_are_kept_as_the_suite_says_and_under_the_seal(
    run: session.Run, catalog: Catalog, tmp_path: Path
) -> None:
    assert {len(list((run.folder / "weights").iterdir()))} == {2}, "two seeds"
    suite = run.suite
    assert suite.keep_weights
    without = replace(suite, keep_weights=False)
    assert suitefile.suite_hash(without) == suitefile.suite_hash(suite)
    assert "keep_weights" not in suitefile.write(without)
    copy = shutil.copytree(run.folder, tmp_path / "copy")
    file = next((copy / "weights").iterdir())
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    found = verify(copy, reproduce.with_data(run.data, catalog)).findings
    assert [finding.check for finding in found if file.name in finding.what] == ["weights"]


def without_weights(run: session.Run, place: Path) -> reading.RunData:
    copy = shutil.copytree(run.folder, place / "tiny")
    shutil.rmtree(copy / "weights")
    return reading.read_run(copy)


def test_weights_that_were_not_kept(run: session.Run, catalog: Catalog, place: Path, tmp_path: Path) -> None:
    data = without_weights(run, tmp_path)
    with pytest.raises(StoreError, match="were not kept: add --retrain to train seed"):
        taking.take(data, catalog, "birds/concat", tmp_path / "x", cache=place / "cache")


@pytest.mark.slow
def test_what_is_trained_again_predicts_the_same(
    run: session.Run, catalog: Catalog, place: Path, tmp_path: Path
) -> None:
    data = without_weights(run, tmp_path)
    to = tmp_path / "again"
    export, _ = taking.take(data, catalog, "birds/concat", to, cache=place / "cache", retrain=True)
    assert export.manifest.refit.retrained
    assert export.manifest.refit.difference is not None
    assert export.manifest.refit.difference < 1e-6


SPOILT = {
    "a shape beyond any memory": ("inputs", "facts", {"cells": {"dtype": "float32", "shape": [10**13]}}),
    "a negative shape": ("inputs", "facts", {"cells": {"dtype": "float32", "shape": [-1]}}),
    "no type": ("inputs", "facts", {"cells": {"dtype": "x[0]", "shape": [3]}}),
    "no such modality": ("inputs", "facts", None),
    "a state of another shape": ("states", "facts", {"mean": "x"}),
    "a part that is not here": ("params", "fusion", "nobody"),
    "a parameter that is no number": ("params", "model.width", "wide"),
    "a head that is not here": ("target", None, "nothing"),
    "a kind that is none": ("columns", "facts", "smell"),
    "no columns": ("columns", None, {}),
    "classes that are none": ("classes", None, []),
    "a table that says nothing": ("data", "table", {}),
}


@pytest.mark.parametrize("what", SPOILT)
def test_an_export_from_a_stranger_is_an_export_or_one_line(exported: Path, tmp_path: Path, what: str) -> None:
    copy = shutil.copytree(exported, tmp_path / "spoilt")
    manifest = json.loads((copy / "export.json").read_text(encoding="utf-8"))
    key, inner, value = SPOILT[what]
    if inner is None:
        manifest[key] = value
    elif value is None:
        del manifest[key][inner]
    else:
        manifest[key][inner] = value
    (copy / "export.json").write_text(json.dumps(manifest), encoding="utf-8")
    with suppress(MMBenchError):  # any other error fails
        export = load_export(copy)
        export.answers(export.predict_file("birds.csv").predictions)


def test_a_fold_that_is_none(exported: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(exported, tmp_path / "spoilt")
    manifest = json.loads((copy / "export.json").read_text(encoding="utf-8"))
    manifest["data"]["fold"] = {"nothing": 1}
    (copy / "export.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(DataError, match=r"export\.json: data\.fold is none"):
        load_export(copy).predict_split("test")
