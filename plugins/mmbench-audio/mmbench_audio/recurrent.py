"""The torch module of `logmel_lstm`."""

from torch import nn

from mmbench_audio.modules import Recurrent


class Memory(Recurrent):
    """{"frames": [B, T, bands], perhaps "mask": [B, T]} to tokens [B, T / stride, width], by LSTMs in place of GRUs."""

    def __init__(self, bands: int, stride: int, *, width: int, layers: int, dropout: float):
        super().__init__(bands, stride, width=width, layers=layers, dropout=dropout)
        self.recurrent = nn.ModuleList(nn.LSTM(width, width, batch_first=True) for _ in range(layers))
