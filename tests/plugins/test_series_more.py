"""LSTM, TCN and MiniRocket, against torch's own layers and plain NumPy."""

from typing import Any

import numpy as np
import torch
from mmbench_series.causal import Causal
from mmbench_series.recurrent import LSTM, TCN
from mmbench_series.rocket import KERNELS, MiniRocket, _convolved, _shares, _standard

from mmbench.api.space import defaults
from mmbench.testing.encoder import EncoderContract


class TestLSTM(EncoderContract):
    part = LSTM
    configurations = 2


class TestTCN(EncoderContract):
    part = TCN
    configurations = 2


class TestMiniRocket(EncoderContract):
    part = MiniRocket
    configurations = 1


def test_a_causal_convolution_is_that_of_torch() -> None:
    torch.manual_seed(0)
    layer, x = Causal(3, 4, kernel=3, dilation=2), torch.randn(2, 11, 3)
    weight = layer.dense.weight.unflatten(1, (3, 3)).transpose(1, 2)
    padded = torch.nn.functional.pad(x.transpose(1, 2), (4, 0))
    expected = torch.nn.functional.conv1d(padded, weight, layer.dense.bias, dilation=2).transpose(1, 2)
    torch.testing.assert_close(layer(x), expected)


def test_lstm_is_its_equation() -> None:
    column = list(np.random.default_rng(0).normal(size=(6, 5, 2)).astype(np.float32))
    state = LSTM().fit(column, {})
    module: Any = LSTM().build(state, {**defaults(LSTM.space), "width": 4}).eval()
    given = module({"steps": torch.from_numpy(LSTM().transform(state, column)["steps"])})
    cell = torch.nn.LSTMCell(4, 4)
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in module.recurrent[0].state_dict().items()})
    h = c = torch.zeros(6, 4)
    for step in range(5):
        h, c = cell(given.layers[0][:, step], (h, c))
        torch.testing.assert_close(given.tokens[:, step], h, rtol=1e-4, atol=1e-5)


def test_random_convolutions_are_those_of_numpy() -> None:
    generator = np.random.default_rng(0)
    column = [generator.normal(size=(length, 2)).astype(np.float32) for length in (40, 40, 25)]
    state = MiniRocket().fit(column, {"features": 500})
    assert state["uses"].any(-1).all()
    assert len(KERNELS) == 84
    x, at = _standard(column[2], state), 0
    for dilation, uses, levels in zip(state["dilations"], state["uses"], state["thresholds"], strict=True):
        found = _convolved(x, int(dilation), uses)
        for kernel in (0, 17, 83):
            weights = np.full(8 * dilation + 1, 0.0)
            weights[::dilation] = -1
            weights[[dilation * place for place in KERNELS[kernel]]] = 2
            signal = np.pad(x @ uses[kernel], 4 * dilation)
            expected = np.correlate(signal, weights, mode="valid")
            np.testing.assert_allclose(found[:, kernel], expected, atol=1e-4)
            shares = _shares(x, state)[at + kernel]
            assert shares == (found[:, kernel] > levels[0, kernel]).mean()
        at += levels.size
