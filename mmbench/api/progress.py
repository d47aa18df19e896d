"""Progress of anything that takes a while, reported to a listener. Loaders and encoders call `track` or `report`.

Nothing here prints: the command line listens and draws, a worker listens and passes it on.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias, TypeVar

T = TypeVar("T")
Listener: TypeAlias = Callable[[str, int, int], None]

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def report(label: str, done: int, total: int) -> None:
    """Say that `done` of `total` is done of what `label` names."""
    listener = _listener.get()
    if listener:
        listener(label, done, total)


def track(items: Iterable[T], label: str, total: int) -> Iterator[T]:
    """Yield `items`, reporting after each."""
    report(label, 0, total)
    for done, item in enumerate(items, 1):
        yield item
        report(label, done, total)


@contextmanager
def listen(listener: Listener) -> Iterator[None]:
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
