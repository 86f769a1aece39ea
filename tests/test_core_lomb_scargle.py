"""Lomb-Scargle periodograms of the core against fits of sines, on every instruction set."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import reference_spectra as reference
from numpy.typing import NDArray
from tolerances import atol_lomb_scargle

from starskope import _core

F32 = NDArray[np.float32]


@pytest.fixture(params=_core.available_isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    before = _core.isa()
    _core.use_isa(request.param)
    yield request.param
    _core.use_isa(before)


def stars(n_time: int, n_series: int, *, gap: bool = False, missing: float = 0.0) -> F32:
    """Sines in noise on a mean, most of them well seen; a gap that all share and points that each lacks by itself."""
    rng = np.random.default_rng([n_time, n_series])
    j = np.arange(n_time)[:, np.newaxis]
    x = 1.0 + 0.01 * (rng.normal(size=(n_time, n_series)) + 3 * np.sin(2 * np.pi * j * rng.uniform(0, 0.5, n_series)))
    if gap:
        x[n_time // 2 : n_time // 2 + n_time // 20 + 1] = np.nan
    x[rng.random(x.shape) < missing] = np.nan
    return x.astype(np.float32)


def weights(*shape: int) -> F32:
    return (np.random.default_rng(shape).uniform(0.5, 2.0, shape) ** -2).astype(np.float32)


def periodogram(x: F32, w: F32 | None, n_fft: int, n_freq: int | None = None) -> F32:
    out = np.full((n_fft // 2 if n_freq is None else n_freq, x.shape[1]), -7.0, np.float32)
    _core.lomb_scargle(x, w, out, n_fft)
    return out


def largest_error(x: F32, w: F32 | None, n_fft: int) -> float:
    found, expected = periodogram(x, w, n_fft), reference.lomb_scargle(x, w, n_fft, n_fft // 2)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    return float(np.nanmax(np.abs(found - expected), initial=0.0))


@pytest.mark.parametrize(
    ("n_time", "n_fft"), [(4, 20), (16, 16), (61, 305), (60, 300), (100, 128), (97, 485), (128, 1280)]
)
@pytest.mark.parametrize("gap", [False, True])
def test_series_that_share_their_points(isa: str, n_time: int, n_fft: int, gap: bool) -> None:
    x = stars(n_time, 70, gap=gap)
    assert largest_error(x, None, n_fft) < atol_lomb_scargle(n_time)
    assert largest_error(x, weights(n_time), n_fft) < atol_lomb_scargle(n_time)


@pytest.mark.parametrize(("n_time", "n_fft"), [(16, 16), (61, 305), (100, 128), (97, 485), (128, 1280), (401, 802)])
@pytest.mark.parametrize("missing", [0.0, 0.01, 0.2])
def test_series_with_points_and_weights_of_their_own(isa: str, n_time: int, n_fft: int, missing: float) -> None:
    x = stars(n_time, 70, gap=True, missing=missing)
    for w in (None, weights(n_time), weights(n_time, 70)):
        assert largest_error(x, w, n_fft) < atol_lomb_scargle(n_time)


def test_a_sector(isa: str) -> None:
    x = stars(1282, 6, gap=True, missing=0.01)
    assert largest_error(x[:, :3], weights(1282, 3), 6410) < atol_lomb_scargle(1282)
    assert largest_error(x, None, 6410) < atol_lomb_scargle(1282)


def test_series_unlike_their_neighbours(isa: str) -> None:
    n = 400
    x = stars(n, 40, gap=True)
    x[120:, 1] = np.nan  # a short one
    x[::2, 2] = np.nan  # every other point: new minima of the determinant
    x[np.arange(n) % 50 > 0, 3] = np.nan  # eight points
    x[np.arange(n) % 150 > 0, 4] = np.nan  # three
    x[:, 5], x[:, 6] = np.nan, 1.25  # none, and no variance
    x[5, 7], x[6, 7] = np.inf, 1e6
    w = weights(n, 40)
    w[:, 8] = 0.0
    w[17, 9] = 1e5  # one point outweighs all others
    w[30:, 10], w[3, 11], w[4, 11] = 0.0, np.nan, -1.0
    w[:, 12] *= np.float32(1e-20)
    for given in (None, w):
        assert largest_error(x, given, 5 * n) < atol_lomb_scargle(n)
        found = periodogram(x, given, 5 * n)
        assert np.isnan(found[:, 4:7]).all()
        assert np.isfinite(np.delete(found, [4, 5, 6, 8], axis=1)).all()


def test_dead_series_do_not_hold_up_the_others(isa: str) -> None:
    x = stars(200, 64, gap=True)
    alone = periodogram(x, None, 1000)
    x[:, ::9] = np.nan
    some = np.arange(64) % 9 > 0
    np.testing.assert_allclose(periodogram(x, None, 1000)[:, some], alone[:, some], atol=atol_lomb_scargle(200))
    assert np.isnan(periodogram(x, None, 1000)[:, ~some]).all()


def test_scale_and_offset_change_nothing(isa: str) -> None:
    x, w = stars(300, 64, missing=0.02), weights(300, 64)
    found = periodogram(x, w, 1500)
    np.testing.assert_array_equal(periodogram(x * np.float32(2**40), w * np.float32(2**30), 1500), found)
    assert np.abs(periodogram((x - 1) * np.float32(1e-20), w, 1500) - found).max() < 5e-5  # x - 1 loses digits


def test_a_sine_is_all_of_its_variance(isa: str) -> None:
    k = np.arange(3, 300, 7)
    phase = 2 * np.pi * np.outer(np.arange(200), k) / 1000 + 0.3
    x = (0.2 * np.sin(phase)).astype(np.float32)
    x[50:61] = np.nan
    x[::17, ::2] = np.nan
    found = periodogram(x, None, 1000)
    np.testing.assert_allclose(found[k - 1, np.arange(k.size)], 1.0, atol=2e-6)


def test_few_rows_are_the_first_of_all() -> None:
    for missing in (0.0, 0.02):
        x = stars(250, 70, missing=missing)
        whole = periodogram(x, None, 1250)
        assert periodogram(x, None, 1250, 100).tobytes() == whole[:100].tobytes()
        wide = np.full((625, 80), -7.0, np.float32)
        _core.lomb_scargle(x, None, wide[:, 5:75], 1250)
        assert wide[:, 5:75].tobytes() == whole.tobytes()
        assert (wide[:, :5] == -7).all()
        assert (wide[:, 75:] == -7).all()


def test_the_input_is_not_written() -> None:
    x, w = stars(100, 70, gap=True, missing=0.05), weights(100, 70)
    before = x.tobytes(), w.tobytes()
    x.flags.writeable = w.flags.writeable = False
    periodogram(x, w, 500)
    assert (x.tobytes(), w.tobytes()) == before


def test_eight_threads_give_the_bytes_of_one() -> None:
    x = stars(331, 64, gap=True, missing=0.01)
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: periodogram(x, None, 1655).tobytes(), range(16)))
    assert found == {periodogram(x, None, 1655).tobytes()}


def test_no_times_no_series_no_rows() -> None:
    assert np.isnan(periodogram(np.empty((0, 3), np.float32), None, 4)).all()
    assert np.isnan(periodogram(np.ones((1, 3), np.float32), None, 5)).all()
    assert periodogram(np.empty((5, 0), np.float32), None, 25).shape == (12, 0)
    assert periodogram(stars(5, 3), None, 25, 0).shape == (0, 3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_fft": 7}, "n_fft=7: cannot hold the 8 times"),
        ({"out": np.empty((21, 3), np.float32)}, r"out: has 21 rows, expected at most n_fft / 2 = 20"),
        ({"out": np.empty((20, 2), np.float32)}, "out: has shape 20 x 2, expected 20 x 3"),
        ({"weights": weights(7)}, "weights: has 7 elements, expected 8"),
        ({"weights": weights(8, 2)}, "weights: expected one per time, or one per value"),
        ({"weights": np.ones((8, 3))}, "weights: expected an array of float32"),
    ],
)
def test_other_sizes_are_refused(changes: dict[str, Any], words: str) -> None:
    settings = {"data": stars(8, 3), "weights": None, "out": np.empty((20, 3), np.float32), "n_fft": 40}
    with pytest.raises(ValueError, match=words):
        _core.lomb_scargle(**{**settings, **changes})


def test_points_are_counted_and_their_spread_measured(isa: str) -> None:
    n = 301
    x, w = stars(n, 70, gap=True, missing=0.05), weights(n, 70)
    x[:, 3] = np.nan
    w[10:20, 5] = 0.0
    shared = stars(n, 70, gap=True)
    shared[:, 3] = np.nan
    out = np.empty((20, 70), np.float32)
    for data, given in ((shared, None), (shared, weights(n)), (x, None), (x, weights(n)), (x, w)):
        count, spread = np.full(70, -1.0), np.full(70, -1.0)
        _core.lomb_scargle(data, given, out, 5 * n, count, spread)
        each = np.ones_like(data) if given is None else np.broadcast_to(given.reshape(n, -1), data.shape)
        each = np.where(np.isfinite(data), each, 0.0).astype(np.float64)
        np.testing.assert_array_equal(count, np.count_nonzero(each, axis=0))
        total = np.maximum(each.sum(axis=0), 1e-300)
        rows = np.arange(n)[:, np.newaxis]
        mean = (rows * each).sum(axis=0) / total
        np.testing.assert_allclose(spread, (rows**2 * each).sum(axis=0) / total - mean**2, rtol=1e-6, atol=1e-9)
    with pytest.raises(ValueError, match="count: has 69 elements, expected 70"):
        _core.lomb_scargle(x, None, out, 5 * n, np.empty(69), np.empty(70))
    with pytest.raises(TypeError, match="spread"):
        _core.lomb_scargle(x, None, out, 5 * n, np.empty(70), None)
