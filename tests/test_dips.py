"""What the core measures of one star's dips, against the oracle that spells it out; and what it refuses."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import reference_shape
import reference_single
import reference_vetting
from numpy.typing import NDArray
from reference_events import StarPoints, star_points

from starskope import _core
from starskope.search import refine
from starskope.search.box import BoxSearch
from starskope.search.detrended_spectrum import detrend, trend_bands
from starskope.search.ephemeris import Ephemeris
from starskope.search.series import StarSeries, centred
from starskope.search.settings import SearchSettings
from starskope.search.single import find_dips, single_durations
from starskope.search.vetting import PeriodTrials, best_peak

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
CADENCE = 1 / 48


@pytest.fixture(autouse=True)
def quiet_division() -> Iterator[None]:
    """Divide by zero as the loops of the oracle mean it."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def _dips(time: F64, period: float, epoch: float, depth: float) -> F64:
    return np.where(np.abs((time - epoch + 0.5 * period) % period - 0.5 * period) < 0.07, depth, 0.0)


def _star(kind: str) -> StarSeries:
    rng = np.random.default_rng(len(kind))
    time = np.delete(1325.3 + CADENCE * np.arange(1282), slice(600, 660))
    flux = 1.0 + 1e-3 * rng.standard_normal(time.size)
    errors = None
    if kind == "planet":
        flux -= _dips(time, 3.17, 1326.0, 4e-3)
    elif kind == "planet of many sigma":
        flux -= _dips(time, 3.17, 1326.0, 0.15)
    elif kind == "binary":
        flux -= _dips(time, 2.9, 1326.4, 0.1) + _dips(time, 2.9, 1327.85, 0.04)
    elif kind == "alternating":
        flux -= _dips(time, 4.6, 1326.4, 0.03) + _dips(time, 4.6, 1328.7, 0.02)
    elif kind == "red":
        flux += np.cumsum(1e-4 * rng.standard_normal(time.size))
    elif kind == "errors":
        errors = (1e-3 * np.exp(0.3 * rng.standard_normal(time.size))).astype(np.float32)
        flux -= _dips(time, 5.3, 1328.0, 6e-3)
        flux[rng.random(time.size) < 0.05] = np.nan
    elif kind == "single":
        flux -= np.where(np.abs(time - 1333.0) < 0.1, 8e-3, 0.0)
    return StarSeries.of(time, centred(flux[:, None].astype(np.float32))[:, 0], errors, CADENCE)


KINDS = ("noise", "planet", "planet of many sigma", "binary", "alternating", "red", "errors", "single")


def _spectra(series: StarSeries) -> tuple[F32, F32, PeriodTrials]:
    settings = SearchSettings(period_min=0.7, period_max=9.0)
    grid = settings.grid(series.time)
    assert grid is not None
    trials = PeriodTrials.of(grid)
    search = BoxSearch(series.time, series.flux[:, None].astype(np.float32), None, durations=grid.durations)
    found = search.periodogram(grid.periods, inverted=True, details=False)
    assert found.inverted_power is not None
    dips, rises = (np.sqrt(2.0 * np.nan_to_num(power[:, 0])) for power in (found.power, found.inverted_power))
    return dips, rises, trials


def _points(series: StarSeries, sign: float = 1.0) -> StarPoints:
    return star_points(series.time, sign * series.flux, series.weight, series.cadence)


@pytest.mark.parametrize("kind", KINDS)
def test_the_best_peak_is_that_of_the_oracle(kind: str) -> None:
    series = _star(kind)
    dips, rises, trials = _spectra(series)
    for statistic, upside_down in ((dips, False), (rises, True)):
        sde, found = best_peak(series, statistic, trials, upside_down=upside_down)
        points = _points(series, -1.0 if upside_down else 1.0)
        is_found, expected_sde, expected = reference_vetting.best_peak(points, statistic, trials)
        assert (found is not None) == is_found
        assert sde == pytest.approx(expected_sde, rel=1e-12)
        if found is not None:
            assert found._fields == expected._fields
            assert list(found) == pytest.approx(list(expected), rel=1e-7, abs=1e-12, nan_ok=True)


def test_the_best_peaks_of_these_stars_are_what_was_put_in() -> None:
    periods = {"planet": 3.17, "planet of many sigma": 3.17, "binary": 2.9, "alternating": 4.6, "errors": 5.3}
    for kind, period in periods.items():
        series = _star(kind)
        dips, _, trials = _spectra(series)
        _, found = best_peak(series, dips, trials)
        assert found is not None
        assert found.period == pytest.approx(period, rel=2e-3), kind
        assert found.snr > 8.0


def test_every_instruction_set_gives_the_same_bytes() -> None:
    series = _star("binary")
    dips, _, trials = _spectra(series)
    before, found = _core.isa(), []
    try:
        for name in _core.available_isas():
            _core.use_isa(name)
            found.append((best_peak(series, dips, trials), find_dips(series, np.zeros(0))))
    finally:
        _core.use_isa(before)
    assert all(repr(one) == repr(found[0]) for one in found)


@pytest.mark.parametrize("kind", KINDS)
def test_single_dips_are_those_of_the_oracle(kind: str) -> None:
    series = _star(kind)
    forbidden = np.array([1327.0, 1340.2])
    found = find_dips(series, forbidden)
    expected = reference_single.dips_and_bumps(
        series.time, series.flux, series.weight, CADENCE, single_durations(CADENCE), forbidden, 3
    )
    for dips, rows in zip(found, expected, strict=True):
        assert len(dips) == len(rows) > 0
        np.testing.assert_allclose(np.array(dips), rows[:, :5], rtol=1e-9)


def test_boxes_are_located_and_refined_as_by_the_oracle() -> None:
    series = _star("planet")
    points = _points(series)
    located = refine.locate(series, 3.18, 0.05, 0.3)
    is_found, expected = reference_shape.locate(points, 3.18, 0.05, 0.3)
    assert is_found
    assert located == pytest.approx(expected, rel=1e-12)
    assert located is not None
    refined = refine.refine(series, located, 5e-3, 0.05, 0.3)
    assert refined == pytest.approx(reference_shape.refine(points, expected, 5e-3, 0.05, 0.3), rel=1e-12)
    assert refined.period == pytest.approx(3.17, abs=2e-3)
    assert isinstance(refined, Ephemeris)


@pytest.mark.parametrize("n", [1, 2, 151, 3000, 20_000])
def test_spectra_are_detrended_as_by_the_oracle(n: int) -> None:
    rng = np.random.default_rng(n)
    bands = trend_bands(np.geomspace(0.5, 13.0, n) if n > 1 else np.array([2.0]))
    statistic = rng.gamma(3.0, 1.0, n).astype(np.float32)
    np.testing.assert_array_equal(detrend(statistic, *bands), reference_single.detrend(statistic, *bands))


def test_series_are_centred_part_by_part() -> None:
    rng = np.random.default_rng(4)
    flux = rng.normal(300.0, 1.0, (200, 5)).astype(np.float32)
    flux[3:9, 0], flux[:, 1], flux[:190, 2], flux[:, 3] = np.nan, -5.0, np.nan, 7.0
    flux[50, 4] = 400.0
    segment = np.repeat(np.array([4, 9], np.int32), 100)
    out = centred(flux, segment)
    assert np.isnan(out[:, 1:4]).all()
    for star in (0, 4):
        for rows in (slice(0, 100), slice(100, 200)):
            light = flux[rows, star].astype(np.float64)
            relative = light / np.nanmedian(light) - 1.0
            kept = np.isfinite(relative) & (np.arange(200)[rows] != 50 if star == 4 else True)
            np.testing.assert_array_equal(out[rows, star][kept], relative[kept].astype(np.float32))
            assert np.isnan(out[rows, star][~kept]).all()
    # Mostly equal: the spread tells that there is light.
    flux[:, 3] += np.where(np.arange(200) % 4 == 0, rng.normal(0.0, 1e-3, 200), 0.0).astype(np.float32)
    assert np.isfinite(centred(flux)[:, 3]).all()


def test_nothing_is_measured_of_a_star_without_points() -> None:
    dips, _, trials = _spectra(_star("noise"))
    none = StarSeries(np.zeros(0), np.zeros(0), np.zeros(0), CADENCE)
    sde, found = best_peak(none, dips, trials)
    assert np.isnan(sde)
    assert found is None
    assert find_dips(none, np.zeros(0)) == ([], [])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("time", np.zeros(1222), r"time\[1\]=0"),
        ("flux", np.full(1222, np.nan), r"flux\[0\]=nan: expected a finite number"),
        ("weight", np.zeros(1222), r"weight\[0\]=0"),
        ("weight", np.ones(9), "weight: has 9 elements, expected 1222"),
        ("cadence", 0.0, "cadence=0.0"),
        ("statistic", np.zeros(7, np.float32), "period: has"),
        ("flux", np.zeros(1222, np.float32), "flux.*float64"),
    ],
)
def test_what_is_out_of_order_is_refused(name: str, value: object, message: str) -> None:
    series = _star("noise")
    dips, _, trials = _spectra(series)
    arguments = {
        "time": series.time,
        "flux": series.flux,
        "weight": series.weight,
        "cadence": CADENCE,
        "upside_down": False,
        "statistic": dips,
        "period": trials.periods,
        "shortest": trials.shortest,
        "longest": trials.longest,
        "edge": trials.edges,
        "centre": trials.centres,
    }
    _core.best_peak(**arguments)  # type: ignore[arg-type]
    with pytest.raises((ValueError, TypeError), match=message):
        _core.best_peak(**{**arguments, name: value})  # type: ignore[arg-type]
