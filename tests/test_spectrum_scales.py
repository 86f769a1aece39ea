"""Lines taken off and densities, of power spectra: against SciPy's periodogram and against fits point by point."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import scipy.signal
from numpy.typing import NDArray
from tolerances import rtol_transform

import starskope as sk
from starskope import _core

CADENCE = 1800.0 / 86400.0


@pytest.fixture(params=_core.available_isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    before = _core.isa()
    _core.use_isa(request.param)
    yield request.param
    _core.use_isa(before)


def sloping(n_time: int, n_star: int, missing: float = 0.0) -> NDArray[np.float32]:
    rng = np.random.default_rng([n_time, n_star])
    slope = rng.uniform(-0.1, 0.1, n_star) * np.linspace(0, 1, n_time)[:, np.newaxis]
    x = (1.0 + slope + 0.01 * rng.normal(size=(n_time, n_star))).astype(np.float32)
    x[rng.random(x.shape) < missing] = np.nan
    return x


def expected(x: NDArray[Any], window: NDArray[Any], n_fft: int, linear: bool, density: bool) -> NDArray[np.float64]:
    """Powers by the definition, series by series."""
    time, rows = np.arange(len(x)), []
    for column in x.T.astype(np.float64):
        there = np.isfinite(column)
        rest, degree = np.zeros(len(x)), 1 if linear and there.sum() > 1 else 0
        rest[there] = column[there] - np.polyval(np.polyfit(time[there], column[there], degree), time[there])
        squares = np.abs(np.fft.rfft(rest * window, n_fft)) ** 2
        weight = window[there].astype(np.float64)
        squares *= 2 * CADENCE / np.sum(weight**2) if density else 4 / np.sum(weight) ** 2
        ends = [0, -1] if n_fft % 2 == 0 else [0]
        squares[ends] /= 2 if density else 4
        rows.append(squares)
    return np.array(rows).T


def error(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    wrong = np.sqrt(found.astype(np.float64)) - np.sqrt(wanted)
    return float(np.max(np.linalg.norm(wrong, axis=0) / np.linalg.norm(np.sqrt(wanted), axis=0)))


@pytest.mark.parametrize("n_time", [5, 64, 641, 1282])
@pytest.mark.parametrize("n_star", [3, 64, 70])
@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("detrend", ["constant", "linear"])
@pytest.mark.parametrize("normalization", ["amplitude", "density"])
def test_powers_are_those_of_the_definition(
    isa: str, n_time: int, n_star: int, missing: float, detrend: str, normalization: str
) -> None:
    x = sloping(n_time, n_star, missing)
    x[[0, n_time // 2, -2]] = sloping(n_time, n_star)[[0, n_time // 2, -2]]
    window = scipy.signal.get_window("hamming", n_time).astype(np.float32)
    for oversample in (1, 2):
        found = sk.power_spectrum(
            x, cadence=CADENCE, window="hamming", oversample=oversample, detrend=detrend, normalization=normalization
        )
        wanted = expected(x, window, oversample * n_time, detrend == "linear", normalization == "density")
        # Samples around 1 are rounded sums of a level and a slope: what is left is a hundredth of them.
        assert error(found.power, wanted) < 12 * rtol_transform(oversample * n_time)
        assert found.normalization == normalization
        assert found.settings["detrend"] == detrend


@pytest.mark.parametrize("detrend", ["constant", "linear"])
@pytest.mark.parametrize("n_time", [100, 101])
def test_densities_are_those_of_scipy(detrend: Any, n_time: int) -> None:
    x = sloping(n_time, 4)
    frequency, wanted = scipy.signal.periodogram(
        x.astype(np.float64), 1 / CADENCE, "hann", detrend=detrend, scaling="density", axis=0
    )
    found = sk.power_spectrum(x, cadence=CADENCE, detrend=detrend, normalization="density")
    np.testing.assert_allclose(found.frequency, frequency, rtol=1e-12)
    np.testing.assert_allclose(found.power, wanted, rtol=1e-3, atol=1e-6 * wanted.max())
    assert "density" in repr(found)


def test_the_integral_of_a_density_is_the_variance() -> None:
    x = sloping(1281, 5)
    found = sk.power_spectrum(x, cadence=CADENCE, window=None, normalization="density")
    integral = found.power.astype(np.float64).sum(axis=0) * found.frequency[1]
    np.testing.assert_allclose(integral, x.astype(np.float64).var(axis=0), rtol=1e-5)


def test_a_line_leaves_no_power(isa: str) -> None:
    line = (2.0 + np.arange(-64, 64)[:, np.newaxis] * np.array([0.5, -0.25, 0.0, 4.0])).astype(np.float32)
    gaps = line.copy()
    gaps[5:40, :2] = np.nan
    for x in (line, gaps):
        power = sk.power_spectrum(x, cadence=CADENCE, detrend="linear").power
        assert power.max() < 1e-9
    assert sk.power_spectrum(line, cadence=CADENCE).power[:, 3].max() > 100.0


def test_single_points_and_lost_series_keep_their_meaning(isa: str) -> None:
    x = np.full((40, 4), np.nan, np.float32)
    x[7, 0], x[[7, 30], 1], x[:, 2] = 2.0, (1.0, 5.0), 3.0
    power = sk.power_spectrum(x, cadence=CADENCE, window=None, detrend="linear", normalization="density").power
    assert power[:, [0, 1]].max() < 1e-10  # a line runs through two points
    assert not power[:, 2].any()
    assert np.isnan(power[:, 3]).all()


@pytest.mark.parametrize("detrend", ["constant", "linear"])
@pytest.mark.parametrize("normalization", ["amplitude", "density"])
def test_irregular_times_agree_with_the_regular_transform(detrend: str, normalization: str) -> None:
    x = sloping(300, 3, 0.1)
    off = CADENCE * 0.012 / np.pi * np.where(np.arange(300) % 2, 1, -1)
    settings: dict[str, Any] = {"detrend": detrend, "normalization": normalization}
    regular = sk.power_spectrum(x, cadence=CADENCE, **settings)
    beside = sk.power_spectrum(sk.LightCurves(CADENCE * np.arange(300) + off, x), **settings)
    assert beside.method == "finufft"
    assert np.abs(regular.power - beside.power).max() < 0.02 * regular.power.max()


def test_segments_lose_their_own_lines(isa: str) -> None:
    x = sloping(300, 70, 0.05)
    x[150:] += np.linspace(0, 3, 150, dtype=np.float32)[:, np.newaxis]
    found = sk.spectrogram(x, cadence=CADENCE, segment=50, overlap=0, detrend="linear")
    for i in range(6):
        rows = sk.power_spectrum(x[50 * i : 50 * (i + 1)], cadence=CADENCE, detrend="linear").power
        assert found.power[i].tobytes() == rows.tobytes()


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"detrend": "cubic"}, "detrend='cubic'"), ({"normalization": "standard"}, "normalization='standard'")],
)
def test_other_trends_and_scales_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        sk.power_spectrum(sloping(9, 2), cadence=CADENCE, **settings)


def test_the_core_refuses_a_cadence_that_is_none() -> None:
    x, out = sloping(8, 3), np.empty((5, 3), np.float32)
    for cadence in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="expected a number above 0"):
            _core.power_spectrum(x, out, None, 8, False, cadence)
