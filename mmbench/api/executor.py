"""The contract of an executor: what starts a run's jobs in processes, here or elsewhere, and returns their messages.

A run asks for seats, puts one job on each, and listens. What a job is and what its messages mean an executor need not
know: a job is a callable that can be pickled, a message is bytes.

What an executor must provide:

- **A fresh process for each job**, which ends with it. A job gives up rights for good (it can't read the test labels),
  and what a part does to its process must not reach the next job.
- **The same installation and the same files**: mmbench and its plugins at the versions of the driver, the files of
  `--plugin` and the cache at the same paths. Data and features are prepared by one job and read by others, and the
  driver reads the test labels: all of them see one file system today.
- **One device**: on a seat whose device is a GPU, the process sees this GPU and no other, from before the first import
  of a part.
- **Every message, in its order**, and after the last exactly one `End`. A process that is gone before it ended by
  itself is told as what it was: crashed, killed, or lost with its node.
- **The end of it all**: after `stop`, and when the driver dies, no job continues.

Seats may appear and vanish. `start` may return before the job begins, which may be much later; silence counts as
hanging only after its first message. The driver alone writes the store: results don't depend on the executor.
"""

import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar, Protocol, Self, TypeAlias

Send: TypeAlias = Callable[[bytes], None]
Handle: TypeAlias = Hashable
"""What an executor calls a job at work; its own affair."""


class Work(Protocol):
    """A job, as an executor gets it: it can be pickled, and is called once, in a fresh process."""

    def __call__(self, send: Send) -> None:
        """Do the job and tell of it by `send`. Failures of parts are among the messages; it returns all the same."""


@dataclass(frozen=True)
class Seat:
    """Where one job at a time can be at work."""

    name: str
    """No two seats of an executor share one."""
    device: str = "cpu"
    """The device that is its own: "cpu" or "cuda:1", as its machine numbers them."""
    cores: int = 1


@dataclass(frozen=True)
class Request:
    """What a run asks of its executor."""

    device: str = "cpu"
    """"cpu", "cuda", or one GPU: "cuda:1"."""
    workers: int | None = None
    """How many jobs side by side; None: as many as there are cores or GPUs."""
    environ: Mapping[str, str] = field(default_factory=dict)
    """The environment that jobs on the driver's machine see."""
    first: Mapping[str, str] = field(default_factory=dict)
    """What more the environment says when a process starts, on whatever machine: it is about threads and Python's
    hashes, and results depend on it."""
    libraries: Sequence[str] = ()
    """Modules that most jobs will import and that take long: a process may have them loaded beforehand."""


class Ending(Enum):
    """How a job's process came to its end."""

    DONE = "done"
    """It returned."""
    EXITED = "exited"
    """It ended itself, before its job was done."""
    CRASHED = "crashed"
    """By a signal that it caused, such as a segmentation fault."""
    UNRULY = "unruly"
    """It was ended, since it sent what is no message, or not its own."""
    HUNG = "hung"
    """It was ended, since it gave no sign of life."""
    KILLED = "killed"
    """From outside."""
    OUT_OF_MEMORY = "out of memory"
    """From outside, most likely by the kernel that ran out of memory."""
    LOST = "lost"
    """Nobody knows: its node, or what it was started by, is gone."""

    @property
    def own_doing(self) -> bool:
        """Whether it is the job's fault and would happen again; if not, the job is retried."""
        return self in (Ending.EXITED, Ending.CRASHED, Ending.UNRULY, Ending.HUNG)


@dataclass(frozen=True)
class End:
    """The last that is heard of a job."""

    ending: Ending
    code: int | None = None
    """The exit code, if it ended itself."""
    signal: str | None = None
    """The name of the signal that ended it."""
    detail: str | None = None
    """What else is known, in a few words."""


CRASHES = {"SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSYS", "SIGTRAP"}


def exited(code: int) -> End:
    """The end that an exit code tells, as `subprocess` gives it: a signal is a negative one."""
    if code >= 0:
        return End(Ending.EXITED if code else Ending.DONE, code=code)
    try:
        name = signal.Signals(-code).name
    except ValueError:  # a real-time signal
        name = f"signal {-code}"
    if name in CRASHES:
        return End(Ending.CRASHED, signal=name)
    return End(Ending.OUT_OF_MEMORY if name == "SIGKILL" else Ending.KILLED, signal=name)


class Executor(ABC):
    """Starts jobs on seats. Made for one run, and used as a context manager: leaving it calls `stop`."""

    name: ClassVar[str]
    """What `--executor` says: lower-case letters, digits and _."""

    @abstractmethod
    def __init__(self, request: Request) -> None:
        """Get ready for a run. Raises MMBenchError if what is asked for can't be had."""

    @property
    @abstractmethod
    def seats(self) -> Sequence[Seat]:
        """The seats that there are now, those with a job at work included."""

    @abstractmethod
    def start(self, work: Work, seat: Seat) -> Handle:
        """Begin a job on a seat that is free."""

    @abstractmethod
    def messages(self, timeout: float) -> Iterator[tuple[Handle, bytes | End]]:
        """What jobs sent, and how they ended; waits up to `timeout` seconds for the first. A seat is free again when
        its job's `End` was given."""

    @abstractmethod
    def kill(self, handle: Handle) -> None:
        """End a job at once, if it is still at work; its `End` is told like any other."""

    @abstractmethod
    def stop(self) -> None:
        """End every job, and leave nothing behind."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
