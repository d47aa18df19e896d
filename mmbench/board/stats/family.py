"""The tests of all pairs of a task's contenders, corrected together: ranks, colours and sentences follow these.

As the data say which contender is called the best, the family is every pair: Holm's correction, or Bonferroni's where
the pairs are very many, which tests only those that are asked for. Used by `rank` and `compare`.
"""

import math
from collections.abc import Callable, Sequence
from itertools import combinations

from mmbench.board.stats.reference import LEVEL

MOST_PAIRED = 50  # contenders of which each pair is tested


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (1979): compare what it gives with the level for the whole family."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = highest
    return adjusted


class Family:
    """All pairs of `names`, best first; `p_value` gives the p of a pair, the better one first."""

    def __init__(self, names: Sequence[str], p_value: Callable[[str, str], float]) -> None:
        self.names = list(names)
        self._place = {name: place for place, name in enumerate(self.names)}
        self._p_value = p_value
        self.tests = math.comb(len(self.names), 2)
        self._adjusted: dict[tuple[str, str], float] = {}
        if self._every:
            pairs = list(combinations(self.names, 2))
            self._adjusted = dict(zip(pairs, holm([p_value(*pair) for pair in pairs]), strict=True))

    @property
    def _every(self) -> bool:
        return len(self.names) <= MOST_PAIRED

    @property
    def correction(self) -> str:
        """What a p of it is corrected for: "Holm, 105 pairs"."""
        return f"{'Holm' if self._every else 'Bonferroni'}, {self.tests} pair{'' if self.tests == 1 else 's'}"

    def p(self, one: str, other: str) -> float:
        """The corrected p of two contenders: below 5% where they differ."""
        first, second = sorted((one, other), key=self._place.__getitem__)
        if (first, second) not in self._adjusted:
            self._adjusted[first, second] = min(1.0, self._p_value(first, second) * self.tests)
        return self._adjusted[first, second]

    def ranks(self) -> dict[str, int]:
        """Ranks from 1: those that don't differ from the best of a group share its rank.

        A group ends at the first that differs from its best, which leads the next group: one that scores less never
        ranks higher, however much its seeds scatter.
        """
        ranks: dict[str, int] = {}
        best = ""
        for place, name in enumerate(self.names, start=1):
            if not ranks or self.p(best, name) < LEVEL:
                best, ranks[name] = name, place
            else:
                ranks[name] = ranks[best]
        return ranks
