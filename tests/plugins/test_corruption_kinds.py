"""Corruptions of one kind of value each: their equations written again, and that more severity is more damage."""

import io
from typing import Any

import numpy as np
import pytest
from mmbench_corruption import cells, images, mmbench_corruptions, series, sounds, texts
from PIL import Image, ImageFilter
from scipy import signal

import mmbench as mb
from mmbench.api.space import defaults

Array = np.ndarray[Any, Any]
TEXT = "The quick brown fox jumps over the lazy dog while it rains " * 20


def draw(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def one(part: type[mb.Corruption], value: Any, severity: float, **params: Any) -> Any:
    return part().apply([value], severity, draw(), {**defaults(part.space), **params})[0]


def picture() -> Any:
    slope = np.add.outer(np.linspace(0, 100, 80), np.linspace(0, 100, 120))[:, :, None]
    return Image.fromarray((slope + draw(3).uniform(0, 50, (80, 120, 3))).astype(np.uint8))


def sound() -> mb.Sound:
    time = np.arange(16000) / 16000
    return mb.Sound((0.5 * np.sin(2 * np.pi * 300.7 * time)).astype(np.float32), 16000)


def wave() -> Array:
    found: Array = (draw(5).normal(size=(200, 3)).cumsum(0) + np.array([0, 50, -3])).astype(np.float32)
    return found


VALUES: dict[str, Any] = {"image": picture(), "audio": sound(), "series": wave(), "tabular": wave()[0]}


@pytest.mark.parametrize("part", [p for p in mmbench_corruptions() if p.name not in ("missing", "contradiction")])
def test_more_severity_is_more_damage(part: type[mb.Corruption]) -> None:
    def distance(severity: float) -> float:
        if "text" in part.kinds:
            damaged = one(part, TEXT, severity)
            same = sum(a == b for a, b in zip(damaged, TEXT, strict=False))
            return float(len(TEXT) - same + abs(len(TEXT) - len(damaged)))
        values = [draw(i).normal(size=6).astype(np.float32) for i in range(40)]
        values = values if "tabular" in part.kinds else [VALUES[part.kinds[0]]]
        found = part().apply(values, severity, draw(), defaults(part.space))
        pairs = [(getattr(n, "samples", n), getattr(o, "samples", o)) for n, o in zip(found, values, strict=True)]
        new, old = (np.array([np.asarray(p[i], float) for p in pairs]) for i in (0, 1))
        return float(np.where(np.isnan(new), 10.0, np.abs(new - old)).sum())

    little, some, much = (distance(severity) for severity in (0.1, 0.5, 1.0))
    assert 0 < little < some < much


def test_blur_is_pillows() -> None:
    radius = 0.5 * 0.1 * 80 * draw().uniform(0.9, 1.1)
    expected = np.asarray(picture().filter(ImageFilter.GaussianBlur(radius)))
    assert np.array_equal(np.asarray(one(images.Blur, picture(), 0.5, size=0.1)), expected)


def test_contrast_keeps_the_mean_and_shrinks_the_deviation() -> None:
    before, after = (np.asarray(p, float) for p in (picture(), one(images.Contrast, picture(), 0.5, most=0.8)))
    kept = 1 - 0.5 * 0.8 * draw().uniform(0.9, 1.0)
    assert after.mean((0, 1)) == pytest.approx(before.mean((0, 1)), abs=0.5)
    assert after.std((0, 1)) == pytest.approx(kept * before.std((0, 1)), rel=0.02)


def test_occlusion_covers_its_share() -> None:
    white = Image.new("RGB", (100, 200), "white")
    covered = (np.asarray(one(images.Occlusion, white, 0.5, most=0.5)) == 128).all(2)
    assert covered.mean() == pytest.approx(0.25, abs=0.01)
    rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    assert covered[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all(), "a rectangle"


def test_jpeg_at_its_quality() -> None:
    quality = round(90 - 0.5 * 80) + int(draw().integers(0, 6))
    file = io.BytesIO()
    picture().save(file, "JPEG", quality=quality)
    expected = np.asarray(Image.open(file).convert("RGB"))
    assert np.array_equal(np.asarray(one(images.Jpeg, picture(), 0.5, worst=10)), expected)


def test_rotation_turns_by_its_angle() -> None:
    """A dot to the right of the middle goes where cosine and sine say."""
    dot = np.zeros((101, 101, 3), np.uint8)
    dot[48:53, 88:93] = 255
    turned = np.asarray(one(images.Rotation, Image.fromarray(dot), 1.0, most=60.0), float)[:, :, 0]
    generator = draw()
    angle = np.radians(60.0 * generator.uniform(0.5, 1.0) * generator.choice([-1, 1]))
    middle = np.hypot(*(np.indices((101, 101)) - 50)) < 49
    rows, columns = np.indices((101, 101))
    light = turned * middle
    found = [(light * where).sum() / light.sum() for where in (rows, columns)]
    assert found == pytest.approx([50 - 40 * np.sin(angle), 50 + 40 * np.cos(angle)], abs=0.7)


def test_haze_draws_to_its_light() -> None:
    hazy = np.asarray(one(images.Haze, Image.new("RGB", (64, 48), "black"), 0.5, most=1.0), float) / 220
    assert 0.34 < hazy.min() < hazy.max() < 0.51
    assert np.abs(np.diff(hazy[:, :, 0], axis=1)).max() < 0.03, "smooth"


def test_deletion_and_dropped_words_at_their_rate() -> None:
    left = one(texts.CharacterDeletion, TEXT, 0.5, rate=0.4)
    assert len(left) / len(TEXT) == pytest.approx(0.8, abs=0.04)
    rest = iter(TEXT)
    assert all(c in rest for c in left), "in their order"
    words = one(texts.WordDrop, TEXT, 0.5, rate=0.6).split()
    assert len(words) / len(TEXT.split()) == pytest.approx(0.7, abs=0.07)
    left_words = iter(TEXT.split())
    assert all(word in left_words for word in words)


def test_swap_keeps_every_character_near_its_place() -> None:
    swapped = one(texts.CharacterSwap, "abcdefghij" * 50, 1.0, rate=0.5)
    assert sorted(swapped) == sorted("abcdefghij" * 50)
    moved = [i - "abcdefghij".index(c) for i, c in enumerate(swapped)]
    assert {shift % 10 for shift in moved} <= {0, 1, 9}
    # Half of the free places begin a swap, which takes two: of three places two are swapped.
    assert np.mean([shift % 10 != 0 for shift in moved]) == pytest.approx(2 / 3, abs=0.06)


def test_case_turns_letters_alone() -> None:
    turned = one(texts.Case, TEXT + "ß123", 1.0, rate=1.0)
    assert turned == TEXT.swapcase() + "ß123"


def test_noise_at_its_ratio() -> None:
    noise = one(sounds.AudioNoise, sound(), 0.5, worst=0.0).samples - sound().samples
    ratio = 10 * np.log10(np.square(sound().samples).mean() / np.square(noise).mean())
    assert ratio == pytest.approx(20, abs=0.2)


def test_clipping_cuts_its_share() -> None:
    clipped = one(sounds.Clipping, sound(), 0.5, most=0.8).samples
    share = 0.5 * 0.8 * draw().uniform(0.9, 1.0)
    assert (clipped != sound().samples).mean() == pytest.approx(share, abs=0.02)
    assert np.abs(clipped).max() == pytest.approx(0.5 * np.sin(np.pi / 2 * (1 - share)), abs=0.01)


def test_dropped_frames_are_silent_pieces() -> None:
    ones = mb.Sound(np.ones(16000, np.float32), 16000)
    dropped = one(sounds.DroppedFrames, ones, 0.5, rate=0.6, length=0.01).samples
    frames = dropped.reshape(-1, 160)
    assert {tuple(set(frame.tolist())) for frame in frames} == {(0.0,), (1.0,)}
    assert (frames[:, 0] == 0).mean() == pytest.approx(0.3, abs=0.15)


def test_echo_is_a_convolution() -> None:
    click = np.zeros(4000, np.float32)
    click[0] = 1.0
    room = one(sounds.Echo, mb.Sound(click, 8000), 1.0, strength=1.0, decay=0.4).samples - click
    assert np.linalg.norm(room) == pytest.approx(1, abs=1e-4)
    assert np.abs(room[:80]).max() < 1e-6, "nothing before 10 ms"
    values = draw(2).normal(size=4000).astype(np.float32)
    expected = values + 0.5 * signal.convolve(values, room)[:4000]
    found = one(sounds.Echo, mb.Sound(values, 8000), 0.5, strength=1.0, decay=0.4).samples
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_dropped_segments_are_zero_by_channel() -> None:
    damaged = one(series.DroppedSegments, np.ones((100, 40), np.float32), 0.5, rate=0.8, pieces=10)
    pieces = damaged.reshape(10, 10, 40)
    assert (pieces == pieces[:, :1]).all(), "whole pieces"
    assert (pieces[:, 0] == 0).mean() == pytest.approx(0.4, abs=0.07)


def test_drift_is_a_line_from_nothing() -> None:
    before, after = wave().astype(float), one(series.Drift, wave(), 0.5, scale=2.0).astype(float)
    line = after - before
    assert np.abs(line[0]).max() < 1e-4
    assert np.abs(np.diff(line, n=2, axis=0)).max() < 1e-4, "straight"
    ends = np.abs(line[-1]) / before.std(0)
    assert ((ends > 0.49) & (ends < 1.01)).all()


def test_missing_span_holds_the_last_value() -> None:
    before, after = wave(), one(series.MissingSpan, wave(), 0.5, most=0.4)
    gone = np.flatnonzero((before != after).any(1))
    assert len(gone) == 40 == gone[-1] - gone[0] + 1
    assert (after[gone] == (before[gone[0] - 1] if gone[0] else 0)).all()


def table() -> list[Array]:
    return list(draw(7).normal(size=(500, 4)).astype(np.float32))


def test_missing_cells_at_their_rate() -> None:
    damaged = np.array(cells.MissingCells().apply(table(), 0.5, draw(), {"rate": 0.8}))
    assert np.isnan(damaged).mean() == pytest.approx(0.4, abs=0.03)
    there = ~np.isnan(damaged)
    assert (damaged[there] == np.array(table())[there]).all()


def test_shuffled_cells_keep_their_columns() -> None:
    before, after = np.array(table()), np.array(cells.ShuffledCells().apply(table(), 0.5, draw(), {"rate": 0.8}))
    assert (np.sort(before, axis=0) == np.sort(after, axis=0)).all()
    assert (before != after).mean() == pytest.approx(0.4, abs=0.03)


def test_contradiction_shows_other_rows() -> None:
    column: list[Any] = [f"row {i}" for i in range(1000)]
    column[7] = None
    before: set[int] = set()
    for severity in (0.1, 0.5, 1.0):
        damaged = cells.Contradiction().apply(column, severity, draw(), {})
        wrong = {i for i, value in enumerate(damaged) if value != column[i]}
        assert before <= wrong
        assert len(wrong) / 999 == pytest.approx(severity, abs=0.04)
        assert sorted(v for v in damaged if v) == sorted(v for v in column if v)
        assert damaged[7] is None
        before = wrong
