"""The long box search against its definition, point by point, and how near it comes to an exact fold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from reference_scan import n_bins, scanned_boxes
from tolerances import rtol_box

from starskope import _core
from starskope.search import grids
from starskope.search.box import BoxSearch
from starskope.search.box_scan import OVERSAMPLE, BoxScan

F32, F64 = NDArray[np.float32], NDArray[np.float64]
DURATIONS = np.array([0.08, 0.13, 0.2])
PERIODS = np.array([2.2, 0.7, 9.123])


def years(n_point: int, seed: int = 1) -> tuple[F64, F32, F32]:
    """Give three seasons in five years, noise, a dip every 2.2 d, and errors that differ by a factor of four."""
    rng = np.random.default_rng([n_point, seed])
    season = np.array([0.0, 400.0, 1700.0])[rng.integers(0, 3, n_point)]
    time = 2457000.0 + np.sort(np.round(season + rng.uniform(0.0, 60.0, n_point), 5))
    time = np.unique(time)
    flux = rng.normal(1.0, 1e-3, time.size)
    flux[(time - 3.0) % 2.2 < 0.1] -= 0.002
    error = rng.uniform(0.5e-3, 2e-3, time.size)
    return time, flux.astype(np.float32)[:, None], error.astype(np.float32)[:, None]


def lengths(period: float, durations: F64, oversample: int, duty: float) -> list[int]:
    n_bin = n_bins(period, durations[0] / oversample)
    return [max(int(d / period * n_bin + 0.5), 1) for d in durations if d <= duty * period]


@pytest.mark.parametrize("isa", _core.available_isas())
@pytest.mark.parametrize("objective", ["snr", "likelihood"])
@pytest.mark.parametrize("with_errors", [False, True])
@pytest.mark.parametrize("n_point", [2, 3, 257, 600, 3000])
def test_finds_the_best_box_of_its_bins(n_point: int, with_errors: bool, objective: Any, isa: str) -> None:
    time, flux, error = years(n_point)
    errors = error if with_errors else None
    before = _core.isa()
    _core.use_isa(isa)
    try:
        scan = BoxScan(time, flux, errors, durations=DURATIONS, objective=objective)
        power, inverted = scan.spectrum(PERIODS, inverted=True)
    finally:
        _core.use_isa(before)
    assert inverted is not None
    y, e = flux[:, 0].astype(np.float64), None if errors is None else error[:, 0].astype(np.float64)
    for p, period in enumerate(PERIODS):
        tried = lengths(float(period), DURATIONS, OVERSAMPLE, 0.25)
        for found, sign in ((power, 1.0), (inverted, -1.0)):
            width = DURATIONS[0] / OVERSAMPLE
            best = scanned_boxes(time, sign * y, e, float(period), tried, width, objective, since=float(time[0]))
            np.testing.assert_allclose(found[p, 0], best.gain.max(), rtol=rtol_box(time.size))


def test_same_bytes_for_any_workers_order_company_and_instruction_set() -> None:
    time, flux, error = years(3000)
    stars = np.hstack([flux, 2.0 - flux, np.where(np.arange(time.size)[:, None] % 7 == 0, np.nan, flux)])
    errors = np.hstack([error, error, error])
    periods = 1.0 / np.linspace(0.05, 1.5, 20_000)
    scan = BoxScan(time, stars, errors, durations=DURATIONS)
    power, inverted = scan.spectrum(periods, inverted=True)
    again = scan.spectrum(periods, inverted=True, workers=3)
    assert inverted is not None
    assert again[1] is not None
    assert power.tobytes() == again[0].tobytes()
    assert inverted.tobytes() == again[1].tobytes()
    order = np.random.default_rng(0).permutation(periods.size)[:500]
    assert scan.spectrum(periods[order])[0].tobytes() == power[order].tobytes()
    alone = BoxScan(time, stars[:, 2:], errors[:, 2:], durations=DURATIONS).spectrum(periods[:500])[0]
    assert alone.tobytes() == power[:500, 2:].tobytes()
    before = _core.isa()
    try:
        for isa in _core.available_isas():
            _core.use_isa(isa)
            assert scan.spectrum(periods[:2000])[0].tobytes() == power[:2000].tobytes()
    finally:
        _core.use_isa(before)


@pytest.mark.parametrize(("density", "least_mean", "least"), [(8.0, 0.95, 0.88), (1.0, 0.97, 0.92)])
def test_keeps_the_signal_of_an_exact_fold(density: float, least_mean: float, least: float) -> None:
    """Boxes without noise on the grid of a search: gains beside those of an exact fold with as many bins."""
    rng = np.random.default_rng(5)
    time = np.concatenate([start + np.arange(0.0, 80.0, 1 / 48) for start in (0.0, 90.0, 700.0, 1400.0)])
    periods = grids.period_grid(time, period_min=0.6, period_max=40.0)
    durations = grids.durations(0.6, 40.0, 1 / 48)
    low, high = grids.duration_limits(periods, cadence=1 / 48)
    kept = []
    for _ in range(30):
        period = float(np.exp(rng.uniform(np.log(0.7), np.log(35.0))))
        duration = float(grids.transit_duration(period, density))
        offset = np.mod(time - rng.uniform(0.0, period) + 0.5 * period, period) - 0.5 * period
        flux = np.where(np.abs(offset) < 0.5 * duration, -1.0, 0.0).astype(np.float32)[:, None]
        near = np.argsort(np.abs(periods - period))[:15]
        limits = (low[near], high[near])
        power = BoxScan(time, flux, durations=durations).spectrum(periods[near], limits=limits)[0].max()
        exact = BoxSearch(time, flux, durations=durations, oversample=OVERSAMPLE)
        kept.append(np.sqrt(power / exact.periodogram(periods[near], limits=limits, details=False).power.max()))
    assert np.mean(kept) > least_mean
    assert min(kept) > least


def test_nothing_to_measure_is_nan_and_nothing_that_dips_is_zero() -> None:
    time = np.arange(0.0, 40.0, 1 / 48)
    flux = np.full((time.size, 4), 1.0, np.float32)
    flux[:, 1] = np.nan
    flux[1:, 2] = np.nan
    flux[5, 3] = np.inf
    power, inverted = BoxScan(time, flux, durations=[0.1]).spectrum([0.3, 1.0, 100.0], inverted=True)
    assert inverted is not None
    assert np.isnan(power[0]).all()  # a duration of more than a quarter of the period is not tried
    for found in (power, inverted):
        np.testing.assert_array_equal(found[1:, [0, 3]], 0.0)
        assert np.isnan(found[:, [1, 2]]).all()


def test_takes_times_without_any_point() -> None:
    power, _ = BoxScan(np.zeros(0), np.zeros((0, 2), np.float32), durations=[0.1]).spectrum([1.0])
    assert np.isnan(power).all()
    assert BoxScan([1.0], [[1.0]], durations=[0.1]).spectrum(np.zeros(0))[0].shape == (0, 1)


def test_a_period_of_millions_of_bins_takes_bounded_memory() -> None:
    time, flux, _ = years(5000)
    power, _ = BoxScan(time, flux, durations=[0.001], oversample=10).spectrum([400.0, 410.0])
    assert np.isfinite(power).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"time": [0.0, 2.0, 1.0]}, "sort"),
        ({"time": [0.0, 1.0, 1.0]}, "repeats"),
        ({"time": [0.0, 1.0, np.nan]}, "time"),
        ({"flux": [[1.0], [1.0]]}, "one row per time"),
        ({"flux_err": [[0.1], [0.0], [0.1]]}, "above 0"),
        ({"flux_err": [[0.1], [-1.0], [0.1]]}, "above 0"),
        ({"durations": [0.2, 0.1]}, "increasing"),
        ({"durations": []}, "one or more"),
        ({"oversample": 0}, "oversample"),
        ({"objective": "depth"}, "objective"),
    ],
)
def test_refuses(change: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"time": [0.0, 1.0, 2.0], "flux": [[1.0], [1.1], [1.0]], "durations": [0.1], **change}
    with pytest.raises(ValueError, match=words):
        BoxScan(given.pop("time"), given.pop("flux"), **given)


@pytest.mark.parametrize(
    ("periods", "limits", "words"),
    [
        ([1.0, -1.0], None, r"periods\[1\]"),
        ([np.inf], None, r"periods\[0\]"),
        ([1e9], None, "bins"),
        ([1.0], ([0.2], [0.1]), "limits"),
    ],
)
def test_refuses_periods(periods: list[float], limits: Any, words: str) -> None:
    scan = BoxScan([0.0, 1.0, 2.0], [[1.0], [1.1], [1.0]], durations=[0.001])
    with pytest.raises(ValueError, match=words):
        scan.spectrum(periods, limits=limits)
