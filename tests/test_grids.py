"""Trial periods and durations: dense enough, no denser, and physical."""

from __future__ import annotations

import numpy as np
import pytest

from starskope.search.grids import DENSITIES, duration_limits, durations, period_grid, transit_duration

CADENCE = 1 / 48


def test_the_earth_before_the_sun() -> None:
    assert transit_duration(365.25) * 24 == pytest.approx(12.98, abs=0.01)
    # R_sun / pi (P^2 G M_sun / (4 pi^2))**(-1/3) P, the same from mass and radius
    for period in (0.5, 3.0, 40.0):
        axis = (1.3271244e20 * (period * 86400) ** 2 / (4 * np.pi**2)) ** (1 / 3)
        np.testing.assert_allclose(transit_duration(period), period * 6.957e8 / (np.pi * axis), rtol=1e-9)
    np.testing.assert_allclose(transit_duration([1.0, 8.0], 8.0), transit_duration([1.0, 8.0]) / 2)


@pytest.mark.parametrize("baseline", [9.7, 27.4, 90.0, 1500.0])
@pytest.mark.parametrize("duration_min", [0.0, CADENCE, 0.08])
def test_no_transit_is_smeared_and_no_trial_wasted(baseline: float, duration_min: float) -> None:
    time = np.array([1325.3, 1326.0, 1325.3 + baseline])
    period_max = 0.5 * baseline
    periods = period_grid(time, period_min=0.5, period_max=period_max, duration_min=duration_min, oversample=3)
    assert periods[0] == 0.5
    assert periods[-1] == period_max
    assert (np.diff(periods) > 0).all()
    # How far the last transit moves from one trial to the next, over the shortest duration there.
    middle = np.sqrt(periods[1:] * periods[:-1])
    drift = np.diff(-1 / periods) * middle * baseline
    shortest = np.maximum(transit_duration(middle, DENSITIES[1]), duration_min)
    np.testing.assert_allclose(drift / shortest, 1 / 3, rtol=0.02)
    assert (drift / shortest).max() < 1 / 3 * 1.001


def test_the_grid_grows_with_the_baseline_alone() -> None:
    sizes = [
        period_grid(np.array([0.0, t]), period_min=0.5, period_max=10.0, duration_min=CADENCE).size
        for t in (20.0, 200.0, 2000.0)
    ]
    np.testing.assert_allclose(np.array(sizes) / sizes[0], [1, 10, 100], rtol=1e-2)
    fine = period_grid(np.array([0.0, 20.0]), period_min=0.5, period_max=10.0, duration_min=CADENCE, oversample=6)
    assert fine.size == pytest.approx(2 * sizes[0], abs=2)


def test_durations_from_the_densest_to_the_least_dense() -> None:
    trial = durations(0.5, 13.5, CADENCE)
    np.testing.assert_allclose(trial[0], transit_duration(0.5, DENSITIES[1]))
    np.testing.assert_allclose(trial[-1], transit_duration(13.5, DENSITIES[0]))
    ratio = trial[1:] / trial[:-1]
    np.testing.assert_allclose(ratio, ratio[0])
    assert 1.3 < ratio[0] <= 1.5 + 1e-12


@pytest.mark.parametrize("cadence", [20 / 86400, CADENCE, 0.05, 2.0])
def test_no_duration_below_one_cadence(cadence: float) -> None:
    trial = durations(0.5, 13.5, cadence)
    assert trial[0] >= cadence
    shortest, longest = duration_limits([0.5, 5.0, 13.5], cadence=cadence)
    assert (shortest >= cadence).all()
    assert (shortest <= longest).all()
    assert durations(1.0, 2.0, 5.0).tolist() == [5.0]


def test_limits_follow_the_period() -> None:
    periods = np.array([0.5, 4.0, 32.0])
    shortest, longest = duration_limits(periods, densities=(0.5, 4.0))
    np.testing.assert_allclose(longest / shortest, 2.0)
    np.testing.assert_allclose(shortest[1:] / shortest[:-1], 2.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"period_min": 0.0}, "period_min=0.0"),
        ({"period_min": 13.0, "period_max": 13.0}, "period_min=13.0: expected less than period_max=13.0"),
        ({"period_min": 30.0, "period_max": 40.0}, "period_min=30.0: the times span 27.4 days"),
        ({"period_max": np.inf}, "period_max=inf"),
        ({"time": np.zeros(0)}, "time: expected two or more increasing times, got 0"),
        ({"time": np.array([3.0])}, "got 1"),
        ({"time": np.array([3.0, 3.0])}, "increasing"),
        ({"time": np.array([0.0, np.nan])}, "time"),
        ({"oversample": 0}, "oversample=0"),
        ({"duration_min": -1.0}, "duration_min=-1.0"),
        ({"densities": (2.0, 1.0)}, "densities"),
        ({"densities": (0.0, 1.0)}, "densities"),
    ],
)
def test_periods_that_cannot_be(changes: dict[str, object], words: str) -> None:
    settings = {"time": np.array([0.0, 27.4]), "period_min": 0.5, "period_max": 13.0, **changes}
    with pytest.raises(ValueError, match=words):
        period_grid(**settings)  # type: ignore[arg-type]


def test_durations_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="step=1"):
        durations(0.5, 13.5, CADENCE, step=1.0)
    with pytest.raises(ValueError, match="cadence=0"):
        durations(0.5, 13.5, 0.0)
    with pytest.raises(ValueError, match="period_min=2"):
        durations(2.0, 1.0, CADENCE)
    with pytest.raises(ValueError, match="density=-1"):
        transit_duration(1.0, -1.0)
