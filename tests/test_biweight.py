"""The sliding biweight against a slow oracle and against wotan."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from reference_detrend import biweight_trend
from tolerances import atol_biweight

from starskope.curves.biweight import biweight

CADENCE = 1.0 / 48.0


def noisy(seed: int, n_time: int, n_star: int, missing: float = 0.0, level: float = 1.0) -> np.ndarray:
    """Slow waves, white noise, outliers on both sides, some values missing."""
    rng = np.random.default_rng([seed, n_time, n_star])
    time = np.arange(n_time) * CADENCE
    waves = 0.01 * np.sin(2 * np.pi * time[:, None] / rng.uniform(1.0, 9.0, n_star) + rng.uniform(0, 6, n_star))
    flux = 1.0 + waves + 1e-3 * rng.standard_normal((n_time, n_star))
    struck = rng.random(flux.shape) < 0.02
    flux[struck] += 0.05 * rng.standard_normal(np.count_nonzero(struck))
    flux[rng.random(flux.shape) < missing] = np.nan
    return (level * flux).astype(np.float32)


def compare_with_oracle(time, flux, window, **settings) -> None:
    ours = biweight(time, flux, window, **settings)
    assert ours.dtype == np.float32
    assert ours.shape == flux.shape
    full = {"cval": 5.0, "break_tolerance": 0.5, "edge_days": 0.0} | settings
    for star in range(flux.shape[1]):
        truth, mad = biweight_trend(time, flux[:, star], window, **full)
        np.testing.assert_array_equal(np.isnan(ours[:, star]), np.isnan(truth))
        seen = ~np.isnan(truth)
        bound = [atol_biweight(float(np.nanmax(np.abs(flux[:, star]))), m) for m in mad[seen]]
        assert np.all(np.abs(ours[seen, star] - truth[seen]) <= bound)


@pytest.mark.parametrize("n_time", [1, 2, 3, 4, 5, 17, 35, 36, 37, 38, 75, 160])
@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_sizes(n_time: int, missing: float) -> None:
    compare_with_oracle(np.arange(n_time) * CADENCE, noisy(1, n_time, 3, missing), 0.75)


@pytest.mark.parametrize("n_star", [1, 2, 7, 63, 64, 65])
def test_every_lane(n_star: int) -> None:
    compare_with_oracle(np.arange(50) * CADENCE, noisy(2, 50, n_star, 0.05), 0.4)


@pytest.mark.parametrize("window", [0.01, CADENCE, 0.05, 0.3, 0.75, 100.0])
def test_windows_from_one_cadence_to_everything(window: float) -> None:
    compare_with_oracle(np.arange(90) * CADENCE, noisy(3, 90, 4, 0.03), window)


@pytest.mark.parametrize("cval", [2.0, 3.0, 5.0, 9.0])
def test_tuning_constants(cval: float) -> None:
    compare_with_oracle(np.arange(90) * CADENCE, noisy(4, 90, 4), 0.5, cval=cval)


@pytest.mark.parametrize("break_tolerance", [0.0, 0.06, 0.5, 3.0])
@pytest.mark.parametrize("edge_days", [0.0, 0.1, 5.0])
def test_gaps_and_edges(break_tolerance: float, edge_days: float) -> None:
    rng = np.random.default_rng(5)
    time = np.sort(rng.choice(400, 220, replace=False)) * CADENCE
    time[150:] += 2.0
    flux = noisy(5, time.size, 6, 0.05)
    flux[40:75, 1] = np.nan  # a gap of one star alone parts that star alone
    flux[:9, 2] = np.nan
    flux[-9:, 3] = np.nan
    compare_with_oracle(time, flux, 0.75, break_tolerance=break_tolerance, edge_days=edge_days)


@pytest.mark.parametrize("level", [1e-20, 1e-3, 1.0, 3e4, -50.0])
def test_any_unit(level: float) -> None:
    compare_with_oracle(np.arange(80) * CADENCE, noisy(6, 80, 3, 0.02, level), 0.5)


def test_values_around_zero() -> None:
    flux = (noisy(7, 80, 3) - 1.0).astype(np.float32)
    compare_with_oracle(np.arange(80) * CADENCE, flux, 0.5)


def test_many_points_per_window() -> None:
    """Two-minute cadence: 540 values per window, whose float32 sums must not keep the iteration from its end."""
    time = np.arange(900) * 2.0 / 1440.0
    flux = noisy(8, 900, 2, 0.01)
    ours = biweight(time, flux, 0.75)
    for star in range(2):
        for i in (0, 100, 450, 899):
            inside = np.abs(time - time[i] + 1e-9) <= 0.375
            truth, mad = biweight_trend(time[inside], flux[inside, star], 2.0, cval=5.0, break_tolerance=0, edge_days=0)
            if np.isnan(flux[i, star]):
                continue
            middle = np.count_nonzero(inside[:i])
            assert abs(ours[i, star] - truth[middle]) <= atol_biweight(1.2, mad[middle])


def test_constant_and_quantised_values_take_the_median() -> None:
    time = np.arange(60) * CADENCE
    flat = np.full((60, 2), 3.25, np.float32)
    flat[30, 1] = 9.0
    np.testing.assert_array_equal(biweight(time, flat, 0.75), np.full((60, 2), 3.25, np.float32))
    compare_with_oracle(time, np.round(noisy(9, 60, 3), 2).astype(np.float32), 0.5)


def test_nothing_and_nearly_nothing() -> None:
    assert biweight([], np.zeros((0, 4)), 0.75).shape == (0, 4)
    assert biweight([1.0, 2.0], np.zeros((2, 0)), 0.75).shape == (2, 0)
    assert biweight([1.0], [[7.0]], 0.75) == 7.0
    gone = np.full((40, 3), np.nan, np.float32)
    gone[:, 1] = 2.0
    gone[7, 2] = 5.0
    trend = biweight(np.arange(40) * CADENCE, gone, 0.75)
    assert np.isnan(trend[:, 0]).all()
    np.testing.assert_array_equal(trend[:, 1], 2.0)
    assert np.flatnonzero(np.isfinite(trend[:, 2])).tolist() == [7]


def test_neighbours_and_workers_change_no_bit() -> None:
    """A star's trend is its own: alone, in a crowd, in another order and with threads it has the same bytes."""
    time = np.arange(300) * CADENCE
    flux = noisy(10, 300, 200, 0.02)
    flux[100:150, 3::17] = np.nan
    flux[:, 5] *= 1e6
    together = biweight(time, flux, 0.75)
    assert biweight(time, flux, 0.75, workers=3).tobytes() == together.tobytes()
    order = np.random.default_rng(0).permutation(200)
    np.testing.assert_array_equal(biweight(time, flux[:, order], 0.75), together[:, order])
    for star in (0, 3, 5, 64, 199):
        np.testing.assert_array_equal(biweight(time, flux[:, [star]], 0.75)[:, 0], together[:, star])


def test_masked_cadences_equal_absent_ones() -> None:
    time = np.arange(300) * CADENCE
    flux = noisy(11, 300, 5)
    keep = np.random.default_rng(1).random(300) < 0.8
    keep[120:160] = False
    masked = np.where(keep[:, None], flux, np.float32(np.nan))
    np.testing.assert_array_equal(biweight(time, masked, 0.75)[keep], biweight(time[keep], flux[keep], 0.75))


@pytest.mark.parametrize("window", [0.3, 0.75, 1.7])
@pytest.mark.parametrize("kind", ["white", "heavy tails", "deep eclipses"])
def test_equal_to_wotan(window: float, kind: str) -> None:
    wotan = pytest.importorskip("wotan")
    rng = np.random.default_rng(12)
    time = np.sort(rng.choice(1400, 1296, replace=False)) * CADENCE
    flux = noisy(12, 1296, 8, 0.01)
    if kind == "heavy tails":
        flux += (1e-3 * rng.standard_t(1.5, flux.shape)).astype(np.float32)
    if kind == "deep eclipses":
        flux[(time % 1.7) < 0.2] *= 0.7
    widest_mad = 0.15 if kind == "deep eclipses" else 3e-3  # half an eclipse, where it fills half a window
    for settings in ({"break_tolerance": 0.5}, {"break_tolerance": 0.0}, {"break_tolerance": 0.1, "edge_days": 0.2}):
        ours = biweight(time, flux, window, **settings)
        theirs = dict(settings)
        cut = theirs.pop("edge_days", 0.0)
        for star in range(flux.shape[1]):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _, trend = wotan.flatten(
                    time,
                    flux[:, star],
                    method="biweight",
                    window_length=window,
                    edge_cutoff=cut,
                    return_trend=True,
                    **theirs,
                )
            np.testing.assert_array_equal(np.isnan(ours[:, star]), np.isnan(trend))
            bound = atol_biweight(float(np.nanmax(trend)), widest_mad)
            assert np.nanmax(np.abs(ours[:, star] - trend)) <= bound


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"window": 0.0}, "window=0"),
        ({"window": np.nan}, "window=nan"),
        ({"window": "day"}, "window='day'"),
        ({"cval": -5}, "cval=-5"),
        ({"break_tolerance": -1.0}, "break_tolerance=-1"),
        ({"break_tolerance": np.inf}, "break_tolerance=inf"),
        ({"edge_days": -0.1}, "edge_days=-0.1"),
        ({"workers": 0}, "workers=0"),
        ({"time": [0.0, 0.0, 1.0]}, "repeats"),
        ({"time": [0.0, 2.0, 1.0]}, "sort"),
        ({"time": [0.0, 1.0]}, "shape"),
        ({"flux": [1.0, 2.0, 3.0]}, "shape"),
        ({"flux": [[1.0], [np.inf], [1.0]]}, "infinite"),
    ],
)
def test_bad_input_is_named(settings, words) -> None:
    good = {"time": [0.0, 1.0, 2.0], "flux": [[1.0], [2.0], [1.0]], "window": 0.75}
    with pytest.raises((ValueError, TypeError), match=words.replace("(", r"\(")):
        biweight(**(good | settings))
