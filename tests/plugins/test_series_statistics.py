"""The statistics of a series, against their definitions."""

from typing import Any

import numpy as np
import pytest
from mmbench_series.statistics import BANDS, Statistics, describe

from mmbench.testing.encoder import EncoderContract


class TestStatistics(EncoderContract):
    part = Statistics


def test_plain_statistics_and_norm() -> None:
    x = np.random.default_rng(0).normal(size=(50, 3)) * [1, 2, 3] + [0, 5, -5]
    found = describe(x)
    np.testing.assert_allclose(found[:3], x.mean(0))
    np.testing.assert_allclose(found[3:6], x.std(0))
    np.testing.assert_allclose(found[6:9], x.min(0))
    np.testing.assert_allclose(found[9:12], x.max(0))
    np.testing.assert_allclose(found[12:15], np.quantile(x, 0.1, axis=0))
    np.testing.assert_allclose(found[27:30], np.abs(np.diff(x, axis=0)).mean(0))
    norm = np.sqrt((x**2).sum(1))
    np.testing.assert_allclose(found[-10:-8], [norm.mean(), norm.std()])
    np.testing.assert_allclose(found[-13:-10], np.asarray(np.corrcoef(x.T))[np.triu_indices(3, 1)])


@pytest.mark.parametrize("periods", [1, 3, 10, 40])
def test_the_power_of_a_sine_lies_in_its_band(periods: int) -> None:
    wave = np.sin(2 * np.pi * periods * np.arange(200) / 200 + 0.3)[:, None]
    shares = describe(wave)[11 : 11 + len(BANDS)]
    band = max(i for i, edge in enumerate(BANDS) if edge <= periods)
    assert shares[band] == pytest.approx(1.0)
    assert shares.sum() == pytest.approx(1.0)
    crossings = describe(wave)[10]
    assert crossings == pytest.approx(2 * periods / 199, abs=1.5 / 199)


def test_a_turned_sensor_changes_no_norm() -> None:
    x = np.random.default_rng(1).normal(size=(80, 3))
    turn, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))
    np.testing.assert_allclose(describe(x)[-10:], describe(x @ turn)[-10:], atol=1e-9)


@pytest.mark.parametrize("row", [np.zeros((0, 2)), np.zeros((1, 2)), np.full((5, 2), np.nan), np.full((5, 2), 1e300)])
def test_a_degenerate_series_is_finite(row: "np.ndarray[Any, Any]") -> None:
    assert np.isfinite(describe(row)).all()
