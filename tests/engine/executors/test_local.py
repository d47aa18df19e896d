"""The executor of this machine, with jobs of its tests' own in real processes: seats, messages, and every ending."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from mmbench.api.executor import End, Ending, Request, Seat, Send
from mmbench.engine.executors.endings import sentence
from mmbench.engine.executors.local import Local

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs signals")


@dataclass(frozen=True)
class Act:
    """A job that does something that its name tells."""

    name: str

    def __call__(self, send: Send) -> None:
        send(b"here")
        getattr(self, self.name)(send)
        send(b"done")

    def well(self, send: Send) -> None:
        send(b"x" * 3_000_000)

    def shows_its_gpus(self, send: Send) -> None:
        send(os.environ.get("CUDA_VISIBLE_DEVICES", "all").encode())

    def exits(self, send: Send) -> None:
        os._exit(3)

    def aborts(self, send: Send) -> None:
        os.abort()

    def is_killed(self, send: Send) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def is_stopped(self, send: Send) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)

    def writes_anywhere(self, send: Send) -> None:
        for number in range(3, 64):
            try:
                os.write(number, b"junk" * 10)
            except OSError:
                continue
        time.sleep(60)

    def promises_more(self, send: Send) -> None:
        """Half of a message, and then it hangs."""
        from mmbench.engine.executors.wire import frame

        whole = frame(b"x" * 1000)
        for number in range(3, 64):
            try:
                os.write(number, whole[:500])
            except OSError:
                continue
        time.sleep(60)

    def closes_all(self, send: Send) -> None:
        os.closerange(3, 64)
        time.sleep(60)


@pytest.fixture
def local() -> Iterator[Local]:
    with Local(Request(workers=2, environ=dict(os.environ) | {"CUDA_VISIBLE_DEVICES": "4,7"})) as executor:
        yield executor


def end_of(local: Local, act: str, device: str = "cpu") -> tuple[list[bytes], End]:
    handle = local.start(Act(act), Seat("0", device))
    said: list[bytes] = []
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for one, heard in local.messages(timeout=1.0):
            assert one is handle
            if isinstance(heard, End):
                return said, heard
            said.append(heard)
    raise AssertionError(f"no end: {said}")


@pytest.mark.parametrize(
    ("act", "ending", "words"),
    [
        ("well", Ending.DONE, "the worker has ended"),
        ("exits", Ending.EXITED, "the worker ended with exit code 3"),
        ("aborts", Ending.CRASHED, "the worker crashed by SIGABRT"),
        ("is_killed", Ending.OUT_OF_MEMORY, "the worker was killed by SIGKILL (out of memory?)"),
        ("is_stopped", Ending.KILLED, "the worker was killed by SIGTERM"),
        ("writes_anywhere", Ending.UNRULY, "the worker was stopped: it wrote what is no message where its"),
        ("closes_all", Ending.UNRULY, "the worker was stopped: it closed the pipe of its messages, and went on"),
    ],
)
def test_every_ending_is_told_as_what_it_was(local: Local, act: str, ending: Ending, words: str) -> None:
    said, end = end_of(local, act)
    assert end.ending is ending
    assert sentence(end).startswith(words)
    assert said == ([b"here", b"x" * 3_000_000, b"done"] if act == "well" else [b"here"])


def test_a_message_that_never_ends_holds_up_nobody(local: Local) -> None:
    slow, quick = local.start(Act("promises_more"), Seat("0")), None
    said: dict[object, list[bytes | End]] = {slow: []}
    deadline = time.monotonic() + 60
    while quick is None or not any(isinstance(one, End) for one in said[quick]):
        assert time.monotonic() < deadline
        for handle, one in local.messages(timeout=0.2):
            said[handle].append(one)
        if said[slow] and quick is None:
            time.sleep(0.5)
            quick = local.start(Act("well"), Seat("1"))
            said[quick] = []
    assert said[slow] == [b"here"]
    local.kill(slow)
    assert [one for handle, one in local.messages(timeout=20.0) if handle is slow] == [
        End(Ending.OUT_OF_MEMORY, signal="SIGKILL")
    ], "whoever kills knows why"


def test_a_process_is_shown_the_gpu_of_its_seat(local: Local) -> None:
    assert end_of(local, "shows_its_gpus", "cuda:0")[0][1] == b"4"
    assert end_of(local, "shows_its_gpus", "cuda:1")[0][1] == b"7"
    assert end_of(local, "shows_its_gpus", "cpu")[0][1] == b"4,7"
    assert os.environ.get("CUDA_VISIBLE_DEVICES") is None


def test_leaving_ends_every_process() -> None:
    with Local(Request(workers=1, environ=dict(os.environ))) as local:
        handle = local.start(Act("promises_more"), local.seats[0])
        assert handle.process.is_alive()
    assert not handle.process.is_alive()
