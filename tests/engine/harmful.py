"""A plugin for tests: metrics that do to the process that scores what no metric should. Each scores, but for that, as
the first class is guessed right."""

import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import mmbench as mb


class _Harmful(mb.Metric):
    """The share of rows whose most likely class is right, after something harmful."""

    targets = ("label",)

    def score(self, truth: Any, prediction: Any) -> float:
        self.act()
        return float((prediction.argmax(1) == truth).mean())

    def act(self) -> None:
        raise NotImplementedError


class Harmless(_Harmful):
    """Does nothing, in whatever process: it notes in which."""

    name = "a_harmless"

    def act(self) -> None:
        with Path(os.environ["SCORED_IN"]).open("a") as file:
            file.write(f"{os.getpid()}\n")


class Again(Harmless):
    """Does nothing either, after all others."""

    name = "zz_harmless"


class Hangs(_Harmful):
    """Never returns."""

    name = "hangs"

    def act(self) -> None:
        time.sleep(10_000)


class Stuck(_Harmful):
    """Hangs in C, with every signal blocked, and lets no other Python code run."""

    name = "stuck"

    def act(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
        ctypes.PyDLL(None).sleep(10_000)


class Quits(_Harmful):
    """Calls sys.exit."""

    name = "quits"

    def act(self) -> None:
        sys.exit("enough")


class Leaves(_Harmful):
    """Ends its process as if all were well."""

    name = "leaves"

    def act(self) -> None:
        os._exit(0)


class Aborts(_Harmful):
    """Crashes, as a library in C does."""

    name = "aborts"

    def act(self) -> None:
        os.abort()


class Dies(_Harmful):
    """Is killed, as by the kernel when memory runs out."""

    name = "dies"

    def act(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Forks(_Harmful):
    """Forks, and both go on."""

    name = "forks"

    def act(self) -> None:
        os.fork()


class Scrawls(_Harmful):
    """Writes into whatever is open."""

    name = "scrawls"

    def act(self) -> None:
        for number in range(3, 64):
            try:
                os.write(number, b"junk" * 10)
            except OSError:
                continue


class Plunges(_Harmful):
    """Has no end."""

    name = "plunges"

    def act(self) -> None:
        self.act()


class Huge(_Harmful):
    """Gives megabytes that it calls a score."""

    name = "huge"

    def score(self, truth: Any, prediction: Any) -> Any:
        return bytearray(2**24)


class Chatters(_Harmful):
    """Has no score, and says so at length."""

    name = "chatters"

    def act(self) -> None:
        raise mb.UndefinedError("there is none " * 2**20)


class Unsure(_Harmful):
    """Raises when it is asked whether it fits."""

    name = "unsure"

    def supports(self, task: Any) -> str | None:
        raise KeyError("unsure")

    def act(self) -> None:
        pass


HARMFUL: list[Any] = [Hangs, Stuck, Quits, Leaves, Aborts, Dies, Scrawls, Plunges, Huge, Chatters, Unsure]


class Everything(Harmless):
    """Asks for more memory than there is."""

    name = "takes_all"
    taken: ClassVar[list[Any]] = []

    def act(self) -> None:
        import numpy as np

        for _ in range(10_000):
            self.taken.append(np.empty(2**37, np.uint8))


@mb.hookimpl
def mmbench_metrics() -> list[type[mb.Metric]]:
    return [Harmless, Again, Forks, Everything, *HARMFUL]
