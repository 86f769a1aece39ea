"""The transit search over years of data: the way that long grids take, beside the exact one, and several planets."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import starskope as sk
from starskope.search import box_spectra
from starskope.search.box_spectra import BoxSpectra
from starskope.search.settings import SearchSettings

F64 = NDArray[np.float64]
LIMITS = {"period_min": 2.0, "period_max": 12.0}


def seasons() -> F64:
    return np.concatenate([start + np.arange(0.0, 70.0, 1 / 48) for start in (0.0, 400.0, 1500.0)])


def planets(*periods: float, depth: float = 1e-3, seed: int = 1) -> tuple[F64, F64]:
    time = seasons()
    flux = 1.0 + 4e-4 * np.random.default_rng(seed).standard_normal(time.size)
    for k, period in enumerate(periods):
        flux[np.mod(time - 1.0 - 1.7 * k, period) < 0.15] -= depth
    flux[300:340] = np.nan
    return time, flux


def test_several_planets_over_years() -> None:
    time, flux = planets(3.3333, 7.7777)
    found = sk.search_transits(flux, time=time, **LIMITS)
    claimed = found[found["claim"]]
    assert len(claimed) == 2
    for period in (3.3333, 7.7777):
        row = claimed[np.argmin(np.abs(claimed["period"] - period))]
        assert abs(row["period"] - period) < 4.0 * row["period_err"] + 1e-6
        assert row["verdict"] == "planet-like"


def test_a_star_is_searched_alike_in_any_company() -> None:
    time, one = planets(3.3333)
    _, two = planets(5.1, seed=2)
    _, quiet = planets(seed=3)
    together = sk.search_transits(np.stack([one, two, quiet], axis=1), time=time, n_candidates=1, **LIMITS)
    alone = sk.search_transits(two, time=time, n_candidates=1, **LIMITS)
    for name in ("period", "t0", "duration", "depth", "snr", "sde", "rp_rs"):
        assert np.asarray(together[name][1:2]).tobytes() == np.asarray(alone[name]).tobytes()
    assert list(together["claim"]) == [True, True, False]


def test_both_ways_see_the_same_peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    time, flux = planets(3.3333)
    there = np.isfinite(flux)
    grid = SearchSettings(**LIMITS).grid(time)
    assert grid is not None
    data = (time[there], (flux[there] - 1.0).astype(np.float32)[:, None], None, grid)
    assert time.size * grid.periods.size > box_spectra.LONG
    long, _ = BoxSpectra(*data).of(0)
    near = slice(int(np.argmax(long)) - 400, int(np.argmax(long)) + 400)
    some = (*data[:3], type(grid)(grid.periods[near], grid.durations, grid.cadence, grid.n_bin))
    assert time.size * 800 < box_spectra.LONG
    exact, _ = BoxSpectra(*some).of(0)
    assert long[near].max() / exact.max() == pytest.approx(1.0, abs=0.05)
    assert abs(int(np.argmax(long[near])) - int(np.argmax(exact))) <= 3
    # Away from the peak both see noise of the same size.
    assert np.median(long[near]) / np.median(exact) == pytest.approx(1.0, abs=0.08)
    monkeypatch.setattr(box_spectra, "LONG", 0)
    folded, _ = BoxSpectra(*some).of(0)
    assert folded.tobytes() == long[near].tobytes()
