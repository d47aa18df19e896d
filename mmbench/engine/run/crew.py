"""The running jobs: fills seats, reads messages, ends workers that hang or break the rules.

The run talks to its executor through this alone.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from mmbench.api.executor import End, Ending, Executor, Handle, Seat
from mmbench.engine import clock
from mmbench.engine.executors.messages import Done, Failed, Message, Started, decode
from mmbench.engine.executors.wire import GarbledError
from mmbench.engine.executors.worker import Assignment, Setting
from mmbench.engine.jobs.job import Job

GRACE = 5.0  # a process that is silent for twice a trial's limit and these seconds counts as hung


@dataclass(eq=False)
class Running:
    """A job at work."""

    job: Job
    seat: Seat
    heard: float | None = None
    """When it last said something; None: it is not there yet."""
    over: bool = False
    """Whether it said that it was done, or had failed."""
    verdict: End | None = None
    """Why it was ended by the run, if it was."""


class Crew:
    """Who is at work on which seat of an executor."""

    def __init__(self, executor: Executor, setting: Callable[[Job], Setting]) -> None:
        self._executor, self._setting = executor, setting
        self._running: dict[Handle, Running] = {}
        clock.begin()

    @property
    def running(self) -> list[Running]:
        return list(self._running.values())

    @property
    def free(self) -> list[Seat]:
        """The seats that wait for a job."""
        taken = {running.seat for running in self._running.values()}
        return [seat for seat in self._executor.seats if seat not in taken]

    def start(self, job: Job) -> None:
        """Begin `job` on the first free seat."""
        seat = self.free[0]
        work = Assignment(job, replace(self._setting(job), device=seat.device))
        self._running[self._executor.start(work, seat)] = Running(job, seat)

    def messages(self, timeout: float) -> Iterator[tuple[Running, Message | End]]:
        """What workers said within `timeout` seconds; the last of each is its `End`. Who sends what is no message is
        ended, and heard no more."""
        for handle, said in self._executor.messages(timeout):
            clock.look()
            running = self._running.get(handle)
            if running is None:
                continue  # the executor's own mistake: its end was told before
            if isinstance(said, End):
                del self._running[handle]
                yield running, _truth(running, said)
            elif running.verdict is None and not running.over:
                running.heard = clock.seconds()
                try:
                    message = decode(said)
                except GarbledError as error:
                    self.dismiss(running, f"it sent what is no message: {error}")
                    continue
                running.over |= isinstance(message, Done | Failed)
                if not isinstance(message, Started):
                    since = clock.seconds()
                    yield running, message
                    self._spare(clock.seconds() - since)
        clock.look()

    def _spare(self, seconds: float) -> None:
        """So long nobody listened, as where a metric took its time: what workers said meanwhile is not read yet."""
        for running in self.running:
            if running.heard is not None:
                running.heard += seconds

    def dismiss(self, running: Running, why: str) -> None:
        """End a worker that broke the rules."""
        self._stop(running, End(Ending.UNRULY, detail=why))

    def dismiss_hung(self, limit: Callable[[Running], float | None]) -> None:
        """End the workers that were silent for twice the seconds that `limit` gives them."""
        now = clock.seconds()
        for running in self.running:
            seconds = limit(running)
            if seconds is not None and running.heard is not None and now - running.heard > 2 * seconds + GRACE:
                self._stop(running, End(Ending.HUNG))

    def _stop(self, running: Running, verdict: End) -> None:
        if running.verdict is None:
            running.verdict = verdict
            self._executor.kill(next(handle for handle, one in self._running.items() if one is running))


def _truth(running: Running, end: End) -> End:
    """How it ended, by all that is known: the process itself does not know that its last word was missing."""
    if running.over:
        return End(Ending.DONE)
    if running.verdict is not None:
        return running.verdict
    return replace(end, ending=Ending.EXITED, code=end.code or 0) if end.ending is Ending.DONE else end
