"""Corruptions: how much is damaged at which severity."""

from typing import Any

import numpy as np
import pytest
from mmbench_corruption.missing import Missing
from mmbench_corruption.noise import Noise
from mmbench_corruption.typos import Typos
from PIL import Image

Array = np.ndarray[Any, Any]


def draw(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_missing_rows_are_nested() -> None:
    column = [f"row {i}" for i in range(2000)]
    before: set[int] = set()
    for severity in (0.0, 0.1, 0.25, 0.5, 0.75, 1.0):
        damaged = Missing().apply(column, severity, draw(), {})
        lost = {i for i, value in enumerate(damaged) if value is None}
        assert before <= lost
        assert len(lost) / len(column) == pytest.approx(severity, abs=0.03)
        assert all(value is column[i] for i, value in enumerate(damaged) if i not in lost)
        before = lost
    assert len(before) == len(column)


def test_noise_is_as_strong_as_each_feature() -> None:
    column = list((draw(1).normal(size=(3000, 3)) * [1, 100, 0]).astype(np.float32))
    noisy = Noise().apply(column, 0.5, draw(), {"scale": 2.0})
    found = (np.array(noisy) - np.array(column)).std(0)
    assert found == pytest.approx([1, 100, 0], rel=0.05)


def test_noise_leaves_missing_cells_out_of_the_deviation() -> None:
    column = [np.array([i % 2, np.nan], np.float32) for i in range(400)]
    noisy = np.array(Noise().apply(column, 1.0, draw(), {"scale": 1.0}))
    assert np.isnan(noisy[:, 1]).all()
    assert (noisy[:, 0] - np.array(column)[:, 0]).std() == pytest.approx(0.5, rel=0.1)


def test_noise_of_series_is_by_channel() -> None:
    column = [draw(i).normal(size=(50 + i, 2)).astype(np.float32) * [1, 30] for i in range(40)]
    noisy = Noise().apply(column, 1.0, draw(), {"scale": 1.0})
    added = np.concatenate([new - old for new, old in zip(noisy, column, strict=True)])
    assert added.std(0) == pytest.approx([1, 30], rel=0.1)


def test_noise_of_images_grows_with_severity() -> None:
    column = [Image.new("RGB", (40, 30), (128, 128, 128))]
    spread = [np.asarray(Noise().apply(column, s, draw(), {"scale": 1.0})[0]).std() for s in (0.1, 0.3, 0.6, 1.0)]
    assert spread[0] == pytest.approx(0.1 * 255 / 12**0.5, rel=0.1)
    assert spread == sorted(spread)


def test_typos_at_their_rate() -> None:
    text = "abcdefghij" * 200
    for severity in (0.1, 0.4):
        typed = Typos().apply([text], severity, draw(), {"rate": 0.5})[0]
        # Left out and typed twice change the length by one each, half of all errors; they nearly balance.
        assert typed != text
        assert abs(len(typed) - len(text)) < 60
    quiet = Typos().apply(["a", "b"] * 50, 0.1, draw(), {"rate": 0.5})
    changed = sum(new is not old for new, old in zip(quiet, ["a", "b"] * 50, strict=True))
    assert 0 < changed < 20


def test_typos_are_of_four_kinds() -> None:
    found = {Typos().apply(["xy"], 1.0, draw(seed), {"rate": 0.5})[0] for seed in range(400)}
    assert {"x", "y", "xxy", "xyy", "yx"} <= found
    assert any(len(text) == 2 and text not in ("xy", "yx") for text in found)
