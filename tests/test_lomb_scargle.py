"""Lomb-Scargle against least-squares fits and astropy, its properties, and what callers may get wrong."""

from __future__ import annotations

import numpy as np
import pytest
import reference_periodograms as reference
from tolerances import atol_lomb_scargle

import starskope as sk
from starskope.search.bootstrap import bootstrap_false_alarm, bootstrap_peaks
from starskope.search.significance import false_alarm_probability

CADENCE = 1800.0 / 86400.0


def stars(n_time: int, n_star: int, missing: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make times, sines in noise with gaps of their own, and errors that differ from point to point."""
    rng = np.random.default_rng([n_time, n_star, seed])
    time = CADENCE * np.arange(n_time)
    errors = rng.uniform(0.005, 0.03, (n_time, n_star))
    x = (
        1.0
        + 0.01 * np.sin(2 * np.pi * time[:, np.newaxis] * np.linspace(0.4, 11.0, n_star))
        + errors * rng.normal(size=errors.shape)
    )
    x[rng.random(x.shape) < missing] = np.nan
    return time, x.astype(np.float32), errors.astype(np.float32)


@pytest.mark.parametrize("n_time", [7, 64, 101, 501])
@pytest.mark.parametrize("missing", [0.0, 0.1])
@pytest.mark.parametrize("with_errors", [False, True])
@pytest.mark.parametrize("oversample", [1, 5])
def test_power_is_what_a_fitted_sine_takes_away(
    n_time: int, missing: float, with_errors: bool, oversample: int
) -> None:
    time, x, errors = stars(n_time, 3, missing)
    x[:4] = [[1.0, 1.1, 0.9], [0.7, 1.0, 1.2], [1.0, 0.8, 1.0], [1.1, 1.1, 0.8]]
    found = sk.lomb_scargle(x, cadence=CADENCE, flux_err=errors if with_errors else None, oversample=oversample)
    assert found.method == "regular"
    assert found.n_freq == oversample * n_time // 2
    np.testing.assert_allclose(found.frequency, np.arange(1, found.n_freq + 1) / (oversample * n_time * CADENCE))
    rows = np.unique(np.linspace(0, found.n_freq - 1, 40).astype(int))
    for star in range(3):
        weights = errors[:, star] ** -2.0 if with_errors else np.ones(n_time)
        expected = reference.lomb_scargle_by_fits(time, x[:, star], weights, found.frequency[rows])
        assert np.abs(found.power[rows, star] - expected).max() < atol_lomb_scargle(n_time), star


@pytest.mark.parametrize("with_errors", [False, True])
def test_astropy_agrees_on_a_sector_with_a_gap(with_errors: bool) -> None:
    time, x, errors = stars(1282, 4, 0.01)
    x[600:660] = np.nan
    found = sk.lomb_scargle(x, cadence=CADENCE, flux_err=errors if with_errors else None)
    assert found.n_freq == 3205
    for star in range(4):
        sigma = errors[:, star] if with_errors else None
        # Of an even length astropy's last row, at Nyquist, divides zero by zero.
        expected = reference.lomb_scargle_by_astropy(time, x[:, star], sigma, found.frequency[:-1])
        assert np.abs(found.power[:-1, star] - expected).max() < atol_lomb_scargle(1282)


@pytest.mark.parametrize("with_errors", [False, True])
def test_any_times_go_to_nifty_ls_and_agree_with_astropy(with_errors: bool) -> None:
    time, x, errors = stars(401, 300, 0.1)
    time += CADENCE * np.random.default_rng(2).uniform(-0.4, 0.4, time.size)
    x[:, 5] = np.nan
    x[:, 6] = 3.0
    errors[::7, 0] = np.nan
    errors[:, 1] = 0.0
    found = sk.lomb_scargle(x, time=time, flux_err=errors if with_errors else None, frequency_max=40.0)
    assert found.method == "nifty-ls"
    assert found.frequency[-1] <= 40.0 < found.frequency[-1] + found.frequency[0]
    for star in (0, 2, 299):
        expected = reference.lomb_scargle_by_astropy(
            time, x[:, star], errors[:, star] if with_errors else None, found.frequency
        )
        assert np.abs(found.power[:, star] - expected).max() < 1e-6
    # Of star 1 no error is known: its points count alike.
    expected = reference.lomb_scargle_by_astropy(time, x[:, 1], None, found.frequency)
    assert np.abs(found.power[:, 1] - expected).max() < 1e-6
    assert np.isnan(found.power[:, 5:7]).all()
    again = sk.lomb_scargle(x, time=time, flux_err=errors if with_errors else None, frequency_max=40.0, workers=3)
    assert again.power.tobytes() == found.power.tobytes()


def test_both_ways_agree_where_times_are_nearly_regular() -> None:
    time, x, errors = stars(600, 3, 0.05)
    jitter = np.random.default_rng(0).uniform(-1, 1, 600)
    near = sk.lomb_scargle(x, time=time + 1e-3 * CADENCE * jitter, flux_err=errors)
    far = sk.lomb_scargle(x, time=time + 4e-3 * CADENCE * jitter, flux_err=errors)
    assert (near.method, far.method) == ("regular", "nifty-ls")
    assert near.phase_error < 0.01
    assert np.abs(near.power - far.power).max() < 0.01


def test_above_nyquist_a_regular_cadence_repeats_itself() -> None:
    time, x, _ = stars(100, 2, 0.1)
    found = sk.lomb_scargle(x, cadence=CADENCE, oversample=3, frequency_max=110.0)
    assert found.method == "regular"
    aliased = np.abs(found.frequency * CADENCE - np.rint(found.frequency * CADENCE)) < 1e-9
    assert aliased.sum() == 2
    np.testing.assert_array_equal(found.power[aliased], 0.0)
    rows = np.flatnonzero(~aliased)[::7]
    for star in range(2):
        expected = reference.lomb_scargle_by_fits(time, x[:, star], np.ones(100), found.frequency[rows])
        assert np.abs(found.power[rows, star] - expected).max() < atol_lomb_scargle(100)


def test_missing_rows_of_light_curves_are_gaps_and_their_errors_count() -> None:
    time, x, errors = stars(300, 3)
    kept = np.r_[0:120, 140:300]
    gaps, wide = np.full_like(x, np.nan), np.full_like(errors, np.nan)
    gaps[kept], wide[kept] = x[kept], errors[kept]
    curves = sk.LightCurves(1325.0 + time[kept], x[kept], flux_err=errors[kept])
    found = sk.lomb_scargle(curves)
    expected = sk.lomb_scargle(gaps, cadence=CADENCE, flux_err=wide)
    assert found.method == "regular"
    assert found.power.tobytes() == expected.power.tobytes()
    np.testing.assert_array_equal(found.n_point, 280)
    with pytest.raises(ValueError, match="leave flux_err= out"):
        sk.lomb_scargle(curves, flux_err=errors[kept])


def test_errors_of_all_stars_alike_are_those_of_each() -> None:
    _, x, errors = stars(257, 270, 0.03)
    shared = errors[:, 0].copy()
    shared[40] = np.nan
    one = sk.lomb_scargle(x, cadence=CADENCE, flux_err=shared)
    each = sk.lomb_scargle(x, cadence=CADENCE, flux_err=np.repeat(shared[:, np.newaxis], 270, axis=1))
    assert np.abs(one.power - each.power).max() < atol_lomb_scargle(257)
    np.testing.assert_array_equal(one.n_point, each.n_point)
    np.testing.assert_allclose(one.baseline_days, each.baseline_days)


def test_power_knows_neither_scale_nor_unit_of_errors() -> None:
    _, x, errors = stars(200, 3, 0.05)
    one = sk.lomb_scargle(x, cadence=CADENCE, flux_err=errors).power
    other = sk.lomb_scargle(64 * x, cadence=CADENCE, flux_err=1e-25 * errors.astype(np.float64)).power
    assert np.abs(one - other).max() < atol_lomb_scargle(200)


def test_stars_do_not_feel_each_other_and_workers_change_no_byte() -> None:
    _, x, errors = stars(150, 600, 0.05)
    x[:, 3] = np.nan
    whole = sk.lomb_scargle(x, cadence=CADENCE, flux_err=errors, workers=1)
    order = np.random.default_rng(1).permutation(600)
    permuted = sk.lomb_scargle(x[:, order], cadence=CADENCE, flux_err=errors[:, order])
    np.testing.assert_allclose(permuted.power, whole.power[:, order], rtol=0, atol=atol_lomb_scargle(150))
    for workers in (2, 5, -1):
        again = sk.lomb_scargle(x, cadence=CADENCE, flux_err=errors, workers=workers)
        assert again.power.tobytes() == whole.power.tobytes()


def test_every_form_of_the_same_numbers_gives_the_same_bytes() -> None:
    _, x, errors = stars(120, 5)
    expected = sk.lomb_scargle(x, cadence=CADENCE, flux_err=errors).power.tobytes()
    assert sk.lomb_scargle(x.T, cadence=CADENCE, flux_err=errors.T, axis=1).power.tobytes() == expected
    found = sk.lomb_scargle(x.astype(">f8"), cadence=CADENCE, flux_err=errors.astype(">f4"))
    assert found.power.tobytes() == expected


def test_few_points_and_no_variance_have_no_power() -> None:
    x = np.ones((50, 3))
    x[3:, 1] = np.nan
    x[:, 2] = np.nan
    found = sk.lomb_scargle(x, cadence=CADENCE)
    assert np.isnan(found.power).all()
    np.testing.assert_array_equal(found.n_point, [50, 3, 0])
    assert np.isnan(found.peaks()["power"]).all()
    assert np.isnan(found.false_alarm_probability()).all()


@pytest.mark.parametrize(
    ("settings", "error", "told"),
    [
        ({}, ValueError, "needs its cadence in days"),
        ({"cadence": 30.0}, ValueError, "seconds or minutes"),
        ({"time": np.arange(30.0)[::-1]}, ValueError, "sort the cadences"),
        ({"time": np.repeat(np.arange(15.0), 2)}, ValueError, "repeats"),
        ({"time": np.arange(29.0)}, ValueError, r"time has shape \(29,\)"),
        ({"time": 120.0 * np.arange(30)}, ValueError, "looks? like seconds"),
        ({"time": np.full(30, np.nan)}, ValueError, "not finite"),
        ({"cadence": CADENCE, "flux_err": np.full((30, 2), -1.0)}, ValueError, "cadence 0, series 0 is -1, below 0"),
        ({"cadence": CADENCE, "flux_err": np.full(30, -2.0)}, ValueError, "cadence 0 is -2, below 0"),
        ({"cadence": CADENCE, "flux_err": np.ones((30, 3))}, ValueError, r"flux_err has shape \(30, 3\)"),
        ({"cadence": CADENCE, "flux_err": "small"}, TypeError, "real numbers"),
        ({"cadence": CADENCE, "oversample": 0}, ValueError, "oversample=0"),
        ({"cadence": CADENCE, "frequency_max": 0}, ValueError, "above 0"),
        ({"cadence": CADENCE, "frequency_max": np.nan}, ValueError, "finite"),
        ({"cadence": CADENCE, "frequency_max": 0.01}, ValueError, "below the first frequency"),
        ({"cadence": CADENCE, "frequency_max": 1e9}, ValueError, "asks for"),
    ],
)
def test_what_cannot_be_meant_is_refused(settings: dict, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        sk.lomb_scargle(stars(30, 2)[1], **settings)


@pytest.mark.parametrize("with_errors", [False, True])
def test_false_alarm_probability_is_astropys(with_errors: bool) -> None:
    from astropy.timeseries import LombScargle

    time, x, errors = stars(500, 3, 0.2)
    found = sk.lomb_scargle(x, cadence=CADENCE, flux_err=errors if with_errors else None)
    for star in range(3):
        there = np.isfinite(x[:, star])
        theirs = LombScargle(
            time[there], x[there, star].astype(float), errors[there, star].astype(float) if with_errors else None
        )
        for power in (0.02, 0.05, 0.3):
            for method in ("baluev", "davies", "single"):
                expected = theirs.false_alarm_probability(power, method=method, maximum_frequency=found.frequency[-1])
                told = found.false_alarm_probability(power, method=method)[star]
                assert told == pytest.approx(float(expected), rel=1e-6), method
            assert (
                found.false_alarm_probability(power)[star]
                == found.false_alarm_probability(power, method="baluev")[star]
            )
    highest = found.power.max(axis=0).astype(float)
    np.testing.assert_allclose(found.false_alarm_probability(), found.false_alarm_probability(highest))
    np.testing.assert_allclose(found.peaks()["false_alarm_probability"], found.false_alarm_probability())


def test_resampled_stars_peak_as_astropys_do() -> None:
    from astropy.timeseries import LombScargle

    time, x, errors = stars(200, 1, 0.1)
    there = np.isfinite(x[:, 0])
    peaks = bootstrap_peaks(x[:, 0], flux_err=errors[:, 0], cadence=CADENCE, n_bootstrap=2000, seed=3)
    theirs = LombScargle(time[there], x[there, 0].astype(float), errors[there, 0].astype(float))
    for chance in (0.5, 0.1):
        level = theirs.false_alarm_level(
            chance,
            method="bootstrap",
            method_kwds={"n_bootstraps": 400, "random_seed": 1},
            samples_per_peak=5,
            maximum_frequency=0.5 / CADENCE,
        )
        assert bootstrap_false_alarm(level, peaks) == pytest.approx(chance, abs=0.09)
    again = bootstrap_peaks(x[:, 0], flux_err=errors[:, 0], cadence=CADENCE, n_bootstrap=2000, seed=3, workers=3)
    assert again.tobytes() == peaks.tobytes()
    np.testing.assert_array_equal(bootstrap_false_alarm([0.0, 1.1, np.nan], peaks), [1.0, 0.0, np.nan])
    for bad, words in [
        ({"flux": x[:3, 0]}, "3 points|2 points"),
        ({"flux": x[:, 0], "flux_err": errors[:5, 0]}, "expected"),
        ({"flux": x}, "flux"),
        ({"flux": x[:, 0], "n_bootstrap": 0}, "n_bootstrap=0"),
    ]:
        with pytest.raises(ValueError, match=words):
            bootstrap_peaks(**bad, cadence=CADENCE)
    with pytest.raises(ValueError, match="method"):
        false_alarm_probability(0.1, 100, 20.0, 24.0, method="naive")


def test_white_noise_alarms_as_often_as_told() -> None:
    """2,000 stars of noise: as many above the power of 5 % as 5 % says, within four standard deviations."""
    x = np.random.default_rng(11).normal(size=(300, 2000)).astype(np.float32)
    alarms = np.count_nonzero(sk.lomb_scargle(x, cadence=CADENCE).false_alarm_probability() < 0.05)
    assert 60 < alarms < 140


def test_false_alarms_at_the_ends() -> None:
    told = false_alarm_probability([0.0, 1.0, np.nan, 0.5], [100, 100, 100, 3], 27.0, 24.0)
    np.testing.assert_array_equal(np.isnan(told), [False, False, True, False])
    assert told[0] == pytest.approx(1.0)
    assert told[1] == 0.0
    assert told[3] == 1.0
    power = sk.power_spectrum(np.arange(9.0), cadence=CADENCE)
    with pytest.raises(ValueError, match="use lomb_scargle"):
        power.false_alarm_probability()
