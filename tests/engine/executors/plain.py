"""A plugin for tests: executors that know no more of mmbench than its contract, one plain subprocess after another."""

import os
import pickle
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import mmbench as mb
from mmbench.api.executor import End, Ending, Executor, Handle, Request, Seat, Work, exited

LENGTH = struct.Struct("!Q")
PROGRAM = """
import os, pickle, struct, sys
def send(content):
    rest = struct.pack("!Q", len(content)) + content
    while rest:
        rest = rest[os.write(pipe, rest):]
pipe = int(sys.argv[1])
work = pickle.loads(sys.stdin.buffer.read())
os.dup2(2, 1)
work(send)
"""


@dataclass(eq=False)
class Child:
    process: "subprocess.Popen[bytes]"
    pipe: int
    held: bytearray = field(default_factory=bytearray)


class Plain(Executor):
    """One job after another, each in a subprocess."""

    name = "plain"

    def __init__(self, request: Request) -> None:
        self._environ = {**request.environ, **request.first}
        self._child: Child | None = None

    @property
    def seats(self) -> Sequence[Seat]:
        return (Seat("here"),)

    def start(self, work: Work, seat: Seat) -> Child:
        assert self._child is None, "there is one seat"
        ours, theirs = os.pipe()
        command = [sys.executable, "-c", PROGRAM, str(theirs)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[theirs], env=self._environ)
        os.close(theirs)
        assert process.stdin
        process.stdin.write(pickle.dumps(work))
        process.stdin.close()
        self._child = Child(process, ours)
        return self._child

    def messages(self, timeout: float) -> Iterator[tuple[Handle, bytes | End]]:
        child = self._child
        if child is None or not select.select([child.pipe], [], [], timeout)[0]:
            return
        piece = os.read(child.pipe, 2**16)
        child.held += piece
        while len(child.held) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(child.held)
            if len(child.held) < LENGTH.size + length:
                break
            content = bytes(child.held[LENGTH.size : LENGTH.size + length])
            del child.held[: LENGTH.size + length]
            yield child, content
        if not piece:
            yield child, self._end(child)

    def _end(self, child: Child) -> End:
        self._child = None
        os.close(child.pipe)
        return exited(child.process.wait())

    def kill(self, handle: Handle) -> None:
        if handle is self._child and self._child is not None:
            self._child.process.kill()

    def stop(self) -> None:
        if self._child is not None:
            self._child.process.kill()
            self._end(self._child)


class Loses(Plain):
    """A slow cluster: at its second trial a node goes away with its job, and later another takes its place."""

    name = "loses"
    told = 0
    nodes = 1

    @property
    def seats(self) -> Sequence[Seat]:
        return (Seat(f"node{self.nodes}"),) if self.nodes != 2 or time.monotonic() > self.back else ()

    def start(self, work: Work, seat: Seat) -> Child:
        time.sleep(0.2)
        return super().start(work, seat)

    def messages(self, timeout: float) -> Iterator[tuple[Handle, bytes | End]]:
        for handle, said in super().messages(timeout):
            self.told += isinstance(said, bytes) and b"TrialEnded" in said
            if self.told == 2 and self.nodes == 1:
                assert self._child
                self._child.process.send_signal(signal.SIGKILL)
                self._end(self._child)
                self.nodes, self.back = 2, time.monotonic() + 1.0
                yield handle, End(Ending.LOST, detail="node1 is gone")
                return
            yield handle, said
        if self._child is None:
            time.sleep(min(timeout, 0.05))


class Mumbles(Plain):
    """Brings what is no message after each trial that begins."""

    name = "mumbles"

    def messages(self, timeout: float) -> Iterator[tuple[Handle, bytes | End]]:
        for handle, said in super().messages(timeout):
            yield handle, said
            if isinstance(said, bytes) and b"TrialsBegun" in said:
                yield handle, b"mumble"


class Repeats(Plain):
    """Brings each trial twice."""

    name = "repeats"

    def messages(self, timeout: float) -> Iterator[tuple[Handle, bytes | End]]:
        for handle, said in super().messages(timeout):
            yield handle, said
            if isinstance(said, bytes) and b"TrialEnded" in said:
                yield handle, said


@mb.hookimpl
def mmbench_executors() -> list[type[Executor]]:
    return [Plain, Loses, Mumbles, Repeats]
