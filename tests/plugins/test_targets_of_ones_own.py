"""Built-in parts that know built-in targets only: of another they guess nothing by the look of its array."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from mmbench_fusion.baseline import Forest, Logistic, Majority
from mmbench_fusion.boosting import Boosting
from mmbench_objective.balance import OgmGe

import mmbench as mb
from mmbench.api.data import Target


@dataclass(frozen=True)
class Stars(Target):
    """From 0 to 4, whole numbers that have an order; its metric wants a number."""

    column: str
    type = "stars"


@dataclass(frozen=True)
class Count(Stars):
    type = "count"
    like: ClassVar[str] = "number"


def reason(part: type[Any], target: Target) -> str | None:
    kinds = {"left": "tabular", "right": "tabular"}
    found: str | None = part().supports(mb.Task("t", "t", modalities=kinds, target=target, metric="m"))
    return found


@pytest.mark.parametrize("part", [Majority, Logistic, Forest, Boosting, OgmGe])
def test_an_unknown_target_is_skipped_with_a_reason(part: type[Any]) -> None:
    """Whole numbers would be taken for classes, and a probability given for each where the metric asks for a number."""
    assert "stars" in str(reason(part, Stars("y")))
    assert reason(part, Count("y")) is None, "its target says what it is like"
    assert reason(part, mb.Label("y")) is None
    assert reason(part, mb.Number("y")) is None
    assert reason(part, mb.Match(("left",), ("right",)))


def test_what_is_like_another_is_guessed_as_that() -> None:
    assert reason(Majority, mb.Text("y")) is None
    assert "writes no text" in str(reason(Logistic, mb.Text("y")))
