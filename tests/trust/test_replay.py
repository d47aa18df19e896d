"""A search that was forged, with every sum and checksum made anew: the samplers, asked again, tell."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mmbench.trust.verify import verify
from tests.trust.edits import Attack

if TYPE_CHECKING:
    from tests.trust.conftest import Examine, Forger, Row

TRIALS, RECORDS = "trials.jsonl", "records.jsonl"


def trials_of(forger: "Forger", contender: str) -> list["Row"]:
    cell = forger.cell(contender)
    return [row for kind, row in forger.rows(TRIALS) if kind == "trial" and row["cell"] == cell]


def cut_to_the_default(forger: "Forger") -> tuple[str, str]:
    """A rival is said to have had nothing to tune."""
    cell = forger.cell("concat")
    forger.drop(TRIALS, lambda kind, row: kind == "trial" and row["cell"] == cell and row["number"] > 0)
    forger.become("concat", trials_of(forger, "concat")[0])
    return "trials", "trials.jsonl, toy/concat: has 1 trials, but its search has 10"


def another_curve_wins(forger: "Forger") -> tuple[str, str]:
    """Validation is said to have preferred an early trial, by its curve and its score."""
    cell = forger.cell("concat")
    winner = forger.record("concat")["params"]
    early = next(t for t in trials_of(forger, "concat")[:4] if t["status"] == "ok" and t["params"] != winner)
    best = early["curve"].index(early["score"])

    def change(kind: str, row: "Row") -> None:
        if kind == "trial" and row["cell"] == cell and row["number"] == early["number"]:
            row["curve"][best] = row["score"] = 0.995

    forger.change(TRIALS, change)
    forger.become("concat", early)
    return "trials", "edited"


def other_parameters_of_a_loser(forger: "Forger") -> tuple[str, str]:
    cell, winner = forger.cell("concat"), forger.record("concat")["params"]
    loser = next(t["number"] for t in trials_of(forger, "concat")[1:] if t["params"] != winner)

    def change(kind: str, row: "Row") -> None:
        if kind == "trial" and row["cell"] == cell and row["number"] == loser:
            row["params"]["model.dropout"] = 0.6

    forger.change(TRIALS, change)
    return "trials", f"trial {loser}: its model.dropout is 0.6, but the sampler asks for 0."


def ended_early(forger: "Forger") -> tuple[str, str]:
    """A good trial is said to have been pruned."""
    cell, winner = forger.cell("concat"), forger.record("concat")["params"]
    good = next(t for t in trials_of(forger, "concat") if t["params"] == winner)["number"]

    def change(kind: str, row: "Row") -> None:
        if kind == "trial" and row["cell"] == cell and row["number"] == good:
            row.update(status="pruned", reason="not in the better half after 1 epochs", score=None, epochs=1)
            row["curve"] = row["curve"][:1]

    forger.change(TRIALS, change)
    rest = [t for t in trials_of(forger, "concat") if t["status"] == "ok"]
    forger.become("concat", min(rest, key=lambda t: (-t["score"], t["number"])))
    return "trials", "edited"


def other_code(forger: "Forger") -> tuple[str, str]:
    cell = forger.cell("concat")

    def change(kind: str, row: "Row") -> None:
        if row.get("cell") == cell:
            row["parts"]["fusion.concat"] = "0" * 16

    forger.change(RECORDS, change)
    return "record", "toy/concat: parts.fusion.concat is '0000000000000000', but"


def another_single(forger: "Forger") -> tuple[str, str]:
    """What the best single modality saw."""

    def change(kind: str, row: "Row") -> None:
        if row.get("contender") == "only left":
            row["modalities"] = {"left": "tabular", "right": "tabular"}

    forger.change(RECORDS, change)
    return "suite", "toy/only left: it sees left, right, but left by suite.toml"


def more_modalities_for_all(forger: "Forger") -> tuple[str, str]:
    def change(kind: str, row: "Row") -> None:
        if row.get("contender") == "concat":
            row["modalities"] = {"left": "tabular", "right": "image"}

    forger.change(RECORDS, change)
    return "suite", "toy/concat: what it sees is"


def skipped_though_it_fits(forger: "Forger") -> tuple[str, str]:
    from mmbench.engine.identity import digest

    cell = forger.cell("only right")
    forger.drop(TRIALS, lambda kind, row: row["cell"] == cell)
    spent = {"trials": 0, "pruned": 0, "failed": 0, "epochs": 0, "seconds": 0, "test_accesses": 0}
    new: dict[str, Any] = {"status": "skipped", "reason": "it does not fit", "params": {}, "default_params": {}}
    new |= {"refits": [], "spent": spent, "cost": {}, "space_hash": digest({})}
    forger.change(RECORDS, lambda kind, row: row.update(new) if row.get("cell") == cell else None)
    rows = forger.rows("plan.jsonl")
    for _, plan in rows:
        for one in plan["cells"]:
            one.update(space=digest({})) if one["cell"] == cell else None
    forger.write("plan.jsonl", rows)
    return "record", "toy/only right: is skipped, but it fits its task here"


ATTACKS: list[Attack] = [
    *(cut_to_the_default, another_curve_wins, other_parameters_of_a_loser, ended_early),
    *(other_code, another_single, more_modalities_for_all, skipped_though_it_fits),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.__name__ for attack in ATTACKS])
def test_a_forged_search_is_found(searcher: "Forger", examine: "Examine", attack: Attack) -> None:
    check, said = attack(searcher)
    searcher.seal()
    findings = examine(searcher.folder).findings
    assert [f for f in findings if f.check == check and said in str(f)], "\n".join(map(str, findings)) or "nothing"


def test_the_default_of_a_rival_is_found_by_replay_alone(searcher: "Forger", examine: "Examine") -> None:
    """As nothing else of it disagrees."""
    cut_to_the_default(searcher)
    searcher.seal()
    assert [finding.check for finding in examine(searcher.folder).findings] == ["trials"]


def test_an_honest_search_is_asked_again(searched: Path, examine: "Examine") -> None:
    report = examine(searched)
    assert not report.findings
    assert report.counts["replays"] == report.counts["trials"] == 12


def test_what_can_not_be_asked_again_is_said(searched: Path) -> None:
    from mmbench import plugins

    report = verify(searched, plugins.load())
    assert any(note.startswith("not asked again, as task 'toy': unknown dataset 'toy'") for note in report.notes)


def test_a_contender_that_was_taken_out_is_named(searcher: "Forger", examine: "Examine") -> None:
    """A run of chosen contenders looks the same, so that this is a note."""
    cell = searcher.cell("concat")
    for name in (TRIALS, RECORDS):
        searcher.drop(name, lambda kind, row: row.get("cell") == cell)
    for path in (searcher.folder / "predictions").glob(f"{cell}*"):
        path.unlink()
    rows = searcher.rows("plan.jsonl")
    for _, plan in rows:
        plan["cells"] = [one for one in plan["cells"] if one["cell"] != cell]
        plan["hash"] = hashlib.sha256(json.dumps([one["cell"] for one in plan["cells"]]).encode()).hexdigest()[:20]
    searcher.write("plan.jsonl", rows)
    searcher.seal()
    report = examine(searcher.folder)
    assert report.clean, report.findings
    said = "suite.toml also asks for toy/concat: never run here, or taken out of the run and its plan"
    assert said in report.notes
