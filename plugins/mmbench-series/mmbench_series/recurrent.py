"""The encoders `lstm` and `tcn`: a series [T, C] to at most 32 tokens over time."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import mmbench as mb
from mmbench_series.encoders import _Channels

if TYPE_CHECKING:
    from torch import nn


class LSTM(_Channels):
    """Long short-term memory over at most 32 patches of the series.

    p_t as in `gru`; tokens = LSTM(p), [B, T', width]: c_t = f c_{t-1} + i tanh(...), h_t = o tanh(c_t). It reads
    forward, and missing steps stand at the end, so they change nothing.
    Inner layers: the patches, then the output of each recurrent layer.
    """

    name = "lstm"
    on_request = True
    source = "https://doi.org/10.1162/neco.1997.9.8.1735"
    space = {
        "width": mb.Choice((16, 32, 64, 128), default=32),
        "layers": mb.Int(1, 2, default=1),
        "dropout": mb.Float(0.0, 0.5, default=0.1),
    }

    def build(self, state: Mapping[str, Any], params: Mapping[str, Any]) -> "nn.Module":
        from mmbench_series.causal import Memory

        return Memory(channels=len(state["mean"]), length=int(state["length"]), **params)


class TCN(_Channels):
    """Temporal convolutional network: causal convolutions whose dilation doubles, then means over time as tokens.

    h = h + dropout(relu(norm(conv(dropout(relu(norm(conv(h))))))) for i < `layers`, both convolutions of `kernel`
    steps, 2^i apart, that look back only: a step sees 2 (kernel - 1) (2^layers - 1) before it. Tokens [B, T', width]:
    the means over the steps of at most 32 blocks. Differs from the paper: layer norms over channels in place of
    normalised weights. Missing steps stand at the end, so they change nothing. Inner layers: each block's tokens.
    """

    name = "tcn"
    on_request = True
    source = "https://arxiv.org/abs/1803.01271"
    space = {
        "width": mb.Choice((16, 32, 64), default=32),
        "layers": mb.Int(2, 7, default=5),
        "kernel": mb.Choice((2, 3, 5), default=3),
        "dropout": mb.Float(0.0, 0.5, default=0.1),
    }

    def build(self, state: Mapping[str, Any], params: Mapping[str, Any]) -> "nn.Module":
        from mmbench_series.causal import Dilated

        return Dilated(channels=len(state["mean"]), length=int(state["length"]), **params)
