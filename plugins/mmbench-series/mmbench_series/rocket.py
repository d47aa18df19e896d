"""The encoder `minirocket`: fixed random convolutions, told by how often each exceeds its threshold."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import mmbench as mb
from mmbench_series.encoders import LIMIT, _Channels, _steps

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    Array = np.ndarray[Any, Any]

TAPS = 9
KERNELS = tuple(combinations(range(TAPS), 3))
"""Where a kernel's weight is 2; it is -1 elsewhere, so that its sum is 0."""
DILATIONS = 8
"""At most this many, spread over the logarithm."""
SAMPLE = 256
"""Train rows that thresholds are taken from."""


class MiniRocket(_Channels):
    """Random convolutions after MiniRocket: shares of positive values, stored, through a small network to one token.

    The 84 kernels of nine weights, three of them 2 and six -1, at up to eight dilations d; each pair of kernel and
    dilation reads the sum of some channels, drawn with a fixed seed. PPV = share of the steps t at which
    sum_j w_j x_{t + d (j - 4)} exceeds a threshold: a quantile of the convolution of a train row. About `features`
    of them, standardised on train; h = dropout(relu(norm(W h + b))), `layers` times; one token [B, 1, width].
    Differs from the paper: every series is padded with zeros, quantiles are pooled over train rows, and a network
    takes the place of the ridge classifier. A row is convolved at its own length.
    """

    name = "minirocket"
    on_request = True
    source = "https://arxiv.org/abs/2012.08791"
    space = {
        "features": mb.Choice((500, 1000, 2000, 5000), default=2000, stage="prepare"),
        "width": mb.Choice((32, 64, 128), default=64),
        "layers": mb.Int(1, 2, default=1),
        "dropout": mb.Float(0.0, 0.5, default=0.2),
    }

    def fit(self, column: Sequence[Any], params: Mapping[str, Any]) -> dict[str, Any]:
        """Channels' mean and deviation, dilations, each pair's channels, thresholds, and the features' own scale."""
        import numpy as np

        scale = super().fit(column, params)
        generator = np.random.default_rng(0)
        furthest = max(1.0, (scale["length"] - 1) / (TAPS - 1))
        dilations = np.unique(np.logspace(0, np.log2(furthest), DILATIONS, base=2).astype(int))
        channels = len(scale["mean"])
        uses = np.zeros((len(dilations), len(KERNELS), channels), np.float32)
        for pair in uses.reshape(-1, channels):
            many = int(2 ** generator.uniform(0, np.log2(min(channels, TAPS) + 1)))
            pair[generator.choice(channels, many, replace=False)] = 1
        each = max(1, round(int(params["features"]) / (len(dilations) * len(KERNELS))))
        chosen = generator.permutation(len(column))[:SAMPLE]
        state = {**scale, "dilations": dilations, "uses": uses}
        some = [_standard(column[row], state) for row in chosen]
        golden = (np.arange(1, each + 1) * (5**0.5 + 1) / 2) % 1  # a low-discrepancy sequence, as in the paper
        thresholds = [
            np.quantile(np.concatenate([_convolved(x, d, u) for x in some]), golden, axis=0)
            for d, u in zip(dilations, uses, strict=True)
        ]
        state["thresholds"] = np.stack(thresholds).astype(np.float32)
        shares = np.stack([_shares(_standard(row, state), state) for row in column])
        deviation = shares.std(0)
        return {**state, "level": shares.mean(0), "spread": np.where(deviation < 1e-3, 1.0, deviation)}

    def transform(self, state: Mapping[str, Any], column: Sequence[Any]) -> "dict[str, Array]":
        """{"cells": float32 [N, F]}."""
        import numpy as np

        rows = np.stack([_shares(_standard(row, state), state) for row in column])
        return {"cells": ((rows - state["level"]) / state["spread"]).clip(-LIMIT, LIMIT).astype(np.float32)}

    def summary(self, state: Mapping[str, Any], arrays: "dict[str, Array]") -> "Array":
        """The features, [N, F]."""
        return arrays["cells"]

    def build(self, state: Mapping[str, Any], params: Mapping[str, Any]) -> "nn.Module":
        from mmbench_series.modules import Dense

        return Dense(len(state["level"]), **{name: params[name] for name in ("width", "layers", "dropout")})


def _standard(row: Any, state: Mapping[str, Any]) -> "Array":
    """float32 [T, C], standardised and cut; an empty series is one step of nothing."""
    import numpy as np

    z = (_steps(row) - state["mean"]) / state["deviation"]
    z = np.clip(np.nan_to_num(z), -LIMIT, LIMIT).astype(np.float32)
    return z if len(z) else np.zeros((1, len(state["mean"])), np.float32)


def _convolved(x: "Array", dilation: int, uses: "Array") -> "Array":
    """[T, C] by all kernels at one dilation, each on its channels `uses` [84, C]: [T, 84]."""
    import numpy as np

    signal = x @ uses.T
    reach = dilation * (TAPS // 2)
    padded = np.pad(signal, ((reach, reach), (0, 0)))
    taps = np.stack([padded[dilation * tap : dilation * tap + len(x)] for tap in range(TAPS)])
    kernels = np.arange(len(KERNELS))
    found: Array = -taps.sum(0)
    for place in np.array(KERNELS).T:
        found += 3 * taps[place, :, kernels].T
    return found


def _shares(x: "Array", state: Mapping[str, Any]) -> "Array":
    """The shares of steps above each threshold, [dilations x quantiles x 84]."""
    import numpy as np

    parts = []
    for dilation, uses, levels in zip(state["dilations"], state["uses"], state["thresholds"], strict=True):
        parts.append((_convolved(x, int(dilation), uses) > levels[:, None]).mean(1).ravel())
    return np.concatenate(parts)
