"""Where and whom to kill: chosen from a seed, so that a run of chaos can be had again.

A chain is one run from empty folders, killed at one point of each phase, in the order in which the phases come.
"""

import random
from dataclasses import dataclass
from typing import Literal, TypeAlias

Victim: TypeAlias = Literal["group", "parent", "worker", "server", "interrupted", "terminated", "suspended"]
"""All processes at once; the one the user started; one that works; the one that workers are forked from. The last three
are not killed: Ctrl-C, which reaches all; SIGTERM to the parent, as a cluster sends it; all stopped for a while, as by
a laptop's lid."""

TRIALS, REFITS, CELLS = 13, 14, 4
"""About how many the suite has: a linear baseline has nothing to tune. A point beyond the end is not made."""

PHASES = ("data", "features", "trial", "torn", "append", "refit", "measure", "publish")
"""torn: a row is cut after some of its bytes. append: it is written, perhaps not on the disk yet. publish: all cells
are done, the leaderboard is not."""
STOPPING: tuple[Victim, ...] = ("group", "parent", "interrupted", "terminated")
HOW: dict[Victim, str] = {"interrupted": "Ctrl-C", "terminated": "kill parent", "suspended": "all stopped, continued"}


@dataclass(frozen=True)
class Point:
    """One kill."""

    phase: str
    victim: Victim
    after: int
    """Rows of the phase's kind that are stored before."""
    wait: float
    """Seconds after that; for a torn row the share of it that is written."""

    def __str__(self) -> str:
        how = f"{self.wait:.0%} of a row" if self.phase == "torn" else f"{self.wait:.2f} s"
        deed = HOW.get(self.victim, f"kill -9 {self.victim}")
        return f"{self.phase:<8} after {self.after:>2} rows + {how:<12} {deed}"


def chains(count: int, seed: int) -> list[list[Point]]:
    """At least `count` points, in chains of one for each phase. Each phase is met with every kind of victim in turn."""
    rng = random.Random(seed)
    found: list[list[Point]] = []
    while sum(map(len, found)) < count:
        found.append(_chain(rng, turn=len(found)))
    return found


def _chain(rng: random.Random, turn: int) -> list[Point]:
    trials = sorted(rng.sample(range(TRIALS - 2), 3))
    after = {"data": 0, "features": 0, "refit": rng.randrange(1, REFITS - 2), "measure": rng.randrange(CELLS)}
    after |= dict(zip(("trial", "torn", "append"), trials, strict=True)) | {"publish": CELLS}
    longest = {"data": 0.2, "features": 0.1, "append": 0.0, "torn": 1.0, "publish": 0.2}
    points = []
    for place, phase in enumerate(PHASES):
        victim = _victim(rng, phase, turn + place)
        points.append(Point(phase, victim, after[phase], rng.uniform(0, longest.get(phase, 0.4))))
    return points


def _victim(rng: random.Random, phase: str, turn: int) -> Victim:
    if phase == "torn":
        return "parent"  # the kernel stops it in the middle of a write
    if phase in ("append", "publish") or turn % 3 == 0:
        return rng.choice(STOPPING)  # no worker is at work, or it is the turn of a stop
    return rng.choices(("server", "suspended", "worker"), (1, 2, 7))[0]
