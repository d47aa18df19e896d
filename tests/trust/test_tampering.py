"""A real run, tampered with by one who edits files: clumsily, or with a right chain. Each is found, and named."""

import re
from typing import TYPE_CHECKING

import pytest

from tests.trust.edits import Attack, another_machine, more_trials_in_the_suite

if TYPE_CHECKING:
    from tests.trust.conftest import Examine, Forger

TRIALS, RECORDS = "trials.jsonl", "records.jsonl"


def digit(name: str, kind: str, key: str) -> Attack:
    """Change one digit of a number in the last row of a kind that has it."""

    def attack(forger: "Forger") -> tuple[str, str]:
        lines = forger.lines(name)
        for number in reversed(range(len(lines))):
            head, found, rest = lines[number].partition(f'"{key}":0.'.encode())
            if found and f'"kind":"{kind}"'.encode() in head:
                other = b"1" if rest[:1] != b"1" else b"2"
                lines[number] = head + found + other + rest[1:]
                forger.replace(name, lines)
                return "chain", f"{name}, line {number + 1}: its checksum is wrong"
        raise AssertionError("no such number")

    return attack


def drop_a_row(forger: "Forger") -> tuple[str, str]:
    lines = forger.lines(TRIALS)
    forger.replace(TRIALS, lines[:3] + lines[4:])
    return "chain", f"{TRIALS}, line 4: it is row 5 by its own word: rows were dropped"


def drop_the_last_row(forger: "Forger") -> tuple[str, str]:
    lines = forger.lines(TRIALS)
    forger.replace(TRIALS, lines[:-1])
    return "seal", f"{TRIALS}: has {len(lines) - 1} rows, but {len(lines)} were sealed: the last ones were dropped"


def drop_the_last_record(forger: "Forger") -> tuple[str, str]:
    last = forger.rows(RECORDS)[-1][1]
    forger.replace(RECORDS, forger.lines(RECORDS)[:-1])
    return "plan", f"{RECORDS}, toy/{last['contender']}: was planned, and has no record"


def reorder(forger: "Forger") -> tuple[str, str]:
    lines = forger.lines(TRIALS)
    forger.replace(TRIALS, [lines[1], lines[0], *lines[2:]])
    return "chain", f"{TRIALS}, line 1: it is row 2 by its own word"


def repeat_a_row(forger: "Forger") -> tuple[str, str]:
    lines = forger.lines(TRIALS)
    forger.replace(TRIALS, [*lines, lines[-1]])
    return "chain", f"{TRIALS}, line {len(lines) + 1}: it is row {len(lines)} by its own word"


def tear_the_last_line(forger: "Forger") -> tuple[str, str]:
    lines = forger.lines(RECORDS)
    forger.replace(RECORDS, [*lines[:-1], lines[-1][:-30]])
    return "chain", f"{RECORDS}, line {len(lines)}: is incomplete"


def replace_a_line(forger: "Forger") -> tuple[str, str]:
    """One line with a right checksum of its own, in a chain that is otherwise left alone."""
    rows, lines = forger.rows(TRIALS), forger.lines(TRIALS)
    rows[2][1]["seconds"] = 1.0
    forger.write(TRIALS, rows)
    forger.replace(TRIALS, [*lines[:2], forger.lines(TRIALS)[2], *lines[3:]])
    return "chain", f"{TRIALS}, line 4: does not follow from the line before it"


def swap_two_files(forger: "Forger") -> tuple[str, str]:
    one, other = (
        forger.folder / "predictions" / f"{forger.cell('concat')}.tuned.{seed}.safetensors" for seed in (0, 1)
    )
    contents = one.read_bytes(), other.read_bytes()
    one.write_bytes(contents[1])
    other.write_bytes(contents[0])
    return "predictions", f"toy/concat, tuned seed 0: predictions/{one.name} was altered"


def edit_one_prediction(forger: "Forger") -> tuple[str, str]:
    forger.arrays(f"{forger.cell('gated')}.tuned.1.safetensors", lambda arrays: forger.flip(arrays["test"]))
    return "predictions", "toy/gated, tuned seed 1: predictions/"


def delete_predictions(forger: "Forger") -> tuple[str, str]:
    (forger.folder / "predictions" / f"{forger.cell('gated')}.tuned.0.safetensors").unlink()
    return "predictions", "can't be read: No such file"


def edit_targets(forger: "Forger") -> tuple[str, str]:
    forger.arrays("toy.targets.safetensors", lambda arrays: forger.flip(arrays["target"]))
    return "targets", "toy: predictions/toy.targets.safetensors was altered"


def remove_the_seal(forger: "Forger") -> tuple[str, str]:
    (forger.folder / "seal.json").unlink()
    return "seal", "seal.json: is missing"


def seal_so_many(rows: str) -> Attack:
    """Say in the seal that there are `rows` of a file."""

    def attack(forger: "Forger") -> tuple[str, str]:
        path = forger.folder / "seal.json"
        path.write_text(re.sub(r'"rows": \d+', f'"rows": {rows}', path.read_text(), count=1))
        return "seal", "seal.json: is no seal that mmbench wrote: ValueError"

    return attack


# The careful forger: every checksum is right; the seal is the old one.


def rewrite_quietly(forger: "Forger") -> tuple[str, str]:
    """Something that nothing else depends on: what a training took."""
    forger.change(TRIALS, lambda kind, row: row.update(epochs=1) if kind == "trial" and row["number"] == 1 else None)
    return "seal", f"{TRIALS}, line {len(forger.lines(TRIALS))}: is not the row that was sealed"


def go_on_after_the_seal(forger: "Forger") -> tuple[str, str]:
    rows = forger.rows(RECORDS)
    forger.write(RECORDS, [*rows, ("targets", next(row for kind, row in rows if kind == "targets"))])
    return "seal", f"{RECORDS}: 1 rows came after the seal"


CLUMSY: list[Attack] = [
    digit(RECORDS, "record", "accuracy"),
    digit(TRIALS, "trial", "score"),
    digit(TRIALS, "refit", "accuracy"),
    *(drop_a_row, drop_the_last_row, drop_the_last_record, reorder, repeat_a_row, tear_the_last_line, replace_a_line),
    *(swap_two_files, edit_one_prediction, delete_predictions, edit_targets, more_trials_in_the_suite, another_machine),
    *(remove_the_seal, seal_so_many("-9"), seal_so_many("1e999"), seal_so_many("true"), seal_so_many('"1"')),
]
CAREFUL: list[Attack] = [rewrite_quietly, go_on_after_the_seal]
EVERY = [*CLUMSY, *CAREFUL]
NAMES = [f"{number}_{attack.__name__}" for number, attack in enumerate(EVERY)]


@pytest.mark.parametrize("attack", EVERY, ids=NAMES)
def test_tampering_is_found_and_named(forger: "Forger", examine: "Examine", attack: Attack) -> None:
    check, said = attack(forger)
    findings = examine(forger.folder).findings
    assert [f for f in findings if f.check == check and said in str(f)], "\n".join(map(str, findings)) or "nothing"
