"""Arrays as files hold them: numbers as they are, texts as bytes and where each ends."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmbench.api.record import pack, unpack


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
