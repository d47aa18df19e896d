"""Built-in plugin mmbench-audio: encoders of sound."""

import mmbench as mb
from mmbench_audio.encoders import LogMelCNN, LogMelGRU
from mmbench_audio.memory import LogMelLSTM


@mb.hookimpl
def mmbench_encoders() -> list[type[mb.Encoder]]:
    return [LogMelCNN, LogMelGRU, LogMelLSTM]
