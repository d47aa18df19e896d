"""The encoder `statistics`: a series told by numbers that describe it, then a small network."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import mmbench as mb

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    Array = np.ndarray[Any, Any]

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
BANDS = (1, 2, 3, 4, 6, 9, 14, 25)
"""The first frequency of each band, in periods of the whole series; the last band is open."""
LIMIT = 10.0
"""Standardised values are cut to -LIMIT..LIMIT."""


class Statistics(mb.Encoder):
    """Statistics of each channel and of the channels together, standardised on train, through an MLP.

    Of each channel: mean, deviation, extremes, five quantiles, mean absolute step, how often it crosses its mean, and
    the shares of its spectrum's power in eight bands. Of all channels: their correlations, and the same plain
    statistics of their norm, which does not depend on how the sensor is turned. s = standardised numbers;
    h = dropout(relu(norm(W h + b))), `layers` times; one token [B, 1, width].
    """

    name = "statistics"
    kind = "series"
    source = "https://doi.org/10.1145/2499621"  # Bulling 2014, features of body-worn sensors
    space = {
        "width": mb.Choice((32, 64, 128), default=64),
        "layers": mb.Int(1, 2, default=1),
        "dropout": mb.Float(0.0, 0.5, default=0.2),
    }

    def fit(self, column: Sequence[Any], params: Mapping[str, Any]) -> dict[str, Any]:
        """Mean and deviation of each statistic over the train rows."""
        import numpy as np

        rows = np.stack([describe(row) for row in column])
        deviation = rows.std(0)
        return {"mean": rows.mean(0), "deviation": np.where(deviation < 1e-9, 1.0, deviation)}

    def transform(self, state: Mapping[str, Any], column: Sequence[Any]) -> "dict[str, Array]":
        """{"cells": float32 [N, S]}, S statistics."""
        import numpy as np

        rows = np.stack([describe(row) for row in column])
        cells = np.clip((rows - state["mean"]) / state["deviation"], -LIMIT, LIMIT)
        return {"cells": cells.astype(np.float32)}

    def build(self, state: Mapping[str, Any], params: Mapping[str, Any]) -> "nn.Module":
        from mmbench_series.modules import Dense

        return Dense(len(state["mean"]), **params)


def describe(row: Any) -> "Array":
    """One series [T, C] to its statistics, float64 [S]; values that are not finite count as zero."""
    import numpy as np

    x = np.nan_to_num(np.asarray(row, np.float64), posinf=0.0, neginf=0.0)
    x = np.clip(x[:, None] if x.ndim == 1 else x, -1e9, 1e9)
    if not len(x):
        x = np.zeros((1, x.shape[1]))
    deviation = x.std(0)
    z = (x - x.mean(0)) / np.where(deviation < 1e-9, 1.0, deviation)
    power = np.square(np.abs(np.fft.rfft(z, axis=0)))
    shares = power / np.maximum(power.sum(0), 1e-9)
    edges = [min(edge, len(shares)) for edge in (*BANDS, len(shares))]
    bands = [shares[low:high].sum(0) for low, high in pairwise(edges)]
    crossings = np.abs(np.diff(z > 0, axis=0)).mean(0) if len(x) > 1 else np.zeros(x.shape[1])
    above = np.triu_indices(x.shape[1], 1)
    correlations = (z.T @ z / len(z))[above]
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    return np.concatenate([_plain(x), crossings, *bands, correlations, _plain(norm)])


def _plain(x: "Array") -> "Array":
    """Mean, deviation, extremes, quantiles and mean absolute step of each channel, [10 C]."""
    import numpy as np

    steps = np.abs(np.diff(x, axis=0)).mean(0) if len(x) > 1 else np.zeros(x.shape[1])
    return np.concatenate([x.mean(0), x.std(0), x.min(0), x.max(0), np.quantile(x, QUANTILES, axis=0).ravel(), steps])
