"""The frame of corruptions that damage value by value. Used by all but the first three."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import mmbench as mb
from mmbench.api.space import Params

if TYPE_CHECKING:
    import numpy as np

    from mmbench.api.data import Sound


class ByRow(mb.Corruption):
    """Damages one value after the other; severity 0 and missing values are left alone."""

    def apply(
        self, column: Sequence[Any], severity: float, generator: "np.random.Generator", params: Params
    ) -> list[Any]:
        if severity == 0:
            return list(column)
        settings = {name: params.get(name, parameter.default) for name, parameter in self.space.items()}
        return [None if value is None else self.damaged(value, severity, generator, **settings) for value in column]

    def damaged(self, value: Any, severity: float, generator: "np.random.Generator", **settings: Any) -> Any:
        """The damaged value; the same object if nothing changed."""
        raise NotImplementedError


def unless_same(new: "np.ndarray[Any, Any]", old: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """The new array in the old one's type; the old one where they are equal."""
    import numpy as np

    new = new.astype(old.dtype)
    return old if np.array_equal(new, old, equal_nan=old.dtype.kind == "f") else new


def unless_same_image(new: Any, old: Any) -> Any:
    """The new picture, or the old one where they are equal."""
    import numpy as np

    return old if np.array_equal(np.asarray(new), np.asarray(old)) else new


def unless_same_sound(samples: "np.ndarray[Any, Any]", old: "Sound") -> "Sound":
    """A sound of the new samples, or the old one where they are equal."""
    from mmbench.api.data import Sound

    new = unless_same(samples, old.samples)
    return old if new is old.samples else Sound(new, old.rate)


def span(length: int, share: float, generator: "np.random.Generator") -> slice:
    """A random piece of `share` of the length, rounded."""
    size = round(share * length)
    start = int(generator.integers(0, length - size + 1))
    return slice(start, start + size)
