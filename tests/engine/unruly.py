"""A plugin for tests: fusions that do to their process what no part should."""

import ctypes
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import Any

import mmbench as mb


class _Sum(mb.Fusion):
    """The sum of projections, after something unruly."""

    def build(self, inputs: Any, width: int, params: Any) -> Any:
        from torch import nn

        unruly = self

        class Sum(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.project = nn.ModuleDict({m: nn.Linear(spec.width, width) for m, spec in inputs.items()})

            def forward(self, features: Any) -> Any:
                unruly.act(params)
                return sum(self.project[m](f.pooled) for m, f in features.items())

        return Sum()

    def act(self, params: Any) -> None:
        raise NotImplementedError


class Leaves(_Sum):
    """Ends its process without a word."""

    name = "leaves"

    def act(self, params: Any) -> None:
        os._exit(3)


class Quits(_Sum):
    """Calls sys.exit."""

    name = "quits"

    def act(self, params: Any) -> None:
        sys.exit("enough")


class Aborts(_Sum):
    """Crashes, as a library in C does; but only where something was tuned."""

    name = "aborts"
    space = {"size": mb.Int(1, 10**6, default=1)}

    def act(self, params: Any) -> None:
        if params["size"] != 1:
            os.abort()


class Forks(_Sum):
    """Crashes, and leaves a child that holds all that it had open."""

    name = "forks"

    def act(self, params: Any) -> None:
        if not os.fork():
            time.sleep(60)  # longer than it takes until a silent process counts as hung
            os._exit(0)
        os.abort()


class Loud(_Sum):
    """Prints megabytes."""

    name = "loud"

    def act(self, params: Any) -> None:
        print("loud " * 20_000)
        print("loud " * 20_000, file=sys.stderr)


class Wanders(_Sum):
    """Changes its folder, its environment and its signals."""

    name = "wanders"

    def act(self, params: Any) -> None:
        os.chdir("/")
        os.environ["MMBENCH_CACHE"] = "/nowhere"
        with suppress(ValueError):  # on another thread
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Lingers(_Sum):
    """Leaves a thread behind that never ends."""

    name = "lingers"

    def act(self, params: Any) -> None:
        threading.Thread(target=time.sleep, args=(10_000,)).start()


class Swallows(_Sum):
    """Takes memory until there is none left."""

    name = "swallows"

    def act(self, params: Any) -> None:
        import torch

        taken = []
        for _ in range(10_000):
            taken.append(torch.empty(2**28))  # 1 GiB of addresses, none of it touched


class Fills(_Sum):
    """Takes memory and uses it, until the kernel ends its process."""

    name = "fills"

    def act(self, params: Any) -> None:
        hoard = []
        while True:
            hoard.append(b"\1" * 2**26)


class Deaf(_Sum):
    """Sleeps for ever and hears no signal."""

    name = "deaf"

    def act(self, params: Any) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
        time.sleep(10_000)


class Stuck(_Sum):
    """Hangs in C and lets no other Python code run."""

    name = "stuck"

    def act(self, params: Any) -> None:
        ctypes.PyDLL(None).sleep(10_000)


class Deadlock(_Sum):
    """Waits for a lock that it holds itself."""

    name = "deadlock"

    def act(self, params: Any) -> None:
        lock = threading.Lock()
        with lock:
            lock.acquire()


@mb.hookimpl
def mmbench_fusions() -> list[type[mb.Fusion]]:
    return [Leaves, Quits, Aborts, Forks, Loud, Wanders, Lingers, Swallows, Fills, Deaf, Stuck, Deadlock]
