"""Run folders as a stranger would make them: the real commands end well on them, or say one line."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from mmbench.errors import MMBenchError
from mmbench.store import reading

Rewrite = Callable[..., None]
Lines = list[dict[str, Any]]
FORMATS = ("table", "markdown", "csv", "json", "latex")


def every_reader(mmbench: Any) -> list[Any]:
    """What each command that reads a run folder answers."""
    answers = [mmbench("leaderboard", "small", "--format", form) for form in FORMATS]
    answers.append(mmbench("leaderboard", "small", "--by", "metric"))
    answers.append(mmbench("verify", "small"))
    answers.append(mmbench("compare", "small", "concat", "only text"))
    answers.append(mmbench("publish", "small", "--to", "site"))
    return answers


def spoil(value: Any, text: str) -> Any:
    """Every string in it, and every key that is no field, spoilt by `text`."""
    if isinstance(value, str):
        return value + text
    if isinstance(value, list):
        return [spoil(entry, text) for entry in value]
    return {key: spoil(entry, text) for key, entry in value.items()} if isinstance(value, dict) else value


@pytest.mark.usefixtures("folder")
def test_a_sound_run_is_read(mmbench: Any) -> None:
    assert {answer.code for answer in every_reader(mmbench)} <= {0, 1}  # 1: verify misses some of what a real run has


def test_text_in_records_never_acts(mmbench: Any, rewrite: Rewrite, evil: str, folder: Path) -> None:
    """Names, reasons, licences, libraries: no command passes on what a terminal, a browser or a sheet would obey."""

    def change(lines: Lines) -> None:
        for line in lines:
            if line["kind"] != "record":
                continue
            row = line["row"]
            for key in ("contender", "reason", "parts", "params", "default_params", "space_hash"):
                row[key] = spoil(row[key], evil) if row[key] is not None else evil
            row["cost"]["device"] = "=cmd|'/c calc'!A1" + evil

    def said(lines: Lines) -> None:
        for line in lines:
            if line["kind"] == "said":
                line["row"]["value"] = {
                    key: spoil(entry, evil) if key != "accuracy" else entry
                    for key, entry in line["row"]["value"].items()
                }

    rewrite("records.jsonl", change)
    rewrite("records.jsonl", said)
    for answer in every_reader(mmbench):
        assert answer.code in (0, 1, 2)
    markdown = mmbench("leaderboard", "small", "--format", "markdown").out
    assert "script" in markdown
    assert "<script" not in markdown.replace("\\<", "")
    pages = [page.read_text() for page in folder.parents[1].glob("site/**/*.html")]
    assert any("script" in page for page in pages)
    assert not any("<script>alert" in page for page in pages)


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t=", " =", "\uff1d"])
def test_a_sheet_finds_no_formula(mmbench: Any, rewrite: Rewrite, first: str) -> None:
    def change(lines: Lines) -> None:
        for line in lines:
            if line["kind"] == "record" and line["row"]["contender"] == "broken":
                line["row"]["reason"] = f"{first}cmd|'/c calc'!A1"

    rewrite("records.jsonl", change)
    lines = mmbench("leaderboard", "small", "--format", "csv").out.splitlines()
    cells = [cell for line in lines for cell in re.split(',|"', line) if "calc" in cell]
    assert cells
    assert all(cell.startswith(("'", "\\x")) for cell in cells), cells


NUMBERS = [10**400, -(10**30), 1e308, -1e308, {"$float": "nan"}, {"$float": "inf"}, 2**63, -1, True, "12", None, [], {}]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda n: str(n)[:20])
def test_numbers_that_are_none_or_have_no_bounds(mmbench: Any, rewrite: Rewrite, number: Any) -> None:
    def change(lines: Lines) -> None:
        for line in lines:
            if line["kind"] == "record":
                row = line["row"]
                row["cost"] = dict.fromkeys(row["cost"], number)
                row["spent"] = dict.fromkeys(row["spent"], number)

    def scores(lines: Lines) -> None:
        for line in lines:
            for refit in line["row"].get("refits", ()):
                refit["metrics"] = {"accuracy": number}
                refit["curves"] = {"noise image": [[0, number], [number, 0.5]]}

    rewrite("records.jsonl", change)
    every_reader(mmbench)
    rewrite("records.jsonl", scores)
    every_reader(mmbench)


@pytest.mark.parametrize(
    "name", ["../../secret.safetensors", "/etc/passwd", "..", "a/b.safetensors", "x\x00.safetensors", "CON", ".hidden"]
)
def test_a_name_of_predictions_leads_nowhere(mmbench: Any, rewrite: Rewrite, folder: Path, name: str) -> None:
    content = save({"test": np.zeros((40, 4), "float32")})
    (folder.parent / "secret.safetensors").write_bytes(content)

    def change(lines: Lines) -> None:
        for line in lines:
            for refit in line["row"].get("refits", ()):
                refit["predictions"]["file"] = name

    rewrite("records.jsonl", change)
    assert mmbench("leaderboard", "small").code == 2
    assert mmbench("verify", "small").code in (1, 2)


def huge_header() -> bytes:
    """It says that it has 2**40 bytes of header."""
    return (2**40).to_bytes(8, "little") + b"{}"


def lying_shape() -> bytes:
    """An array of 2**60 numbers in four bytes."""
    header = json.dumps({"test": {"dtype": "F32", "shape": [2**30, 2**30], "data_offsets": [0, 4]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(4)


def overlapping() -> bytes:
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    header = json.dumps({"test": entry, "other": entry}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(4)


def pickled() -> bytes:
    """A pickle that would make a file."""
    return b"cos\nsystem\n(S'touch pwned'\ntR."


@pytest.mark.parametrize("make", [huge_header, lying_shape, overlapping, pickled, bytes], ids=lambda f: f.__name__)
def test_predictions_that_lie_about_themselves(
    mmbench: Any, rewrite: Rewrite, folder: Path, make: Callable[[], bytes], tmp_path: Path
) -> None:
    """The attacker has made the checksums right."""
    import hashlib

    content = make()
    digest = hashlib.sha256(content).hexdigest()
    for file in (folder / "predictions").iterdir():
        if "targets" not in file.name:
            file.write_bytes(content)

    def change(lines: Lines) -> None:
        for line in lines:
            for refit in line["row"].get("refits", ()):
                refit["predictions"]["sha256"] = digest

    rewrite("records.jsonl", change)
    assert mmbench("leaderboard", "small").code == 2
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("shape", [(40,), (40, 0), (40, 1), (40, 4, 2), (0, 4), (39, 4)])
def test_predictions_of_another_shape(mmbench: Any, rewrite: Rewrite, folder: Path, shape: tuple[int, ...]) -> None:
    import hashlib

    content = save({"test": np.zeros(shape, "float32")})
    for file in (folder / "predictions").iterdir():
        if "targets" not in file.name:
            file.write_bytes(content)

    def change(lines: Lines) -> None:
        for line in lines:
            for refit in line["row"].get("refits", ()):
                refit["predictions"]["sha256"] = hashlib.sha256(content).hexdigest()

    rewrite("records.jsonl", change)
    every_reader(mmbench)


@pytest.mark.parametrize("name", ["suite.toml", "records.jsonl", "trials.jsonl", "predictions"])
def test_a_link_in_a_run_folder_is_not_followed(mmbench: Any, folder: Path, name: str, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (folder / name).rename(elsewhere)
    (folder / name).symlink_to(elsewhere)
    if name == "trials.jsonl":
        with pytest.raises(MMBenchError, match="symbolic link"):
            reading.history(folder)
        return
    answer = mmbench("leaderboard", "small")
    assert answer.code == 2
    assert "symbolic link" in answer.err


@pytest.mark.parametrize("name", ["records.jsonl", "trials.jsonl", "predictions/a.targets.safetensors"])
def test_a_pipe_in_a_run_folder_keeps_nobody_waiting(mmbench: Any, folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    answer = mmbench("verify", "small")
    assert answer.code in (1, 2)
    assert "no ordinary file" in answer.err + answer.out


def test_the_run_folder_itself_may_be_no_link(typed: Any, folder: Path, tmp_path: Path) -> None:
    """A run that would write through it is refused before it has written anything."""
    (tmp_path / "away").mkdir()
    (folder.parent / "toy").symlink_to(tmp_path / "away")
    toys = Path(__file__).parents[1]
    answer = typed("run", str(toys / "toy.toml"), "--plugin", str(toys / "toys.py"))
    assert answer.code == 2
    assert "symbolic link" in answer.err
    assert not list((tmp_path / "away").iterdir())


@pytest.mark.parametrize(
    "damage",
    [
        b"[" * 200_000 + b"\n",
        b'{"seq":0,"kind":"record","row":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}\n",
        b'{"seq":' + b"9" * 100_000 + b"}\n",
        b"\xff\xfe\x00" * 1000 + b"\n",
        b"\n" * 10_000,
        b"null\n",
    ],
    ids=["deep list", "deep table", "huge number", "no text", "empty lines", "null"],
)
@pytest.mark.parametrize("last", [True, False])
def test_lines_that_are_no_rows(mmbench: Any, folder: Path, damage: bytes, last: bool) -> None:
    file = folder / "records.jsonl"
    content = file.read_bytes()
    file.write_bytes(content + damage if last else damage + content)
    assert mmbench("leaderboard", "small").code == (0 if last and damage.count(b"\n") == 1 else 2)


def test_deep_and_long_rows_with_right_checksums(mmbench: Any, rewrite: Rewrite) -> None:
    deep: Any = 1
    for _ in range(200):
        deep = {"a": deep}

    def change(lines: Lines) -> None:
        for line in lines:
            if line["kind"] == "record":
                line["row"]["params"] = {"x" * 100_000: "y" * 1_000_000, "deep": deep}

    rewrite("records.jsonl", change)
    every_reader(mmbench)


@pytest.mark.parametrize("kind", ["said", "own"])
@pytest.mark.parametrize("target", [[], {}, 1, "nothing", None])
def test_references_that_lead_nowhere(mmbench: Any, rewrite: Rewrite, kind: str, target: Any) -> None:
    def change(lines: Lines) -> None:
        for line in lines:
            if line["kind"] == "record" and kind == "said":
                line["row"]["suite"] = {"$said": target}
            for refit in line["row"].get("refits", ()):
                if kind == "own":
                    refit["params"] = {"$own": target}

    rewrite("records.jsonl", change)
    assert mmbench("leaderboard", "small").code == (2 if kind == "said" else 0)


@pytest.mark.parametrize("name", ["trials.jsonl", "records.jsonl", "seal.json", "environment.json", "predictions"])
def test_a_hole_in_a_file_does_not_fill_the_memory(mmbench: Any, folder: Path, name: str) -> None:
    """It takes no room on a disk or in an archive."""
    path = next((folder / name).glob("*.tuned.0.*")) if name == "predictions" else folder / name
    path.touch()
    with path.open("r+b") as file:
        file.truncate(2**40 if name == "predictions" else 3 * 10**8)
    answers = [mmbench("leaderboard", str(folder)), mmbench("verify", str(folder))]
    said = "".join(answer.out + answer.err for answer in answers)
    assert "longer than any row" in said or "larger than 10,000,000 bytes" in said or "memory can hold" in said
