"""Gaussian noise on anything that is made of numbers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import mmbench as mb
from mmbench.api.space import Params

if TYPE_CHECKING:
    import numpy as np


class Noise(mb.Corruption):
    """Gaussian noise: value + severity * scale * deviation * N(0, 1).

    The deviation is that of the column itself: of each feature over the rows for tabular values [D], of each channel
    over all rows' steps for series [T, C]; for images that of evenly spread grey values, 255 / sqrt(12), and the
    result is clipped to 0..255. At severity 1 and scale 1 the noise is as strong as the signal.
    """

    name = "noise"
    kinds = ("tabular", "series", "image")
    space = {"scale": mb.Float(0.1, 4.0, log=True, default=1.0)}

    def apply(
        self, column: Sequence[Any], severity: float, generator: "np.random.Generator", params: Params
    ) -> list[Any]:
        strength = severity * float(params.get("scale", self.space["scale"].default))
        there = [value for value in column if value is not None]
        if strength == 0 or not there:
            return list(column)
        noisy = _noisy_image if hasattr(there[0], "getbands") else _noisy_array
        deviation = 255 / 12**0.5 if noisy is _noisy_image else _deviation(there)
        return [None if value is None else noisy(value, strength * deviation, generator) for value in column]


def _deviation(arrays: "Sequence[np.ndarray[Any, Any]]") -> Any:
    """The deviation of each feature or channel, over all rows and steps, missing cells (NaN) left out; [D] or [C]."""
    import numpy as np

    steps = np.concatenate([np.asarray(array).reshape(-1, np.shape(array)[-1]) for array in arrays])
    return np.ma.masked_invalid(steps).std(0).filled(0)


def _noisy_array(value: Any, deviation: Any, generator: "np.random.Generator") -> Any:
    import numpy as np

    array = np.asarray(value)
    return (array + deviation * generator.standard_normal(array.shape)).astype(array.dtype)


def _noisy_image(value: Any, deviation: Any, generator: "np.random.Generator") -> Any:
    import numpy as np
    from PIL import Image

    pixels = np.asarray(value, dtype=np.float32)
    noisy = pixels + deviation * generator.standard_normal(pixels.shape, dtype=np.float32)
    return Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8))
