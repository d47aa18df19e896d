"""The encoders `cnn1d` and `gru`: a series [T, C] to at most 32 tokens over time."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import mmbench as mb

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    Array = np.ndarray[Any, Any]

LIMIT = 10.0
"""Standardised values are cut to -LIMIT..LIMIT."""


class _Channels(mb.Encoder):
    """What both encoders share: channels standardised on the train rows, steps padded at the end, a mask."""

    kind = "series"

    def fit(self, column: Sequence[Any], params: Mapping[str, Any]) -> dict[str, Any]:
        """Mean and deviation [C] over all train steps, and the length that 95% of the train rows don't exceed."""
        import numpy as np

        rows = [_steps(row) for row in column]
        steps = np.concatenate(rows)
        with np.errstate(invalid="ignore"):
            known = np.where(np.isnan(steps).all(0), 0.0, steps)
            mean, deviation = np.nanmean(known, axis=0), np.nanstd(known, axis=0)
        constant = deviation <= 1e-9 * np.maximum(1.0, np.abs(mean))
        length = int(np.ceil(np.quantile([len(row) for row in rows], 0.95)))
        return {"mean": mean, "deviation": np.where(constant, 1.0, deviation), "length": max(1, length)}

    def transform(self, state: Mapping[str, Any], column: Sequence[Any]) -> "dict[str, Array]":
        """{"steps": float32 [N, T, C], "mask": bool [N, T]}; what lies beyond T steps is cut off."""
        import numpy as np

        length, channels = int(state["length"]), len(state["mean"])
        steps = np.zeros((len(column), length, channels), np.float32)
        mask = np.zeros((len(column), length), bool)
        for index, row in enumerate(column):
            values = _steps(row)[:length]
            z = (values - state["mean"]) / state["deviation"]
            steps[index, : len(values)] = np.clip(np.nan_to_num(z), -LIMIT, LIMIT)
            mask[index, : max(1, len(values))] = True  # an empty recording is one step of silence, not a missing row
        return {"steps": steps, "mask": mask}

    def summary(self, state: Mapping[str, Any], arrays: "dict[str, Array]") -> "Array":
        """[N, 5 C]: mean, deviation, minimum, maximum and mean absolute step of each channel."""
        import numpy as np

        steps, mask = arrays["steps"].astype(np.float32), arrays["mask"][..., None]
        count = np.maximum(mask.sum(1), 1)
        mean = (steps * mask).sum(1) / count
        deviation = np.sqrt((np.square(steps - mean[:, None]) * mask).sum(1) / count)
        low = np.where(mask, steps, LIMIT).min(1)
        high = np.where(mask, steps, -LIMIT).max(1)
        pairs = mask[:, 1:] & mask[:, :-1]
        change = (np.abs(np.diff(steps, axis=1)) * pairs).sum(1) / np.maximum(pairs.sum(1), 1)
        return np.concatenate([mean, deviation, low, high, change], axis=1).astype(np.float32)


class CNN1D(_Channels):
    """Convolutions over time: strided ones down to at most 32 tokens, then residual ones.

    h_0 = z; h_i = relu(norm(conv(h_{i-1}))) with stride 4 or 2 while more than 32 steps remain (T = 200: 25 tokens);
    then `layers` times h = h + dropout(relu(norm(conv(h)))). Tokens [B, T', width]; a token is present if any of its
    steps is. Steps that are not there are zero before each convolution, so they change nothing.
    Inner layers: each stage's tokens.
    """

    name = "cnn1d"
    source = "https://arxiv.org/abs/1611.06455"
    space = {
        "width": mb.Choice((16, 32, 64), default=32),
        "layers": mb.Int(0, 2, default=1),
        "kernel": mb.Choice((3, 5, 7), default=3),
        "dropout": mb.Float(0.0, 0.5, default=0.1),
    }

    def build(self, state: Mapping[str, Any], params: Mapping[str, Any]) -> "nn.Module":
        from mmbench_series.modules import Convolutions

        return Convolutions(channels=len(state["mean"]), length=int(state["length"]), **params)


class GRU(_Channels):
    """Gated recurrent units over at most 32 patches of the series.

    p_t = relu(norm(W x_[t s - s/2 : t s + 3s/2] + b)), patches of 2 s steps every s steps (T = 200: s = 8, 25 patches);
    tokens = GRU(p), [B, T', width]. It reads forward, and missing steps stand at the end, so they change nothing.
    Inner layers: the patches, then the output of each recurrent layer.
    """

    name = "gru"
    source = "https://arxiv.org/abs/1406.1078"
    space = {
        "width": mb.Choice((16, 32, 64), default=32),
        "layers": mb.Int(1, 2, default=1),
        "dropout": mb.Float(0.0, 0.5, default=0.1),
    }

    def build(self, state: Mapping[str, Any], params: Mapping[str, Any]) -> "nn.Module":
        from mmbench_series.modules import Recurrent

        return Recurrent(channels=len(state["mean"]), length=int(state["length"]), **params)


def _steps(row: Any) -> "Array":
    """float64 [T, C] with NaN for what is not finite; a flat row is one channel."""
    import numpy as np

    steps = np.asarray(row, dtype=np.float64)
    steps = steps[:, None] if steps.ndim == 1 else steps
    return np.where(np.isfinite(steps), steps, np.nan)
