"""The encoder `logmel_lstm`: a sound to at most 32 tokens over time."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mmbench_audio.encoders import LogMelGRU

if TYPE_CHECKING:
    from torch import nn


class LogMelLSTM(LogMelGRU):
    """Log-mel spectrogram through long short-term memory.

    As `logmel_gru`, but tokens = LSTM(dropout(p)), [B, T / stride, width]. It reads forward, and missing frames stand
    at the end, so they change nothing. Training moves each sound by up to 3 bands and frames.
    Inner layers: p, then each recurrent layer's output.
    """

    name = "logmel_lstm"
    on_request = True
    source = "https://doi.org/10.1162/neco.1997.9.8.1735"

    def build(self, state: Mapping[str, Any], params: Mapping[str, Any]) -> "nn.Module":
        from mmbench_audio.recurrent import Memory

        shape = {"bands": int(state["bands"]), "stride": int(state["stride"])}
        return Memory(**shape, width=params["width"], layers=params["layers"], dropout=params["dropout"])
