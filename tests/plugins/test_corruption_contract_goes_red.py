"""Rules of CorruptionContract can fail: a corruption that is broken in one place meets them."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

import mmbench as mb
from mmbench.api.space import Params
from mmbench.testing.corruption import CorruptionContract


class BrokenCorruption(mb.Corruption):
    """A corruption that is broken in one place."""

    name = "broken"
    kinds = ("tabular",)
    how: ClassVar[str] = ""

    def apply(
        self, column: Sequence[Any], severity: float, generator: np.random.Generator, params: Params
    ) -> list[Any]:
        if self.how == "one for all":
            return [None if v is None else v + severity for v in column]
        chance = np.random.default_rng() if self.how == "global" else generator
        damaged = []
        for value in column:
            hit = chance.random() < severity
            if self.how == "in place" and value is not None:
                value *= 2
            if self.how == "copies" and value is not None and not hit:
                value = value.copy()
            if self.how == "type" and hit and value is not None:
                value = value.astype(np.float64)
            damaged.append(None if hit and self.how != "type" else value)
        return damaged


@pytest.mark.parametrize(
    ("how", "rule", "message"),
    [
        ("global", "test_is_deterministic", "something beside its generator"),
        ("one for all", "test_is_deterministic", "does not draw"),
        ("one for all", "test_severity_0_leaves_everything", "severity 0"),
        ("in place", "test_the_column_is_left_alone", "changed in place"),
        ("copies", "test_untouched_values_are_the_same_objects", "was copied"),
        ("copies", "test_severity_0_leaves_everything", "severity 0"),
        ("type", "test_values_stay_what_they_are", "became float64"),
        ("type", "test_severity_1_damages", "changes 0 of"),
    ],
)
def test_a_broken_corruption(how: str, rule: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: Any = type("Contract", (CorruptionContract,), {"part": BrokenCorruption})()
    getattr(made, rule)("tabular")
    monkeypatch.setattr(BrokenCorruption, "how", how)
    with pytest.raises(AssertionError, match=message):
        getattr(made, rule)("tabular")
