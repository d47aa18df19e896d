"""Forgeries in which one thing that is said no longer agrees with another, all sums and checksums made anew."""

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from mmbench.api.record import AFTER
from mmbench.store.chain import FIRST, signed, strict_json
from tests.trust.edits import Attack

if TYPE_CHECKING:
    from tests.trust.conftest import Examine, Forger, Row

TRIALS, RECORDS = "trials.jsonl", "records.jsonl"


def ended(status: str, reason: str | None, said: str, **more: Any) -> Attack:
    """A rival is said to have failed, its good refits left."""

    def attack(forger: "Forger") -> tuple[str, str]:
        new = {"status": status, "reason": reason, **more}
        forger.change(RECORDS, lambda kind, row: row.update(new) if row.get("contender") == "gated" else None)
        return "record", said

    return attack


def best_seed_for_all(forger: "Forger") -> tuple[str, str]:
    cell = forger.cell("gated")
    files = [f"{cell}.tuned.{seed}.safetensors" for seed in (0, 1)]
    places = [forger.folder / "predictions" / file for file in files]
    places[1].write_bytes(places[0].read_bytes())
    first = next(r for r in forger.record("gated")["refits"] if r["role"] == "tuned" and r["seed"] == 0)
    copied = {name: first[name] for name in ("metrics", "curves")}
    copied["predictions"] = {**first["predictions"], "file": files[1]}
    tuned = {"role": "tuned", "seed": 1}
    forger.refits("gated", lambda r: r.update(copied), where=lambda r: tuned.items() <= r.items())
    return "predictions", "those of toy/gated, tuned seed 0: one training was stored for two"


def no_validation(forger: "Forger") -> tuple[str, str]:
    forger.refits("gated", lambda r: r.update(valid=None), where=lambda r: r["role"] == "tuned")
    return "refits", "toy/gated, tuned seed 0: ended as ok, but its score on validation is None"


def a_row_of_no_kind(forger: "Forger") -> tuple[str, str]:
    forger.write(TRIALS, [*forger.rows(TRIALS), ("verdict", {"best": "gated"})])
    return "chain", "is of kind 'verdict', which mmbench does not write"


def a_field_of_no_name(name: str, kind_: str, change: Any) -> Attack:
    def attack(forger: "Forger") -> tuple[str, str]:
        forger.change(name, lambda kind, row: change(row) if kind == kind_ else None)
        return "chain", "has a field 'verified', which mmbench does not write"

    return attack


def a_field_twice(forger: "Forger") -> tuple[str, str]:
    """Readers differ in which of both they take."""
    content, previous = b"", FIRST
    for number, (kind, row) in enumerate(forger.rows(TRIALS)):
        raw = strict_json(row).encode()
        if kind == "trial":
            raw = raw[:-1] + b',"score":0.5}'
        line, previous = signed(number, previous, kind, raw)
        content += line
    (forger.folder / TRIALS).write_bytes(content)
    return "chain", "has the field 'score' twice"


def said_otherwise(forger: "Forger") -> tuple[str, str]:
    def change(kind: str, row: "Row") -> None:
        if kind == "said" and "licence" in row["value"]:
            row["value"]["licence"] = "CC-BY-4.0"

    forger.change(RECORDS, change)
    return "chain", "which is not the hash of its value"


def a_longer_training(forger: "Forger") -> tuple[str, str]:
    """A curve that goes on after its training had to end, or ends before."""
    forger.change(TRIALS, lambda kind, row: _cut(row) if kind == "trial" and len(row["curve"]) > 1 else None)
    return "trials", "by its curve it had more to do"


def _cut(row: "Row") -> None:
    if row["status"] == "ok" and row["curve"].index(row["score"]) < len(row["curve"]) - 1:
        row["curve"], row["epochs"] = row["curve"][:-1], row["epochs"] - 1


def fewer_epochs_spent(forger: "Forger") -> tuple[str, str]:
    forger.change(RECORDS, lambda kind, row: row["spent"].update(epochs=1) if kind == "record" else None)
    return "budget", "spent.epochs is 1, but"


def no_budget(forger: "Forger") -> tuple[str, str]:
    rows = forger.rows(RECORDS)
    for kind, row in rows:
        value = row.get("value", {})
        if kind == "said" and "refit_seeds" in value:
            del value["trials"]
    forger.write(RECORDS, rows)
    return "budget", "trials is None, but 4 by suite.toml"


ATTACKS: dict[str, Attack] = {
    "no reason": ended("error", None, "though its trials and refits ended well: a reason begins 'after its refits'"),
    "a reason": ended("error", "the worker crashed by SIGSEGV", "though its trials and refits ended well"),
    "a refit": ended("error", "refit 0: ValueError: no", "though its trials and refits ended well"),
    "costs": ended("error", f"{AFTER}: the worker crashed", "but its costs were measured, which comes last"),
    "skipped": ended("skipped", "it does not fit", "is skipped, but has a search space"),
    "best seed": best_seed_for_all,
    "valid": no_validation,
    "kind": a_row_of_no_kind,
    "field of a trial": a_field_of_no_name(TRIALS, "trial", lambda row: row.update(verified=True)),
    "field of a refit": a_field_of_no_name(RECORDS, "record", lambda row: row["refits"][0].update(verified=True)),
    "field of a plan": a_field_of_no_name("plan.jsonl", "plan", lambda row: row["cells"][0].update(verified=True)),
    "twice": a_field_twice,
    "said": said_otherwise,
    "epochs": fewer_epochs_spent,
    "budget": no_budget,
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_what_disagrees_is_found(forger: "Forger", examine: "Examine", attack: Attack) -> None:
    check, said = attack(forger)
    forger.seal()
    findings = examine(forger.folder).findings
    assert [f for f in findings if f.check == check and said in str(f)], "\n".join(map(str, findings)) or "nothing"


@pytest.mark.slow
def test_a_longer_training_is_found(searcher: "Forger", examine: "Examine") -> None:
    check, said = a_longer_training(searcher)
    searcher.seal()
    assert [f for f in examine(searcher.folder).findings if f.check == check and said in str(f)]


def test_a_seal_says_nothing_else(forger: "Forger", examine: "Examine") -> None:
    path = forger.folder / "seal.json"
    path.write_text(path.read_text().replace('"schema": 1,', '"schema": 1, "verified": true,'))
    assert "has a field 'verified'" in str([f for f in examine(forger.folder).findings if f.check == "seal"])


def test_a_failed_measurement_may_be_said_and_is_noted(forger: "Forger", examine: "Examine") -> None:
    """No row can show it, so that no check can find who only says so: a note does, and `reproduce`."""
    new = {"status": "error", "reason": f"{AFTER}: the worker crashed by SIGSEGV", "cost": {}}
    forger.change(RECORDS, lambda kind, row: row.update(new) if row.get("contender") == "gated" else None)
    forger.seal()
    report = examine(forger.folder)
    assert report.clean, report.findings
    assert any(note.startswith("toy/gated ended as error after good refits") for note in report.notes)


def test_predictions_of_another_under_ones_own_name_are_noted(forger: "Forger", examine: "Examine") -> None:
    good = next(r for r in forger.record("concat")["refits"] if r["role"] == "tuned" and r["seed"] == 0)
    file = f"{forger.cell('gated')}.tuned.0.safetensors"
    content = (forger.folder / "predictions" / good["predictions"]["file"]).read_bytes()
    (forger.folder / "predictions" / file).write_bytes(content)
    same = {"metrics": good["metrics"], "curves": good["curves"]}
    same["predictions"] = {"file": file, "sha256": hashlib.sha256(content).hexdigest()}
    forger.refits("gated", lambda r: r.update(same), where=lambda r: r["role"] == "tuned" and r["seed"] == 0)
    forger.seal()
    assert any("to the last digit, those of toy/concat" in note for note in examine(forger.folder).notes)
