"""The encoder `mlp`: standardised columns through a few dense layers."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import mmbench as mb

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

LIMIT = 10.0
"""Standardised cells are cut to -LIMIT..LIMIT, so that one wild value can't drown a row."""


class MLP(mb.Encoder):
    """Multilayer perceptron on standardised columns, to one token.

    z = (x - mean) / deviation of the train rows, a cell that is not finite first replaced by its column's median;
    h_0 = z, h_i = dropout(relu(norm(W_i h_{i-1} + b_i))); the token is h_layers, [B, 1, width].
    Inner layers: each h_i, [B, 1, width].
    """

    name = "mlp"
    kind = "tabular"
    source = "https://doi.org/10.1038/323533a0"
    space = {
        "width": mb.Choice((32, 64, 128, 256), default=64),
        "layers": mb.Int(1, 3, default=2),
        "dropout": mb.Float(0.0, 0.5, default=0.1),
    }

    def fit(self, column: Sequence[Any], params: Mapping[str, Any]) -> dict[str, Any]:
        """Median, mean and deviation [D] of the train rows; a constant column keeps the deviation 1."""
        import numpy as np

        cells = _cells(column)
        present = ~np.isnan(cells)
        # A column without any value in the train rows is all median: 0.
        known = np.where(present.any(0), cells, 0.0)
        median = np.nanmedian(known, axis=0)
        filled = np.where(present, cells, median)
        deviation = filled.std(0)
        # Constant columns have a rounding error as their deviation, not always 0.
        constant = deviation <= 1e-9 * np.maximum(1.0, np.abs(filled).max(0))
        return {"median": median, "mean": filled.mean(0), "deviation": np.where(constant, 1.0, deviation)}

    def transform(self, state: Mapping[str, Any], column: Sequence[Any]) -> "dict[str, np.ndarray[Any, Any]]":
        """{"cells": float32 [N, D]}, standardised."""
        import numpy as np

        cells = _cells(column)
        cells = np.where(np.isnan(cells), state["median"], cells)
        z = (cells - state["mean"]) / state["deviation"]
        return {"cells": np.clip(z, -LIMIT, LIMIT).astype(np.float32)}

    def build(self, state: Mapping[str, Any], params: Mapping[str, Any]) -> "nn.Module":
        from mmbench_tabular.modules import Perceptron

        return Perceptron(inputs=len(state["mean"]), **params)


def _cells(column: Sequence[Any]) -> "np.ndarray[Any, Any]":
    """float64 [N, D] with NaN for every cell that is not finite."""
    import numpy as np

    cells = np.stack([np.asarray(row, dtype=np.float64) for row in column])
    return np.where(np.isfinite(cells), cells, np.nan)
