"""Golden runs: results change only with the protocol, and the protocol only with results."""

from itertools import pairwise
from pathlib import Path

from mmbench.engine.identity import PROTOCOL
from tests.golden import runs


def test_results_are_those_that_were_kept(tmp_path: Path) -> None:
    kept = runs.kept()
    assert PROTOCOL in kept, f"keep what protocol {PROTOCOL} gives: python -m tests.golden"
    assert not list(runs.differences(kept[PROTOCOL], runs.run(tmp_path)))


def test_every_protocol_gave_other_results_than_the_one_before() -> None:
    kept = runs.kept()
    assert list(kept) == list(range(1, PROTOCOL + 1))
    for before, after in pairwise(kept.values()):
        assert list(runs.differences(before, after)), "a protocol that changed nothing needs no number"


def test_a_difference_is_found() -> None:
    before = {"a": {"score": 1.0, "params": {"n": 3, "name": "x"}, "curve": [0.5, 0.25]}}
    rounded = {"a": {"score": 1.0 + 1e-6, "params": {"n": 3, "name": "x"}, "curve": [0.5, 0.25]}}
    other = {"a": {"score": 1.0, "params": {"n": 4, "name": "x"}, "curve": [0.5, 0.2501, 0.1]}}
    assert not list(runs.differences(before, rounded))
    assert list(runs.differences(before, other)) == [
        "/a/curve: [0.5, 0.25] -> [0.5, 0.2501, 0.1]",
        "/a/params/n: 3 -> 4",
    ]
