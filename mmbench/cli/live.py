"""What `run` and `prepare` show while they work: a live board on a terminal, plain lines elsewhere.

A display is a context and a listener at once: session calls it with each event, on the caller's thread.
"""

import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Self

from mmbench.cli import terminal
from mmbench.engine.events import CellFinished, CellStarted, Event, Progress, RefitFinished, TrialFinished, WorkerLost

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from mmbench.engine.space import Cell

SEARCH = 0.8  # the share of a cell's time that its trials take, roughly: the rest is refits and measurement
PAUSE = 5.0  # seconds between two plain lines of progress
FORGET = 3.0  # seconds after which a progress that went silent is no longer drawn


@dataclass
class Active:
    """A cell that a worker is at."""

    cell: "Cell"
    started: float
    trials: int = 0
    refits: int = 0
    best: float | None = None

    def heard(self, score: float | None) -> None:
        self.trials += 1
        if score is not None:
            better = max if self.cell.direction == "max" else min
            self.best = score if self.best is None else better(self.best, score)

    @property
    def share(self) -> float:
        return min(self.trials / self.cell.budget.trials, 1.0) * SEARCH

    @property
    def stage(self) -> str:
        if self.refits:
            return f"refit {self.refits}"
        return f"trial {self.trials}/{self.cell.budget.trials}"


@dataclass
class State:
    """What the events so far add up to."""

    cells: int
    finished: int
    """Cells with a record, those of earlier runs too."""
    began: float = field(default_factory=time.monotonic)
    before: int = 0
    active: dict[str, Active] = field(default_factory=dict)
    work: dict[str, tuple[int, int, float]] = field(default_factory=dict)
    """{label: (done, total, when)} of downloads, features and the like."""

    def __post_init__(self) -> None:
        self.before = self.finished

    def hear(self, event: Event, now: float) -> None:
        if isinstance(event, CellStarted):
            self.active.setdefault(event.cell.key, Active(event.cell, now))
        elif isinstance(event, TrialFinished):
            self._at(event.cell, now).heard(event.trial.score)
        elif isinstance(event, RefitFinished):
            self._at(event.cell, now).refits += 1
        elif isinstance(event, CellFinished):
            self.active.pop(event.cell.key, None)
            self.finished += 1
        elif isinstance(event, WorkerLost):
            self.active.pop(event.cell.key, None)
        elif isinstance(event, Progress):
            self.work[event.label] = (event.done, event.total, now)

    def _at(self, cell: "Cell", now: float) -> Active:
        return self.active.setdefault(cell.key, Active(cell, now))

    def left(self, now: float) -> float | None:
        """Seconds left, if the cells to come are like those so far; None while there is nothing to go by."""
        share = self.finished - self.before + sum(active.share for active in list(self.active.values()))
        to_do = self.cells - self.before
        return (now - self.began) * (to_do - share) / share if share > 0 else None

    def moving(self, now: float) -> list[tuple[str, int, int]]:
        """The works in hand: {label, done, total} of those heard of lately."""
        return [
            (label, done, total)
            for label, (done, total, when) in list(self.work.items())
            if done < total and now - when < FORGET
        ]


def outcome(event: CellFinished) -> str:
    """A finished cell in one line."""
    record = event.record
    where = f"{record.task}, {record.contender}"
    if record.status != "ok":
        return f"{where}: {record.status}: {record.reason}"
    scores = record.scores(record.metric)
    seconds = record.spent.get("seconds")
    words = [f"{record.metric} {sum(scores) / len(scores):.4f} on test, {len(scores)} seeds"] if scores else []
    words += [f"{record.spent['trials']} trials"] if "trials" in record.spent else []
    words += [terminal.duration(seconds)] if seconds is not None else []
    return f"{where}: {', '.join(words)}"


class Silent:
    """The display of `--quiet`: only what must be known."""

    def __init__(self, cells: int, finished: int):
        self.state = State(cells=cells, finished=finished)

    @property
    def finished(self) -> int:
        return self.state.finished

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def say(self, line: str) -> None:
        """Tell the user one thing that lasts."""

    def __call__(self, event: Event) -> None:
        self.state.hear(event, time.monotonic())


class Lines(Silent):
    """Plain lines: one for each finished cell, and one every few seconds for a work that takes long."""

    def __init__(self, cells: int, finished: int, *, title: str, console: "Console"):
        super().__init__(cells, finished)
        self.title, self.console = title, console
        self._spoke = time.monotonic()

    def __enter__(self) -> Self:
        self.say(f"{self.title}: {self.state.cells} cells, {self.state.finished} done")
        return super().__enter__()

    def say(self, line: str) -> None:
        self._spoke = time.monotonic()
        self.console.print(line, soft_wrap=True)
        self.console.file.flush()

    def __call__(self, event: Event) -> None:
        super().__call__(event)
        if isinstance(event, CellFinished):
            width = len(str(self.state.cells))
            self.say(f"[{self.state.finished:>{width}}/{self.state.cells}] {outcome(event)}")
        elif isinstance(event, WorkerLost):
            self.say(f"{event.cell.task.name}, {event.cell.contender}: {event.reason}; it will be tried again")
        elif isinstance(event, Progress):
            self._progress(event)

    def _progress(self, event: Progress) -> None:
        if event.total and time.monotonic() - self._spoke >= PAUSE:
            self.say(f"{event.label}: {event.done / event.total:.0%}")


class Board(Lines):
    """The live board below the lines of what is finished."""

    def __enter__(self) -> Self:
        from rich.live import Live

        self._live = Live(get_renderable=self.draw, console=self.console, refresh_per_second=4, transient=True)
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(BrokenPipeError):
            self._live.__exit__(kind, error, trace)

    def _progress(self, event: Progress) -> None:
        """Drawn, not said."""

    def draw(self) -> "RenderableType":
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        now, state = time.monotonic(), self.state
        left = state.left(now)
        overall = Table.grid(padding=(0, 1))
        overall.add_row(
            ProgressBar(total=max(state.cells, 1), completed=state.finished, width=30),
            f"{state.finished}/{state.cells} cells, {terminal.duration(now - state.began)}"
            + (f", about {terminal.duration(left)} left" if left is not None else ""),
        )
        rows = [
            [a.cell.task.name, a.cell.contender, a.stage, _score(a), terminal.duration(now - a.started)]
            for a in list(state.active.values())
        ]
        parts: list[RenderableType] = [Text(self.title, style="bold"), overall]
        if rows:
            columns = ("task", "contender", "at", "best on validation", "for")
            parts.append(terminal.table(columns, rows, right=("best on validation", "for")))
        for label, done, total in state.moving(now)[:4]:
            line = Table.grid(padding=(0, 1))
            line.add_row(ProgressBar(total=total, completed=done, width=30), Text(f"{done / total:>4.0%} {label}"))
            parts.append(line)
        return Group(*parts)


def _score(active: Active) -> str:
    return "" if active.best is None else f"{active.cell.task.metric} {active.best:.4f}"


def display(cells: "Sequence[Cell]", done: Collection[str], *, title: str, quiet: bool) -> Silent:
    """The display that fits where stdout goes."""
    finished = sum(cell.key in done for cell in cells)
    if quiet:
        return Silent(len(cells), finished)
    console = terminal.console()
    kind = Board if console.is_terminal else Lines
    return kind(len(cells), finished, title=title, console=console)


class Meter:
    """The progress of `prepare`: a listener of `mmbench.api.progress`."""

    def __init__(self, *, quiet: bool):
        self._console = terminal.console()
        self._quiet = quiet
        self._spoke = time.monotonic()

    def __enter__(self) -> Self:
        from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        hidden = self._quiet or not self._console.is_terminal
        self._bars = Progress(*columns, console=self._console, disable=hidden)
        self._tasks: dict[str, TaskID] = {}
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, label: str, done: int, total: int) -> None:
        if self._bars.disable:
            if not self._quiet and total and time.monotonic() - self._spoke >= PAUSE:
                self._spoke = time.monotonic()
                self._console.print(f"{label}: {done / total:.0%}", soft_wrap=True)
            return
        if label not in self._tasks:
            self._tasks[label] = self._bars.add_task(label, total=total or None)
        self._bars.update(self._tasks[label], completed=done, total=total or None)
