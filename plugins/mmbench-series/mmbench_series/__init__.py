"""Built-in plugin mmbench-series: encoders of sensor channels over time."""

import mmbench as mb
from mmbench_series.encoders import CNN1D, GRU
from mmbench_series.recurrent import LSTM, TCN
from mmbench_series.rocket import MiniRocket
from mmbench_series.statistics import Statistics


@mb.hookimpl
def mmbench_encoders() -> list[type[mb.Encoder]]:
    return [CNN1D, GRU, LSTM, MiniRocket, Statistics, TCN]
