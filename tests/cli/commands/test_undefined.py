"""Data that lack a class, a row or any variety, and metrics that are undefined or broken: no run and no board ends."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from mmbench.store.reading import read_run
from tests.cli.conftest import Answer

TESTS = Path(__file__).parents[2]
PARTS = str(TESTS / "scarce.py")
Type = Callable[..., Answer]


@pytest.fixture(scope="session")
def scarce(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of tests/scarce.toml."""
    place = tmp_path_factory.mktemp("scarce")
    command = [sys.executable, "-m", "mmbench", "run", str(TESTS / "scarce.toml"), "--plugin", PARTS]
    environ = {**os.environ, "MMBENCH_CACHE": str(place / "cache")}
    done = subprocess.run(command, cwd=place, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr  # of one task no trial can be scored
    assert "Traceback" not in done.stderr + done.stdout
    assert "rare0_picky, concat: test picky –" in done.stdout
    return place / "results" / "scarce"


@pytest.fixture
def rows(scarce: Path, mmbench: Type) -> dict[tuple[str, str], dict[str, Any]]:
    answer = mmbench("leaderboard", str(scarce), "--plugin", PARTS, "--format", "json")
    assert answer.code == 0, answer.err

    def strict(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    found = json.loads(answer.out, parse_constant=strict)["rows"]
    return {(row["task"], row["contender"]): row for row in found}


Rows = dict[tuple[str, str], dict[str, Any]]
LACKS = "failed: KeyError: 'no class 2' (scarce.py, line "


@pytest.mark.slow
def test_a_metric_that_fails_on_test_leaves_all_others(rows: Rows) -> None:
    for contender in ("concat", "majority"):
        row = rows["rare0", contender]
        assert row["rank"] is not None
        assert row["metrics"]["zero_one"]["mean"] == pytest.approx(1 - row["metrics"]["accuracy"]["mean"])
        assert row["metrics"]["picky"]["mean"] is None
        reasons = {name: summary["reason"] for name, summary in row["metrics"].items() if summary["mean"] is None}
        assert set(reasons) == {"picky", "nan", "words", "quits", "sorts"}
        assert reasons["picky"].startswith(LACKS)
        assert reasons["nan"] == "failed: ValueError: the score is nan, which is no finite number"
        assert reasons["words"] == "failed: ValueError: the score is no number, but str"
        assert reasons["quits"].startswith("failed: SystemExit: 3")
        assert "read-only" in reasons["sorts"]
        assert row["metrics"]["reshapes"]["mean"] == row["metrics"]["accuracy"]["mean"]


@pytest.mark.slow
def test_a_metric_that_writes_changes_neither_truth_nor_predictions(scarce: Path) -> None:
    """`sorts` and `reshapes` are called first."""
    truth = load_file(scarce / "predictions" / "rare0.targets.safetensors")["target"]
    assert truth.shape == (24,)
    assert (np.diff(truth) < 0).any()
    (record,) = [r for r in read_run(scarce).records if (r.task, r.contender) == ("rare0", "concat")]
    predictions = record.refits[0].predictions
    assert predictions is not None
    stored = load_file(scarce / "predictions" / predictions["file"])["test"]
    assert stored.sum(1) == pytest.approx(np.ones(24), abs=1e-5)
    assert record.refits[0].metrics["zero_one"] == pytest.approx(float((stored.argmax(1) != truth).mean()))


def test_without_a_tuned_score_there_is_no_rank_but_a_reason(rows: Rows) -> None:
    for contender in ("concat", "majority"):
        row = rows["rare0_picky", contender]
        assert (row["status"], row["rank"]) == ("ok", None)
        assert row["reason"].startswith(f"no picky: {LACKS}")
        assert row["metrics"]["accuracy"]["mean"] > 0
        assert row["validation_gap"] is row["fusion_gain"] is None
        assert rows["constant", contender]["reason"] == "no r2: undefined: all rows have the same number"
        assert rows["constant", contender]["rank"] is None
        assert rows["constant", contender]["metrics"]["mae"]["low"] is not None
    curve = rows["constant", "concat"]["curves"]["missing left"]
    assert curve == {"points": [[0.0, None], [1.0, None]], "area": None}


def test_resamples_without_a_score_are_left_out_and_counted(rows: Rows) -> None:
    row = rows["rare1", "concat"]  # one contender alone, one seed alone
    summary = row["metrics"]["picky"]
    assert row["rank"] == 1
    assert summary["low"] < summary["mean"] < summary["high"]
    assert summary["left_out"]["of"] == 800
    assert summary["left_out"]["resamples"] / 800 == pytest.approx((24 / 25) ** 25, abs=0.05)
    assert summary["left_out"]["reason"].startswith(LACKS)


def test_one_test_row_tells_nobody_apart(rows: Rows) -> None:
    found = [rows["one_row", contender] for contender in ("concat", "majority")]
    assert [row["rank"] for row in found] == [1, 1]
    for row in found:
        assert row["metrics"]["accuracy"]["mean"] in (0.0, 1.0)
        assert row["metrics"]["accuracy"]["low"] is None
        assert row["metrics"]["accuracy"]["reason"] == "with fewer than 6 test rows nothing can be told from chance"
        assert row["metrics"]["auroc"]["reason"] == "undefined: all rows have the same class"


def test_a_validation_split_that_can_not_be_scored_is_told(rows: Rows) -> None:
    """Train has one row of a class there, too."""
    row = rows["valid_one_kind", "concat"]
    assert row["status"] == "error"
    assert "auroc has no score on validation: undefined: all rows have the same class" in row["reason"]


@pytest.mark.parametrize("form", ["table", "markdown", "csv", "latex"])
def test_every_form_says_what_is_not_known(form: str, scarce: Path, mmbench: Type) -> None:
    answer = mmbench("leaderboard", str(scarce), "--plugin", PARTS, "--format", form)
    assert answer.code == 0, answer.err
    flat = " ".join(answer.out.replace("\\_", "_").split())
    assert "nan]" not in flat
    assert LACKS in flat.replace("\\", "")
    assert "with fewer than 6 test rows" in flat
    if form == "csv":
        (found,) = [
            row
            for row in csv.DictReader(io.StringIO(answer.out))
            if (row["task"], row["contender"]) == ("rare0_picky", "concat")
        ]
        assert (found["rank"], found["metrics.picky.mean"]) == ("", "")
        return
    dash = "--" if form == "latex" else "–"
    assert f"no score ({dash}) of picky" in flat.replace("\\", "")
    assert "of 800 resamples, which have no score," in flat
    assert any(line.strip(" |").startswith(dash) for line in answer.out.splitlines() if "concat" in line)


@pytest.mark.parametrize("by", ["metric", "pareto"])
def test_other_tables_show_dashes(by: str, scarce: Path, mmbench: Type) -> None:
    answer = mmbench("leaderboard", str(scarce), "--plugin", PARTS, "--by", by)
    assert answer.code == 0, answer.err
    assert "–" in answer.out
    assert "no score (–) of picky" in " ".join(answer.out.split())


def test_a_comparison_says_why_there_is_none(scarce: Path, mmbench: Type) -> None:
    answer = mmbench("compare", str(scarce), "concat", "majority", "--plugin", PARTS)
    assert answer.code == 0, answer.err
    flat = " ".join(answer.out.split())
    assert f"rare0_picky: concat: no picky: {LACKS}" in flat
    assert "one_row: concat: with fewer than 6 test rows nothing can be told from chance" in flat
    answer = mmbench(
        "compare", str(scarce), "concat", "majority", "--plugin", PARTS, "--metric", "nan", "--task", "rare0"
    )
    assert "no nan: failed: ValueError: the score is nan" in " ".join(answer.out.split())


def test_pages_and_verify(scarce: Path, tmp_path: Path, mmbench: Type) -> None:
    answer = mmbench("publish", str(scarce), "--plugin", PARTS, "--to", str(tmp_path / "site"))
    assert answer.code == 0, answer.err
    first = (tmp_path / "site" / "index.html").read_text()
    assert '<b class="bad">no score</b> no picky: failed: KeyError: &#39;no class 2&#39;' in first
    pages = [page.read_text() for page in (tmp_path / "site" / "cells").glob("rare0-picky-concat-*.html")]
    assert len(pages) == 1
    assert "ok, but picky failed: KeyError" in pages[0]
    answer = mmbench("verify", str(scarce), "--plugin", PARTS)
    assert answer.code == 0, answer.out + answer.err
