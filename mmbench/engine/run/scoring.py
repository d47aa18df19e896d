"""Has refits scored: by mmbench's own metrics here, by those of others in a process of their own.

A metric of somebody else may hang, end its process, crash it or take all memory. It is then said to have no score, and
why, and the run continues with a fresh process. Used by runner and hearing, where the referee asks for scores, and by
whoever scores again what is stored: `verify`, and boards for their intervals (`apart`).
"""

import multiprocessing
import os
import pickle
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import msgspec

from mmbench.api.executor import End, Ending, Send
from mmbench.api.parts import Metric
from mmbench.api.parts.scores import FAILED, UNDEFINED, quiet, read_only, reason, scored
from mmbench.engine import clock
from mmbench.engine.executors.endings import sentence
from mmbench.engine.executors.processes import METHOD, end_of, exit_code, start
from mmbench.engine.executors.starting import starting
from mmbench.engine.executors.wire import Frames, GarbledError, read
from mmbench.engine.jobs.evaluate import Score
from mmbench.engine.run.charging import ATTEMPTS
from mmbench.errors import TrainingError, UndefinedError
from mmbench.plugins import Catalog, Needed, Shelf, needed

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

START = 300.0  # seconds in which the process must be there: it imports the metrics' plugins
LOOK = 0.5
AGAIN = 300.0  # seconds for each call where what is stored is scored again
Answer: TypeAlias = float | str | bytes | None
_ANSWER = msgspec.msgpack.Decoder(tuple[str, str, float | bytes | None])
"""The metric, why it has no answer, and its answer."""


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
                what, names, given = pickle.loads(self.requests.recv_bytes())  # noqa: S301  the run has sent it
            except EOFError:
                return
            for name in names:
                found = ASKED[what](catalog.metrics[name], *given)
                if os.getpid() != pid:  # the metric has forked, and this is the copy
                    os._exit(1)
                why = found if isinstance(found, str) else ""
                send(msgspec.msgpack.encode((name, why, None if why else found)))


def _resampled(metric: Metric, truth: "Array", prediction: "Array", rows: "Array") -> bytes | str:
    """The score of each resample as float64, or why there are none."""
    import numpy as np

    try:
        with quiet():
            found = np.asarray(metric.resampled(read_only(truth), read_only(prediction), read_only(rows)), np.float64)
        return found.tobytes()
    except (Exception, SystemExit) as error:  # anyone's code
        return reason(error)


def _right(metric: Metric, truth: "Array", prediction: "Array") -> bytes | str | None:
    import numpy as np

    try:
        with quiet():
            found = metric.right(read_only(truth), read_only(prediction))
        return None if found is None else np.asarray(found, np.float64).tobytes()
    except (Exception, SystemExit) as error:  # anyone's code
        return reason(error)


KINDS: dict[str, tuple[type, ...]] = {"score": (float, int), "resampled": (bytes,), "right": (bytes, type(None))}
"""What may be answered, beside why there is no answer."""
ASKED: dict[str, Callable[..., Answer]] = {"score": scored, "resampled": _resampled, "right": _right}


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
        found: dict[str, Score] = {metric.name: scored(metric, truth, prediction) for metric in own}
        others = [metric.name for metric in metrics if metric.name in self._foreign]
        answers = self.ask("score", others, (truth, prediction), limit).items()
        return found | {
            name: said if isinstance(said, str) else float(said)  # type: ignore[arg-type]
            for name, said in answers
        }

    def ask(self, what: str, names: Sequence[str], given: Sequence[Any], limit: float) -> dict[str, Answer]:
        """{metric: what it answers, or in words why it doesn't}; each may take `limit` seconds."""
        found: dict[str, Answer] = {name: self._hung[name] for name in names if name in self._hung}
        waiting, lost = [name for name in names if name not in found], Counter[str]()
        while waiting:
            try:
                running = self._running or self._start()
                running.requests.send_bytes(pickle.dumps((what, waiting, given), protocol=5))
                while waiting:
                    found[waiting[0]] = self._answer(running, waiting[0], limit, KINDS[what])
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
        context: Any = multiprocessing.get_context(METHOD)
        own = needed(self._catalog, [("metric", name) for name in self._foreign])
        with starting():
            inward, requests = context.Pipe(duplex=False)
        try:
            process, answers = start(context, Scorer(own, inward), self._environ, what="no process for metrics")
        except BaseException:
            requests.close()
            raise
        finally:
            inward.close()
        self._running = Running(process, requests, answers)
        self._next(self._running, START)
        return self._running

    def _answer(self, running: Running, name: str, limit: float, kinds: tuple[type, ...]) -> Answer:
        content = self._next(running, limit, name)
        try:
            said, why, value = _ANSWER.decode(content)
        except (msgspec.MsgspecError, ValueError) as error:
            raise EndedError(self._unruly(str(error))) from error
        if said != name:
            raise EndedError(self._unruly(f"a score of {said!r}"))
        found: Answer = why or value
        if not isinstance(found, (str, *kinds)):
            raise EndedError(self._unruly(f"{type(found).__name__} in place of a score"))
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
        code = exit_code(self._running.process)
        self._stop()
        if code is None:
            return End(Ending.UNRULY, detail="it closed the pipe of its scores, and went on")
        return end_of(code) if code else End(Ending.EXITED, code=0)

    def _stop(self) -> None:
        if self._running is not None:
            self._running.process.kill()
            self._running.process.join()
            self._running.requests.close()
            self._running.answers.close()
            self._running = None


class Apart(Metric):
    """A plugin's metric that scores in a process of its own; what it says of itself is as it was."""

    def __init__(self, metric: Metric, scoring: Scoring) -> None:
        self.metric, self._scoring = metric, scoring
        vars(self).update({name: getattr(metric, name) for name in TOLD})

    def score(self, truth: "Array", prediction: "Array") -> float:
        return float(self._ask("score", truth, prediction))

    def resampled(self, truth: "Array", prediction: "Array", rows: "Array") -> "Array":
        import numpy as np

        return np.frombuffer(self._ask("resampled", truth, prediction, rows), np.float64)

    def right(self, truth: "Array", prediction: "Array") -> "Array | None":
        import numpy as np

        found = self._ask("right", truth, prediction)
        return None if found is None else np.frombuffer(found, np.float64)

    def _ask(self, what: str, *given: "Array") -> Any:
        """Its answer. Raises UndefinedError or TrainingError, with its reason, if it has none."""
        found = self._scoring.ask(what, [self.name], given, AGAIN)[self.name]
        if isinstance(found, str):
            how, _, why = found.partition(": ")
            raise (UndefinedError if how == UNDEFINED else TrainingError)(why)
        return found


TOLD = ("name", "targets", "direction", "share", "column", "interval", "short", "source", "space", "libraries")


def apart(catalog: Catalog) -> Shelf[Metric]:
    """The metrics, those of plugins each in a process that they share, which begins when one of them is asked."""
    scoring, shelf = Scoring(catalog, os.environ), catalog.metrics
    own = {name: metric if shelf.origins[name].is_own else Apart(metric, scoring) for name, metric in shelf.items()}
    return Shelf(shelf.role, own, shelf.origins)
