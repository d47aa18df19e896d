import numpy as np
import pytest
import torch
from mmbench_audio.encoders import LogMelCNN, LogMelGRU
from mmbench_audio.logmel import FLOOR, RANGE, filterbank, logmel, resample

from mmbench import Sound
from mmbench.testing.encoder import EncoderContract

RATE = 16000


class TestLogMelCNN(EncoderContract):
    part = LogMelCNN


class TestLogMelGRU(EncoderContract):
    part = LogMelGRU


def test_logmel_is_a_fourier_transform_under_triangles() -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 3000).astype(np.float32)
    found = logmel(Sound(samples, RATE), rate=RATE, bands=40, hop=0.01)
    size, step = 400, 160
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    padded = np.pad(samples, size // 2)
    mels = np.linspace(0, 2595 * np.log10(1 + RATE / 2 / 700), 42)
    corners = 700 * (10 ** (mels / 2595) - 1)
    hertz = np.arange(size // 2 + 1) * RATE / size
    expected = np.zeros((1 + len(samples) // step, 40))
    turns = np.exp(-2j * np.pi * np.outer(np.arange(size // 2 + 1), np.arange(size)) / size)
    for frame in range(len(expected)):
        piece = padded[frame * step : frame * step + size] * window
        energy = np.abs(turns @ piece) ** 2 / window.sum() ** 2
        for band in range(40):
            expected[frame, band] = np.log(FLOOR + np.interp(hertz, corners[band : band + 3], [0, 1, 0]) @ energy)
    np.testing.assert_allclose(found, np.maximum(expected - expected.max(), -RANGE), atol=2e-3)


@pytest.mark.parametrize(("bands", "rate"), [(32, 8000), (40, 16000), (64, 22050)])
def test_each_band_hears_something(bands: int, rate: int) -> None:
    weights = filterbank(bands, round(0.025 * rate), rate)
    assert weights.shape == (round(0.025 * rate) // 2 + 1, bands)
    assert (weights.sum(0) > 0).mean() > 0.9
    assert weights.max() <= 1
    assert weights.min() >= 0


@pytest.mark.parametrize("wanted", [8000, 11025, 48000])
def test_resampling_keeps_a_tone(wanted: int) -> None:
    seconds = 0.2
    tone, expected = (np.sin(2 * np.pi * 440 * np.arange(int(seconds * r)) / r) for r in (RATE, wanted))
    found = resample(tone.astype(np.float32), RATE, wanted)
    assert len(found) == len(expected)
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_a_tone_sounds_alike_at_another_rate() -> None:
    encoder = LogMelCNN()
    tones = [
        Sound(np.sin(2 * np.pi * pitch * np.arange(rate // 4) / rate).astype(np.float32), rate)
        for rate in (RATE, RATE, 8000)
        for pitch in (300, 1200)
    ]
    state = encoder.fit(tones, {"bands": 40, "hop": 16})
    assert state["rate"] == RATE
    frames = encoder.transform(state, tones)["frames"]
    inner = frames[:, 3:10]  # the ends differ: a cut tone clicks
    pairs = np.abs(inner[:, None] - inner[None]).mean((2, 3))
    assert pairs[0, 4] < pairs[0, 1] / 5
    assert pairs[1, 5] < pairs[0, 1] / 5


def test_training_moves_a_sound_in_pitch_and_time() -> None:
    frames = torch.arange(20.0)[:, None] * 100 + torch.arange(40.0)
    arrays = {"frames": frames.expand(300, -1, -1), "mask": (torch.arange(20) < 12).expand(300, -1)}
    found = LogMelCNN().augment(arrays, torch.Generator().manual_seed(0))
    moves = set()
    for moved, mask in zip(found["frames"], found["mask"], strict=True):
        time, pitch = divmod(int(moved[10, 20]), 100)
        moves.add((time - 10, pitch - 20))
        assert int(mask.sum()) == 12 + 10 - time  # what is there moves along
        assert moved[5, 7] == (5 + time - 10) * 100 + 7 + pitch - 20
    assert moves == {(time, pitch) for time in range(-3, 4) for pitch in range(-3, 4)}
