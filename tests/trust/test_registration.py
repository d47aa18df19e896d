"""Plans that are written down: what they hold, what they refuse, and how results stand to them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mmbench import session
from mmbench.api.record import Record
from mmbench.errors import MMBenchError, StoreError, SuiteError
from mmbench.store import suitefile
from mmbench.trust import registration
from mmbench.trust.registration import Registration, Standing

if TYPE_CHECKING:
    from tests.trust.conftest import Examine, Forger

SMALL, TOYS = Path(__file__).with_name("small.toml"), str(Path(__file__).parents[1] / "toys.py")


@pytest.fixture
def planned(tmp_path: Path) -> Registration:
    """What `mmbench plan small.toml --contender concat --contender gated` would register."""
    opened = session.open_run(SMALL, plugins=[TOYS], contenders=["concat", "gated"], results=tmp_path)
    assert opened.registration().hash == opened.plan.hash
    return replace(opened.registration(), made_before=True)


def a_record(honest: Path, contender: str) -> Record:
    return next(record for record in session.find_run(str(honest)).data.records if record.contender == contender)


def test_a_file_comes_back_as_it_was_written(planned: Registration, tmp_path: Path) -> None:
    registration.save(tmp_path / "plan.json", planned)
    assert registration.load(tmp_path / "plan.json") == planned
    with pytest.raises(StoreError, match="a registration is not written over"):
        registration.save(tmp_path / "plan.json", planned)


def test_an_altered_file_is_refused(planned: Registration, tmp_path: Path) -> None:
    content = json.dumps(planned.json())
    bad = {
        "": "is no registration",
        "[]": "is no registration",
        content.replace('"schema": 1', '"schema": 9'): "another version of mmbench",
        content.replace(planned.cells[0].cell, "0" * 20): f"but it says {planned.hash}",
        content.replace('"cells": [{', '"cells": ["x", {'): "is no registration",
    }
    for text, expected in bad.items():
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(SuiteError, match=expected):
            registration.load(tmp_path / "bad.json")
    with pytest.raises(SuiteError, match="can't be read: No such file"):
        registration.load(tmp_path / "none.json")


def test_a_run_can_be_held_to_its_own_registration_only(planned: Registration) -> None:
    suite = suitefile.read(SMALL)
    registration.check(planned, suite, ())
    registration.check(planned, suite, [planned], begun=True)
    with pytest.raises(SuiteError, match="with other contents than this 'small'"):
        registration.check(planned, replace(suite, seed=1), ())
    with pytest.raises(StoreError, match="this run began with plan"):
        registration.check(planned, suite, [replace(planned, cells=planned.cells[:1])])
    with pytest.raises(StoreError, match="began without a registration"):
        registration.check(planned, suite, (), begun=True)


def test_how_results_stand_to_a_plan(planned: Registration, honest: Path) -> None:
    suite, record = suitefile.read(SMALL), a_record(honest, "concat")
    first = registration.read(honest)[0]
    assert Standing([first], suite)(record) == "registered"
    assert Standing([first], suite)(replace(record, cell="other")) == "changed since"
    assert Standing([first], suite)(replace(record, contender="mine")) == "added later"
    assert Standing([], suite)(record) is None
    late = replace(first, after=(3, "0" * 64))
    assert Standing([late], suite)(record) is None, "a plan made after results registers nothing"


def test_a_contender_of_the_suite_counts_as_planned_unless_a_registration_left_it_out(honest: Path) -> None:
    """A first look at some of a suite's contenders is no reason to flag the others."""
    suite, record = suitefile.read(SMALL), a_record(honest, "gated")
    whole = registration.read(honest)[0]
    first = replace(whole, cells=tuple(cell for cell in whole.cells if cell.contender == "concat"))
    assert Standing([first, whole], suite)(record) == "registered"
    held = replace(first, made_before=True)
    assert Standing([held, whole], suite)(record) == "added later"
    mine = replace(record, contender="mine")
    cells = (*whole.cells, replace(whole.cells[0], contender="mine", cell=record.cell))
    assert Standing([first, replace(whole, cells=cells)], suite)(mine) == "added later"


def test_verify_holds_a_run_to_a_registration(
    forger: "Forger", examine: "Examine", honest: Path, planned: Registration
) -> None:
    own = registration.read(honest)[0]
    assert examine(honest, registered=own).clean
    told = "\n".join(map(str, examine(honest, registered=planned).findings))
    assert f"plan.jsonl: the run began with plan {own.hash}, not with the registered {planned.hash}" in told
    assert "toy/majority: is not in the registration: an unplanned contender" in told
    assert "began with plan" in str(examine(honest, registered="0" * 20).findings)
    other = replace(own, cells=(*own.cells, replace(own.cells[0], contender="promised", cell="1" * 20)))
    told = "\n".join(map(str, examine(honest, registered=other).findings))
    assert "records.jsonl, toy/promised: was registered, and has no record" in told


def test_a_damaged_plan_stops_a_board_but_not_verify(forger: "Forger", examine: "Examine") -> None:
    (line,) = forger.lines("plan.jsonl")
    forger.replace("plan.jsonl", [line.replace(b'"device":"cpu"', b'"device":"gpu"'), line])
    with pytest.raises(MMBenchError, match=r"plan\.jsonl, line 1"):
        registration.read(forger.folder)
    assert "plan.jsonl, line 1: its checksum is wrong" in "\n".join(map(str, examine(forger.folder).findings))
