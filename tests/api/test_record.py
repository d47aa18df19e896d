"""Arrays as files hold them: numbers as they are, texts as bytes and where each ends."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmbench.api.record import Trial, pack, unpack, winner


def texts(*given: str) -> np.ndarray[Any, Any]:
    return np.array(given, dtype=object)


@given(st.lists(st.text(), max_size=5))
def test_texts_come_back(found: list[str]) -> None:
    packed = pack({"test": texts(*found), "n": np.arange(3)})
    assert {array.dtype.kind for array in packed.values()} <= set("iu")
    again = unpack(packed)
    assert again["test"].tolist() == found
    assert again["n"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "array", [np.array([{}], dtype=object), np.array([["a"]]), np.array([1j]), np.array(["\ud800"], dtype=object)]
)
def test_what_is_neither_numbers_nor_texts_is_refused(array: Any) -> None:
    with pytest.raises(ValueError, match=r"neither numbers nor|surrogates"):
        pack({"test": array})
    with pytest.raises(ValueError, match="no array can be named"):
        pack({"test:utf8": np.arange(2)})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("test:ends", np.array([1, 5])),
        ("test:ends", np.array([4, 3])),
        ("test:ends", np.array([-1, 3])),
        ("test:ends", np.array([1.0, 3.0])),
        ("test:ends", np.array([[1, 3]])),
        ("test:utf8", np.array([1, 2, 3])),
        ("test:utf8", np.array([97, 255, 97], np.uint8)),
    ],
)
def test_texts_that_were_tampered_with_are_refused(name: str, value: Any) -> None:
    packed = pack({"test": texts("a", "bc")})
    assert unpack(packed)["test"].tolist() == ["a", "bc"]
    with pytest.raises(ValueError, match=r"no array of texts|do not end where|codec can't decode"):
        unpack({**packed, name: value})


def tried(number: int, width: int, score: float | None) -> Trial:
    made = Trial("c", number, {"width": width}, "ok", None, score, [], 1, 1.0)
    return made if score is not None else replace(made, status="error")


def test_a_lucky_seed_among_repeats_is_not_the_winner() -> None:
    """32 was drawn three times, and was the best once; 64 is better than its mean."""
    trials = [tried(0, 16, 0.6), tried(1, 32, 0.9), tried(2, 64, 0.8), tried(3, 32, 0.6), tried(4, 32, 0.7)]
    assert winner(trials, sign=1) == trials[2]
    assert winner(trials[:3], sign=1) == trials[1]
    assert winner([*trials, tried(5, 32, None)], sign=-1) == trials[0]
    assert winner([tried(0, 1, None)], sign=1) is None


def test_repeats_that_agree_are_as_one_and_equals_go_to_the_earliest() -> None:
    """The mean of three times .1 is not .1: rounding decides nothing."""
    alike = [tried(0, 16, 0.1), tried(1, 32, 0.1), tried(2, 16, 0.1), tried(3, 16, 0.1)]
    assert winner(alike, sign=1) == winner(alike, sign=-1) == alike[0]
    assert winner(alike[::-1], sign=1) == alike[0], "in whatever order they come"
