"""The tests of a task's contenders, corrected: ranks, colours and sentences follow these.

Three questions, each with its own correction; the answers never contradict each other.

- Which may be the best? A contender is not where another one is better, at 5% over all its rivals (a set that holds the
  true best 95% of the time: Hsu 1981, "Simultaneous confidence intervals for all distances from the best").
- Does one differ from the reference? Step-down over the rivals of the reference.
- Do two others differ? Holm's correction over all pairs, as anyone may ask for any pair.

A contender is shown to be worse than another one only where it is also shown not to be the best of those that rank with
the other. Used by `rank` and `compare`.
"""

import math
from collections.abc import Callable, Collection, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, TypeAlias

from mmbench.board.stats.joint import SURE, Joint, tail, units
from mmbench.board.stats.reference import LEVEL

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

MOST_PAIRED = 50
"""Contenders of which each pair is tested; of more, each with the first of its group, by Bonferroni's correction."""


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (1979): compare what it gives with the level for the whole family."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = highest
    return adjusted


class Family:
    """`names`, best first; `p_value` gives the two-sided p of a pair, the better one first.

    `covariance` [K, K] is that of the errors of their means; without it, and for very many, corrections take the tests
    to be strangers. `rivals` are those whose difference from `reference` is asked for.
    """

    def __init__(
        self,
        names: Sequence[str],
        p_value: Callable[[str, str], float],
        *,
        covariance: "Array | None" = None,
        reference: str | None = None,
        rivals: Collection[str] = (),
    ) -> None:
        self.names = list(names)
        self._place = {name: place for place, name in enumerate(self.names)}
        self._p_value = p_value
        self._known: dict[tuple[int, int], float] = {}
        self._few = 1 < len(self.names) <= MOST_PAIRED
        self._joint = Joint(covariance) if covariance is not None and self._few else None
        self.reference = reference if reference in self._place else None
        self.rivals = [name for name in self.names if name in rivals and name != reference] if self.reference else []
        self._of_rivals = dict(zip(self.rivals, self._against_the_reference(), strict=True))
        self._pairs: dict[tuple[int, int], float] = {}
        self._best: dict[tuple[int, int], float] = {}
        self._ranks, self._rounds = self._in_groups()

    def ranks(self) -> dict[str, int]:
        """Ranks from 1, which is that of the set of the best.

        Below it the question is asked again of those that are left, and each group has the rank 1 + the number of
        contenders above it.
        """
        return dict(self._ranks)

    def best(self, name: str) -> float:
        """The p of being the best of all: below 5% for what is not in the set of the best."""
        return self._of_best(self._place[name], self._rounds[0])

    @property
    def of_best(self) -> str:
        """What `best` is corrected for: "max-t, 14 rivals"."""
        return f"{'max-t' if self._joint else 'Bonferroni'}, {_many(len(self.names) - 1, 'rival')}"

    def p(self, one: str, other: str) -> float:
        """The corrected p of two contenders: below 5% where they differ."""
        better, worse = sorted((one, other), key=self._place.__getitem__)
        if self._is_rival(one, other):
            own = self._of_rivals[other if one == self.reference else one]
        else:
            own = self._of_pair(self._place[better], self._place[worse])
        first, second = self._place[better], self._place[worse]
        together = next(found for found in reversed(self._rounds) if first in found and second in found)
        return max(own, self._of_best(second, together))

    def correction(self, one: str, other: str) -> str:
        """What that p is corrected for: "step-down max-t, 12 rivals", or "Holm, 105 pairs"."""
        if self._is_rival(one, other):
            return f"{'step-down max-t' if self._joint else 'Holm'}, {_many(len(self.rivals), 'rival')}"
        return f"{'Holm' if self._every else 'Bonferroni'}, {_many(math.comb(len(self.names), 2), 'pair')}"

    @property
    def _every(self) -> bool:
        return len(self.names) <= MOST_PAIRED

    def _is_rival(self, one: str, other: str) -> bool:
        return self.reference in (one, other) and bool({one, other} & self._of_rivals.keys())

    def _plain(self, first: int, second: int) -> float:
        """The p of a pair, the better one first, corrected for nothing."""
        if (first, second) not in self._known:
            self._known[first, second] = self._p_value(self.names[first], self.names[second])
        return self._known[first, second]

    def _of_pair(self, first: int, second: int) -> float:
        if not self._every:
            return min(1.0, self._plain(first, second) * math.comb(len(self.names), 2))
        if not self._pairs:
            pairs = list(combinations(range(len(self.names)), 2))
            self._pairs = dict(zip(pairs, holm([self._plain(*pair) for pair in pairs]), strict=True))
        return self._pairs[first, second]

    def _against_the_reference(self) -> list[float]:
        if self.reference is None or not self.rivals:
            return []
        one, others = self._place[self.reference], [self._place[name] for name in self.rivals]
        found = [self._plain(min(one, other), max(one, other)) for other in others]
        return self._joint.stepped(one, others, list(map(units, found))) if self._joint else holm(found)

    def _in_groups(self) -> tuple[dict[str, int], list[list[int]]]:
        """Ranks, and for each group which contenders it was found among."""
        ranks: dict[str, int] = {}
        rounds: list[list[int]] = []
        left = list(range(len(self.names)))
        while left:
            rounds.append(left)
            worse = {place for place in left if self._is_worse(place, left)}
            rank = 1 + len(self.names) - len(left)
            ranks |= {self.names[place]: rank for place in left if place not in worse}
            left = [place for place in left if place in worse]
        return ranks, rounds

    def _is_worse(self, one: int, among: Sequence[int]) -> bool:
        """Whether `one` is shown not to be the best of those; joint draws only where their bounds don't say it."""
        low, high = self._bounds(one, among)
        return high < LEVEL or (low < LEVEL and self._of_best(one, among) < LEVEL)

    def _of_best(self, one: int, among: Sequence[int]) -> float:
        """The p of `one` being the best of those."""
        low, high = self._bounds(one, among)
        if self._joint is None or low == high:
            return high
        if (one, len(among)) not in self._best:  # groups get smaller, so that their size says which one it is
            others = [place for place in among if place != one]
            ahead = [self._ahead(other, one) for other in others]
            self._best[one, len(among)] = min(high, max(low, self._joint.of_best(one, others, ahead)))
        return self._best[one, len(among)]

    def _bounds(self, one: int, among: Sequence[int]) -> tuple[float, float]:
        """Between what that p lies: were the rivals' leads one and the same, and were they strangers (Bonferroni)."""
        if one == among[0]:
            return 1.0, 1.0  # nobody scores more
        if self._few:
            lead = max(self._ahead(other, one) for other in among if other != one)
        else:
            lead = self._ahead(among[0], one)
        sure = SURE if self._joint else 0.0
        low, high = tail(lead) + sure, (len(among) - 1) * tail(lead) + sure
        return min(1.0, low), min(1.0, high)

    def _ahead(self, other: int, one: int) -> float:
        """By how many deviations the other is better; of what nothing is known, by none."""
        apart = units(self._plain(min(one, other), max(one, other)))
        return apart if other < one else -apart


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
