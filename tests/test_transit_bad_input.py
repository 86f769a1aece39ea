"""What the transit search refuses, saying why, and what it answers where a star has nothing to search."""

from __future__ import annotations

import numpy as np
import pytest
from transit_curves import dip, half_hours, quiet

from starskope.search.transits import SearchSettings, search_transits


@pytest.mark.parametrize("n_time", [0, 1, 2, 5, 15])
def test_too_few_points_give_a_row_without_a_claim(n_time: int) -> None:
    time = half_hours()[:n_time]
    found = search_transits(np.ones((n_time, 2)), time=time)
    assert list(found["star"]) == [0, 1]
    assert not found["claim"].any()
    assert np.isnan(found["period"]).all()
    assert np.isnan(found["false_alarm_probability"]).all()
    assert list(found["n_transits"]) == [0, 0]
    assert list(found["verdict"]) == ["ambiguous", "ambiguous"]


def test_no_stars_give_no_rows_but_the_columns() -> None:
    found = search_transits(np.ones((100, 0)), time=half_hours()[:100])
    assert len(found) == 0
    assert "verdict" in found.colnames


@pytest.mark.parametrize("value", [np.nan, 1.0, 0.0, -3.0])
def test_a_star_without_light_has_its_row_beside_one_that_has(value: float) -> None:
    time = half_hours()
    flux = quiet(time, 2)
    flux[:, 1] -= 2e-3 * dip(time, 3.3, 1326.7, 0.14)
    flux[:, 0] = value
    found = search_transits(flux, time=time)
    assert np.isnan(found["snr"][0])
    assert not found["claim"][0]
    assert found["claim"][(found["star"] == 1) & (found["rank"] == 0)].all()


def test_errors_that_are_not_known_are_no_obstacle() -> None:
    time = half_hours()
    flux = quiet(time)[:, 0] - 2e-3 * dip(time, 3.3, 1326.7, 0.14)
    errors = np.full(time.size, 3e-4)
    errors[::5], errors[1::5] = np.nan, 0.0
    assert search_transits(flux, time=time, flux_err=errors)["claim"][0]
    assert search_transits(flux, time=time, flux_err=np.full(time.size, np.nan))["claim"][0]


def _call(**changes: object) -> None:
    time = half_hours()
    arguments: dict = {"time": time, **changes}
    flux = arguments.pop("flux", quiet(time))
    search_transits(flux, **arguments)


TIME = half_hours()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"time": None}, ValueError, "needs time="),
        ({"time": TIME[::-1]}, ValueError, "sort"),
        ({"time": np.repeat(TIME[::2], 2)[: TIME.size]}, ValueError, "repeats"),
        ({"time": np.where(TIME[5] < TIME, np.nan, TIME)}, ValueError, "not finite"),
        ({"time": TIME[:-1]}, ValueError, "shape"),
        ({"time": TIME * 86400.0}, ValueError, "seconds"),
        ({"time": TIME * 1440.0}, ValueError, "minutes"),
        ({"time": TIME * 24.0}, ValueError, "hours"),
        ({"time": TIME * 1e6}, ValueError, "every"),
        ({"flux_err": np.full((TIME.size, 1), -1.0)}, ValueError, "negative|above 0"),
        ({"flux": np.full((TIME.size, 1), np.inf)}, ValueError, "infinite"),
        ({"flux": np.full((TIME.size, 1), "a")}, TypeError, "real numbers"),
        ({"flux": np.ones((2, 2, 2))}, ValueError, "axes"),
        ({"axis": 2}, ValueError, "axis=2"),
        ({"period_min": 0.0}, ValueError, "period_min"),
        ({"period_min": np.nan}, ValueError, "period_min"),
        ({"period_min": "1"}, TypeError, "period_min"),
        ({"period_max": np.inf}, ValueError, "period_max"),
        ({"period_min": 5.0, "period_max": 5.0}, ValueError, "period_min below period_max"),
        ({"period_max": 30.0}, ValueError, "longer than the light curves"),
        ({"periods": [1.0, 40.0]}, ValueError, "longer than the light curves"),
        ({"periods": [1.0, np.nan]}, ValueError, "periods"),
        ({"periods": []}, ValueError, "periods"),
        ({"durations": [-0.1]}, ValueError, "durations"),
        ({"oversample": 0}, ValueError, "oversample"),
        ({"oversample": 10**9}, ValueError, "oversample=1000000000: expected 1 to 1000"),
        ({"n_candidates": 10**9}, ValueError, "n_candidates=1000000000: expected 1 to 100"),
        ({"n_candidates": 0}, ValueError, "n_candidates"),
        ({"n_candidates": 1.5}, TypeError, "n_candidates"),
        ({"workers": 0}, ValueError, "workers"),
        ({"false_alarm_max": 0.0}, ValueError, "false_alarm_max"),
        ({"snr_minimum": 7.0}, TypeError, "snr_minimum"),
    ],
)
def test_a_mistake_is_named(changes, error, message) -> None:
    with pytest.raises(error, match=message):
        _call(**changes)


def test_full_julian_days_are_days() -> None:
    time = half_hours()
    flux = quiet(time)[:, 0] - 2e-3 * dip(time, 3.3, 1326.7, 0.14)
    found = search_transits(flux, time=time + 2457000.0)[0]
    assert found["claim"]
    assert found["period"] == pytest.approx(3.3, rel=1e-3)
    assert found["t0"] == pytest.approx(2457000 + 1326.7, abs=0.01)


def test_settings_keep_what_they_were_given() -> None:
    settings = SearchSettings(periods=[3.0, 1.0, 2.0])
    assert list(settings.periods) == [1.0, 2.0, 3.0]
    assert settings.grid(half_hours()[:2]) is None
    assert settings.grid(half_hours()).periods.size == 3
    assert SearchSettings(period_min=20.0).grid(half_hours()) is None


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"period_min": 1e-9}, "period 1e-09 d is shorter than 3 cadences of 30 min: search from 0.0625 d"),
        ({"period_min": 1e9}, "period_min=1e+09: expected less than"),
        ({"durations": [100.0]}, "durations from 100 d: expected one of up to"),
        ({"time": [[1.0], [2.0, 3.0]]}, "time: expected an array of real numbers"),
    ],
)
def test_ranges_that_leave_nothing_to_search_are_told(asked: dict[str, object], complaint: str) -> None:
    time = half_hours()
    with pytest.raises((ValueError, TypeError)) as refused:
        search_transits(quiet(time), **{"time": time, **asked})
    assert complaint in str(refused.value)


def test_one_trial_period_is_a_grid() -> None:
    time = half_hours()
    flux = quiet(time)[:, 0] - 2e-3 * dip(time, 3.3, 1326.7, 0.14)
    found = search_transits(flux, time=time, periods=[3.3], n_candidates=1)
    assert len(found) == 1


def test_points_that_outweigh_all_others_leave_a_search_of_noise() -> None:
    """One error a thousand million times smaller than the rest: sums lose the others, and nothing may be divided by."""
    time = half_hours()
    flux = quiet(time)
    errors = np.full(flux.shape, 1e-3)
    errors[::100] = 1e-12
    found = search_transits(flux, time=time, flux_err=errors)
    assert not found["claim"].any()
