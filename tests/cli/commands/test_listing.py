"""`mmbench list` and `mmbench info`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FUSION = """
import mmbench as mb

class Scaled(mb.Fusion):
    '''Sum over a temperature.

    v = sum_m x_m / t
    '''
    name = "scaled"
    source = "https://example.org/paper"
    space = {
        "norm": mb.Choice((True, False), default=False),
        "temperature": mb.Float(0.5, 5.0, log=True, default=1.0, when={"norm": True}),
    }

    def supports(self, task):
        return "it reads no text" if "text" in task.modalities.values() else None

@mb.hookimpl
def mmbench_fusions():
    return [Scaled]
"""


def test_json_rows_have_what_a_program_needs(mmbench: Callable[..., Any]) -> None:
    rows = json.loads(mmbench("list", "--format", "json").out)
    assert {"dataset", "encoder", "fusion", "suite"} <= {row["kind"] for row in rows}
    for row in rows:
        wanted = {"name", "kind", "summary", "source", "distribution"}
        assert set(row) == wanted | ({"reads"} if row["kind"] == "encoder" else set())
        assert row["summary"], row["name"]
    assert {"name": "concat", "kind": "fusion"}.items() <= next(r for r in rows if r["name"] == "concat").items()
    assert next(row["reads"] for row in rows if row["name"] == "cnn") == "image"


def test_executors_are_listed(mmbench: Callable[..., Any]) -> None:
    (row,) = json.loads(mmbench("list", "executors", "--format", "json").out)
    assert (row["name"], row["kind"], row["distribution"]) == ("local", "executor", "mmbench")
    assert row["summary"].startswith("Processes of this machine")


def test_one_kind_only(mmbench: Callable[..., Any]) -> None:
    rows = json.loads(mmbench("list", "fusions", "--format", "json").out)
    assert {row["kind"] for row in rows} == {"fusion"}


def test_the_table_is_not_cut_in_a_pipe(mmbench: Callable[..., Any]) -> None:
    rows = json.loads(mmbench("list", "--format", "json").out)
    printed = mmbench("list").out
    assert all(row["summary"] in printed for row in rows)


def test_a_plugin_file_is_listed_with_where_it_came_from(
    mmbench: Callable[..., Any], plugin: Callable[..., Any]
) -> None:
    file = plugin(FUSION)
    rows = json.loads(mmbench("list", "fusions", "--format", "json", "--plugin", file).out)
    assert {
        "name": "scaled",
        "kind": "fusion",
        "summary": "Sum over a temperature.",
        "source": "https://example.org/paper",
        "distribution": file,
    } in rows


def test_suites_of_the_folder_we_stand_in_are_listed(
    mmbench: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites/tiny.toml").write_text(
        'name = "tiny"\nversion = 1\ndescription = "A small one."\n[[task]]\ndataset = "uci_mfeat"\n'
        'metric = "accuracy"\n[[contender]]\nname = "concat"\nfusion = "concat"\n'
    )
    monkeypatch.chdir(tmp_path)
    rows = json.loads(mmbench("list", "suites", "--format", "json").out)
    assert {"starter", "tiny"} <= {row["name"] for row in rows}
    assert next(row["summary"] for row in rows if row["name"] == "tiny") == "A small one."
    shown = mmbench("info", "tiny").out
    assert "uci_mfeat" in shown
    assert "fusion concat" in shown


def test_info_shows_the_whole_part(mmbench: Callable[..., Any], plugin: Callable[..., Any]) -> None:
    answer = mmbench("info", "scaled", "--plugin", plugin(FUSION))
    assert answer.code == 0
    lines = [" ".join(line.split()) for line in answer.out.splitlines()]
    assert "v = sum_m x_m / t" in lines
    assert "source https://example.org/paper" in lines
    assert "norm True | False False build" in lines
    assert "temperature 0.5 to 5.0, log 1.0 norm = True build" in lines
    assert "not emoji_group: it reads no text" in lines
    assert any(line.startswith("fits ") and "uci_mfeat" in line for line in lines)


def test_info_of_a_dataset_names_who_reads_it(mmbench: Callable[..., Any]) -> None:
    shown = mmbench("info", "emoji_group").out
    assert "image (image), text (text)" in shown
    assert "embedding" in shown
    assert "CC BY-SA 4.0" in shown


def test_info_by_kind_and_name(mmbench: Callable[..., Any]) -> None:
    assert mmbench("info", "encoder.cnn").out.startswith("encoder cnn\n")
    assert mmbench("info", "fusion.cnn").code == 2
