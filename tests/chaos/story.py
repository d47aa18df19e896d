"""Chaos as a whole: one run that is left in peace, and as many as it takes that are not; all give the same table."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.folder import leftovers, table
from tests.chaos.killing import Chain, ChaosError
from tests.chaos.points import chains


@dataclass(frozen=True)
class Story:
    """What came of it."""

    seed: int
    made: Counter[tuple[str, str]]
    """{(phase, victim): kills}"""
    chains: int
    starts: int
    longest_life: float
    cells: int
    faults: tuple[str, ...]

    @property
    def points(self) -> int:
        return sum(self.made.values())

    def __str__(self) -> str:
        kills = [f"  {phase:<9}{victim:<8}{n:>4}" for (phase, victim), n in sorted(self.made.items())]
        head = f"chaos, seed {self.seed}: {self.points} kills in {self.chains} chains, {self.starts} starts"
        end = [f"  fault: {fault}" for fault in self.faults] or [
            f"  every table is the same: {self.cells} cells; 0 lost, 0 repeated",
            f"  the last process to outlive its killed parent did so for {self.longest_life:.1f} s",
        ]
        return "\n".join([head, *kills, *end])


def chaos(place: Path, *, points: int, seed: int, lanes: int = 2, tell: Callable[[str], None] = print) -> Story:
    """Kill runs at so many points or more, `lanes` chains at a time, and compare what is left in the end."""
    tell(f"chaos, seed {seed}: at least {points} points")
    peace = Chain(place / "peace", [], tell=tell)
    every = [Chain(place / f"chain-{n}", plan, tell=tell) for n, plan in enumerate(chains(points, seed))]
    faults: list[str] = []
    lock = threading.Lock()

    def live(chain: Chain) -> None:
        try:
            chain.run()
            found = _faults(chain)
        except ChaosError as error:
            found = [f"{chain.place.name}: {error}"]
            tell(found[0])
        with lock:
            faults.extend(found)

    with ThreadPoolExecutor(lanes) as pool:
        list(pool.map(live, [peace, *every]))
    wanted = table(peace.folder) if not faults else {}
    for chain in every if not faults else ():
        found = table(chain.folder)
        faults += [f"{chain.place.name}: {key} differs" for key in wanted | found if wanted.get(key) != found.get(key)]
    return Story(
        seed=seed,
        made=Counter((point.phase, point.victim) for chain in every for point in chain.made),
        chains=len(every),
        starts=sum(chain.starts for chain in every),
        longest_life=max((chain.longest_life for chain in every), default=0.0),
        cells=sum("," in key for key in wanted),
        faults=tuple(faults),
    )


def _faults(chain: Chain) -> list[str]:
    repeated = [f"{chain.place.name}: {key} is there more than once" for key in chain.rows.repeated()]
    return repeated + [f"{path} was left behind" for path in leftovers(chain.place)]
