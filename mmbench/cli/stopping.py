"""Handles signals to stop: what a cluster or a closed terminal sends acts like Ctrl-C, with its own exit code.

`app.main` calls `listen`; the exit codes follow the shell's custom, 128 and the signal's number.
"""

import signal
from typing import NoReturn


class StopError(KeyboardInterrupt):
    """Somebody sent a signal that means: stop. Its argument is the signal's number."""


def listen() -> None:
    """Raise StopError where SIGTERM or SIGHUP comes, once; what `nohup` has switched off stays so."""
    for number in _signals():
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _raise)


def exit_code(error: KeyboardInterrupt) -> int:
    """130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
    return 128 + (int(error.args[0]) if isinstance(error, StopError) else signal.SIGINT)


def cause(error: KeyboardInterrupt) -> str:
    """What to say of it: "by SIGTERM, "; nothing for Ctrl-C, which the user knows of."""
    return f"by {signal.Signals(error.args[0]).name}, " if isinstance(error, StopError) else ""


def _raise(number: int, frame: object) -> NoReturn:
    for each in _signals():  # a second one must not disturb the clearing up
        signal.signal(each, signal.SIG_IGN)
    raise StopError(number)


def _signals() -> list[signal.Signals]:
    """Windows has no SIGHUP."""
    return [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
