"""A score that is said to be undefined is recomputed as any other."""

from pathlib import Path
from typing import Any

import pytest

from tests.trust.conftest import Examine, Forger


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda refit: refit["unscored"].update(accuracy=f"undefined: {refit['metrics'].pop('accuracy') and ''}"),
            "accuracy is said to have no score, but 0.",
        ),
        (lambda refit: refit["unscored"].update(accuracy="undefined"), "accuracy has a score and a reason why not"),
        (lambda refit: refit["unscored"].update(made_up="undefined"), "gives directions of: made_up"),
    ],
    ids=["hidden", "both", "unknown"],
)
def test_a_score_can_not_be_hidden(change: Any, expected: str, forger: Forger, examine: Examine) -> None:
    contender = forger.with_default()
    forger.refits(contender, change, where=lambda refit: refit["role"] == "tuned")
    forger.seal()
    found = [str(finding) for finding in examine(forger.folder).findings]
    assert any(expected in finding for finding in found), found


def test_an_honest_run_has_nothing_unscored(honest: Path, examine: Examine) -> None:
    assert not examine(honest).findings
