"""`mmbench run`, as it is typed, on data that are not what one would wish: what is said, and where it stands."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from mmbench.cli.app import call

Run = Callable[..., "subprocess.CompletedProcess[str]"]

DATA = '''
"""Icons on nothing, scans of 16 bits, files that are gone, rows in two splits, odd names: MODE says which."""
import io, os
from pathlib import Path

import mmbench as mb
import numpy as np

MODE = os.environ["MODE"]
NAMES = {"names": ["values", "image.1", "ünï/ñ [x]"], "icons": ["icon"], "scans": ["icon"], "absent": ["icon"]}
ODD = NAMES.get(MODE, ["x"])


def picture(n):
    from PIL import Image

    rng = np.random.default_rng(n)
    if MODE == "icons":  # black ink on nothing: a broad or a narrow bar
        array = np.zeros((16, 16, 4), np.uint8)
        array[2:14, 2 : (6, 12)[n % 2], 3] = 255
        array[0, n % 16, 3] = n // 16 + 1
    else:
        array = (rng.normal((90, 170)[n % 2], 20, (16, 16)).clip(0, 255) * 257).astype(np.uint16)
    file = Path(__file__).parent / f"{MODE}-{n}.png"
    Image.fromarray(array).save(file)
    return str(file.with_name("gone.png")) if MODE == "absent" and n in (7, 8) else str(file)


class Made(mb.Dataset):
    """Rows of two classes that each column tells."""

    name = "made_" + MODE
    columns = {name: "image" if name == "icon" else "tabular" for name in ODD}
    target = mb.Label("y")
    licence = "CC0-1.0"

    def load(self, cache):
        import datasets

        rng, splits = np.random.default_rng(0), {}
        for split, start, stop in (("train", 0, 72), ("validation", 72, 96), ("test", 96, 120)):
            value = lambda name, n: picture(n) if name == "icon" else [float(n % 2 + rng.normal() / 9)]
            rows = {name: [value(name, n) for n in range(start, stop)] for name in ODD}
            splits[split] = rows | {"y": [n % 2 for n in range(start, stop)]}
        if MODE == "leak":
            splits["test"]["x"][:5] = splits["train"]["x"][:5]
        kind = lambda name: datasets.Image() if name == "icon" else datasets.List(datasets.Value("float32"))
        features = datasets.Features({name: kind(name) for name in ODD} | {"y": datasets.ClassLabel(names=["a", "b"])})
        made = {split: datasets.Dataset.from_dict(rows, features=features) for split, rows in splits.items()}
        return datasets.DatasetDict(made)


@mb.hookimpl
def mmbench_datasets():
    return [Made]
'''


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("icons", command...)` types that command in an empty folder."""
    (tmp_path / "data.py").write_text(DATA, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMBENCH_CACHE", str(tmp_path / "cache"))

    def typed(mode: str, *words: str) -> "subprocess.CompletedProcess[str]":
        monkeypatch.setenv("MODE", mode)
        capsys.readouterr()
        code = call(words)
        printed = capsys.readouterr()
        return subprocess.CompletedProcess(words, code, printed.out, printed.err)

    return typed


def suite(place: Path, mode: str, contenders: str, task: str = "") -> str:
    head = f"""
        name = "{mode}"
        [budget]
        trials = 1
        epochs = 8
        refit_seeds = 2
        [[task]]
        name = "{mode}"
        dataset = "made_{mode}"
        metric = "accuracy"
    """
    text = "\n".join(dedent(part) for part in (head, task, contenders))
    (place / f"{mode}.toml").write_text(text, encoding="utf-8")
    return f"{mode}.toml"


def accuracies(place: Path, mode: str) -> dict[str, float]:
    """{contender: mean accuracy on test}; nothing else has been stored."""
    lines = (place / "results" / mode / "records.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [line["row"] for line in map(json.loads, lines) if line["kind"] == "record"]
    assert {row["status"] for row in rows} == {"ok"}, rows
    tuned = {
        row["contender"]: [r["metrics"]["accuracy"] for r in row["refits"] if r["role"] == "tuned"] for row in rows
    }
    return {name: sum(scores) / len(scores) for name, scores in tuned.items()}


LOGISTIC = '[[contender]]\nname = "icon"\nfusion = "logistic"\nonly = "icon"\n'


@pytest.mark.parametrize("mode", ["icons", "scans"])
def test_what_a_picture_shows_is_learnt(tmp_path: Path, run: Run, mode: str) -> None:
    """Ink on nothing is no black square, and 16 bits are not white: either would leave a coin to toss."""
    file = suite(tmp_path, mode, LOGISTIC, 'encoders = { icon = ["cnn"] }')
    done = run(mode, "run", file, "--plugin", "data.py")
    assert done.returncode == 0, done.stderr
    assert f"data made_{mode}" in done.stdout
    assert "icon (image): 120 different values" in done.stdout
    assert "warning" not in done.stdout
    assert accuracies(tmp_path, mode)["icon"] > 0.9


def test_files_that_are_gone_are_named_before_anything_is_trained(tmp_path: Path, run: Run) -> None:
    done = run(
        "absent", "run", suite(tmp_path, "absent", LOGISTIC, 'encoders = { icon = ["cnn"] }'), "--plugin", "data.py"
    )
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    start = "mmbench: error: dataset 'made_absent', split 'train', column 'icon', 2 rows can't be read: row 7: "
    assert line.startswith(start)
    assert f"{tmp_path}/gone.png: No such file or directory; row 8: " in line
    assert "tables" not in line


def test_warnings_stand_on_every_board_and_in_prepare_and_info(tmp_path: Path, run: Run) -> None:
    contenders = '[[contender]]\nname = "logistic"\nfusion = "logistic"\n'
    said = "5 of 24 test rows are train rows"
    info = run("leak", "info", "made_leak", "--plugin", "data.py").stdout
    assert "not counted yet: mmbench prepare made_leak" in info
    prepared = run("leak", "prepare", "made_leak", "--plugin", "data.py").stdout
    assert f"warning: {said}" in prepared
    assert f"warning: {said}" in run("leak", "info", "made_leak", "--plugin", "data.py").stdout
    done = run("leak", "run", suite(tmp_path, "leak", contenders), "--plugin", "data.py")
    assert done.returncode == 0, done.stderr
    assert f"! data: {said}." in done.stdout
    assert f"warning: {said}" not in done.stdout  # that is said once, when the data are made
    board = ["leaderboard", "leak", "--plugin", "data.py", "--format"]
    assert f"**!** data: {said}." in run("leak", *board, "markdown").stdout
    assert f"data: {said}." in run("leak", *board, "latex").stdout
    assert json.loads(run("leak", *board, "json").stdout)["rows"][0]["warnings"] == [said]
    csv = run("leak", *board, "csv").stdout
    assert "warnings" in csv.splitlines()[0]
    assert said in csv
    assert run("leak", "publish", "leak", "--plugin", "data.py", "--to", "site").returncode == 0
    assert f'<p class="warning">data: {said}.</p>' in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert run("leak", "verify", "leak").returncode == 0


@pytest.mark.slow
def test_modalities_of_any_name_go_all_the_way(tmp_path: Path, run: Run) -> None:
    """Through a search, two kinds of fusion, an objective, a damaged input, the boards, the site and the verifier."""
    task = """
        encoders = { values = "mlp", "image.1" = "mlp" }
        params = { "encoder.image.1.mlp.dropout" = 0.0 }
        [[task.corruption]]
        name = "noise"
        modality = "image.1"
        severities = [0.0, 1.0]
    """
    contenders = """
        [[contender]]
        name = "concat"
        fusion = "concat"
        objective = "modality_dropout"
        [[contender]]
        name = "logistic"
        fusion = "logistic"
        [[contender]]
        name = "only"
        each_modality = true
    """
    done = run("names", "run", suite(tmp_path, "names", contenders, task), "--plugin", "data.py")
    assert done.returncode == 0, done.stdout + done.stderr
    found = accuracies(tmp_path, "names")
    assert set(found) == {"concat", "logistic", "only values", "only image.1", "only ünï/ñ [x]"}
    assert min(found.values()) > 0.8
    assert "encoder.image.1" in (tmp_path / "results/names/records.jsonl").read_text(encoding="utf-8")
    board = run("names", "leaderboard", "names", "--plugin", "data.py", "--format", "markdown").stdout
    assert "noise image.1, by severity" in board
    assert run("names", "publish", "names", "--plugin", "data.py", "--to", "site").returncode == 0
    verified = run("names", "verify", "names")
    assert verified.returncode == 0, verified.stdout
    again = run("names", "run", "names.toml", "--plugin", "data.py")
    assert again.returncode == 0
    assert "5 done before" in again.stdout or "5 cells, 5 done" in again.stdout
