"""Made-up values of every kind of modality, for contract tests: ordinary ones, and the worst that may come."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mmbench.api.data import Sound

WORDS = ("a", "bee", "counts", "daisies", "every", "fair", "green", "hill", "in", "June", "keeps", "lilies", "many")


def ordinary(kind: str, rows: int, seed: int = 0) -> list[Any]:
    """`rows` values of `kind`, none alike, of unequal length or size where the kind allows it."""
    generator = np.random.default_rng(seed)
    return [_ORDINARY[kind](generator, row) for row in range(rows)]


def extreme(kind: str) -> list[Any]:
    """A few values of `kind` that are far from any train row, but finite."""
    return _EXTREME[kind]()


def _table(generator: np.random.Generator, row: int) -> Any:
    cells = generator.normal(size=6).astype(np.float32) * [1, 10, 1e-3, 1, 1, 0] + [0, 5, 0, 0, 1e4, 3]
    if row % 4 == 1:  # a missing cell
        cells[row % 5] = np.nan
    return cells.astype(np.float32)


def _text(generator: np.random.Generator, row: int) -> str:
    # Every text but one ends with its row's number, a word that no other has; that one is empty.
    chosen = generator.choice(WORDS, size=int(generator.integers(1, 9)))
    return "" if row == 3 else " ".join(chosen).capitalize() + f" {row}."


def _image(generator: np.random.Generator, row: int) -> Any:
    from PIL import Image

    height, width = generator.integers(20, 90, size=2)
    slope = np.linspace(0, generator.uniform(0, 200), width)[None, :, None] + generator.uniform(0, 55, size=(1, 1, 3))
    noise = generator.normal(0, 10, size=(height, width, 3))
    return Image.fromarray((slope + noise).clip(0, 255).astype(np.uint8))


def _sound(generator: np.random.Generator, row: int) -> Sound:
    rate = 16000 if row % 4 else 8000
    time = np.arange(int(rate * generator.uniform(0.1, 0.4))) / rate
    tone = np.sin(2 * np.pi * generator.uniform(100, 2000) * time) * generator.uniform(0.1, 0.9)
    return Sound((tone + generator.normal(0, 0.01, len(time))).clip(-1, 1).astype(np.float32), rate)


def _series(generator: np.random.Generator, row: int) -> Any:
    steps = generator.normal(size=(int(generator.integers(30, 80)), 3)).cumsum(0)
    return steps.astype(np.float32)


def _video(generator: np.random.Generator, row: int) -> Any:
    return generator.integers(0, 256, size=(int(generator.integers(4, 10)), 24, 32, 3), dtype=np.uint8)


def _extreme_tables() -> list[Any]:
    return [np.full(6, value, np.float32) for value in (3e38, -3e38, 0.0, 1e-38)] + [np.full(6, np.nan, np.float32)]


def _extreme_texts() -> list[Any]:
    return ["", " \n\t", "\0", "a" * 5000, "word " * 2000, "日本語のテキスト", "🦉" * 50, "Ünïcödé ﷺ"]


def _extreme_images() -> list[Any]:
    from PIL import Image

    sizes = ((1, 1), (1, 400), (300, 2), (500, 500))
    return [
        Image.new("RGB", size, colour) for size, colour in zip(sizes, ("black", "white", "red", "white"), strict=True)
    ]


def _extreme_sounds() -> list[Any]:
    silence = np.zeros(4000, np.float32)
    return [Sound(silence, 16000), Sound(silence[:1], 16000), Sound(silence + 1, 44100), Sound(silence - 1e6, 8000)]


def _extreme_series() -> list[Any]:
    wild = np.full((50, 3), 3e38, np.float32)
    return [wild, -wild, wild[:1], np.zeros((500, 3), np.float32), np.zeros((0, 3), np.float32)]


def _extreme_videos() -> list[Any]:
    return [np.full((length, 24, 32, 3), value, np.uint8) for length, value in ((1, 0), (1, 255), (60, 255))]


_ORDINARY: dict[str, Callable[[np.random.Generator, int], Any]] = {
    "tabular": _table,
    "text": _text,
    "image": _image,
    "audio": _sound,
    "series": _series,
    "video": _video,
}
_EXTREME: dict[str, Callable[[], list[Any]]] = {
    "tabular": _extreme_tables,
    "text": _extreme_texts,
    "image": _extreme_images,
    "audio": _extreme_sounds,
    "series": _extreme_series,
    "video": _extreme_videos,
}
