"""What a publisher who seals anew could do, found by trying: each is named now, by a finding or a note."""

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mmbench.store import rows, suitefile

if TYPE_CHECKING:
    from tests.trust.conftest import Examine, Forger, Row

TRIALS, RECORDS, PLAN = "trials.jsonl", "records.jsonl", "plan.jsonl"


def told(examine: "Examine", forger: "Forger", **options: Any) -> str:
    forger.seal()
    return "\n".join(map(str, examine(forger.folder, **options).findings))


def noted(examine: "Examine", forger: "Forger") -> str:
    forger.seal()
    report = examine(forger.folder)
    assert report.clean
    return "\n".join(report.notes)


def test_a_contender_beside_a_published_plan_is_found_by_its_hash(forger: "Forger", examine: "Examine") -> None:
    """A hash is as good as the file: it names the keys of the cells, and nothing else in the row may excuse others."""
    ((_, whole),) = forger.rows(PLAN)
    cells = [cell for cell in whole["cells"] if cell["contender"] != "gated"]
    digest = hashlib.sha256(json.dumps([cell["cell"] for cell in cells]).encode()).hexdigest()[:20]
    first = {**whole, "cells": cells, "hash": digest}
    third = json.loads(forger.lines(TRIALS)[2])["sha256"]
    for made_before in (True, False):
        forger.write(PLAN, [("plan", {**first, "made_before": made_before}), ("plan", {**whole, "after": [3, third]})])
        assert "toy/gated: is not in the registration: an unplanned contender" in told(
            examine, forger, registered=digest
        )


def test_one_content_has_one_seal(forger: "Forger", examine: "Examine") -> None:
    path = forger.folder / "seal.json"
    path.write_text(json.dumps(json.loads(path.read_text())))
    assert "seal.json: is not in the form that mmbench writes" in str(examine(forger.folder).findings[0])


def test_what_was_spent_is_said_in_full(forger: "Forger", examine: "Examine") -> None:
    forger.change(RECORDS, lambda kind, row: row["spent"].pop("epochs") if kind == "record" else None)
    assert "toy/concat: spent.epochs is None, but " in told(examine, forger)


def test_nothing_takes_less_than_no_time(forger: "Forger", examine: "Examine") -> None:
    cell = forger.cell("gated")
    forger.change(TRIALS, lambda kind, row: row.update(seconds=-5.0) if row["cell"] == cell else None)
    assert "toy/gated: took -5.0 seconds, which nothing can" in told(examine, forger)


def test_a_number_of_a_trial_may_be_large(forger: "Forger", examine: "Examine") -> None:
    """2**40 of them would fill the memory."""
    forger.change(TRIALS, lambda kind, row: row.update(number=10**6) if row.get("number") == 3 else None)
    report = examine(forger.folder)
    assert "trials are missing: 3" in "\n".join(map(str, report.findings))
    assert all(len(str(finding)) < 1000 for finding in report.findings)


def test_a_rival_that_is_said_to_have_failed_is_noted(forger: "Forger", examine: "Examine") -> None:
    """Nobody can score a training that ended badly again, so any of them is somebody's word."""
    cell, why = forger.cell("gated"), "RuntimeError: shapes differ"
    gone: dict[str, Any] = {"valid": None, "metrics": {}, "curves": {}, "predictions": None}

    def fail(refit: "Row") -> None:
        refit.update(status="error", reason=why, epochs=0, train_throughput=None, **gone)

    def end(kind: str, row: "Row") -> None:
        if kind == "record" and row["cell"] == cell:
            row.update(status="error", reason=f"refit 0: {why}", cost={})
            row["spent"]["test_accesses"] -= 1

    forger.refits("gated", fail, where=lambda refit: refit["role"] == "tuned" and refit["seed"] == 0)
    forger.change(RECORDS, end)
    assert f"toy/gated ended as error, by its own word: 'refit 0: {why}'; reproduce it" in noted(examine, forger)


def test_keys_that_can_not_be_made_again_are_noted(forger: "Forger", examine: "Examine") -> None:
    """A key holds the limit, which nothing else shows; who names another torch can't be held to it."""
    suite = replace(suitefile.read(forger.folder / "suite.toml"), limit=5000)
    (forger.folder / "suite.toml").write_text(suitefile.write(suite))
    digest = suitefile.suite_hash(suite)
    path = forger.folder / "environment.json"
    path.write_text(path.read_text().replace('"torch": "', '"torch": "9'))
    forger.change(PLAN, lambda kind, row: row.update(suite_hash=digest))
    renamed: dict[str, str] = {}

    def lie(kind: str, row: "Row") -> None:
        if kind == "record":
            for name in rows.SHARED:
                if "$said" in row[name]:
                    row[name] = {"$said": renamed[row[name]["$said"]]}
        elif kind == "said":
            value = row["value"]
            if set(value) == {"name", "version", "hash"}:
                value["hash"] = digest
            if "torch" in value.get("libraries", {}):
                value["libraries"]["torch"] = "9" + value["libraries"]["torch"]
            was, row["id"] = row["id"], rows.identity(value)
            renamed[was] = row["id"]

    forger.change(RECORDS, lie)
    notes = noted(examine, forger)
    assert "keys not made again, so that limit, encoders and code are unchecked, as torch 9" in notes
    assert "toy/concat" in notes
