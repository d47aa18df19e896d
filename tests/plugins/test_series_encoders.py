import numpy as np
import pytest
import torch
from mmbench_series.encoders import CNN1D, GRU
from mmbench_series.modules import Windows, stride_for, token_mask

from mmbench.testing.encoder import EncoderContract


class TestCNN1D(EncoderContract):
    part = CNN1D


class TestGRU(EncoderContract):
    part = GRU


def test_channels_are_standardised_over_all_train_steps() -> None:
    train = [np.array([[1, 4], [3, 4]], np.float32), np.array([[5, 4], [np.nan, 4], [7, 4]], np.float32)]
    state = CNN1D().fit(train, {})
    arrays = CNN1D().transform(state, [np.array([[2, 5]], np.float32), train[1]])
    known = np.array([1, 3, 5, 7])
    assert arrays["mask"].tolist() == [[True, False, False], [True, True, True]]
    expected = np.array([[(2 - 4) / known.std(), 1.0], [0, 0], [0, 0]])
    np.testing.assert_allclose(arrays["steps"][0], expected, rtol=1e-5)
    assert arrays["steps"][1, 1].tolist() == [0, 0]  # an unknown value is the mean


def test_summary() -> None:
    rows = [np.array([[1.0], [4.0], [2.0]], np.float32), np.array([[3.0]], np.float32)]
    state = {"mean": np.zeros(1), "deviation": np.ones(1), "length": 4}
    summary = CNN1D().summary(state, CNN1D().transform(state, rows))
    expected = np.array([[7 / 3, np.std([1, 4, 2]), 1, 4, 2.5], [3, 0, 3, 3, 0]])
    np.testing.assert_allclose(summary, expected, rtol=1e-5)


@pytest.mark.parametrize(("stride", "blocks", "length"), [(1, 3, 10), (1, 5, 7), (2, 2, 12), (4, 2, 20)])
def test_windows_are_a_convolution(stride: int, blocks: int, length: int) -> None:
    windows = Windows(3, 6, stride=stride, blocks=blocks)
    kernel, extra = stride * blocks, stride * (blocks - 1)
    steps = torch.randn(2, length, 3)
    weight = windows.dense.weight.view(6, kernel, 3).transpose(1, 2)
    padded = torch.nn.functional.pad(steps.transpose(1, 2), (extra // 2, extra - extra // 2))
    expected = torch.nn.functional.conv1d(padded, weight, windows.dense.bias, stride=stride).transpose(1, 2)
    torch.testing.assert_close(windows(steps), expected)


@pytest.mark.parametrize(("length", "stride"), [(1, 1), (32, 1), (33, 2), (200, 8), (256, 8), (257, 16)])
def test_at_most_32_tokens(length: int, stride: int) -> None:
    assert stride_for(length) == stride
    assert -(-length // stride) <= 32


def test_a_token_is_there_if_one_of_its_steps_is() -> None:
    mask = torch.tensor([[True] * 5 + [False] * 5, [True] + [False] * 9])
    found = token_mask(mask, 4)
    assert found is not None
    assert found.tolist() == [[True, True, False], [True, False, False]]
