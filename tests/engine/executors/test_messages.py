"""Messages as bytes: they come back as they were, and what is none is refused, whatever it is."""

import math
import pickle
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmbench.api.record import Refit, Trial
from mmbench.engine.executors.messages import (
    Array,
    CostMeasured,
    Failed,
    Message,
    Progressed,
    RefitEnded,
    TrialEnded,
    TrialsBegun,
    decode,
    encode,
)
from mmbench.engine.executors.wire import HEAD, MARK, Frames, GarbledError, frame

TRIAL = Trial("key", 3, {"fusion": "gated", "train.lr": 0.1}, "ok", None, 0.1 + 0.2, [0.1, 1 / 3], 2, 1.5, together=2)
REFIT = Refit("key", "tuned", 1, {"a": 1}, "ok", None, 0.5, {}, {}, None, 3, 1.0, None)


@pytest.mark.parametrize(
    "message",
    [
        TrialEnded(TRIAL),
        TrialsBegun([(0, {"a": 1, "b": None}), (1, {"a": 2.5, "b": "c"})]),
        Progressed("left: raw", 3, 10),
        Failed("no", "data"),
        CostMeasured({"flops": 12, "latency": 0.1, "prepare_ms": {"left": None}}),
        RefitEnded(REFIT, {"test": Array.of(np.arange(6, dtype=np.float32).reshape(2, 3))}),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_message_comes_back_as_it_was(message: Message) -> None:
    back = decode(encode(message))
    assert type(back) is type(message)
    assert back == message or (isinstance(back, TrialsBegun) and list(map(tuple, back.trials)) == message.trials)  # type: ignore[union-attr]


def test_numbers_of_numpy_become_pythons_own() -> None:
    back = decode(encode(CostMeasured({"a": np.float32(0.5), "b": np.int64(3), "c": float("nan")})))
    assert isinstance(back, CostMeasured)
    assert (back.cost["a"], back.cost["b"], type(back.cost["b"])) == (0.5, 3, int)
    assert math.isnan(back.cost["c"])


@pytest.mark.parametrize("array", [np.zeros((0, 3)), np.array(2.5), np.array([[1, 2]], ">i4"), np.array(["a", "bc"])])
def test_an_array_comes_back_as_it_was(array: Any) -> None:
    sent = decode(encode(RefitEnded(REFIT, {"test": Array.of(array)})))
    assert isinstance(sent, RefitEnded)
    back = sent.predictions["test"].array()
    assert back.dtype == array.dtype
    assert np.array_equal(back, array)


def test_an_array_of_objects_is_not_sent() -> None:
    with pytest.raises(TypeError, match="an array of object can't be sent"):
        Array.of(np.array([None]))


@pytest.mark.parametrize(
    "array", [Array("<f4", (2,), b"1234567"), Array("no such type", (1,), b"1"), Array("|O", (1,), b"12345678")]
)
def test_an_array_that_lies(array: Array) -> None:
    with pytest.raises(GarbledError):
        array.array()


class Evil:
    def __reduce__(self) -> Any:
        return pytest.fail, ("code that a worker sent was run",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ""),
        (b"hello", ""),
        (pickle.dumps(Evil()), ""),
        (msgspec.msgpack.encode(("Boss", {})), "a message of the unknown kind 'Boss'"),
        (msgspec.msgpack.encode(("Progressed", {"label": "a", "done": "one", "total": 2})), "done"),
        (msgspec.msgpack.encode(("Progressed", {"label": "a"})), "missing required field"),
        (msgspec.msgpack.encode(("TrialEnded", {"trial": {"cell": 3}})), "cell"),
        (b"\x91" * 100_000, ""),
    ],
)
def test_what_is_no_message_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(GarbledError, match=message or None):
        decode(content)


@given(st.binary())
def test_any_bytes_are_a_message_or_refused(content: bytes) -> None:
    with pytest.raises(GarbledError):
        decode(content)


@given(st.lists(st.binary(max_size=50), max_size=5), st.integers(1, 40))
def test_frames_come_whole_in_pieces_of_any_size(contents: list[bytes], size: int) -> None:
    stream = b"".join(map(frame, contents))
    frames = Frames()
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
    assert [content for piece in pieces for content in frames.feed(piece)] == contents


@given(st.binary(min_size=1).filter(lambda junk: not MARK.startswith(junk[: len(MARK)])))
def test_what_a_part_writes_between_frames_is_noticed_at_once(junk: bytes) -> None:
    frames = Frames()
    assert list(frames.feed(frame(b"one"))) == [b"one"]
    with pytest.raises(GarbledError):
        list(frames.feed(junk))


@pytest.mark.parametrize("at", [0, 3, 8, 14, 18, HEAD.size, HEAD.size + 2])
def test_what_a_part_writes_into_a_frame_is_noticed(at: int) -> None:
    whole = frame(b"content")
    with pytest.raises(GarbledError):
        list(Frames().feed(whole[:at] + b"junk" + whole[at:] + frame(b"the next, so that its length is there")))
