"""A plugin for tests: executors that know no more of mmbench than its contract, one plain process after another.

Each job has a process of its own. So that not each imports its libraries anew, all are forked from one that has.
"""

import atexit
import os
import pickle
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache

import mmbench as mb
from mmbench.api.executor import End, Ending, Executor, Handle, Request, Seat, Work, exited

LENGTH = struct.Struct("!Q")
PROGRAM = """
import os, pickle, struct, sys, traceback
import optuna, sklearn.metrics, torch
import mmbench.engine.jobs.measure, mmbench.engine.jobs.search, mmbench.engine.executors.loaded
def send(content):
    rest = struct.pack("!Q", len(content)) + content
    while rest:
        rest = rest[os.write(pipe, rest):]
pipe, ends = int(sys.argv[1]), int(sys.argv[2])
while length := sys.stdin.buffer.read(8):
    content = sys.stdin.buffer.read(*struct.unpack("!Q", length))
    child = os.fork()
    if not child:
        os.close(ends)
        os.dup2(2, 1)
        environ, work = pickle.loads(content)
        os.environ.clear()
        os.environ.update(environ)
        try:
            work(send)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.write(ends, struct.pack("!q", child))
    os.write(ends, struct.pack("!q", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
"""


class Nursery:
    """A process that has imported the libraries, and from which jobs are forked, one after another."""

    def __init__(self, first: Mapping[str, str]) -> None:
        self.pipe, theirs = os.pipe()
        self.ends, told = os.pipe()
        command, environ = [sys.executable, "-c", PROGRAM, str(theirs), str(told)], {**os.environ, **first}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[theirs, told], env=environ)
        os.close(theirs)
        os.close(told)
        os.set_blocking(self.pipe, False)
        atexit.register(self.process.kill)

    def fork(self, work: Work, environ: Mapping[str, str]) -> int:
        """Begin a job; gives its process."""
        content = pickle.dumps((dict(environ), work))
        assert self.process.stdin
        self.process.stdin.write(LENGTH.pack(len(content)) + content)
        self.process.stdin.flush()
        return self.number()

    def number(self) -> int:
        """The next that it says: a job's process when it begins, its exit code when it ends."""
        (found,) = struct.unpack("!q", os.read(self.ends, 8))
        return int(found)

    def read(self) -> bytes:
        """What its job has sent, as far as it is there."""
        found = bytearray()
        with suppress(BlockingIOError):
            while piece := os.read(self.pipe, 2**16):
                found += piece
        return bytes(found)


@cache
def nursery(first: tuple[tuple[str, str], ...]) -> Nursery:
    return Nursery(dict(first))


@dataclass(eq=False)
class Child:
    process: int
    held: bytearray = field(default_factory=bytearray)


class Plain(Executor):
    """One job after another, each in a process of its own."""

    name = "plain"

    def __init__(self, request: Request) -> None:
        self._environ = {**request.environ, **request.first}
        self._nursery = nursery(tuple(request.first.items()))
        self._child: Child | None = None

    @property
    def seats(self) -> Sequence[Seat]:
        return (Seat("here"),)

    def start(self, work: Work, seat: Seat) -> Child:
        assert self._child is None, "there is one seat"
        self._child = Child(self._nursery.fork(work, self._environ))
        return self._child

    def messages(self, timeout: float) -> Iterator[tuple[Handle, bytes | End]]:
        child, place = self._child, self._nursery
        if child is None:
            return
        ready, _, _ = select.select([place.pipe, place.ends], [], [], timeout)
        child.held += place.read()
        while len(child.held) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(child.held)
            if len(child.held) < LENGTH.size + length:
                break
            content = bytes(child.held[LENGTH.size : LENGTH.size + length])
            del child.held[: LENGTH.size + length]
            yield child, content
        if place.ends in ready:
            yield child, self._end()

    def _end(self) -> End:
        self._child = None
        return exited(self._nursery.number())

    def kill(self, handle: Handle) -> None:
        if handle is self._child and self._child is not None:
            os.kill(self._child.process, signal.SIGKILL)

    def stop(self) -> None:
        if self._child is not None:
            with suppress(ProcessLookupError):
                os.kill(self._child.process, signal.SIGKILL)
            self._end()
            self._nursery.read()  # what nobody will hear


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
                os.kill(self._child.process, signal.SIGKILL)
                self._end()
                self._nursery.read()
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
