"""The box search against its definition, box by box, and what it does with gaps, errors and odd sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from reference_box import all_boxes
from tolerances import rtol_box

from starskope import _core
from starskope.search.box import BoxSearch, box_periodogram
from starskope.search.box_result import BoxPeriodogram

CADENCE = 1 / 48
DURATIONS = np.array([0.05, 0.11, 0.2])
PERIODS = np.array([0.9, 0.31, 1.37, 2.0, 4.4, 7.9])
FIELDS = ("power", "inverted_power", "depth", "duration_index", "start")


def noise(n_time: int, n_star: int, missing: float = 0.0) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Give times with a gap and a jump in cadence, and noise of 1e-3 around 1 with a dip in every third star."""
    rng = np.random.default_rng([n_time, n_star, int(1000 * missing)])
    time = 1325.3 + CADENCE * np.arange(n_time)
    time[n_time // 2 :] += 1.2345
    time[3 * n_time // 4 :] += 0.0077
    flux = rng.normal(1.0, 1e-3, (n_time, n_star)).astype(np.float32)
    flux[np.ix_((time - 1325.5) % 1.37 < 0.11, np.arange(0, n_star, 3))] -= np.float32(0.004)
    flux[rng.random(flux.shape) < missing] = np.nan
    return time, flux


def errors_like(flux: NDArray[np.float32]) -> NDArray[np.float32]:
    rng = np.random.default_rng(9)
    return (1e-3 * np.exp(rng.normal(0.0, 0.7, flux.shape))).astype(np.float32)


def search(time: Any, flux: Any, flux_err: Any = None, **settings: Any) -> BoxPeriodogram:
    options = {"oversample": 4, "max_duty_cycle": 0.9, "inverted": True, **settings}
    periods, durations = options.pop("periods", PERIODS), options.pop("durations", DURATIONS)
    return box_periodogram(time, flux, flux_err, periods, durations, **options)


def array_bytes(found: BoxPeriodogram, names: tuple[str, ...] = FIELDS) -> list[bytes]:
    return [np.asarray(getattr(found, name)).tobytes() for name in names]


def assert_as_defined(
    found: BoxPeriodogram,
    time: NDArray[np.float64],
    flux: NDArray[np.float32],
    error: NDArray[np.float32] | None = None,
    rtol: float | None = None,
    windows: list[range] | None = None,
) -> None:
    """The best boxes of some stars have the gain of the best of all boxes, and are the boxes that they say."""
    tolerance = rtol_box(time.size) if rtol is None else rtol
    for star in range(0, flux.shape[1], 1 + flux.shape[1] // 5):
        y = flux[:, star].astype(np.float64)
        e = None if error is None else np.broadcast_to(error, flux.shape)[:, star].astype(np.float64)
        for p, period in enumerate(found.period):
            width, tried = found.bin_width[p], range(3) if windows is None else windows[p]
            fitting = [int(found.durations[k] / width + 0.5) for k in tried if found.durations[k] <= 0.9 * period]
            n_point = np.isfinite(y if e is None else y + e).sum()
            if not fitting or n_point < 2:
                assert np.isnan(found.power[p, star])
                assert found.start[p, star] == -1
                continue
            best = all_boxes(time, y, e, period, fitting, width, found.objective)
            upside_down = all_boxes(time, -y, e, period, fitting, width, found.objective)
            assert found.inverted_power is not None
            np.testing.assert_allclose(found.power[p, star], best.gain.max(), rtol=tolerance)
            np.testing.assert_allclose(found.inverted_power[p, star], upside_down.gain.max(), rtol=tolerance)
            start, k = found.start[p, star], found.duration_index[p, star] - tried[0]
            if best.gain.max() == 0.0:
                assert (start, k, found.depth[p, star]) == (-1, -1 - tried[0], 0.0)
            else:
                np.testing.assert_allclose(best.gain[start, k], best.gain.max(), rtol=tolerance)
                np.testing.assert_allclose(found.depth[p, star], best.depth[start, k], rtol=tolerance)


@pytest.mark.parametrize("objective", ["snr", "likelihood"])
@pytest.mark.parametrize("missing", [0.0, 0.03, 0.6])
@pytest.mark.parametrize(("n_time", "n_star"), [(2, 3), (3, 1), (7, 5), (64, 33), (301, 4)])
def test_every_box(n_time: int, n_star: int, missing: float, objective: Any) -> None:
    time, flux = noise(n_time, n_star, missing)
    assert_as_defined(search(time, flux, objective=objective), time, flux)


@pytest.mark.parametrize("objective", ["snr", "likelihood"])
@pytest.mark.parametrize("shape", ["point", "time", "star"])
@pytest.mark.parametrize("missing", [0.0, 0.05])
def test_every_box_with_errors(shape: str, missing: float, objective: Any) -> None:
    time, flux = noise(150, 35, missing)
    error = errors_like(flux)
    if shape == "point" and missing:
        error[5:9, 3] = np.nan
        error[11, 4] = np.inf
    error = {"point": error, "time": error[:, :1], "star": error[:1]}[shape]
    assert_as_defined(search(time, flux, error, objective=objective), time, flux, error)


def test_a_time_axis_of_errors_may_be_flat() -> None:
    time, flux = noise(80, 6)
    error = errors_like(flux)[:, 0]
    assert array_bytes(search(time, flux, error)) == array_bytes(search(time, flux, error[:, None]))


def test_irregular_times() -> None:
    rng = np.random.default_rng(5)
    time = np.sort(rng.uniform(100.0, 130.0, 260))
    flux = rng.normal(0.0, 1.0, (260, 3)).astype(np.float32)
    assert_as_defined(search(time, flux), time, flux)


@pytest.mark.parametrize("n_star", [1, 15, 16, 17, 31, 32, 33, 64, 100])
def test_star_counts_that_do_not_fill_the_lanes(n_star: int) -> None:
    time, flux = noise(90, 100, 0.02)
    flux[:, ::2] = np.nan_to_num(flux[:, ::2], nan=1.0)
    whole, part = search(time, flux), search(time, flux[:, :n_star])
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[:, :n_star])


def test_points_of_very_different_errors() -> None:
    time, flux = noise(200, 3)
    error = np.where(np.arange(200) % 7 == 0, 30e-3, 1e-3).astype(np.float32)[:, None] * np.ones((1, 3), np.float32)
    assert_as_defined(search(time, flux, error), time, flux, error, rtol=1e-4)


def test_one_wild_point_spoils_nothing() -> None:
    time, flux = noise(200, 3)
    flux[77] = 1e3
    assert_as_defined(search(time, flux), time, flux, rtol=1e-5)


def test_no_times_and_few() -> None:
    for n_time in (0, 1):
        found = search(np.arange(float(n_time)), np.ones((n_time, 3), np.float32))
        assert found.power.shape == (PERIODS.size, 3)
        assert np.isnan(found.power).all()
        assert np.isnan(found.inverted_power).all()
        assert np.isnan(found.depth).all()
        assert np.isnan(found.t0).all()
        assert (found.duration_index == -1).all()
    time, flux = noise(50, 0)
    assert search(time, flux).power.shape == (PERIODS.size, 0)
    time, flux = noise(50, 2)
    assert search(time, flux, periods=np.empty(0)).power.shape == (0, 2)


def test_stars_without_a_signal() -> None:
    time, flux = noise(120, 5)
    flux[:, 0] = np.nan
    flux[:, 1] = np.float32(0.1)
    flux[1:, 2] = np.nan
    flux[::3, 3] = np.float32(0.1)
    flux[1::3, 3] = flux[2::3, 3] = np.nan
    for error in (None, errors_like(flux)):
        found = search(time, flux, error)
        for star in (0, 2):
            assert np.isnan(found.power[:, star]).all()
            assert np.isnan(found.depth[:, star]).all()
        for star in (1, 3):
            assert (found.power[:, star] == 0).all()
            assert (found.inverted_power[:, star] == 0).all()
            assert (found.depth[:, star] == 0).all()
            assert np.isnan(found.t0[:, star]).all()
            assert np.isnan(found.duration[:, star]).all()
            assert np.isnan(found.depth_err[:, star]).all()
        assert (found.duration_index[:, :4] == -1).all()
        assert (found.power[:, 4] > 0).all()


def test_infinities_are_missing() -> None:
    time, flux = noise(120, 4)
    gone = np.random.default_rng(1).random(flux.shape) < 0.05
    with_nan, with_inf = np.where(gone, np.nan, flux), np.where(gone, np.inf, flux)
    with_inf[gone[:, 0], 0] = -np.inf
    assert array_bytes(search(time, with_nan)) == array_bytes(search(time, with_inf))


def test_times_that_nobody_has_change_nothing() -> None:
    time, flux = noise(150, 40)
    there = np.ones(150, bool)
    there[[0, 20, 21, 90, 149]] = False
    there[0] = True
    holed = np.where(there[:, None], flux, np.float32(np.nan))
    assert array_bytes(search(time, holed)) == array_bytes(search(time[there], flux[there]))


def test_upside_down_is_the_search_of_the_mirrored_flux() -> None:
    time, flux = noise(130, 40, 0.01)
    flux[:, :35] = np.nan_to_num(flux[:, :35], nan=1.0)
    found, mirrored = search(time, flux - 1), search(time, 1 - flux)
    np.testing.assert_array_equal(found.inverted_power, mirrored.power)
    np.testing.assert_array_equal(found.power, mirrored.inverted_power)


def test_the_power_alone() -> None:
    time, flux = noise(130, 40, 0.01)
    found, alone = search(time, flux), search(time, flux, details=False, inverted=False)
    assert alone.power.tobytes() == found.power.tobytes()
    assert alone.inverted_power is None
    for name in ("depth", "duration_index", "start", "t0", "duration", "depth_err"):
        with pytest.raises(ValueError, match="details=True"):
            getattr(alone, name)
    assert alone.snr.tobytes() == found.snr.tobytes()


@pytest.mark.parametrize("workers", [2, 3, 8, -1])
def test_any_number_of_workers_gives_the_same_bytes(workers: int) -> None:
    time, flux = noise(160, 50, 0.01)
    periods = np.geomspace(0.5, 5.0, 333)
    one = search(time, flux, periods=periods)
    assert array_bytes(search(time, flux, periods=periods, workers=workers)) == array_bytes(one)


def test_periods_searched_in_pieces_and_in_any_order() -> None:
    time, flux = noise(160, 50, 0.01)
    periods = np.geomspace(0.5, 5.0, 101)
    whole = search(time, flux, periods=periods)
    stars = BoxSearch(time, flux, durations=DURATIONS, oversample=4, max_duty_cycle=0.9)
    order = np.random.default_rng(3).permutation(101)
    for piece in (order[:1], order[1:18], order[18:]):
        part = stars.periodogram(periods[piece], inverted=True)
        for name in (*FIELDS, "t0", "duration", "snr"):
            np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[piece])


def test_every_instruction_set_gives_the_same_bytes() -> None:
    time, flux = noise(240, 45, 0.01)
    flux[:, :40] = np.nan_to_num(flux[:, :40], nan=1.0)
    before = _core.isa()
    try:
        for error in (None, errors_like(flux)):
            results = []
            for isa in _core.available_isas():
                _core.use_isa(isa)
                results.append(array_bytes(search(time, flux, error)))
                alone = search(time, flux, error, details=False, objective="likelihood")
                results[-1] += array_bytes(alone, FIELDS[:2])
            assert len(results) == len(_core.available_isas())
            assert all(result == results[0] for result in results)
    finally:
        _core.use_isa(before)


def test_strided_and_read_only_input_is_left_alone() -> None:
    time, flux = noise(90, 20)
    wide = np.full((90, 60), np.float32(np.nan))
    wide[:, 3:23] = flux
    error = errors_like(flux)
    expected = array_bytes(search(time, flux, error))
    for array in (time, flux, error, wide):
        array.flags.writeable = False
    assert array_bytes(search(time, wide[:, 3:23], error)) == expected
    assert array_bytes(search(time, np.asfortranarray(flux), error)) == expected
    assert array_bytes(search(time, flux.astype(">f4"), error.astype(np.float64))) == expected


def test_level_and_scale_of_the_flux() -> None:
    time, flux = noise(150, 6)
    base = search(time, flux - 1)
    scaled = search(time, (flux - 1) * np.float32(2.0**40))
    np.testing.assert_array_equal(scaled.power, base.power * np.float32(2.0**80))
    np.testing.assert_array_equal(scaled.start, base.start)
    errors = search(time, flux - 1, np.full((1, 6), 2.0**-10, np.float32))
    np.testing.assert_array_equal(errors.power, base.power * np.float32(2.0**20))


def test_only_the_durations_that_a_period_allows() -> None:
    time, flux = noise(260, 34, 0.01)
    flux[:, :33] = np.nan_to_num(flux[:, :33], nan=1.0)
    shortest = np.array([0.05, 0.06, 0.12, 0.2, 0.3, 0.01])
    longest = np.array([0.05, 0.30, 0.18, 0.2, 0.4, 0.02])
    windows = [range(1), range(1, 3), range(1, 2), range(2, 3), range(2, 3), range(1)]
    found = search(time, flux, limits=(shortest, longest))
    assert_as_defined(found, time, flux, windows=windows)
    np.testing.assert_allclose(found.bin_width, [DURATIONS[window[0]] / 4 for window in windows])
    with pytest.raises(ValueError, match="limits"):
        search(time, flux, limits=(longest, shortest))
    with pytest.raises(ValueError, match="limits"):
        search(time, flux, limits=(shortest[:-1], longest[:-1]))


def test_other_stars_matter_by_rounding_alone() -> None:
    time, flux = noise(150, 40, 0.02)
    whole = search(time, flux)
    for star in (0, 3, 39):
        alone = search(time, flux[:, [star]])
        np.testing.assert_allclose(alone.power[:, 0], whole.power[:, star], rtol=1e-6)


def test_a_periodogram_tells_and_draws_itself() -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    time, flux = noise(150, 3)
    found = search(time, flux)
    assert repr(found) == "<BoxPeriodogram: 6 periods x 3 stars, 0.31-7.9 d, 3 durations, objective 'snr'>"
    axes = found.plot(1)
    shown = axes.lines[0].get_xydata()
    np.testing.assert_array_equal(shown[:, 0], np.sort(PERIODS))
    np.testing.assert_array_equal(shown[:, 1], found.snr[np.argsort(PERIODS), 1])
    pyplot.close(axes.figure)
