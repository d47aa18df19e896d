"""A small site made of a small run."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

import pytest

from mmbench.api.parts import Metric
from mmbench.api.record import Trial
from mmbench.board.gate import boards
from mmbench.board.site import render
from mmbench.store.reading import RunData

Site: TypeAlias = dict[str, bytes]
Make: TypeAlias = Callable[..., Site]


def trial(number: int, score: float | None, **other: Any) -> Trial:
    known: dict[str, Any] = {"status": "ok" if score is not None else "error", "reason": None, "seconds": 1.0}
    known |= {"params": {}, "curve": () if score is None else (score - 0.1, score), "epochs": 2}
    return Trial(cell="a/gated", number=number, score=score, **(known | other))


TRIALS = [trial(0, 0.5), trial(1, 0.7), trial(2, None, reason="loss became NaN"), trial(3, 0.6, status="pruned")]


@pytest.fixture
def make(build: Callable[..., RunData], metrics: Mapping[str, Metric]) -> Make:
    """Gives the files of the site of these cells."""

    def maker(
        cells: list[dict[str, Any]],
        *,
        run: str = "small",
        change: Callable[[RunData], RunData] = lambda run: run,
        trials: Mapping[str, Sequence[Trial]] = MappingProxyType({"a/gated": TRIALS}),
        **other: Any,
    ) -> Site:
        data = change(build(cells))
        known: dict[str, Any] = {"trials": {data.path: trials}, "seals": {}, "sources": {}}
        return render.files(boards.boards([data], metrics), run=run, **(known | other))

    return maker


@pytest.fixture
def site(make: Make, cells: list[dict[str, Any]]) -> Site:
    curves = {"missing image": [(0.0, 0.8), (0.5, 0.6), (1.0, 0.2)]}
    robust = {"task": "a", "contender": "robust", "tuned": [0.5, 0.5], "curves": curves}
    return make([*cells, robust])
