"""Seconds that pass for this process: not those in which it was stopped (Ctrl-Z, SIGSTOP, a frozen container).

The limits of trials are kept by it. That a machine sleeps needs no care, for time.monotonic stands still then; but it
goes on while a process is stopped, and no system counts that. So somebody looks at the clock again and again, and time
that went by between two looks without the process getting on is taken off. In a worker a thread looks (`keep_looking`);
in the process that runs the suite it is the loop that listens to workers (`look`).
"""

import _thread
import threading
import time
from dataclasses import dataclass, field

INTERVAL = 0.25  # seconds from one look to the next of the thread
TOLERANCE = 2.0  # seconds between two looks that are nothing unusual
IDLE = 0.1  # whoever used a larger share of the time was at work, and let no other thread look


@dataclass
class Clock:
    """Time without the gaps that were noticed."""

    lost: float = 0.0
    """Seconds in which the process was stopped."""
    looking: bool = False
    """Whether a thread looks."""
    last: tuple[float, float] = field(default_factory=lambda: (time.monotonic(), time.process_time()))
    """The time and the processor's time at the last look."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def look(self) -> None:
        """Notice whether the process was stopped since the last look. To be called at least every second."""
        with self.lock:
            now, used = time.monotonic(), time.process_time()
            passed, worked = now - self.last[0], used - self.last[1]
            if passed > TOLERANCE and worked < IDLE * passed:
                self.lost += passed
            self.last = now, used

    def begin(self) -> None:
        """Forget when the last look was: nobody looked in between."""
        with self.lock:
            self.last = time.monotonic(), time.process_time()

    def seconds(self) -> float:
        """A time in seconds; only differences mean something."""
        if self.looking:  # the thread may not have run since the process was continued
            self.look()
        return time.monotonic() - self.lost

    def keep_looking(self) -> None:
        """Let a thread look from now on, to the end of the process. It is none that `threading` counts."""
        if not self.looking:
            self.begin()
            self.looking = True
            _thread.start_new_thread(self._watch, ())

    def _watch(self) -> None:
        while True:
            time.sleep(INTERVAL)
            self.look()


CLOCK = Clock()
look, begin, seconds, keep_looking = CLOCK.look, CLOCK.begin, CLOCK.seconds, CLOCK.keep_looking
