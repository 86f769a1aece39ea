"""Spectrograms against SciPy's ShortTimeFFT and against the power spectra of their segments."""

from __future__ import annotations

import numpy as np
import pytest
import reference_periodograms as reference
from tolerances import atol_power

import starskope as sk
from starskope.search.windows import window_values

CADENCE = 1800.0 / 86400.0


def noise(n_time: int, n_star: int, missing: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng([n_time, n_star])
    x = rng.normal(1.0, 0.01, size=(n_time, n_star)).astype(np.float32)
    x[rng.random(x.shape) < missing] = np.nan
    return x


@pytest.mark.parametrize(
    ("n_time", "segment", "overlap"),
    [(1000, 256, 128), (1000, 64, 40), (100, 33, 0), (100, 33, 32), (97, 97, 5), (50, 2, 1)],
)
@pytest.mark.parametrize("window", ["hann", None, "blackman"])
def test_scipy_agrees(n_time: int, segment: int, overlap: int, window: str | None) -> None:
    x = noise(n_time, 3)
    found = sk.spectrogram(x, cadence=CADENCE, segment=segment, overlap=overlap, window=window)
    values = window_values(window, segment).astype(np.float64)
    for star in range(3):
        expected = reference.spectrogram_by_scipy(x[:, star], values, segment, segment - overlap)
        assert found.power[:, :, star].shape == expected.shape
        tolerance = atol_power(segment, float(np.sqrt(expected.max())), 0.05)
        assert np.abs(found.power[:, :, star] - expected).max() < tolerance


def test_each_segment_is_the_power_spectrum_of_its_rows() -> None:
    x = noise(300, 5, 0.2)
    x[100:170] = np.nan
    x[:, 4] = np.nan
    found = sk.spectrogram(x, cadence=CADENCE, segment=60, overlap=15)
    assert found.power.shape == (6, 31, 5)
    for i in range(6):
        rows = slice(45 * i, 45 * i + 60)
        alone = sk.power_spectrum(x[rows], cadence=CADENCE)
        np.testing.assert_allclose(found.power[i], alone.power, rtol=1e-4, atol=1e-11)
        np.testing.assert_array_equal(found.frequency, alone.frequency)
        middle = CADENCE * (45 * i + 29.5)
        assert found.time[i] == pytest.approx(middle, rel=1e-12)


def test_a_segment_without_points_is_missing_and_the_others_are_not() -> None:
    x = noise(300, 2)
    x[60:160, 0] = np.nan
    found = sk.spectrogram(x, cadence=CADENCE, segment=50, overlap=0)
    np.testing.assert_array_equal(np.isnan(found.power).all(axis=1)[:, 0], [False, False, True, False, False, False])
    assert np.isfinite(found.power[:, :, 1]).all()


def test_a_sine_that_changes_is_seen_where_it_is() -> None:
    t = np.arange(1024)
    x = np.where(t < 512, 0.5 * np.sin(2 * np.pi * t / 16), 0.25 * np.sin(2 * np.pi * t / 8))
    found = sk.spectrogram(x, cadence=CADENCE, segment=128, overlap=0)
    assert found.power[1, 8, 0] == pytest.approx(0.25, rel=1e-5)
    assert found.power[6, 16, 0] == pytest.approx(0.0625, rel=1e-5)
    assert found.power[1, 16, 0] < 1e-10


def test_light_curves_give_their_times() -> None:
    kept = np.r_[0:100, 130:400]
    x = noise(400, 2)
    gaps = np.full_like(x, np.nan)
    gaps[kept] = x[kept]
    found = sk.spectrogram(sk.LightCurves(1325.5 + CADENCE * kept, x[kept]), segment=64, overlap=32)
    expected = sk.spectrogram(gaps, cadence=CADENCE, segment=64, overlap=32)
    assert found.power.tobytes() == expected.power.tobytes()
    np.testing.assert_allclose(found.time, 1325.5 + expected.time, rtol=1e-12)
    assert found.time_zero == 2457000.0
    assert np.isnan(expected.time_zero)


def test_slow_drift_is_told_and_random_times_are_refused() -> None:
    days = CADENCE * np.arange(4000)
    drift = 80.0 / 86400 * np.cos(2 * np.pi * days / 372)
    found = sk.spectrogram(sk.LightCurves(days + drift, noise(4000, 1)))
    assert 0.0 < found.phase_error < 0.05
    assert sk.power_spectrum(sk.LightCurves(days + drift, noise(4000, 1))).method == "finufft"
    random = np.sort(np.random.default_rng(1).uniform(0, 20, 900))
    with pytest.raises(ValueError, match="no regular cadence"):
        sk.spectrogram(sk.LightCurves(random, noise(900, 1)))


@pytest.mark.parametrize("n_star", [1, 257, 600])
def test_any_number_of_workers_gives_the_same_bytes(n_star: int) -> None:
    x = noise(200, n_star, 0.05)
    one = sk.spectrogram(x, cadence=CADENCE, segment=50, overlap=20)
    for workers in (2, 3, -1):
        again = sk.spectrogram(x, cadence=CADENCE, segment=50, overlap=20, workers=workers)
        assert again.power.tobytes() == one.power.tobytes()
    turned = sk.spectrogram(x.T.astype(">f8"), cadence=CADENCE, segment=50, overlap=20, axis=1)
    assert turned.power.tobytes() == one.power.tobytes()


def test_an_empty_batch_is_a_result() -> None:
    found = sk.spectrogram(np.empty((300, 0)), cadence=CADENCE)
    assert found.power.shape == (1, 129, 0)
    assert "1 segments x 129 frequencies x 0 stars" in repr(found)


@pytest.mark.parametrize(
    ("settings", "error", "told"),
    [
        ({"segment": 1}, ValueError, "segment=1"),
        ({"segment": 301}, ValueError, "the series has 300 cadences"),
        ({"segment": 64, "overlap": 64}, ValueError, "overlap=64: expected less"),
        ({"segment": 64, "overlap": -1}, ValueError, "overlap=-1"),
        ({"segment": 64.0}, TypeError, "integer"),
        ({"segment": 64, "overlap": 0, "window": np.ones(63)}, ValueError, r"shape \(63,\)"),
        ({"cadence": None}, ValueError, "needs its cadence"),
    ],
)
def test_what_cannot_be_meant_is_refused(settings: dict, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        sk.spectrogram(noise(300, 2), **{"cadence": CADENCE, **settings})
