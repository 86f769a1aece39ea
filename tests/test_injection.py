"""Noise and binaries with known truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from starskope.curves.container import LightCurves
from starskope.synth.injection import Binary, draw_binary, eclipse_signals, inject, noise_curves

TIME = 2000.0 + np.arange(1200) / 48.0
BINARY = Binary(
    period=2.5,
    t0=2001.0,
    radius_ratio=0.5,
    surface_ratio=0.4,
    separation=8.0,
    inclination=90.0,
    eccentricity=0.0,
    periastron=90.0,
    third_light=0.0,
)


def test_noise_has_the_variance_and_the_correlation_that_it_states() -> None:
    curves = noise_curves(300, 1, missing=0.0)
    flux = curves.flux.astype(np.float64) - 1.0
    white, red, correlation = (np.asarray(curves.stars[name]) for name in ("white", "red", "correlation"))
    total = np.hypot(white, red)
    # Red noise of long correlation has few independent values: only the many together are near their variance.
    assert np.mean(flux.var(axis=0) / total**2) == pytest.approx(1.0, abs=0.05)
    quick = correlation < 0.3
    lag = 5
    measured = np.mean(flux[:600][lag:] * flux[:600][:-lag], axis=0)
    expected = red**2 * np.exp(-lag / 48.0 / correlation)
    assert np.mean((measured / total**2)[quick]) == pytest.approx(np.mean((expected / total**2)[quick]), abs=0.02)


def test_noise_is_a_sector_and_the_same_for_a_seed() -> None:
    curves = noise_curves(40, 2)
    assert curves.flux.shape == (1282, 40)
    assert np.diff(curves.time).max() == pytest.approx(54 / 48)
    assert 0.005 < np.isnan(curves.flux).mean() < 0.015
    assert curves.flux.tobytes() == noise_curves(40, 2).flux.tobytes()
    assert curves.flux.tobytes() != noise_curves(40, 3).flux.tobytes()
    assert np.all(np.asarray(noise_curves(40, 2, red_most=0.0).stars["red"]) == 0.0)


def test_eclipses_take_what_geometry_says() -> None:
    primary, secondary = BINARY.parts(TIME)
    whole = 1.0 + 0.25 * 0.4
    # Limb darkening concentrates light in the middle of the larger star's disk; the smaller one is a uniform disk.
    assert 0.25 < primary.max() * whole < 0.25 / (1 - 0.35 / 3 - 0.2 / 6)
    assert secondary.max() * whole == pytest.approx(0.1, rel=1e-6)
    phase = (TIME - BINARY.t0) / BINARY.period % 1.0
    width = 1.6 / (np.pi * BINARY.separation) / 2
    assert np.all(np.minimum(phase, 1 - phase)[primary > 0] < width)
    assert np.all(np.abs(phase - 0.5)[secondary > 0] < width)
    assert not np.any((primary > 0) & (secondary > 0))


def test_third_light_dilutes_both_eclipses() -> None:
    plain, diluted = BINARY.parts(TIME), replace(BINARY, third_light=9.0).parts(TIME)
    for one, other in zip(plain, diluted, strict=True):
        np.testing.assert_allclose(other, one / 10.0, atol=1e-15)


def test_eccentric_orbits_move_the_secondary() -> None:
    _, secondary = replace(BINARY, eccentricity=0.4, periastron=0.0).parts(TIME)
    middle = np.mean(((TIME - BINARY.t0) / BINARY.period % 1.0)[secondary > 0.9 * secondary.max()])
    # 0.5 + (2 / pi) e cos(w) to first order.
    assert abs(abs(middle - 0.5) - 2 / np.pi * 0.4) < 0.03


def test_exposures_smear() -> None:
    sharp, smeared = BINARY.parts(TIME)[0], BINARY.parts(TIME, 1.0 / 24.0)[0]
    assert np.count_nonzero(smeared) > np.count_nonzero(sharp)
    assert smeared.sum() == pytest.approx(sharp.sum(), rel=0.02)


def test_injection_multiplies_one_star() -> None:
    curves = LightCurves(TIME, 100.0 * np.ones((TIME.size, 3)), flux_err=np.ones((TIME.size, 3)))
    curves.flux[5, 1] = np.nan
    dimmed = inject(curves, BINARY, star=1)
    first, second = BINARY.parts(TIME)
    assert dimmed.flux.shape == (TIME.size, 1)
    np.testing.assert_allclose(
        dimmed.flux[:, 0], np.where(np.arange(TIME.size) == 5, np.nan, 100 * (1 - first - second)), rtol=1e-6
    )
    assert np.all(np.isfinite(curves.flux[:, [0, 2]]))
    assert dimmed.meta["injected"]["period"] == 2.5


def test_signals_of_eclipses() -> None:
    curves = LightCurves(TIME, np.ones((TIME.size, 1)))
    (depth, snr), (shallow, weak) = eclipse_signals(curves, BINARY, 1e-3)
    first, second = BINARY.parts(TIME)
    assert (depth, shallow) == (first.max(), second.max())
    assert snr == pytest.approx(depth / 1e-3 * np.sqrt(np.count_nonzero(first)), rel=0.02)
    assert weak == pytest.approx(shallow / 1e-3 * np.sqrt(np.count_nonzero(second)), rel=0.02)


@pytest.mark.parametrize("twin", [False, True])
def test_drawn_binaries_are_detached_and_eclipse(twin: bool) -> None:
    rng = np.random.default_rng(4)
    drawn = [draw_binary(rng, start=2000.0, period=(0.5, 12.0), twin=twin) for _ in range(60)]
    for binary in drawn:
        assert (1 + binary.radius_ratio) < 0.75 * binary.separation * (1 - binary.eccentricity) + 1e-9
        assert binary.radius_ratio <= 1.0
        assert 0.5 <= binary.period <= 12.0
        if twin:
            first, second = binary.parts(np.linspace(2000.0, 2000.0 + binary.period, 20_001))
            assert second.max() == pytest.approx(first.max(), rel=0.3)
    assert len({binary.period for binary in drawn}) == 60
    assert 10 < sum(binary.third_light > 0 for binary in drawn) < 55
