"""A derived contender beside its parent: the difference is paired by seeds, the shares are of what was measured."""

from typing import Any

import pytest

from mmbench.board import derived, report
from mmbench.board.entries import entries
from mmbench.board.rank import leaderboard
from mmbench.board.stats import resampling as stats
from tests.board.conftest import METRICS, Build

COST = {"parameters": 1000, "weight_bytes": 4000, "nonzero": 1000, "latency_ms_p50": 1.0, "throughput": 100.0}
SMALL = COST | {"weight_bytes": 1000, "nonzero": 600, "latency_ms_p50": 1.04}
QUIET = {"spread": {"latency_ms_p50": 0.001}}


def cells(**small: Any) -> list[dict[str, Any]]:
    child = {"derived": {"of": "whole", "cell": "a/whole"}, "cost": SMALL | QUIET, "tuned": [0.6, 0.62, 0.61]}
    return [
        {"task": "a", "contender": "whole", "tuned": [0.8, 0.82, 0.81], "cost": COST | QUIET},
        {"task": "a", "contender": "small", **child, **small},
    ]


def test_the_difference_is_that_of_the_two(build: Build) -> None:
    run = build(cells())
    rows = {row["contender"]: row for row in leaderboard(run, METRICS)}
    found, both = rows["small"]["parent"], {e.record.contender: e for e in entries([run], METRICS, "a")}
    ours, theirs = (both[name].draws("accuracy") for name in ("small", "whole"))
    assert ours is not None
    assert theirs is not None
    apart = stats.difference(ours, theirs)
    assert found["contender"] == "whole"
    assert found["mean"] == pytest.approx(-0.2)
    assert (found["low"], found["high"], found["p"]) == (apart.low, apart.high, apart.p)
    assert "parent" not in rows["whole"]


def test_shares_are_of_the_parents_and_times_within_their_noise_are_equal(build: Build) -> None:
    rows = leaderboard(build(cells()), METRICS)
    (own,) = [row for row in rows if row["contender"] == "small"]
    assert derived.saved(own, rows) == {"size": 0.25, "nonzero": 0.6, "latency": 1.0}
    own["cost"] = {**own["cost"], "latency_ms_p50": 2.0}
    assert derived.saved(own, rows)["latency"] == 2.0
    own["cost"] = dict.fromkeys(own["cost"])
    assert derived.saved(own, rows) == {}


@pytest.mark.parametrize(
    ("tuned", "what"), [([0.6, 0.62, 0.61], "worse than it"), ([0.8, 0.82, 0.81], "not told apart from it")]
)
def test_it_is_said_in_every_format(build: Build, tuned: list[float], what: str) -> None:
    rows = leaderboard(build(cells(tuned=tuned)), METRICS)
    (said,) = derived.sentences(rows)
    assert said.startswith("small, made of whole: ")
    assert what in said
    assert said.endswith("0.25 of the bytes, 0.60 of the weights that are not zero, as fast.")
    assert report.json(rows).count(said) == 1
    for text in (report.markdown(rows), report.latex(rows)):
        assert "small, made of whole" in text


def test_without_its_parent_nothing_is_said(build: Build) -> None:
    rows = leaderboard(build(cells()[1:]), METRICS)
    assert rows[0]["parent"] is None
    assert list(derived.sentences(rows)) == []
