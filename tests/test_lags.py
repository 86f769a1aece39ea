"""Autocorrelations against sums over pairs, with gaps and without; and what they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tolerances import rtol_transform

import starskope as sk
from starskope import _core

CADENCE = 1800.0 / 86400.0


@pytest.fixture(params=_core.available_isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    before = _core.isa()
    _core.use_isa(request.param)
    yield request.param
    _core.use_isa(before)


def noise(n_time: int, n_star: int, missing: float = 0.0) -> NDArray[np.float32]:
    rng = np.random.default_rng([n_time, n_star])
    x = (1.0 + 0.01 * rng.normal(size=(n_time, n_star))).astype(np.float32)
    x[rng.random(x.shape) < missing] = np.nan
    return x


def sums(x: NDArray[Any], n_lag: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Products of pairs and numbers of pairs, (n_lag, n_star), by the definition."""
    there = np.isfinite(x)
    count = np.maximum(there.sum(axis=0), 1)
    d = np.where(there, x, 0.0).astype(np.float64)
    d = np.where(there, d - d.sum(axis=0) / count, 0.0)
    n = len(x)
    products = np.array([(d[: n - k] * d[k:]).sum(axis=0) for k in range(n_lag)])
    pairs = np.array([(there[: n - k] & there[k:]).sum(axis=0) for k in range(n_lag)])
    return products, pairs


@pytest.mark.parametrize("n_time", [2, 3, 16, 50, 641, 1282])
@pytest.mark.parametrize("n_star", [1, 33, 70])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_every_lag_is_the_sum_over_its_pairs(isa: str, n_time: int, n_star: int, missing: float) -> None:
    x = noise(n_time, n_star, missing)
    x[0], x[1] = 1.1, 0.8  # some scatter, whatever is missing
    for n_lag in {1, max(1, n_time // 3), n_time}:
        products, pairs = sums(x, n_lag)
        tolerance = 2 * rtol_transform(2 * n_time)
        found = sk.autocorrelation(x, cadence=CADENCE, n_lag=n_lag)
        assert found.correlation.shape == (n_lag, n_star)
        np.testing.assert_allclose(found.lag, CADENCE * np.arange(n_lag), rtol=1e-15)
        np.testing.assert_allclose(found.correlation, products / products[0], rtol=0, atol=tolerance)
        unbiased = sk.autocorrelation(x, cadence=CADENCE, n_lag=n_lag, unbiased=True).correlation
        np.testing.assert_array_equal(np.isnan(unbiased), pairs == 0)
        some = np.maximum(pairs, 1)
        expected = products / some / (products[0] / pairs[0])
        wrong = np.abs(unbiased - expected) * some / pairs[0]
        assert np.nanmax(wrong) <= tolerance
        assert (found.correlation[0] == 1).all()
        assert (unbiased[0] == 1).all()


def test_a_sine_repeats_after_its_period() -> None:
    x = np.sin(2 * np.pi * np.arange(1200) / 60)
    x[400:500] = np.nan
    found = sk.autocorrelation(x, cadence=0.1, n_lag=200, unbiased=True)
    assert found.correlation[[60, 120], 0] == pytest.approx(1.0, abs=0.03)
    assert found.correlation[[30, 90], 0] == pytest.approx(-1.0, abs=0.03)
    assert found.lag[60] == pytest.approx(6.0)


def test_scale_and_mean_leave_no_trace_and_stars_do_not_feel_each_other(isa: str) -> None:
    x = noise(300, 100)
    expected = sk.autocorrelation(x, cadence=CADENCE).correlation
    wild = np.round((x - 1) * 1e4) * np.float32(2.0) ** np.arange(-50, 50)
    plain = sk.autocorrelation(np.round((x - 1) * 1e4), cadence=CADENCE).correlation
    found = sk.autocorrelation(wild, cadence=CADENCE).correlation
    np.testing.assert_allclose(found, plain, rtol=0, atol=4 * rtol_transform(600))
    x[7, 20], x[:, 21], x[:, 22] = np.inf, np.nan, 3.3
    found = sk.autocorrelation(x, cadence=CADENCE).correlation
    assert np.isnan(found[:, [21, 22]]).all()
    others = np.delete(np.arange(100), [20, 21, 22])
    np.testing.assert_allclose(found[:, others], expected[:, others], rtol=0, atol=2 * rtol_transform(600))


def test_power_and_autocorrelation_are_one_transform_apart() -> None:
    x = noise(500, 5)
    correlation = sk.autocorrelation(x, cadence=CADENCE).correlation.astype(np.float64)
    both = np.concatenate([correlation, np.zeros((1, 5)), correlation[:0:-1]])
    power = sk.power_spectrum(x, cadence=CADENCE, window=None, oversample=2).power.astype(np.float64)
    power[[0, -1]] *= 4
    ratio = sk.rfft(both).real / power
    np.testing.assert_allclose(ratio[power > 1e-3 * power.max()], np.median(ratio, axis=0).mean(), rtol=0.1)


@pytest.mark.parametrize("unbiased", [False, True])
def test_any_number_of_workers_and_any_form_give_the_same_bytes(unbiased: bool) -> None:
    x = noise(97, 700, 0.02)
    one = sk.autocorrelation(x, cadence=CADENCE, unbiased=unbiased).correlation
    for workers in (2, 3, -1):
        some = sk.autocorrelation(x, cadence=CADENCE, unbiased=unbiased, workers=workers).correlation
        assert some.tobytes() == one.tobytes()
    before = x.tobytes()
    x.flags.writeable = False
    wide = np.full((97, 705), -7.0, np.float32)
    found = sk.autocorrelation(x.T, cadence=CADENCE, axis=1, unbiased=unbiased, out=wide[:, 2:702])
    assert found.correlation.tobytes() == one.tobytes()
    assert (wide[:, [0, 1, 702, 703, 704]] == -7).all()
    assert x.tobytes() == before


def test_light_curves_are_put_on_their_grid() -> None:
    x = noise(400, 3)
    kept = np.r_[0:150, 170:400]
    gaps = np.full_like(x, np.nan)
    gaps[kept] = x[kept]
    curves = sk.LightCurves(1325.0 + CADENCE * kept, x[kept])
    found = sk.autocorrelation(curves, n_lag=50)
    assert found.correlation.tobytes() == sk.autocorrelation(gaps, cadence=CADENCE, n_lag=50).correlation.tobytes()
    assert found.select([2, 0]).correlation[:, 1].tobytes() == found.correlation[:, 0].tobytes()
    assert "50 lags x 3 stars" in repr(found)
    axes = found.plot(1)
    assert axes.get_xlabel() == "lag [d]"
    with pytest.raises(ValueError, match="no regular cadence"):
        sk.autocorrelation(sk.LightCurves(np.sort(np.random.default_rng(0).uniform(0, 5, 300)), noise(300, 1)))


@pytest.mark.parametrize(
    ("settings", "kind", "told"),
    [
        ({"n_lag": 0}, ValueError, "n_lag=0"),
        ({"n_lag": 10}, ValueError, "n_lag=10: the series has 9 cadences"),
        ({"n_lag": 2.0}, TypeError, "n_lag=2.0"),
        ({"unbiased": 1}, TypeError, "unbiased=1"),
        ({"cadence": None}, ValueError, "needs its cadence"),
        ({"workers": 0}, ValueError, "workers=0"),
        ({"out": np.empty((9, 3), np.float32)}, ValueError, "out: expected float32"),
    ],
)
def test_what_cannot_be_meant_is_refused(settings: dict[str, Any], kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        sk.autocorrelation(noise(9, 2), **{"cadence": CADENCE, **settings})


def test_the_core_refuses_what_does_not_fit() -> None:
    x = noise(9, 2)
    for out, told in (
        (np.empty((0, 2), np.float32), "has 0 lags, expected 1 to the 9 times"),
        (np.empty((10, 2), np.float32), "has 10 lags"),
        (np.empty((9, 3), np.float32), "out: has shape 9 x 3, expected 9 x 2"),
        (np.empty((9, 2)), "out: expected an array of float32"),
    ):
        with pytest.raises(ValueError, match=told):
            _core.autocorrelation(x, out)
    _core.autocorrelation(x[:, :0], np.empty((9, 0), np.float32))
