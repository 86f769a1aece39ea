"""Bins of light curves against their definition, star by star."""

from __future__ import annotations

import math

import numpy as np
import pytest
from made_curves import make_curves
from reference import bin_inverse_variance

from starskope.curves.container import LightCurves


def _bins_by_definition(curves: LightCurves, width_days: float) -> dict[int, list[int]]:
    cadence = float(np.median(np.diff(curves.time)))
    bins: dict[int, list[int]] = {}
    for i, t in enumerate(curves.time):
        bins.setdefault(math.floor((t - curves.time[0] + cadence / 2) / width_days), []).append(i)
    return bins


@pytest.mark.parametrize("n", [1, 2, 5, 7, 1000])
def test_bins_agree_with_their_definition_star_by_star(n: int) -> None:
    keep = np.ones(60, bool)
    keep[[3, 4, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 50]] = False
    curves = make_curves(60, 260).select(time=keep)
    result = curves.bin(n=n)
    bins = list(_bins_by_definition(curves, n / 48).values())
    assert result.n_time == len(bins)
    for b, rows in enumerate(bins):
        assert result.time[b] == pytest.approx(np.mean(curves.time[rows]), abs=1e-12)
        assert result.quality[b] == np.bitwise_or.reduce(curves.quality[rows])
        np.testing.assert_allclose(result.observer[b], curves.observer[rows].mean(axis=0), rtol=1e-12, atol=1e-12)
        for star in (0, 1, 255, 256, 259):
            mean, error = bin_inverse_variance(curves.flux[rows, star], curves.flux_err[rows, star])
            np.testing.assert_allclose(result.flux[b, star], mean, rtol=1e-7)
            np.testing.assert_allclose(result.flux_err[b, star], error, rtol=1e-7)
            np.testing.assert_allclose(
                result.background[b, star], curves.background[rows, star].mean(dtype=np.float64), rtol=1e-7
            )
    assert result.exposure_s == pytest.approx(1425.6 * n)


def test_width_in_days_and_in_cadences_agree() -> None:
    curves = make_curves(64, 3)
    by_count, by_days = curves.bin(n=4), curves.bin(width_days=4 / 48)
    assert by_count.flux.tobytes() == by_days.flux.tobytes()
    assert by_count.time.tobytes() == by_days.time.tobytes()
    assert by_count.exposure_s == by_days.exposure_s


def test_bins_do_not_reach_over_a_gap() -> None:
    time = np.concatenate([np.arange(6), np.arange(6) + 100.0]) / 48
    flux = np.concatenate([np.zeros(6), np.ones(6)])[:, None]
    result = LightCurves(time, flux).bin(n=4)
    # 100 is a multiple of 4, so the grid starts a bin there; the bin of cadences 4 and 5 holds these alone.
    np.testing.assert_array_equal(result.flux[:, 0], [0, 0, 1, 1])
    np.testing.assert_allclose(result.time * 48, [1.5, 4.5, 101.5, 104.5])


def test_a_missing_cadence_does_not_move_the_bins_after_it() -> None:
    curves = make_curves(40, 4)
    whole = curves.bin(n=4)
    holed = curves.select(time=np.arange(40) != 9).bin(n=4)
    assert whole.n_time == holed.n_time
    others = np.arange(10) != 2
    assert whole.flux[others].tobytes() == holed.flux[others].tobytes()


def test_jitter_of_the_times_does_not_move_the_bins() -> None:
    rng = np.random.default_rng(5)
    time = np.arange(1200) / 48 + rng.uniform(-0.2, 0.2, 1200) / 48
    curves = LightCurves(time, np.arange(1200.0)[:, None])
    np.testing.assert_allclose(curves.bin(n=6).flux[:, 0], np.arange(1200).reshape(-1, 6).mean(axis=1), rtol=1e-6)


def test_errors_that_are_not_known_leave_the_plain_mean() -> None:
    flux, error = [[1.0, 1, 1], [3, 3, np.nan], [8, 8, np.nan]], [[1, np.nan, 1], [1, 0, 1], [0, np.nan, 1]]
    result = LightCurves(np.arange(3.0), flux, flux_err=error).bin(n=3)
    np.testing.assert_allclose(result.flux, [[2, 4, 1]])
    np.testing.assert_allclose(result.flux_err, [[math.sqrt(0.5), np.nan, 1]])
    plain = LightCurves(np.arange(3.0), flux).bin(n=3)
    np.testing.assert_allclose(plain.flux, [[4, 4, 1]])
    assert plain.flux_err is None


def test_a_bin_without_values_is_nan_without_a_warning() -> None:
    result = LightCurves(np.arange(4.0), [[np.nan]] * 2 + [[5.0]] * 2, flux_err=np.ones((4, 1))).bin(n=2)
    np.testing.assert_array_equal(result.flux[:, 0], [np.nan, 5])
    assert math.isnan(result.flux_err[0, 0])


def test_binning_white_noise_lowers_its_scatter_as_the_errors_say() -> None:
    rng = np.random.default_rng(8)
    curves = LightCurves(np.arange(6000.0), rng.normal(0, 1, (6000, 4)), flux_err=np.ones((6000, 4)))
    result = curves.bin(n=25)
    np.testing.assert_allclose(result.flux_err, 0.2, rtol=1e-6)
    # 960 binned points: their standard deviation is known to 2.3 %, so 10 % is more than four sigma.
    assert result.flux.std() == pytest.approx(0.2, rel=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "exactly one"),
        ({"n": 2, "width_days": 1.0}, "exactly one"),
        ({"n": 0}, "whole number"),
        ({"n": 2.5}, "whole number"),
        ({"width_days": -1.0}, "positive width"),
        ({"width_days": math.nan}, "positive width"),
    ],
)
def test_bad_widths_are_refused(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        make_curves(4, 2).bin(**arguments)
