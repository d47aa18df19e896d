"""What the deep tabular encoders share: standardised cells, and which of them are known."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmbench_tabular.mlp import MLP

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


class Cells(MLP):
    """Cells standardised as `mlp` does it, beside them which ones are known. Base of the encoders below."""

    on_request = True

    def transform(self, state: Mapping[str, Any], column: Sequence[Any]) -> "dict[str, Array]":
        """{"cells": float32 [N, D], standardised, a missing one by its column's median; "known": bool [N, D]}."""
        import numpy as np

        known = np.stack([np.isfinite(np.asarray(row, dtype=np.float64)) for row in column])
        return {**super().transform(state, column), "known": known}

    def summary(self, state: Mapping[str, Any], arrays: "dict[str, Array]") -> "Array":
        """The cells, [N, D]."""
        import numpy as np

        return arrays["cells"].astype(np.float32)
