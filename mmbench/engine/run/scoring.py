"""Has refits scored: by mmbench's own metrics here, by those of others in a process of their own.

A metric of somebody else may hang, end its process, crash it or take all memory. It is then said to have no score, and
why, and the run continues with a fresh process. Used by runner and hearing; the referee asks for scores.
"""

import multiprocessing
import os
import pickle
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import msgspec

from mmbench.api.executor import End, Ending, Send, exited
from mmbench.api.parts import Metric
from mmbench.api.parts.scores import FAILED, scored
from mmbench.engine import clock
from mmbench.engine.executors.endings import sentence
from mmbench.engine.executors.local import PATIENCE, SERVER_GONE
from mmbench.engine.executors.starting import starting
from mmbench.engine.executors.wire import Frames, GarbledError, read
from mmbench.engine.executors.worker import main
from mmbench.engine.jobs.evaluate import Score
from mmbench.engine.run.charging import ATTEMPTS
from mmbench.errors import MMBenchError
from mmbench.plugins import Catalog, Needed, needed

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

START = 300.0  # seconds in which the process must be there: it imports the metrics' plugins
LOOK = 0.5
_ANSWER = msgspec.json.Decoder(tuple[str, float | str])


@dataclass(frozen=True)
class Scorer:
    """What the process does: it scores what it is sent, until nothing more comes."""

    needed: Needed
    requests: Connection

    def __call__(self, send: Send) -> None:
        with suppress(OSError):  # where memory runs out the kernel is to end this process, and not the run
            Path("/proc/self/oom_score_adj").write_text("1000")
        catalog, pid = self.needed.load(), os.getpid()
        send(b"")
        while True:
            try:
                names, truth, prediction = pickle.loads(self.requests.recv_bytes())  # noqa: S301  the run has sent it
            except EOFError:
                return
            for name in names:
                found = scored(catalog.metrics[name], truth, prediction)
                if os.getpid() != pid:  # the metric has forked, and this is the copy
                    os._exit(1)
                send(msgspec.json.encode((name, found)))


@dataclass(eq=False)
class Running:
    """The process at work."""

    process: BaseProcess
    requests: Connection
    answers: Connection
    frames: Frames = field(default_factory=Frames)
    garbled: str | None = None
    """What it wrote that is no message, after all that was heard."""
    heard: list[bytes] = field(default_factory=list)


class EndedError(Exception):
    """The process is gone before it gave a score."""

    def __init__(self, end: End) -> None:
        super().__init__(sentence(end).replace("the worker", "its process", 1))
        self.end = end


class Scoring:
    """Scores for one run. A context manager: leaving it ends the process, if there is one."""

    def __init__(self, catalog: Catalog, environ: Mapping[str, str]) -> None:
        self._catalog, self._environ = catalog, dict(environ)
        self._running: Running | None = None
        shelf = catalog.metrics
        self._foreign = [name for name in shelf if not shelf.origins[name].is_own]
        self._hung: dict[str, str] = {}
        """The metrics that are not asked again, and why: a night has not so many hours."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def score(self, metrics: Sequence[Metric], truth: "Array", prediction: "Array", limit: float) -> dict[str, Score]:
        """{metric: its score, or why it has none}; each of the others may take `limit` seconds."""
        own = [metric for metric in metrics if metric.name not in self._foreign]
        found = {metric.name: scored(metric, truth, prediction) for metric in own}
        found |= {metric.name: self._hung[metric.name] for metric in metrics if metric.name in self._hung}
        waiting, lost = [metric.name for metric in metrics if metric.name not in found], Counter[str]()
        while waiting:
            try:
                running = self._running or self._start()
                running.requests.send_bytes(pickle.dumps((waiting, truth, prediction), protocol=5))
                while waiting:
                    found[waiting[0]] = self._answer(running, waiting[0], limit)
                    del waiting[0]
            except (EndedError, OSError) as error:
                ended = error if isinstance(error, EndedError) else EndedError(self._end())
                lost[waiting[0]] += 1
                if ended.end.ending.own_doing or lost[waiting[0]] == ATTEMPTS:
                    found[waiting[0]] = self._hung.get(waiting[0], f"{FAILED}: {ended}")
                    del waiting[0]
        return found

    def _start(self) -> Running:
        """Begin the process. Raises MMBenchError if the machine lets none start."""
        context: Any = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
        own = needed(self._catalog, [("metric", name) for name in self._foreign])
        for attempt in range(ATTEMPTS):
            with starting():
                (inward, requests), (answers, outward) = context.Pipe(duplex=False), context.Pipe(duplex=False)
            arguments = (Scorer(own, inward), self._environ, outward)
            process = context.Process(target=main, args=arguments, daemon=True)
            try:
                with starting():
                    process.start()
            except (EOFError, ConnectionError):  # the server that it is forked from was killed this very moment
                requests.close()
                answers.close()
                if attempt == ATTEMPTS - 1:
                    raise MMBenchError("no process for metrics can be started; type: mmbench doctor") from None
                time.sleep(0.1)
                continue
            finally:
                inward.close()
                outward.close()
            self._running = Running(process, requests, answers)
            self._next(self._running, START)
            return self._running
        raise AssertionError("the last try returns or raises")

    def _answer(self, running: Running, name: str, limit: float) -> Score:
        content = self._next(running, limit, name)
        try:
            said, found = _ANSWER.decode(content)
        except (msgspec.MsgspecError, ValueError) as error:
            raise EndedError(self._unruly(str(error))) from error
        if said != name:
            raise EndedError(self._unruly(f"a score of {said!r}"))
        return found

    def _next(self, running: Running, limit: float, name: str = "") -> bytes:
        """The next message. Raises EndedError if none comes in time, or none that is one."""
        since = clock.seconds()
        while not running.heard:
            if running.garbled is not None:
                raise EndedError(self._unruly(running.garbled))
            ready = wait([running.answers, running.process.sentinel], LOOK)
            clock.look()
            try:
                piece = read(running.answers) if ready else b""
                if not piece and running.process.sentinel in ready:
                    raise EOFError
                running.heard += running.frames.feed(piece)
            except GarbledError as error:  # what it said before may have been heard
                running.garbled = str(error)
                continue
            except (EOFError, OSError) as error:
                raise EndedError(self._end()) from error
            if not running.heard and clock.seconds() - since > limit:
                self._stop()
                if name:
                    self._hung[name] = f"{FAILED}: it gave no score within {limit:g} seconds"
                raise EndedError(End(Ending.HUNG))
        return running.heard.pop(0)

    def _unruly(self, what: str) -> End:
        self._stop()
        return End(Ending.UNRULY, detail=f"it wrote what is no score where its scores go: {what}")

    def _end(self) -> End:
        """How the process, which is gone, has ended."""
        if self._running is None:
            return End(Ending.LOST)
        process = self._running.process
        process.join(PATIENCE)
        code = process.exitcode
        if code == SERVER_GONE:
            with suppress(ProcessLookupError):
                os.kill(process.pid or 0, signal.SIGKILL)
        self._stop()
        if code is None:
            return End(Ending.UNRULY, detail="it closed the pipe of its scores, and went on")
        if code == SERVER_GONE:
            return End(Ending.LOST, detail="the server that it was forked from was killed")
        return exited(code) if code else End(Ending.EXITED, code=0)

    def _stop(self) -> None:
        if self._running is not None:
            self._running.process.kill()
            self._running.process.join()
            self._running.requests.close()
            self._running.answers.close()
            self._running = None
