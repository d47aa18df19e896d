"""Golden runs: results change only with the protocol, and the protocol only with results."""

from pathlib import Path

import pytest

from tests.golden import runs


@pytest.mark.slow
def test_results_are_those_that_were_kept(tmp_path: Path) -> None:
    *_, newest = runs.kept().values()
    assert not list(runs.differences(newest, runs.run(tmp_path)))


def test_a_difference_is_found() -> None:
    before = {"a": {"score": 1.0, "params": {"n": 3, "name": "x"}, "curve": [0.5, 0.25]}}
    rounded = {"a": {"score": 1.0 + 1e-6, "params": {"n": 3, "name": "x"}, "curve": [0.5, 0.25]}}
    other = {"a": {"score": 1.0, "params": {"n": 4, "name": "x"}, "curve": [0.5, 0.2501, 0.1]}}
    assert not list(runs.differences(before, rounded))
    assert list(runs.differences(before, other)) == [
        "/a/curve: [0.5, 0.25] -> [0.5, 0.2501, 0.1]",
        "/a/params/n: 3 -> 4",
    ]
