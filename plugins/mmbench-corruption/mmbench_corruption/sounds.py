"""Sounds in noise, clipped, with gaps, in an echoing room. samples [n] lie in -1..1."""

from typing import TYPE_CHECKING, Any

import mmbench as mb
from mmbench_corruption.rows import ByRow, unless_same_sound

if TYPE_CHECKING:
    import numpy as np


class AudioNoise(ByRow):
    """White noise at a signal-to-noise ratio: 40 dB at severity near 0, `worst` dB at severity 1.

        samples + r N(0, 1),  r^2 = mean(samples^2) / 10^(snr / 10),  snr = 40 - severity (40 - worst)

    The sum is not clipped: encoders take any float. Silence stays silence.
    """

    name = "audio_noise"
    kinds = ("audio",)
    space = {"worst": mb.Float(-20.0, 20.0, default=0.0)}

    def damaged(self, value: Any, severity: float, generator: "np.random.Generator", **settings: Any) -> Any:
        import numpy as np

        ratio = 40 - severity * (40 - settings["worst"])
        power = float(np.mean(np.square(value.samples, dtype=np.float64))) if len(value.samples) else 0.0
        noise = generator.standard_normal(len(value.samples)) * (power / 10 ** (ratio / 10)) ** 0.5
        return unless_same_sound(value.samples + noise, value)


class Clipping(ByRow):
    """Clipping: nothing is louder than a quantile of the sound's own loudness.

        samples clipped to -q..q,  q the (1 - severity * most * u) quantile of |samples|, u uniform in 0.9..1

    So that share of the samples is cut off; the sound is not made louder again.
    """

    name = "clipping"
    kinds = ("audio",)
    space = {"most": mb.Float(0.3, 1.0, default=0.9)}

    def damaged(self, value: Any, severity: float, generator: "np.random.Generator", **settings: Any) -> Any:
        import numpy as np

        share = severity * settings["most"] * generator.uniform(0.9, 1.0)
        if not len(value.samples):
            return value
        loudest = np.quantile(np.abs(value.samples), 1 - share)
        return unless_same_sound(value.samples.clip(-loudest, loudest), value)


class DroppedFrames(ByRow):
    """Dropped frames: each piece of `length` seconds is silent with a probability of severity * rate."""

    name = "dropped_frames"
    kinds = ("audio",)
    space = {
        "rate": mb.Float(0.2, 1.0, default=0.9),
        "length": mb.Float(0.005, 0.2, log=True, default=0.02),
    }

    def damaged(self, value: Any, severity: float, generator: "np.random.Generator", **settings: Any) -> Any:
        import numpy as np

        length = max(1, round(settings["length"] * value.rate))
        lost = generator.random(-(-len(value.samples) // length)) < severity * settings["rate"]
        gone = np.repeat(lost, length)[: len(value.samples)]
        return unless_same_sound(np.where(gone, 0, value.samples), value)


class Echo(ByRow):
    """Echo: the sound and what a room sends back, a decaying noise as impulse response.

        samples + severity * strength * (h * samples),  h(t) = N(0, 1) 10^(-3 t / decay) from t = 0.01 s on, |h| = 1

    `decay` is the time in seconds after which it is 60 dB quieter (RT60). The length stays.
    """

    name = "echo"
    kinds = ("audio",)
    space = {
        "strength": mb.Float(0.2, 4.0, log=True, default=1.0),
        "decay": mb.Float(0.1, 1.0, log=True, default=0.4),
    }

    def damaged(self, value: Any, severity: float, generator: "np.random.Generator", **settings: Any) -> Any:
        import numpy as np

        samples = np.asarray(value.samples, dtype=np.float64)
        length = min(len(samples), max(1, round(settings["decay"] * value.rate)))
        times = np.arange(length) / value.rate
        room = generator.standard_normal(length) * 10 ** (-3 * times / settings["decay"]) * (times >= 0.01)
        size = float(np.linalg.norm(room))
        if size == 0:  # shorter than the first answer
            return value
        points = 1 << (len(samples) + length - 2).bit_length()  # a power of two: others are slow
        answer = np.fft.irfft(np.fft.rfft(samples, points) * np.fft.rfft(room / size, points), points)[: len(samples)]
        return unless_same_sound(samples + severity * settings["strength"] * answer, value)
