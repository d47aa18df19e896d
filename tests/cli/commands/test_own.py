"""Your own data from the command line: a suite from a file or folder, what was understood, and mistakes as one line."""

import json
from pathlib import Path

import pytest
from PIL import Image

from mmbench.store import suitefile
from tests.cli.conftest import Type

ROWS = [
    f"{n},{n * 0.5},{('blue', 'red')[n % 2]},2026-02-{n % 28 + 1:02},some words of row {n},{('yes', 'no')[n // 20]}"
    for n in range(40)
]
HEADER = "id,speed,colour,day,remark,label"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data.csv").write_text("\n".join([HEADER, *ROWS]))
    return tmp_path


def test_a_suite_from_a_table_says_what_it_guesses_and_info_shows_it(mmbench: Type, here: Path) -> None:
    answer = mmbench("new", "suite", "mine", "--from", "data.csv")
    assert answer.code == 0, answer.err
    assert "mmbench info mine.toml" in answer.out
    (task,) = suitefile.read(here / "mine.toml").tasks
    assert task.data is not None
    facts = {"numbers": ["speed"], "categories": ["colour"], "dates": ["day"]}
    assert task.data.table["columns"] == {"facts": facts, "remark": "remark"}
    assert task.data.table["target"] == {"label": "label"}
    assert '# "id" is left out: another number in each row' in (here / "mine.toml").read_text()
    shown = mmbench("info", "mine.toml")
    assert shown.code == 0, shown.err
    assert "rows: train 24, validation 8, test 8" in shown.out
    assert "remark: 5 words" in shown.out
    assert "row 0 of train: facts [" in shown.out
    assert mmbench("plan", "mine.toml").code == 0


@pytest.mark.parametrize(("name", "expected"), [("data.csv", {"label": "emotion"}), ("pets", {"label": "label"})])
def test_a_suite_from_what_people_have(mmbench: Type, here: Path, name: str, expected: dict[str, str]) -> None:
    lines = ["note;emotion;split", *(f"what {n} is;{'ab'[n % 2]};{['train', 'dev', 'test'][n % 3]}" for n in range(30))]
    (here / "data.csv").write_text("\n".join(lines))
    for label in ("cat", "dog"):
        (here / "pets" / label).mkdir(parents=True)
        for number in range(10):
            Image.new("RGB", (4, 4), (number, len(label), 0)).save(here / "pets" / label / f"{number}.png")
    assert mmbench("new", "suite", "mine", "--from", name).code == 0
    (task,) = suitefile.read(here / "mine.toml").tasks
    assert task.data is not None
    assert task.data.table["target"] == expected
    shown = mmbench("info", "mine.toml")
    assert "rows: train 1" in shown.out, shown.err


def test_mistakes_are_one_line_and_exit_with_2(mmbench: Type, here: Path) -> None:
    for words, said in (
        (("--from", "gone.csv"), "'gone.csv' does not exist"),
        (("--from", "data.xls"), "data.xls ends with none of .csv"),
    ):
        (here / "data.xls").write_text("x")
        answer = mmbench("new", "suite", "mine", *words)
        assert (answer.code, said in answer.err, answer.err.count("\n")) == (2, True, 1), answer.err
    assert "--from is for a suite" in mmbench("new", "fusion", "mine", "--from", "data.csv").err
    mmbench("new", "suite", "mine", "--from", "data.csv")
    text = (here / "mine.toml").read_text()
    for change, said in (
        (
            ("[task.data.target]", "[task.data.targets]"),
            "task 'mine', data: unknown key 'targets': did you mean 'target'?",
        ),
        (('label = "label"', 'label = "labl"'), "data.csv: unknown column 'labl': did you mean 'label'?"),
        (('files = "data.csv"', 'files = "date.csv"'), "files: 'date.csv' does not exist in "),
        (('name = "mine"\nmetric', 'name = "starter"\nmetric'), ""),
        (('name = "mine"\nmetric', 'dataset = "mine"\nmetric'), "write either dataset or [task.data], not both"),
        (
            ('name = "mine"\nmetric', 'name = "uci_mfeat"\nmetric'),
            "a data set of a plugin has that name; rename the task",
        ),
    ):
        (here / "mine.toml").write_text(text.replace(*change))
        assert text.replace(*change) != text
        answer = mmbench("info", "mine.toml")
        assert (answer.code, said in answer.err) == (2 if said else 0, True), answer.err
        assert answer.err.count("\n") == bool(said)


def test_a_suite_keeps_its_data_through_writing_and_hashing(here: Path) -> None:
    table = {"files": "data.csv", "columns": {"a b": {"numbers": ["speed"]}}, "target": {"label": "label"}}
    lines = ['name = "s"', "[[task]]", 'name = "mine"', 'metric = "accuracy"', "[[contender]]", 'name = "c"']
    (here / "s.toml").write_text("\n".join([*lines[:4], f"data = {_inline(table)}", *lines[4:]]))
    suite = suitefile.read(here / "s.toml")
    (here / "deeper").mkdir()
    again = here / "deeper" / "s.toml"
    again.write_text(suitefile.write(suite))
    assert suitefile.read(again) == suite
    assert suitefile.suite_hash(suitefile.read(again)) == suitefile.suite_hash(suite)
    again.write_text(suitefile.write(suite).replace("speed", "height"))
    assert suitefile.suite_hash(suitefile.read(again)) != suitefile.suite_hash(suite)


def _inline(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_inline(entry)}" for key, entry in value.items()) + "}"
    return json.dumps(value)
