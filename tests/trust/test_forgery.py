"""A real run, forged by one who knows the format: every checksum is right, and it is sealed anew. Each is found, and
named, as the parts no longer agree; what is consistent throughout shows against a published seal or a signature only.
"""

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.trust.edits import Attack, another_machine, more_trials_in_the_suite

if TYPE_CHECKING:
    from tests.trust.conftest import Examine, Forger, Row

TRIALS, RECORDS = "trials.jsonl", "records.jsonl"


def better(forger: "Forger") -> tuple[str, str]:
    """A score raised wherever it stands."""
    forger.refits("gated", lambda r: r["metrics"].update(accuracy=0.9375), where=lambda r: r["role"] == "tuned")
    return "scores", "toy/gated, tuned seed 0: accuracy is 0.9375, but "


def better_in_the_record_only(forger: "Forger") -> tuple[str, str]:
    def change(kind: str, row: "Row") -> None:
        if row.get("contender") == "gated":
            row["refits"][0]["metrics"]["accuracy"] = 0.9375

    forger.change(RECORDS, change)
    return "refits", "toy/gated, tuned seed 0: metrics.accuracy is 0.9375, but "


def better_curve(forger: "Forger") -> tuple[str, str]:
    def change(refit: "Row") -> None:
        refit["curves"]["missing right"][1][1] = 0.8125

    forger.refits("concat", change, where=lambda r: r["role"] == "tuned" and r["seed"] == 0)
    return "scores", "toy/concat, tuned seed 0: accuracy at severity 1 of 'missing right' is 0.8125, but "


def better_predictions(forger: "Forger") -> tuple[str, str]:
    """The predictions are changed with their checksum; the scores are not."""
    file = f"{forger.cell('gated')}.tuned.1.safetensors"
    digest = forger.arrays(file, lambda arrays: forger.flip(arrays["test"]))
    stored = {"file": file, "sha256": digest}
    tuned = {"role": "tuned", "seed": 1}
    forger.refits("gated", lambda r: r.update(predictions=stored), where=lambda r: tuned.items() <= r.items())
    return "scores", "toy/gated, tuned seed 1: log_loss is "


def other_targets(forger: "Forger") -> tuple[str, str]:
    digest = forger.arrays("toy.targets.safetensors", lambda arrays: forger.flip(arrays["target"]))
    forger.change(RECORDS, lambda kind, row: row.update(sha256=digest) if kind == "targets" else None)
    return "scores", "toy/concat, tuned seed 0: log_loss is "


def predictions_of_another(forger: "Forger") -> tuple[str, str]:
    """A weak contender is given the predictions and the scores of a good one."""
    good = next(row for row in forger.record("concat")["refits"] if row["seed"] == 0 and row["role"] == "tuned")
    same = {name: good[name] for name in ("metrics", "curves", "predictions")}
    forger.refits("gated", lambda r: r.update(same), where=lambda r: r["seed"] == 0 and r["role"] == "tuned")
    return "predictions", f"toy/gated, tuned seed 0: names {good['predictions']['file']}, the predictions of another"


def other_parameters(forger: "Forger") -> tuple[str, str]:
    def change(kind: str, row: "Row") -> None:
        if row.get("contender") == "gated":
            row["params"]["train.lr"] = 0.005

    forger.change(RECORDS, change)
    return "record", "toy/gated: its parameters are not those of trial"


def another_winner(forger: "Forger") -> tuple[str, str]:
    """Validation is said to have preferred another trial."""
    cell = forger.cell("gated")
    trials = [
        row for kind, row in forger.rows(TRIALS) if kind == "trial" and row["cell"] == cell and row["status"] == "ok"
    ]
    worst = min(trials, key=lambda row: row["score"])["number"]

    def change(kind: str, row: "Row") -> None:
        if kind == "trial" and row["cell"] == cell and row["number"] == worst:
            row["score"] = 0.99

    forger.change(TRIALS, change)
    return "trials", f"toy/gated, trial {worst}: its score is 0.99, but the best of its curve is "


def more_budget(forger: "Forger") -> tuple[str, str]:
    """A fifth trial, where four are granted."""
    cell, rows = forger.cell("concat"), forger.rows(TRIALS)
    extra = {**next(row for kind, row in rows if kind == "trial" and row["cell"] == cell), "number": 4}
    forger.write(TRIALS, [*rows, ("trial", extra)])
    forger.change(RECORDS, lambda kind, row: row["spent"].update(trials=5) if row.get("cell") == cell else None)
    return "budget", "trials.jsonl, toy/concat: has 5 trials; suite.toml grants 4"


def less_spent(forger: "Forger") -> tuple[str, str]:
    cell = forger.cell("concat")
    forger.change(RECORDS, lambda kind, row: row["spent"].update(seconds=0.1) if row.get("cell") == cell else None)
    return "budget", "toy/concat: spent.seconds is 0.1, but "


def more_granted(forger: "Forger") -> tuple[str, str]:
    """The budget that all records say they were granted, which the store keeps once."""
    rows = forger.rows(RECORDS)
    for kind, row in rows:
        budget = row.get("value", row.get("budget", {}))
        if kind in ("said", "record") and isinstance(budget, dict) and "refit_seeds" in budget:
            budget["trials"] = 400
    forger.write(RECORDS, rows)
    return "budget", "trials is 400, but 4 by suite.toml"


def drop_bad_trials(forger: "Forger") -> tuple[str, str]:
    cell = forger.cell("concat")
    forger.drop(TRIALS, lambda kind, row: kind == "trial" and row["cell"] == cell and row["number"] == 2)
    return "budget", "trials.jsonl, toy/concat: trials are missing: 2"


def repeat_a_trial(forger: "Forger") -> tuple[str, str]:
    rows = forger.rows(TRIALS)
    first = next(row for row in rows if row[0] == "trial")
    forger.write(TRIALS, [*rows, first])
    return "budget", f"trial {first[1]['number']} stands in {TRIALS}, line 1 already"


def second_look(forger: "Forger") -> tuple[str, str]:
    rows = forger.rows(TRIALS)
    refit = next(row for kind, row in rows if kind == "refit" and row["cell"] == forger.cell("concat"))
    forger.write(TRIALS, [*rows, ("refit", refit)])
    return "refits", "toy/concat, tuned seed 0: test was scored before with this seed"


def drop_a_bad_seed(forger: "Forger") -> tuple[str, str]:
    cell = forger.cell("concat")
    bad = {"cell": cell, "role": "tuned", "seed": 1}
    forger.drop(TRIALS, lambda kind, row: kind == "refit" and bad.items() <= row.items())

    def change(kind: str, row: "Row") -> None:
        if row.get("cell") == cell:
            row["refits"] = [refit for refit in row["refits"] if not bad.items() <= refit.items()]
            row["spent"]["test_accesses"] -= 1

    forger.change(RECORDS, change)
    return "refits", "toy/concat: the refit tuned seed 1 is missing"


def replace_the_default(forger: "Forger") -> tuple[str, str]:
    """The default configuration's refit is given the winner's parameters, so that the search looks useless."""
    name = forger.with_default()
    params = forger.record(name)["params"]
    forger.refits(name, lambda r: r.update(params=params), where=lambda r: r["role"] == "default")
    return "refits", f"toy/{name}, default seed 0: its parameters are not the record's"


def drop_a_contender(forger: "Forger") -> tuple[str, str]:
    cell = forger.cell("gated")
    forger.drop(TRIALS, lambda kind, row: row["cell"] == cell)
    forger.drop(RECORDS, lambda kind, row: row.get("cell") == cell)
    return "plan", "records.jsonl, toy/gated: was planned, and has no record"


def a_contender_from_nowhere(forger: "Forger") -> tuple[str, str]:
    """A record under another name, and of another cell, than any that was planned."""
    cell, other = forger.cell("gated"), "ab" * 10
    new = {"cell": other, "contender": "miracle"}
    forger.change(TRIALS, lambda kind, row: row.update(cell=other) if row["cell"] == cell else None)

    def change(kind: str, row: "Row") -> None:
        if row.get("cell") == cell:
            row.update(new)
            for refit in row["refits"]:
                refit["cell"] = other

    forger.change(RECORDS, change)
    return "plan", f"toy/miracle: its cell {other} is in no row of plan.jsonl"


def a_plan_made_afterwards(forger: "Forger") -> tuple[str, str]:
    forger.change("plan.jsonl", lambda kind, row: row.update(after=[4, "0" * 64]))
    return "plan", "plan.jsonl, line 1: was written when trials.jsonl had 4 rows, which are not its first now"


def wider_space(forger: "Forger") -> tuple[str, str]:
    cell = forger.cell("gated")
    forger.change(RECORDS, lambda kind, row: row.update(space_hash="f" * 20) if row.get("cell") == cell else None)
    return "plan", f"toy/gated: its search space '{'f' * 20}' is not the planned"


THOROUGH: list[Attack] = [
    *(better, better_in_the_record_only, better_curve, better_predictions, other_targets, predictions_of_another),
    *(other_parameters, another_winner, more_budget, less_spent, more_granted, drop_bad_trials, repeat_a_trial),
    *(second_look, drop_a_bad_seed, replace_the_default, drop_a_contender, a_contender_from_nowhere),
    *(a_plan_made_afterwards, wider_space, more_trials_in_the_suite, another_machine),
]
NAMES = [attack.__name__ for attack in THOROUGH]


@pytest.mark.parametrize("attack", THOROUGH, ids=NAMES)
def test_a_forgery_is_found_and_named(forger: "Forger", examine: "Examine", attack: Attack) -> None:
    check, said = attack(forger)
    forger.seal()
    findings = examine(forger.folder).findings
    assert "seal" not in {finding.check for finding in findings}
    assert [f for f in findings if f.check == check and said in str(f)], "\n".join(map(str, findings)) or "nothing"


def test_a_perfect_forgery_shows_against_the_published_seal_only(forger: "Forger", examine: "Examine") -> None:
    """Someone who makes a whole run up, consistent in every file, is found by nothing within it."""
    published = hashlib.sha256((forger.folder / "seal.json").read_bytes()).hexdigest()
    cell = forger.cell("gated")
    forger.change(TRIALS, lambda kind, row: row.update(train_throughput=1e6) if kind == "refit" else None)
    for name in (TRIALS, RECORDS):
        forger.drop(name, lambda kind, row: row.get("cell") == cell)
    for path in (forger.folder / "predictions").glob(f"{cell}*"):
        path.unlink()

    def change(kind: str, row: "Row") -> None:
        for refit in row.get("refits", []):
            refit["train_throughput"] = 1e6

    forger.change(RECORDS, change)
    plan = forger.rows("plan.jsonl")[0][1]
    plan["cells"] = [planned for planned in plan["cells"] if planned["cell"] != cell]
    plan["hash"] = hashlib.sha256(json.dumps([c["cell"] for c in plan["cells"]]).encode()).hexdigest()[:20]
    forger.write("plan.jsonl", [("plan", plan)])
    forger.seal()
    assert examine(forger.folder).clean
    told = str(examine(forger.folder, published=published[:20]).findings)
    assert "it is not what was published" in told


def test_a_metric_whose_source_has_changed_is_said(forger: "Forger", examine: "Examine") -> None:
    other = {"metric.accuracy": "0" * 16}

    def change(kind: str, row: dict[str, Any]) -> None:
        if kind == "record":
            row["parts"].update(other)
            row["identity"] = {"metrics": {"accuracy": "0" * 16}}

    forger.change(RECORDS, change)
    better(forger)
    forger.seal()
    report = examine(forger.folder)
    assert any(note.startswith("accuracy: its source has changed since (then 0000") for note in report.notes)
    assert any("its source has changed since" in str(finding) for finding in report.findings)
