"""Built-in corruptions: any kind of value missing or another row's; noise; and what befalls each kind of its own."""

import mmbench as mb
from mmbench_corruption import cells, images, series, sounds, texts
from mmbench_corruption.missing import Missing
from mmbench_corruption.noise import Noise
from mmbench_corruption.typos import Typos


@mb.hookimpl
def mmbench_corruptions() -> list[type[mb.Corruption]]:
    return [
        Missing,
        Noise,
        Typos,
        cells.Contradiction,
        cells.MissingCells,
        cells.ShuffledCells,
        images.Blur,
        images.Contrast,
        images.Occlusion,
        images.Jpeg,
        images.Rotation,
        images.Haze,
        texts.CharacterDeletion,
        texts.CharacterSwap,
        texts.WordDrop,
        texts.Case,
        sounds.AudioNoise,
        sounds.Clipping,
        sounds.DroppedFrames,
        sounds.Echo,
        series.DroppedSegments,
        series.Drift,
        series.MissingSpan,
    ]
