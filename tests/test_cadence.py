"""The grid under times: where cadences stand, and which cadence cannot be in days."""

from __future__ import annotations

import numpy as np
import pytest

from starskope.search.cadence import cadence_in_days, fit_grid, regular_grid

CADENCE = 1800.0 / 86400.0


def test_a_full_grid_needs_no_places() -> None:
    grid = fit_grid(1325.3 + CADENCE * np.arange(1282))
    assert grid.n_time == 1282
    assert grid.place is None
    assert grid.start == pytest.approx(1325.3, abs=1e-9)
    assert grid.cadence_days == pytest.approx(CADENCE, rel=1e-12)
    assert grid.is_regular(grid.nyquist)


def test_gaps_keep_their_places() -> None:
    kept = np.r_[0:400, 430:900, 901:1000]
    grid = fit_grid(CADENCE * kept)
    assert grid.n_time == 1000
    np.testing.assert_array_equal(grid.place, kept)


def test_a_slow_drift_misplaces_nothing_and_is_told() -> None:
    """A minute of departure over a quarter of Kepler data is more than a one-minute cadence."""
    days = np.arange(0.0, 90.0, 60.0 / 86400.0)
    drift = 70.0 / 86400.0 * np.cos(np.pi * days / 90.0) ** 2
    grid = fit_grid(days + drift)
    assert grid.n_time == days.size
    assert grid.place is None
    assert np.abs(grid.deviation).max() * 86400 > 30.0
    assert not grid.is_regular(grid.nyquist)
    assert grid.is_regular(0.5)


def test_deviations_up_and_down_are_equal() -> None:
    deviation = fit_grid(CADENCE * np.arange(100) + np.where(np.arange(100) == 50, 60.0 / 86400, 0.0)).deviation
    assert deviation.max() == pytest.approx(-deviation.min(), rel=1e-9)


def test_times_after_a_gap_may_stand_between_places() -> None:
    time = np.r_[CADENCE * np.arange(500), CADENCE * (600.4 + np.arange(500))]
    grid = fit_grid(time)
    assert grid.n_time in {1100, 1101}
    assert not grid.is_regular(grid.nyquist)
    assert np.isfinite(grid.deviation).all()


def test_random_times_keep_to_no_grid() -> None:
    time = np.sort(np.random.default_rng(3).uniform(0, 27, 900))
    grid = fit_grid(time)
    assert np.isinf(grid.deviation).all()
    assert not grid.is_regular(1e-6)
    assert grid.n_time == 1 + round((time[-1] - time[0]) / float(np.median(np.diff(time))))


def test_two_times_are_a_grid() -> None:
    grid = fit_grid([3.0, 3.5])
    assert (grid.n_time, grid.cadence_days) == (2, 0.5)


@pytest.mark.parametrize(
    ("time", "told"),
    [
        ([], "0 cadences"),
        ([1.0], "1 cadences"),
        ([1.0, 3.0, 2.0], "sort the cadences"),
        ([1.0, 2.0, 2.0], "repeats"),
        ([1.0, np.nan, 2.0], "not finite"),
        (1800.0 * np.arange(50), "looks? like seconds"),
        (30.0 * np.arange(50), "seconds or minutes"),
        ([0.0, 1e-7, 2e-7, 3e-7, 50.0], "give the true cadence"),
    ],
)
def test_times_that_are_no_days_in_order_are_refused(time: object, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        fit_grid(time)


def test_a_cadence_may_be_a_quantity() -> None:
    from astropy import units

    assert cadence_in_days(30 * units.minute) == pytest.approx(CADENCE, rel=1e-15)
    with pytest.raises(ValueError, match="expected a time"):
        cadence_in_days(3 * units.meter)


@pytest.mark.parametrize(
    ("value", "error", "told"),
    [
        (1800.0, ValueError, r"looks like seconds \(0.0208333 d\)"),
        (30, ValueError, "seconds or minutes"),
        (0.0, ValueError, "above 0"),
        (-0.02, ValueError, "above 0"),
        (np.nan, ValueError, "finite"),
        (np.inf, ValueError, "finite"),
        ("0.02", TypeError, "expected a number"),
        (True, TypeError, "expected a number"),
        (None, TypeError, "expected a number"),
    ],
)
def test_what_is_no_cadence_in_days_is_refused(value: object, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        cadence_in_days(value)


def test_a_declared_cadence_is_regular_to_any_frequency() -> None:
    assert regular_grid(10, 0.02).is_regular(1e9)
