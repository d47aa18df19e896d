"""What `run` and `prepare` show while they work: a live board on a terminal, plain lines elsewhere.

A display is a context and a listener at once: session calls it with each event, on the caller's thread.
"""

import shutil
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

from mmbench.api.parts.scores import sign
from mmbench.api.record import Record, Refit, Trial, winner
from mmbench.cli import terminal
from mmbench.engine.events import (
    CellFinished,
    CellPaused,
    CellStarted,
    DataRead,
    Event,
    Progress,
    RefitFinished,
    TrialFinished,
    WorkerLost,
)

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from mmbench.engine.space import Cell

PAUSE = 5.0  # seconds between two plain lines of progress
FORGET = 3.0  # seconds after which a progress that went silent is no longer drawn
TRIALS, SEARCHED = 0.7, 0.9  # the shares of a cell's time after its trials and after its refits, roughly


@dataclass
class Active:
    """A cell that a worker is at."""

    cell: "Cell"
    started: float
    trials: int = 0
    refits: int = 0
    seconds: float = 0.0
    best: tuple[int, float] | None = None
    """Of the configuration that leads so far: its first trial's number and score on validation."""
    tries: list[Trial] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    """The tuned configuration's scores on test, one for each seed."""
    ended: bool = False

    def tried(self, trial: Trial) -> None:
        self.trials = trial.number + 1
        self.seconds += trial.seconds
        self.tries.append(replace(trial, curve=[]))
        best = winner(self.tries, sign=sign(self.cell.direction))
        if best is not None and best.score is not None:
            self.best = (best.number, best.score)
        self.ended = self.best is None and self.trials >= self.cell.budget.trials

    def refitted(self, refit: Refit) -> None:
        self.refits += 1
        self.seconds += refit.seconds
        if refit.role == "tuned" and self.cell.task.metric in refit.metrics:
            self.scores.append(refit.metrics[self.cell.task.metric])
        default_won = self.best is not None and self.best[0] == 0
        last = refit.role == "default" or default_won  # a default that won is not refitted twice
        self.ended = last and refit.seed == self.cell.budget.seeds(refit.role)[-1]

    @property
    def share(self) -> float:
        return SEARCHED if self.ended else min(self.trials / self.cell.budget.trials, 1.0) * TRIALS

    @property
    def stage(self) -> str:
        return f"refit {self.refits}" if self.refits else f"trial {self.trials}/{self.cell.budget.trials}"

    @property
    def result(self) -> str:
        """Its score on test in one line."""
        found = f"{sum(self.scores) / len(self.scores):.4f} ({len(self.scores)} seeds)" if self.scores else "–"
        return (
            f"{self.cell.task.name}, {self.cell.contender}: test {self.cell.task.metric} {found}, "
            f"{terminal.duration(self.seconds)}"
        )


@dataclass
class State:
    """What the events so far add up to. Cells are searched and refitted side by side, then measured one by one."""

    cells: int
    before: int
    """Cells that earlier runs finished."""
    began: float = field(default_factory=time.monotonic)
    finished: int = 0
    spent: list[float] = field(default_factory=list)
    """Seconds that the trials and refits of each finished cell took, if it had any."""
    active: dict[str, Active] = field(default_factory=dict)
    paused: dict[str, Active] = field(default_factory=dict)
    searched: dict[str, Active] = field(default_factory=dict)
    work: dict[str, tuple[int, int, float]] = field(default_factory=dict)
    """{label: (done, total, when)} of downloads, features and the like."""

    def hear(self, event: Event, now: float) -> None:
        if isinstance(event, CellStarted):
            self._at(event.cell, now).started = now
        elif isinstance(event, CellPaused):
            self.paused[event.cell.key] = self.active.pop(event.cell.key)
        elif isinstance(event, TrialFinished):
            self._at(event.cell, now).tried(event.trial)
            self._settle(event.cell)
        elif isinstance(event, RefitFinished):
            self._at(event.cell, now).refitted(event.refit)
            self._settle(event.cell)
        elif isinstance(event, CellFinished):
            places = (self.active, self.paused, self.searched)
            found = [place.pop(event.cell.key) for place in places if event.cell.key in place]
            self.spent += [active.seconds for active in found if active.seconds]
            self.finished += 1
        elif isinstance(event, Progress):
            self.work.pop(event.label, None)  # to the end of the line, as the newest
            self.work[event.label] = (event.done, event.total, now)

    def _at(self, cell: "Cell", now: float) -> Active:
        if cell.key not in self.active:
            paused = cell.key in self.paused
            self.active[cell.key] = self.paused.pop(cell.key) if paused else Active(cell, now)
        return self.active[cell.key]

    def _settle(self, cell: "Cell") -> None:
        if self.active[cell.key].ended:
            self.searched[cell.key] = self.active.pop(cell.key)

    @property
    def told(self) -> int:
        """The cells whose outcome is known, measured or not."""
        return self.before + self.finished + len(self.searched)

    def left(self, now: float) -> float | None:
        """Seconds left, if trials to come are like the cell's so far and cells like the others; None while there is
        nothing to go by."""
        begun = [a for place in (self.active, self.paused, self.searched) for a in list(place.values()) if a.share > 0]
        done = sum(self.spent) + sum(a.seconds for a in begun)
        if not done:
            return None
        whole = self.spent + [a.seconds / a.share for a in begun]
        unknown = self.cells - self.before - self.finished - len(begun)
        return (now - self.began) * (sum(whole) * (1 + unknown / len(whole)) - done) / done

    def moving(self, now: float) -> list[tuple[str, int, int]]:
        """The works in hand, (label, done, total), of those heard of lately; of those in one step only the newest."""
        works = [(label, done, total) for label, (done, total, when) in list(self.work.items()) if now - when < FORGET]
        steps = [work for work in works if work[2] <= 1]
        return [work for work in works if work[1] < work[2] and (work[2] > 1 or work == steps[-1])]


def outcome(record: Record) -> str:
    """A cell's record in one line."""
    where = f"{record.task}, {record.contender}"
    if record.status != "ok":
        return terminal.one_line(f"{where}: {record.status}: {record.reason}")
    scores = record.scores(record.metric)
    mean = sum(scores) / max(len(scores), 1)
    return f"{where}: test {record.metric} {mean:.4f} ({len(scores)} seeds)"


class Silent:
    """The display of `--quiet`: none."""

    def __init__(self, cells: int, before: int):
        self.state = State(cells=cells, before=before)

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
    """Plain lines: one for each cell whose outcome is known, and one every few seconds for a work that takes long."""

    def __init__(self, cells: int, before: int, *, title: str, console: "Console"):
        super().__init__(cells, before)
        self.title, self.console = title, console
        self._spoke = time.monotonic()
        self._told: set[str] = set()

    def __enter__(self) -> Self:
        self.say(f"{self.title}: {self.state.cells} cells, {self.state.before} done before")
        return super().__enter__()

    def say(self, line: str) -> None:
        self._spoke = time.monotonic()
        self.console.print(terminal.harmless(line), soft_wrap=True)
        self.console.file.flush()

    def __call__(self, event: Event) -> None:
        searched = set(self.state.searched)
        super().__call__(event)
        for key in self.state.searched.keys() - searched:
            if self.state.searched[key].refits:
                self._tell(key, self.state.searched[key].result)
        if isinstance(event, CellFinished) and not (event.cell.key in searched and event.record.status == "ok"):
            self._tell(event.cell.key, outcome(event.record))
        elif isinstance(event, WorkerLost):
            self.say(f"{event.cell.task.name}, {event.cell.contender}: {event.reason}; it will be tried again")
        elif isinstance(event, DataRead):
            for line in (f"data {event.dataset}", *(f"  {line}" for line in event.report)):
                self.say(line)
        elif isinstance(event, Progress):
            self._progress(event)
        elif isinstance(event, CellPaused):
            self._progress(Progress("first trials", self.state.told + len(self.state.paused), self.state.cells))

    def _tell(self, key: str, line: str) -> None:
        """Number the lines as they come: what is known and not yet told does not count."""
        self._told.add(key)
        width = len(str(self.state.cells))
        self.say(f"[{self.state.before + len(self._told):>{width}}/{self.state.cells}] {line}")

    def _progress(self, event: Progress) -> None:
        if time.monotonic() - self._spoke >= PAUSE:
            self.say(event.label + (f": {event.done / event.total:.0%}" if event.total > 1 else ""))


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
        words = [f"{state.told}/{state.cells} cells", f"{state.before + state.finished} measured"]
        words += [f"{len(state.paused)} begun"] if state.paused else []
        words.append(terminal.duration(now - state.began))
        words += [f"about {terminal.duration(left)} left"] if left is not None else []
        overall, told = Table.grid(padding=(0, 1)), ", ".join(words)
        bar = max(10, min(30, self.console.width - len(told) - 2))
        overall.add_row(ProgressBar(total=max(state.cells, 1), completed=state.told, width=bar), told)
        rows = [
            [a.cell.task.name, a.cell.contender, a.stage, _score(a), terminal.duration(now - a.started)]
            for a in list(state.active.values())
        ]
        parts: list[RenderableType] = [Text(self.title, style="bold"), overall]
        if rows:
            columns = ("task", "contender", "at", "best on validation", "for")
            parts.append(terminal.table(columns, rows, right=("best on validation", "for")))
        for said, done, total in state.moving(now)[-4:]:
            label = terminal.one_line(said)
            line = Table.grid(padding=(0, 1))
            if total > 1:
                line.add_row(ProgressBar(total=total, completed=done, width=30), Text(f"{done / total:>4.0%} {label}"))
            else:
                line.add_row(Text(f"{label} ..."))
            parts.append(line)
        return Group(*parts)


def _score(active: Active) -> str:
    return "" if active.best is None else f"{active.cell.task.metric} {active.best[1]:.4f}"


def display(cells: "Sequence[Cell]", done: Collection[str], *, title: str, quiet: bool) -> Silent:
    """The display that fits where stdout goes."""
    before = sum(cell.key in done for cell in cells)
    if quiet:
        return Silent(len(cells), before)
    console = terminal.console()
    live = console.is_terminal and not console.is_dumb_terminal and shutil.get_terminal_size().columns >= console.width
    kind = Board if live else Lines
    return kind(len(cells), before, title=title, console=console)


class Meter:
    """The progress of `prepare`: a listener of `mmbench.api.progress`."""

    def __init__(self, *, quiet: bool):
        self._console = terminal.console()
        self._quiet = quiet
        self._spoke = time.monotonic()

    def __enter__(self) -> Self:
        from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
        )
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
        label = terminal.one_line(label)
        if self._bars.disable:
            if not self._quiet and total and time.monotonic() - self._spoke >= PAUSE:
                self._spoke = time.monotonic()
                self._console.print(f"{label}: {done / total:.0%}", soft_wrap=True)
            return
        if label not in self._tasks:
            self._tasks[label] = self._bars.add_task(label, total=total or None)
        self._bars.update(self._tasks[label], completed=done, total=total or None)
