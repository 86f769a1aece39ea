"""Light-curve arithmetic against float64 oracles: bins, normalising, barycentric times."""

from __future__ import annotations

import math

import numpy as np
import pytest
import reference
import tolerances
from astropy.table import Table
from numpy.typing import NDArray

from starskope.curves.container import LightCurves
from starskope.layout.observer import earth_path, solve_observer, unit_vectors

CADENCE = 1.0 / 48.0


def curves(n_time: int = 101, n_star: int = 7, seed: int = 0) -> LightCurves:
    rng = np.random.default_rng(seed)
    flux = rng.normal(1000.0, 10.0, size=(n_time, n_star)).astype(np.float32)
    flux_err = rng.uniform(5.0, 50.0, size=flux.shape).astype(np.float32)
    flux[rng.random(flux.shape) < 0.1] = np.nan
    flux[:, -1] = np.nan
    quality = np.where(rng.random(n_time) < 0.05, 1 << rng.integers(0, 12, n_time), 0).astype(np.int32)
    return LightCurves(1325.0 + CADENCE * np.arange(n_time), flux, flux_err=flux_err, quality=quality)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7, 100, 101, 1000])
def test_bins_are_inverse_variance_means(n: int) -> None:
    plain = curves()
    binned = plain.bin(n)
    n_bin = math.ceil(101 / n)
    assert binned.flux.shape == (n_bin, 7)
    for k in range(n_bin):
        part = slice(n * k, n * (k + 1))
        assert math.isclose(binned.time[k], plain.time[part].mean(), rel_tol=1e-14)
        assert binned.quality[k] == np.bitwise_or.reduce(plain.quality[part])
        for star in range(7):
            mean, error = reference.bin_inverse_variance(plain.flux[part, star], plain.flux_err[part, star])
            np.testing.assert_allclose(binned.flux[k, star], mean, rtol=tolerances.rtol(np.float32, 2))
            np.testing.assert_allclose(binned.flux_err[k, star], error, rtol=tolerances.rtol(np.float32, 2))


def test_bins_do_not_reach_over_a_gap() -> None:
    plain = curves()
    keep = np.r_[0:31, 58:101]
    binned = plain.select(time=np.isin(np.arange(101), keep)).bin(10)
    place = np.round((plain.time[keep] - plain.time[0]) / CADENCE).astype(int) // 10
    assert binned.flux.shape[0] == np.unique(place).size
    for k, cell in enumerate(np.unique(place)):
        inside = keep[place == cell]
        mean, _ = reference.bin_inverse_variance(plain.flux[inside, 2], plain.flux_err[inside, 2])
        np.testing.assert_allclose(binned.flux[k, 2], mean, rtol=tolerances.rtol(np.float32, 2))


def test_normalising_divides_by_the_median_of_good_cadences() -> None:
    plain = curves()
    got = plain.normalize()
    good = plain.quality == 0
    for star in range(6):
        median = np.nanmedian(plain.flux[good, star].astype(np.float64))
        np.testing.assert_allclose(got.flux[:, star], plain.flux[:, star] / median, rtol=tolerances.rtol(np.float32, 2))
        np.testing.assert_allclose(
            got.flux_err[:, star], plain.flux_err[:, star] / median, rtol=tolerances.rtol(np.float32, 2)
        )
    assert np.isnan(got.flux[:, 6]).all()


def places(n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(n)
    return rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))


def test_earth_stands_where_astropy_puts_it() -> None:
    time = np.linspace(1325.0, 1325.0 + 400.0, 33)
    np.testing.assert_allclose(
        earth_path(time), reference.earth_position(2457000.0 + time), rtol=0, atol=tolerances.atol_barycentric_s()
    )


@pytest.mark.parametrize("n_ccd", [1, 2, 3, 4, 16])
def test_observer_meets_the_cards(n_ccd: int) -> None:
    time = np.linspace(1325.0, 1352.0, 29)
    earth = reference.earth_position(2457000.0 + time)
    offset = 0.9 * np.stack([np.cos(time), np.sin(time), 0.5 * np.cos(2 * time)], axis=1) / 1.2
    ra, dec = places(n_ccd)
    cards = np.stack(
        [reference.barycentric_correction_s(earth + offset, a, d) for a, d in zip(ra, dec, strict=True)], axis=1
    )
    cards[3, 0] = np.nan
    got = solve_observer(time, unit_vectors(ra, dec), cards / 86400.0)
    for i, (a, d) in enumerate(zip(ra, dec, strict=True)):
        known = np.isfinite(cards[:, i])
        np.testing.assert_allclose(
            reference.barycentric_correction_s(got, a, d)[known], cards[known, i], rtol=0, atol=1e-6
        )
    assert np.abs(got - earth).max() <= np.linalg.norm(offset, axis=1).max() + 1e-6
    if n_ccd >= 4:
        np.testing.assert_allclose(got, earth + offset, rtol=0, atol=1e-5)
    if n_ccd == 1:
        np.testing.assert_allclose(got[3], earth[3], rtol=0, atol=tolerances.atol_barycentric_s())


def test_barycentric_times_match_the_dot_product_and_astropy() -> None:
    from astropy import units
    from astropy.coordinates import EarthLocation, SkyCoord
    from astropy.time import Time
    from astropy.utils import iers

    ra, dec = places(5)
    time = np.linspace(1325.0, 1352.0, 40)
    stars = Table({"tic_id": np.arange(5), "ra": ra, "dec": dec})
    made = LightCurves(
        time,
        np.ones((40, 5), np.float32),
        stars,
        observer=earth_path(time),
        direction=unit_vectors(ra, dec),
    )
    place = EarthLocation.from_geocentric(0.0, 0.0, 0.0, unit=units.m)
    times = Time(2457000.0 + time, format="jd", scale="tdb", location=place)
    for star in range(5):
        late_s = (made.bjd(star) - time) * 86400.0
        plain = reference.barycentric_correction_s(made.observer, ra[star], dec[star])
        # Days near 1,350 carry 2e-13 each way: 2e-8 s.
        np.testing.assert_allclose(late_s, plain, rtol=0, atol=tolerances.atol_barycentric_s())
        with iers.conf.set_temp("auto_download", False):
            delay = times.light_travel_time(SkyCoord(ra[star], dec[star], unit="deg"), ephemeris="builtin")
        np.testing.assert_allclose(late_s, delay.to_value("s"), rtol=0, atol=2e-6)
