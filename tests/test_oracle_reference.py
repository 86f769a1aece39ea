"""The oracles of `reference.py` against astropy, photutils, SciPy and hand-worked answers: who guards the guards."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import reference
from astropy.io import fits
from astropy.stats import sigma_clip
from astropy.wcs import WCS, FITSFixedWarning
from scipy import integrate, ndimage

REAL_FFI = "ffi/tess2018206192942-s0001-1-4-0120-s_ffic.fits"


def test_decode_plane_reads_the_bytes_most_significant_first() -> None:
    buffer = b"junk" + bytes.fromhex("3f800000 c0490fdb 7fc00001 00000001")
    plane = reference.decode_plane(buffer, 4, 2, 2)
    assert plane.dtype == np.float32
    assert plane[0, 0] == 1.0
    assert plane[0, 1] == np.float32(-math.pi)
    assert plane.view(np.uint32)[1].tolist() == [0x7FC00001, 1]


@pytest.mark.parametrize("center", ["mean", "median"])
@pytest.mark.parametrize(("low", "high"), [(3.0, 3.0), (1.5, 1.5), (1.0, 2.5), (4.0, 2.0)])
@pytest.mark.parametrize("max_iters", [1, 2, 5, None])
def test_clip_matches_astropy(center: str, low: float, high: float, max_iters: int | None) -> None:
    rng = np.random.default_rng(7)
    data = rng.normal(100.0, 5.0, size=(33, 40))
    data[rng.random(data.shape) < 0.1] += 300.0
    data[rng.random(data.shape) < 0.1] = np.nan
    data[3, 5] = np.inf
    data[:, 7] = np.nan
    data[:, 8] = 4.0
    ours = reference.clip_series(data, sigma_low=low, sigma_high=high, max_iters=max_iters, center=center)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy warns of the NaN that we put there
        theirs = sigma_clip(
            data, sigma_lower=low, sigma_upper=high, maxiters=max_iters, cenfunc=center, stdfunc="std", axis=0
        )
    np.testing.assert_array_equal(ours.keep, ~np.ma.getmaskarray(theirs))
    survivors = np.where(ours.keep, data, np.nan)
    good = ours.count > 0
    np.testing.assert_allclose(ours.mean[good], np.nanmean(survivors[:, good], axis=0), rtol=1e-13)
    np.testing.assert_allclose(ours.std[good], np.nanstd(survivors[:, good], axis=0), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(ours.median[good], np.nanmedian(survivors[:, good], axis=0), rtol=0)
    assert np.isnan(ours.mean[~good]).all()


def test_clip_keeps_a_value_on_the_bound() -> None:
    one = reference.clip_one([-1.0, 1.0, -1.0, 1.0], sigma_low=1.0, sigma_high=1.0, max_iters=5)
    assert (one.count, one.std, one.margin) == (4, 1.0, 0.0)


def test_combine_equals_the_statistics_of_the_union() -> None:
    rng = np.random.default_rng(3)
    data = rng.normal(1e5, 30.0, size=(50, 6))
    data[:20, 2] = np.nan
    data[:, 3] = np.nan
    parts = [reference.clip_series(part) for part in np.split(data, [20, 21])]
    mean, std, count = reference.combine([p.mean for p in parts], [p.std for p in parts], [p.count for p in parts])
    good = np.isfinite(data).any(axis=0)
    np.testing.assert_array_equal(count, np.isfinite(data).sum(axis=0))
    np.testing.assert_allclose(mean[good], np.nanmean(data[:, good], axis=0), rtol=1e-14)
    np.testing.assert_allclose(std[good], np.nanstd(data[:, good], axis=0), rtol=1e-11)
    assert np.isnan(mean[3])


def test_overlap_areas_match_quadrature_and_add_up_to_the_circle() -> None:
    rng = np.random.default_rng(5)
    for _ in range(60):
        row, column, radius = rng.uniform(3, 9), rng.uniform(3, 9), rng.uniform(0.05, 3.0)
        areas = np.array([[reference.overlap_area(row, column, radius, i, j) for j in range(13)] for i in range(13)])
        assert math.isclose(areas.sum(), math.pi * radius**2, rel_tol=1e-13)
        assert areas.min() >= 0.0
        assert areas.max() <= 1.0 + 1e-15

        def height(x: float, i: int) -> float:
            half = math.sqrt(max(radius**2 - (x - column) ** 2, 0.0))  # noqa: B023
            return max(min(i + 0.5 - row, half) - max(i - 0.5 - row, -half), 0.0)  # noqa: B023

        i, j = round(row), round(column - 0.7 * radius)
        expected = integrate.quad(height, j - 0.5, j + 0.5, args=(i,), limit=200)[0]
        assert math.isclose(areas[i, j], expected, abs_tol=2e-6)


def test_aperture_sums_match_photutils() -> None:
    photutils_aperture = pytest.importorskip("photutils.aperture")
    rng = np.random.default_rng(11)
    image = rng.normal(150.0, 40.0, size=(25, 31))
    for _ in range(50):
        row, column, radius = rng.uniform(-2, 26), rng.uniform(-2, 32), rng.uniform(0.3, 5.0)
        aperture = photutils_aperture.CircularAperture((column, row), radius)
        expected = photutils_aperture.aperture_photometry(image, aperture, method="exact")["aperture_sum"][0]
        ours = reference.aperture_sum(image, row, column, radius)
        if ours.area > 0:
            assert math.isclose(ours.total, expected, rel_tol=1e-11, abs_tol=1e-9)
        assert ours.n_bad == 0


def test_aperture_sum_counts_missing_pixels_and_leaves_them_out() -> None:
    image = np.ones((7, 7))
    image[3, 3] = np.nan
    image[0, 0] = np.nan
    ours = reference.aperture_sum(image, 3.0, 3.0, 1.5)
    assert ours.n_bad == 1
    assert math.isclose(ours.area, math.pi * 2.25 - 1.0, rel_tol=1e-13)
    assert math.isclose(ours.total, ours.area, rel_tol=1e-13)
    assert ours.n_off == 0
    assert reference.aperture_sum(image, 0.5, 3.0, 1.5).n_off == 3
    assert reference.aperture_sum(image, -50.0, 3.0, 1.5).area == 0.0


def _real_wcs(data_dir: Path) -> tuple[fits.Header, WCS]:
    with fits.open(data_dir / REAL_FFI) as hdus, warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        return hdus[1].header.copy(), WCS(hdus[1].header)


def test_tan_sip_matches_astropy_on_the_real_header(data_dir: Path) -> None:
    header, wcs = _real_wcs(data_dir)
    ours = reference.TanSip(header)
    rng = np.random.default_rng(2)
    row, column = rng.uniform(-50, 2150, 2000), rng.uniform(-50, 2150, 2000)
    ra, dec = ours.pixel_to_world(row, column)
    expected_ra, expected_dec = wcs.all_pix2world(column, row, 0)
    np.testing.assert_allclose(ra, expected_ra, rtol=0, atol=1e-10)
    np.testing.assert_allclose(dec, expected_dec, rtol=0, atol=1e-10)
    back_row, back_column = ours.world_to_pixel(ra, dec)
    np.testing.assert_allclose(back_row, row, rtol=0, atol=1e-8)
    np.testing.assert_allclose(back_column, column, rtol=0, atol=1e-8)
    expected_column, expected_row = wcs.all_world2pix(expected_ra, expected_dec, 0, tolerance=1e-9)
    np.testing.assert_allclose(back_row, expected_row, rtol=0, atol=1e-7)
    np.testing.assert_allclose(back_column, expected_column, rtol=0, atol=1e-7)


@pytest.mark.parametrize("lonpole", [None, 180.0, 0.0, 72.5])
@pytest.mark.parametrize(("ra", "dec"), [(10.0, 20.0), (350.0, -89.0), (33.0, 90.0), (7.0, -90.0)])
def test_tan_turns_with_the_native_pole(lonpole: float | None, ra: float, dec: float) -> None:
    header = fits.Header({"NAXIS": 2, "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": ra, "CRVAL2": dec})
    header.update({"CRPIX1": 5.0, "CRPIX2": 9.0, "CD1_1": -0.005, "CD1_2": 0.001, "CD2_1": 0.001, "CD2_2": 0.005})
    if lonpole is not None:
        header["LONPOLE"] = lonpole
    row, column = np.array([8.5, 700.0, -300.0]), np.array([4.5, -200.0, 100.0])
    got = reference.TanSip(header).pixel_to_world(row, column)
    np.testing.assert_allclose(got, WCS(header).all_pix2world(column, row, 0), rtol=0, atol=1e-9)
    np.testing.assert_allclose(reference.TanSip(header).world_to_pixel(*got), [row, column], rtol=0, atol=1e-6)


def test_tan_sip_has_no_pixel_behind_the_tangent_point(data_dir: Path) -> None:
    header, _ = _real_wcs(data_dir)
    row, column = reference.TanSip(header).world_to_pixel([header["CRVAL1"] + 180.0], [-header["CRVAL2"]])
    assert np.isnan(row).all()
    assert np.isnan(column).all()


def test_inverse_variance_bin_by_hand() -> None:
    mean, error = reference.bin_inverse_variance([1.0, 4.0, np.nan, 9.0], [1.0, 2.0, 1.0, np.nan])
    assert math.isclose(mean, (1.0 + 4.0 / 4) / 1.25)
    assert math.isclose(error, 1 / math.sqrt(1.25))


def test_running_median_matches_scipy_on_a_regular_axis() -> None:
    values = np.random.default_rng(9).normal(size=60)
    ours = reference.running_median(np.arange(60.0), values, 6.0)
    np.testing.assert_array_equal(ours[3:-3], ndimage.median_filter(values, size=7)[3:-3])


def test_barycentric_correction_matches_astropy() -> None:
    from astropy import units
    from astropy.coordinates import EarthLocation, SkyCoord
    from astropy.time import Time
    from astropy.utils import iers

    days = 2457000.0 + np.linspace(1325.0, 1690.0, 9)
    place = EarthLocation.from_geocentric(0.0, 0.0, 0.0, unit=units.m)
    with iers.conf.set_temp("auto_download", False):
        delay = Time(days, format="jd", scale="tdb", location=place).light_travel_time(
            SkyCoord(84.29, -80.47, unit="deg"), "barycentric", ephemeris="builtin"
        )
    ours = reference.barycentric_correction_s(reference.earth_position(days), 84.29, -80.47)
    np.testing.assert_allclose(ours, delay.to_value("s"), rtol=0, atol=1e-6)
