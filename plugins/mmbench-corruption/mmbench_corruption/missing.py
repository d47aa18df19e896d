"""A modality that is not there at all."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import mmbench as mb
from mmbench.api.data import KINDS
from mmbench.api.space import Params

if TYPE_CHECKING:
    import numpy as np


class Missing(mb.Corruption):
    """Missing values: each row loses its value with a probability of `severity`.

    One number in [0, 1) is drawn for each row, and the row is lost if it lies below the severity: under the same seed
    a higher severity loses the rows of a lower one, and more. Lost values are None; the others stay the same objects.
    """

    name = "missing"
    kinds = KINDS

    def apply(
        self, column: Sequence[Any], severity: float, generator: "np.random.Generator", params: Params
    ) -> list[Any]:
        lost = generator.random(len(column)) < severity
        return [None if gone else value for value, gone in zip(column, lost, strict=True)]
