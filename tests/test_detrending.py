"""Flattening a set of light curves: what stays of it, and what a window takes from a transit."""

from __future__ import annotations

import numpy as np
import pytest

from starskope.curves.biweight import biweight
from starskope.curves.container import LightCurves

CADENCE = 1.0 / 48.0
TIME = 1500.0 + CADENCE * np.arange(1296)


def wavy(n_star: int = 6, seed: int = 0) -> LightCurves:
    rng = np.random.default_rng(seed)
    flux = 1 + 0.01 * np.sin(TIME[:, None] * rng.uniform(0.3, 0.8, n_star)) + 1e-4 * rng.standard_normal((1296, n_star))
    flux = 2000.0 * flux.astype(np.float32)
    flux[rng.random(flux.shape) < 0.01] = np.nan
    return LightCurves(TIME, flux, flux_err=np.full(flux.shape, 0.2), meta={"flux_unit": "electron / s"})


def test_flux_over_trend() -> None:
    curves = wavy()
    flat, trend = curves.flatten(), curves.trend()
    np.testing.assert_array_equal(trend, biweight(TIME, curves.flux, 0.75))
    np.testing.assert_array_equal(flat.flux, curves.flux / trend)
    np.testing.assert_array_equal(flat.flux_err, curves.flux_err / trend)
    np.testing.assert_array_equal(np.isnan(flat.flux), np.isnan(curves.flux))
    assert np.nanstd(flat.flux) < 2e-4
    assert np.nanstd(curves.flux / 2000) > 5e-3
    assert flat.flux_unit == ""
    assert flat.meta["flattened"] == {
        "method": "biweight",
        "window_days": 0.75,
        "break_tolerance_days": 0.5,
        "edge_days": 0.0,
    }


def test_settings_reach_the_trend() -> None:
    curves = wavy()
    settings = {"break_tolerance": 0.1, "edge_days": 0.2}
    np.testing.assert_array_equal(curves.trend(1.5, **settings), biweight(TIME, curves.flux, 1.5, **settings))
    assert np.isnan(curves.flatten(1.5, **settings).flux[:9]).all()
    assert curves.flatten(workers=2).flux.tobytes() == curves.flatten().flux.tobytes()
    with pytest.raises(ValueError, match="method='median': expected one of 'biweight'"):
        curves.flatten(method="median")
    with pytest.raises(ValueError, match="window=-1"):
        curves.flatten(-1.0)


def test_flattening_knows_no_unit() -> None:
    curves = wavy()
    np.testing.assert_allclose(curves.normalize().flatten().flux, curves.flatten().flux, rtol=5e-7)


def test_a_trend_at_or_below_zero_leaves_nothing() -> None:
    flux = np.ones((100, 3), np.float32)
    flux[:, 1] = -2.0
    flux[:, 2] = 0.0
    flat = LightCurves(TIME[:100], flux, flux_err=flux * 0 + 1).flatten()
    assert np.isnan(flat.flux[:, 1:]).all()
    assert np.isnan(flat.flux_err[:, 1:]).all()
    np.testing.assert_array_equal(flat.flux[:, 0], 1.0)


def test_sets_without_values() -> None:
    assert LightCurves([], np.zeros((0, 3))).flatten().flux.shape == (0, 3)
    assert np.isnan(LightCurves(TIME[:9], np.full((9, 2), np.nan)).flatten().flux).all()
    np.testing.assert_array_equal(LightCurves([1.0], [[5.0]]).flatten().flux, [[1.0]])


@pytest.mark.parametrize(
    ("hours", "depth_in_noise", "at_least", "at_most"),
    [
        (2, 3, 0.88, 1.0),
        (4, 3, 0.80, 0.95),
        (6, 3, 0.64, 0.82),
        (6, 10, 0.97, 1.01),
        (6, 30, 0.99, 1.01),
        (10, 30, 0.0, 0.1),
    ],
)
def test_depth_that_the_default_window_leaves(hours, depth_in_noise, at_least, at_most) -> None:
    """The table in the docstring of ``detrending``, row by row, so that it cannot go stale."""
    rng = np.random.default_rng(3)
    noise, n_star = 1e-4, 64
    middle = 1513.0 + rng.uniform(0, CADENCE, n_star)
    dip = depth_in_noise * noise * (np.abs(TIME[:, None] - middle) < hours / 48.0)
    flux = 1.0 - dip + noise * rng.standard_normal(dip.shape)
    flat = LightCurves(TIME, flux).flatten()
    left = np.sum((1.0 - flat.flux) * (dip > 0)) / np.sum(dip)
    assert at_least <= left <= at_most
