"""A plugin for tests: fusions whose process, or whose errors, are not what they seem."""

import os
import signal
import sys
from typing import Any

import mmbench as mb


class _Sum(mb.Fusion):
    """The sum of projections, after an act."""

    def build(self, inputs: Any, width: int, params: Any) -> Any:
        from torch import nn

        actor = self

        class Sum(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.project = nn.ModuleDict({m: nn.Linear(spec.width, width) for m, spec in inputs.items()})

            def forward(self, features: Any) -> Any:
                actor.act(params)
                return sum(self.project[m](f.pooled) for m, f in features.items())

        return Sum()

    def act(self, params: Any) -> None:
        raise NotImplementedError


class Twins(_Sum):
    """Forks once, and both go on."""

    name = "twins"
    done = False

    def act(self, params: Any) -> None:
        if not Twins.done:
            Twins.done = True
            os.fork()


class Helped(_Sum):
    """Forks a helper by multiprocessing, which reports progress and ends."""

    name = "helped"

    def act(self, params: Any) -> None:
        import multiprocessing

        helper = multiprocessing.get_context("fork").Process(target=_report)
        helper.start()
        helper.join()
        assert helper.exitcode == 0


def _report() -> None:
    from mmbench.api.progress import report

    report("helping", 1, 1)


class Scrawls(_Sum):
    """Writes into every pipe that it finds."""

    name = "scrawls"

    def act(self, params: Any) -> None:
        for number in range(3, 256):
            try:
                os.write(number, b"scrawl " * 20)
            except OSError:
                continue


class SilentError(Exception):
    """Can't be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


class Unspeakable(_Sum):
    """Raises an error whose message raises."""

    name = "unspeakable"

    def act(self, params: Any) -> None:
        raise SilentError


class HalfError(Exception):
    """Its message holds half of a character, which can't be stored."""

    def __str__(self) -> str:
        return "half \ud800 of it"


class Half(_Sum):
    """Raises such an error."""

    name = "half"

    def act(self, params: Any) -> None:
        raise HalfError


class Recurses(_Sum):
    """Calls itself for ever."""

    name = "recurses"

    def act(self, params: Any) -> None:
        self.act(params)


class Plunges(_Sum):
    """Calls itself for ever, and lets nothing stop it but the end of the stack."""

    name = "plunges"

    def act(self, params: Any) -> None:
        sys.setrecursionlimit(2**31 - 1)
        self.plunge()

    def plunge(self) -> Any:
        return max([self], key=lambda one: one.plunge())


class Freezes(_Sum):
    """Stops its own process, for good."""

    name = "freezes"

    def act(self, params: Any) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)


class Forges(_Sum):
    """Sends scores of test that it has made up, and no predictions."""

    name = "forges"

    def act(self, params: Any) -> None:
        from dataclasses import replace

        from mmbench.engine.jobs import evaluate

        honest: Any = evaluate._tested
        if honest.__module__ == evaluate.__name__:

            def tested(*given: Any) -> Any:
                refit, _ = honest(*given)
                return replace(refit, metrics={"accuracy": 1.0}), {}

            evaluate._tested = tested  # type: ignore[assignment]


class Overspends(_Sum):
    """Begins more trials than it was granted."""

    name = "overspends"

    def act(self, params: Any) -> None:
        import gc

        from mmbench.engine.executors.messages import TrialsBegun
        from mmbench.engine.executors.worker import _Teller

        for one in gc.get_objects():
            if isinstance(one, _Teller):
                one(TrialsBegun([(7, {})]))


@mb.hookimpl
def mmbench_fusions() -> list[type[mb.Fusion]]:
    return [Twins, Helped, Scrawls, Unspeakable, Half, Recurses, Plunges, Freezes, Forges, Overspends]
