"""Transits of one star over several missions: segments of different cadence, level and noise, years between them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from astropy.table import Table
from numpy.typing import NDArray

import starskope as sk
from starskope.curves.container import LightCurves
from starskope.curves.joined import Joined
from starskope.search.joined_search import joined_points

F64 = NDArray[np.float64]
PERIOD, EPOCH, DURATION = 3.2101234, 101.234, 0.14


def segment(start: float, days: float, cadence: float, sigma: float, seed: int, **changes: Any) -> LightCurves:
    """Give a light curve of one star with white noise of its own level, and the planet's dips."""
    rng = np.random.default_rng(seed)
    depth = changes.pop("depth", 2e-3)
    time = start + np.arange(0.0, days, cadence)
    phase = np.mod(time - EPOCH + 0.5 * PERIOD, PERIOD) - 0.5 * PERIOD
    flux = 1.0 - depth * (np.abs(phase) < 0.5 * DURATION) + sigma * rng.standard_normal(time.size)
    flux *= changes.pop("level", 1.0)
    for at in changes.pop("lone", ()):
        flux[np.abs(time - at) < 0.15] -= 5.0 * sigma
    options = {"mission": "TESS", "time_zero": 2457000.0, "meta": {"time_reference": "barycentre"}, **changes}
    return LightCurves(time, flux.astype(np.float32)[:, None], **options)


def join(*segments: LightCurves) -> Joined:
    return Joined(segments, Table({"segment": np.arange(len(segments))}))


def three(depth: float = 2e-3) -> Joined:
    return join(
        segment(-1950.0, 40.0, 29.42 / 1440, 2e-4, 1, mission="Kepler", depth=depth),
        segment(100.0, 26.0, 30.0 / 1440, 1.5e-3, 2, level=1.0004, depth=depth),
        segment(830.0, 26.0, 10.0 / 1440, 2e-3, 3, level=0.9993, depth=depth),
    )


def test_period_of_a_planet_over_years() -> None:
    found = sk.search_transits(three(), period_min=1.0)
    row = found[0]
    assert row["claim"]
    assert row["verdict"] == "planet-like"
    assert abs(row["period"] - PERIOD) < 3.0 * max(row["period_err"], 1e-6)
    assert row["period_err"] < 1e-5
    n = round((row["t0"] - EPOCH) / PERIOD)
    assert abs(row["t0"] - EPOCH - n * PERIOD) < 0.01
    assert row["t0_bjd"] == pytest.approx(row["t0"] + 2457000.0)
    assert row["depth"] == pytest.approx(2e-3, rel=0.05)
    assert not found["claim"][1:].any()


def test_every_segment_has_its_own_level_and_scatter() -> None:
    points = joined_points(three())
    assert points.observed == pytest.approx(92.0, abs=0.1)
    assert np.all(np.diff(points.curves.time) > 0)
    flux, error = points.curves.flux[:, 0], points.curves.flux_err
    assert error is not None
    for number, sigma in ((0, 2e-4), (1, 1.5e-3), (2, 2e-3 / np.sqrt(3.0))):
        mine = points.segment == number
        assert np.median(flux[mine]) == pytest.approx(1.0, abs=1e-6)
        assert np.median(error[mine]) == pytest.approx(sigma, rel=0.1)
    # The fastest segment is averaged to the cadence of the others.
    assert np.count_nonzero(points.segment == 2) == pytest.approx(26 * 48, abs=2)


def test_given_errors_share_out_the_scatter() -> None:
    quiet = segment(0.0, 20.0, 1 / 48, 1e-3, 4, depth=0.0)
    given = np.where(np.arange(quiet.n_time) % 2 == 0, 0.02, 0.04).astype(np.float32)[:, None]
    with_errors = LightCurves(quiet.time, quiet.flux, flux_err=given, time_zero=quiet.time_zero, meta=quiet.meta)
    error = joined_points(join(with_errors)).curves.flux_err
    assert error is not None
    np.testing.assert_allclose(error[1::2, 0] / error[:-1:2, 0], 2.0, rtol=1e-5)
    assert 5e-4 < np.median(error) < 2e-3


def test_noise_of_a_noisy_segment_is_no_event_of_a_quiet_one() -> None:
    quiet = segment(0.0, 60.0, 1 / 48, 1e-4, 5, depth=0.0, mission="Kepler")
    noisy = segment(1000.0, 27.0, 1 / 48, 4e-3, 6, depth=0.0)
    found = sk.search_transits(join(quiet, noisy), period_min=1.0)
    assert not found["claim"].any()


def test_a_lone_event_of_one_segment_names_the_periods_that_years_leave() -> None:
    joined = join(
        segment(0.0, 60.0, 1 / 48, 2e-4, 7, depth=0.0, lone=(31.0,), mission="Kepler"),
        segment(2000.0, 27.0, 1 / 48, 2e-4, 8, depth=0.0),
        segment(3500.0, 27.0, 1 / 48, 2e-4, 9, depth=0.0),
    )
    row = sk.search_transits(joined, period_min=1.0)[0]
    assert row["claim"]
    assert row["verdict"] == "single-event"
    assert row["t0"] == pytest.approx(31.0, abs=0.05)
    assert row["period_least"] > 29.0
    assert row["periods_allowed"]


def test_overlapping_missions_are_searched_together() -> None:
    time_of_both = segment(100.0, 26.0, 30.0 / 1440, 5e-4, 2)
    other = segment(100.0, 26.0, 30.0 / 1440, 5e-4, 3, mission="Kepler")
    later = segment(110.01, 26.0, 30.0 / 1440, 5e-4, 4, mission="K2")
    points = joined_points(join(time_of_both, other, later))
    assert np.all(np.diff(points.curves.time) > 0)
    assert points.observed == pytest.approx(36.0, abs=0.1)
    row = sk.search_transits(join(time_of_both, other, later), period_min=1.0)[0]
    assert row["claim"]
    assert abs(row["period"] - PERIOD) < 1e-3


def test_a_segment_without_points_is_left_out() -> None:
    empty = LightCurves(
        np.arange(3000.0, 3001.0, 0.02),
        np.full((50, 1), np.nan, np.float32),
        time_zero=2457000.0,
        meta={"time_reference": "barycentre"},
    )
    good = three().segments
    assert sk.search_transits(join(*good, empty), period_min=1.0)["claim"][0]
    with pytest.raises(ValueError, match="none of 1 segments"):
        sk.search_transits(join(empty))


def test_refuses_times_beside_joined_light_curves() -> None:
    with pytest.raises(ValueError, match="have their own time"):
        sk.search_transits(three(), time=np.arange(3.0))
    with pytest.raises(ValueError, match="longer than the light curves"):
        sk.search_transits(three(), period_max=1e5)


def test_same_bytes_for_any_number_of_workers() -> None:
    one, two = (sk.search_transits(three(), period_min=1.0, workers=n) for n in (1, 2))
    for name in ("period", "t0", "duration", "depth", "snr", "sde", "false_alarm_probability"):
        assert np.asarray(one[name]).tobytes() == np.asarray(two[name]).tobytes()


def test_hat_p_7_as_kepler_and_tess_saw_it(data_dir: Any) -> None:
    """Four files over 12 years: a box search of two of them prefers twice the period; together they leave no doubt."""
    files = [
        *data_dir.glob("lightcurves/kplr010666592-*slc.fits"),
        *data_dir.glob("lightcurves/tess*424865156*lc.fits"),
    ]
    assert len(files) == 4
    flat = sk.join(sorted(files)).mask().flatten().bin(width_days=30.0 / 1440.0)
    row = sk.search_transits(flat, period_min=0.5, period_max=20.0)[0]
    assert row["claim"]
    assert row["verdict"] == "planet-like"
    assert abs(row["period"] - 2.204735417) < 2e-6
    epoch = 2454833.0 + 121.3585417
    n = round((row["t0_bjd"] - epoch) / row["period"])
    assert abs(row["t0_bjd"] - epoch - n * 2.204735417) < 1.0 / 1440.0
    assert row["secondary"] == pytest.approx(1e-4, abs=5e-5)
