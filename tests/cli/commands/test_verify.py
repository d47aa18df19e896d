"""`plan --register`, `run --plan`, `verify`, `sign` and `reproduce` as they are typed, on a small real run."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmbench import plugins, reproduce
from mmbench.board import rank
from mmbench.store.reading import read_run

Type = Callable[..., Any]
TESTS = Path(__file__).parents[2]
PLUGIN = ["--plugin", str(TESTS / "toys.py")]
SUITE = [str(TESTS / "toy.toml"), *PLUGIN, "--trials", "2"]
PUBLISHED = TESTS.parent / "results" / "published" / "starter"
BOTH = ["--contender", "concat", "--contender", "majority"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a run was registered, run, and later given one contender more."""
    from mmbench.cli.app import call

    folder = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMBENCH_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        assert call(["plan", *SUITE, *BOTH, "--register", "plan.json"]) == 0
        assert call(["run", *SUITE, *BOTH, "--plan", "plan.json", "-q"]) == 0
        shutil.copytree("results/toy", "results/before")
        assert call(["run", *SUITE, "--contender", "mean", "-q"]) == 0
    return folder


@pytest.fixture(autouse=True)
def stand(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMBENCH_CACHE", str(place / "cache"))
    monkeypatch.chdir(place)


def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree("results/before", tmp_path / "toy"))


@pytest.mark.slow
def test_a_registered_run_verifies(mmbench: Type) -> None:
    answer = mmbench("verify", "before", *PLUGIN, "--plan", "plan.json")
    assert (answer.code, answer.err) == (0, ""), answer.out
    lines = answer.out.splitlines()
    assert lines[-1] == "results/before: clean"
    plan = json.loads(Path("plan.json").read_text())["hash"]
    assert f"plan {plan}" in lines
    assert mmbench("verify", "before", *PLUGIN, "--plan", plan).code == 0
    sealed = next(line.removeprefix("seal ") for line in lines if line.startswith("seal "))
    assert mmbench("verify", "before", *PLUGIN, "--seal", sealed[:20]).code == 0
    assert mmbench("verify", "toy", *PLUGIN, "--seal", sealed[:20]).code == 1, "it went on: another seal"


def test_a_contender_that_was_not_planned_is_flagged(mmbench: Type) -> None:
    rows = json.loads(mmbench("leaderboard", "toy", *PLUGIN, "--format", "json").out)["rows"]
    stands = {row["contender"]: row["plan"] for row in rows}
    assert stands == {"concat": "registered", "majority": "registered", "mean": "added later"}
    for form in ("table", "markdown"):
        board = mmbench("leaderboard", "toy", *PLUGIN, "--format", form).out
        assert "mean †" in board
        assert "† added later: it was not in the plan" in board
        assert "concat †" not in board
    assert "†" not in mmbench("leaderboard", "before", *PLUGIN).out
    answer = mmbench("verify", "toy", *PLUGIN)
    assert answer.code == 0
    assert "note: toy/mean was added later: it is not in the plan that the run began with" in answer.out
    answer = mmbench("verify", "toy", *PLUGIN, "--plan", "plan.json")
    assert answer.code == 1
    assert "toy/mean: is not in the registration: an unplanned contender" in answer.out


def test_a_run_is_held_to_its_registration(mmbench: Type) -> None:
    assert mmbench("plan", *SUITE, *BOTH, "--register", "plan.json").code == 2, "it is not written over"
    other = mmbench("run", *SUITE[:-1], "3", *BOTH, "--plan", "plan.json", "--name", "other")
    assert other.code == 2
    assert "the registration is of suite 'toy' with other contents" in other.err
    assert not Path("results/other").exists()


def test_findings_are_lines_and_exit_1(mmbench: Type, tmp_path: Path) -> None:
    folder = copy(tmp_path)
    path = folder / "records.jsonl"
    path.write_text(path.read_text().replace('"accuracy":0.', '"accuracy":0.9', 1))
    answer = mmbench("verify", str(folder), *PLUGIN)
    assert answer.code == 1
    assert any(line.startswith("records.jsonl, line ") and "was edited" in line for line in answer.out.splitlines())
    told = json.loads(mmbench("verify", str(folder), *PLUGIN, "--format", "json").out)
    assert not told["clean"]
    assert told["run"] == "toy"
    assert {"chain", "refits"} <= {finding["check"] for finding in told["findings"]}
    assert f"{len(told['findings'])} findings" in answer.out


def test_what_is_no_run_or_no_seal_is_exit_2(mmbench: Type) -> None:
    for words in (
        ["nothing"],
        ["before", "--seal", "short"],
        ["before", "--plan", "no.json"],
        ["before", "--signer", "no"],
    ):
        answer = mmbench("verify", *words, *PLUGIN)
        assert answer.code == 2
        assert answer.err.startswith("mmbench: error: ")
        assert len(answer.err.splitlines()) == 1


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
def test_sign_and_verify(mmbench: Type, tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    folder = copy(tmp_path)
    (folder / "seal.json").unlink()
    refused = mmbench("sign", str(folder), "--key", str(key), *PLUGIN)
    assert refused.code == 1
    assert "seal.json: is missing" in refused.out
    assert not (folder / "seal.json.sig").exists(), "nothing is signed that does not verify"
    shutil.copy("results/before/seal.json", folder)
    signed = mmbench("sign", str(folder), "--key", str(key), *PLUGIN)
    assert (signed.code, signed.err) == (0, "")
    answer = mmbench("verify", str(folder), "--signer", f"{key}.pub", *PLUGIN)
    assert answer.code == 0
    assert "signed by SHA256:" in answer.out


def test_reproduce_says_how_far_scores_drift(mmbench: Type, place: Path) -> None:
    before = {path: path.read_bytes() for path in (place / "results" / "before").rglob("*") if path.is_file()}
    answer = mmbench("reproduce", "before", *PLUGIN, "--cell", "toy/concat", "--format", "json")
    assert answer.code == 0, answer.out + answer.err
    (cell,) = json.loads(answer.out)["cells"]
    assert (cell["reproduced"], cell["identical"], cell["differences"]) == (True, True, [])
    assert {metric["drift"] for metric in cell["metrics"]} == {0.0}
    assert all(metric["low"] <= metric["recorded"] <= metric["high"] for metric in cell["metrics"])
    after = {path: path.read_bytes() for path in (place / "results" / "before").rglob("*") if path.is_file()}
    assert before == after, "nothing is written into the run"


@pytest.mark.slow
def test_a_drift_is_held_against_the_interval_of_the_board() -> None:
    """It leans on the task's other contenders: one of the record alone would be another."""
    run, catalog = read_run(PUBLISHED), plugins.load()
    record = next(r for r in run.records if (r.task, r.contender) == ("emoji_group", "gated"))
    again = {refit.seed: refit for refit in record.refits if refit.role == "tuned"}
    found = {drift.metric: (drift.low, drift.high) for drift in reproduce._drifts(run, catalog, record, again)}
    rows = rank.leaderboard(run, catalog.metrics)
    shown = next(r for r in rows if (r["task"], r["contender"]) == ("emoji_group", "gated"))["metrics"]["accuracy"]
    assert found["accuracy"] == (shown["low"], shown["high"])


def test_reproduce_finds_scores_that_were_made_up(mmbench: Type, tmp_path: Path) -> None:
    """Predictions of another seed, and code that has changed: the drift and the reason are said."""
    folder = copy(tmp_path)
    path = folder / "records.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if line["kind"] == "record" and line["row"]["contender"] == "concat":
            line["row"]["parts"]["fusion.concat"] = "0" * 16
            for refit in line["row"]["refits"]:
                refit["metrics"] = dict.fromkeys(refit["metrics"], 0.01)
    _write(path, lines)
    answer = mmbench("reproduce", str(folder), *PLUGIN, "--cell", "toy/concat", "--seed", "1", "-q")
    assert answer.code == 1, answer.out
    assert "differs: fusion.concat: 0000000000000000 then, " in answer.out
    assert "toy/concat, seed 1" in answer.out


def _write(path: Path, lines: list[dict[str, Any]]) -> None:
    from mmbench.store.chain import FIRST, to_line

    content, previous = b"", FIRST
    for number, line in enumerate(lines):
        raw, previous = to_line(number, previous, line["kind"], line["row"])
        content += raw
    path.write_bytes(content)


def test_reproduce_refuses_in_one_line(mmbench: Type) -> None:
    for words, expected in {
        ("--cell", "toy/concta"): "did you mean 'toy/concat'",
        ("--cell", "toy/concat", "--seed", "7"): "has no refit of seed 7: there are 0, 1",
        ("--cell", "toy/concat", "--all"): "give --cell or --all",
    }.items():
        answer = mmbench("reproduce", "before", *PLUGIN, *words)
        assert answer.code == 2
        assert expected in answer.err
