"""The contract of a corruption, as tests: inherit the class, name your part, and pytest runs it all.

from mmbench.testing.corruption import CorruptionContract
from my_corruption import Mine

class TestMine(CorruptionContract):
    part = Mine
"""

import copy
from typing import Any, ClassVar

import numpy as np
import pytest

from mmbench.api.data import KINDS, Sound
from mmbench.api.parts import Corruption
from mmbench.api.space import Params, defaults
from mmbench.testing.rules.columns import ordinary
from mmbench.testing.rules.part import assert_describes_itself, settings

ROWS = 30
SEVERITIES = (0.25, 0.5, 1.0)


class CorruptionContract:
    """What every corruption must hold, for each kind of modality that it damages."""

    part: ClassVar[type[Corruption]]

    def column(self, kind: str) -> list[Any]:
        """Values as a dataset would give them, two of them missing."""
        values = ordinary(kind, ROWS)
        values[4] = values[11] = None
        return values

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "kind" in metafunc.fixturenames:
            metafunc.parametrize("kind", self.part.kinds)

    def test_describes_itself(self) -> None:
        """It has a name, a docstring, a space that makes sense, and kinds that exist."""
        assert_describes_itself(self.part)
        assert self.part.kinds, "kinds of modality that it damages"
        assert set(self.part.kinds) <= set(KINDS)

    def test_severity_0_leaves_everything(self, kind: str) -> None:
        """At severity 0 every value is the same object, so that its features need no new computing."""
        column = self.column(kind)
        damaged = self._apply(column, 0.0)
        assert all(new is old for new, old in zip(damaged, column, strict=True)), "severity 0 changes values"

    def test_severity_1_damages(self, kind: str) -> None:
        """At severity 1 most of the values that are there change."""
        column = self.column(kind)
        changed = [not _same(new, old) for new, old in zip(self._apply(column, 1.0), column, strict=True)]
        assert np.mean(changed) > 0.5, f"severity 1 changes {sum(changed)} of {ROWS} values"

    def test_values_stay_what_they_are(self, kind: str) -> None:
        """A damaged value is still a value of its kind, or None; a missing one stays missing."""
        column = self.column(kind)
        for severity in SEVERITIES:
            damaged = self._apply(column, severity)
            assert isinstance(damaged, list)
            assert len(damaged) == len(column), "a row was lost or made up"
            for new, old in zip(damaged, column, strict=True):
                assert new is None or old is not None, "a missing value was made up"
                if new is not None:
                    _assert_alike(new, old)

    def test_untouched_values_are_the_same_objects(self, kind: str) -> None:
        """What is equal is the same object: a copy would have its features computed again."""
        column = self.column(kind)
        for severity in SEVERITIES:
            for new, old in zip(self._apply(column, severity), column, strict=True):
                assert new is old or not _same(new, old), "a value that did not change was copied"

    def test_the_column_is_left_alone(self, kind: str) -> None:
        """The undamaged column is scored too: nothing may be changed in place."""
        column = self.column(kind)
        kept = copy.deepcopy(column)
        self._apply(column, 1.0)
        assert all(_same(now, before) for now, before in zip(column, kept, strict=True)), "changed in place"

    def test_is_deterministic(self, kind: str) -> None:
        """All chance comes from the generator: one seed gives one result, another seed another."""
        column = self.column(kind)
        one, two, other = (self._apply(column, 0.5, seed=seed) for seed in (1, 1, 2))
        assert all(map(_same, one, two)), "draws from something beside its generator"
        assert not all(map(_same, one, other)), "does not draw from its generator"

    def test_settings(self, kind: str) -> None:
        """Every configuration that the space allows works."""
        for params in settings(self.part.space, 5):
            assert len(self._apply(self.column(kind), 0.5, params=params)) == ROWS, params

    def _apply(self, column: list[Any], severity: float, *, seed: int = 0, params: Params | None = None) -> list[Any]:
        chosen = defaults(self.part.space) if params is None else params
        return self.part().apply(column, severity, np.random.default_rng(seed), chosen)


def _same(one: Any, two: Any) -> bool:
    """Whether two values hold the same."""
    if one is None or two is None or isinstance(one, str):
        return bool(one is two or (isinstance(one, str) and one == two))
    if isinstance(one, Sound):
        return one.rate == two.rate and np.array_equal(one.samples, two.samples)
    first, second = np.asarray(one), np.asarray(two)
    return np.array_equal(first, second, equal_nan=first.dtype.kind == "f")


def _assert_alike(new: Any, old: Any) -> None:
    """Of one type; arrays of one number type and as many dimensions and channels, finite where they were, but for cells
    of tables, which may be missing (NaN)."""
    assert type(new) is type(old), f"a {type(old).__name__} became a {type(new).__name__}"
    if isinstance(new, str):
        return
    cells = isinstance(new, np.ndarray) and new.ndim == 1
    if isinstance(new, Sound):
        new, old = new.samples, old.samples
    if hasattr(new, "getbands"):
        assert new.mode == old.mode, f"an image of mode {old.mode} became {new.mode}"
        return
    assert new.dtype == old.dtype, f"{old.dtype} became {new.dtype}"
    assert new.ndim == old.ndim
    assert new.shape[-1] == old.shape[-1] or new.ndim == 1
    sound = np.isfinite(new) | np.isnan(new) if cells else np.isfinite(new)
    assert sound.all() or not np.isfinite(old).all(), "values became infinite or NaN"
