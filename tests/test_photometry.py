"""Apertures, rings, read noise and errors; the real 1,155-frame cutout against float64 sums of the planes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from starskope.errors import FrameError
from starskope.frames.annulus import ring_levels
from starskope.frames.photometry import aperture_radius, expected_noise, measure, n_readout, read_noise

# The four outputs of the real header.
OUTPUTS = {
    "READNOIA": 10.0, "READNOIB": 7.5, "READNOIC": 7.3, "READNOID": 9.2,
    "SCCSA": 45, "SCCEA": 556, "SCCSB": 557, "SCCEB": 1068, "SCCSC": 1069, "SCCEC": 1580, "SCCSD": 1581, "SCCED": 2092,
}  # fmt: skip


def test_real_cutout_equals_float64_sums_of_its_planes(data_dir: Path) -> None:
    """A circle of radius 2.3 around the middle of four pixels, its area on every pixel from a fine grid in float64."""
    path = next((data_dir / "cutouts").glob("tess-s0019-1-3_65*.fits"))
    with fits.open(path) as hdus:
        cube = np.ascontiguousarray(hdus[1].data["FLUX"], dtype=np.float32)
    assert cube.shape == (1155, 10, 10)
    row, column, radius = 4.5, 4.5, 12.5
    got = np.array([measure(plane, 0.0, [row], [column], 1.0, exposure_s=np.nan).flux[0] for plane in cube])
    # Radius 1 around a corner of four pixels covers a quarter disc of each: pi / 4 of the unit square.
    expected = cube[:, 4:6, 4:6].astype(np.float64).sum(axis=(1, 2)) * np.pi / 4
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert np.isfinite(got).all()
    # A circle that holds the whole cutout leaves it, so it is refused rather than cut.
    assert np.isnan(measure(cube[0], 0.0, [row], [column], radius, exposure_s=1.0).flux).all()
    # Embedded in zeros, the same circle holds every pixel whole: the plain sum of the plane.
    framed = np.pad(cube, ((0, 0), (10, 10), (10, 10)))
    whole = np.array([measure(p, 0.0, [14.5], [14.5], radius, exposure_s=np.nan).flux[0] for p in framed])
    np.testing.assert_allclose(whole, cube.astype(np.float64).sum(axis=(1, 2)), rtol=1e-6)


def test_an_aperture_that_leaves_the_sky_is_missing_and_neighbours_lend_nothing() -> None:
    image = np.ones((40, 50), np.float32)
    image[:, :10] = np.nan
    row = np.array([20.0, 20.0, 20.0, 1.4, 20.0, 39.0, -30.0])
    column = np.array([11.4, 11.6, 30.0, 30.0, 5.0, 30.0, 30.0])
    got = measure(image, 3.0, row, column, 2.0, exposure_s=1000.0)
    np.testing.assert_array_equal(np.isfinite(got.flux), [False, True, True, False, False, False, False])
    np.testing.assert_allclose(got.flux[1:3], 4 * np.pi, rtol=1e-6)
    np.testing.assert_array_equal(got.n_bad > 0, ~np.isfinite(got.flux))
    assert np.isnan(got.flux_err[~np.isfinite(got.flux)]).all()
    assert got.flux.dtype == got.flux_err.dtype == got.background.dtype == np.float32


@settings(max_examples=40, deadline=None)
@given(st.floats(4, 35), st.floats(4, 35), st.floats(0.5, 3.5), st.floats(-2, 2), st.floats(-2, 2))
def test_flux_is_linear_in_the_image(row: float, column: float, radius: float, a: float, b: float) -> None:
    rng = np.random.default_rng(1)
    one, two = rng.normal(0, 1, (2, 40, 40)).astype(np.float32)
    both = (np.float32(a) * one + np.float32(b) * two).astype(np.float32)
    flux = [measure(image, 0.0, [row], [column], radius, exposure_s=1.0).flux[0] for image in (one, two, both)]
    np.testing.assert_allclose(flux[2], a * flux[0] + b * flux[1], atol=1e-4)


def test_the_order_of_stars_does_not_matter() -> None:
    rng = np.random.default_rng(2)
    image = rng.normal(10, 1, (60, 60)).astype(np.float32)
    row, column, radius = rng.uniform(-3, 63, 500), rng.uniform(-3, 63, 500), rng.uniform(1, 5, 500)
    shuffle = rng.permutation(500)
    first = measure(image, 1.0, row, column, radius, exposure_s=1400.0, ring=(3, 5))
    second = measure(image, 1.0, row[shuffle], column[shuffle], radius[shuffle], exposure_s=1400.0, ring=(3, 5))
    for name in ("flux", "flux_err", "background", "n_bad"):
        np.testing.assert_array_equal(getattr(first, name)[shuffle], getattr(second, name))


def test_the_ring_takes_off_what_the_surface_left() -> None:
    rng = np.random.default_rng(3)
    image = (5.0 + rng.normal(0, 0.5, (80, 80))).astype(np.float32)
    image[40, 40] += 1000.0
    image[46:48, 40] += 5000.0  # a neighbour in the ring is clipped
    plain = measure(image, 100.0, [40.0], [40.0], 2.0, exposure_s=1425.6)
    ringed = measure(image, 100.0, [40.0], [40.0], 2.0, exposure_s=1425.6, ring=(3.0, 6.0))
    assert plain.flux[0] == pytest.approx(1000 + 5 * 4 * np.pi, abs=6)
    assert ringed.flux[0] == pytest.approx(1000, abs=6)
    assert ringed.background[0] == pytest.approx(105, abs=0.2)
    # 293 pixels tell the level: pi / 2 of their variance over the area squared comes on top.
    pixel = expected_noise(0.0, 105.0, 1.0, 1425.6)
    extra = (
        (4 * np.pi * pixel) ** 2 * np.pi / 2 / ring_levels(image, *np.full((2, 1), 40.0), np.array([5.0]), 6.0).count
    )
    photons = expected_noise(ringed.flux[0], 105.0, 4 * np.pi, 1425.6)
    assert ringed.flux_err[0] == pytest.approx(np.sqrt(photons**2 + extra[0]), rel=1e-3)


def test_rings_against_a_plain_loop_edges_and_missing_pixels_included() -> None:
    rng = np.random.default_rng(4)
    image = rng.normal(3, 1, (50, 60)).astype(np.float32)
    image[:, 40:45] = np.nan
    row, column = rng.uniform(-15, 65, 120), rng.uniform(-15, 75, 120)
    row[0], column[1], row[2] = np.nan, np.inf, 1e300
    inner = rng.uniform(3, 6.5, 120)
    got = ring_levels(image, row, column, inner, 4.0)
    y, x = np.mgrid[0:50, 0:60]
    for k in range(120):
        if not (np.isfinite(row[k]) and np.isfinite(column[k]) and abs(row[k]) < 1e4):
            assert np.isnan(got.level[k])
            continue
        distance = np.hypot(y - round(row[k]), x - round(column[k]))
        values = image[(distance >= np.ceil(inner[k])) & (distance < np.ceil(inner[k]) + 4.0)]
        values = values[np.isfinite(values)].astype(np.float64)
        while values.size:
            keep = np.abs(values - np.median(values)) <= 3 * values.std()
            if keep.all():
                break
            values = values[keep]
        assert got.count[k] == (values.size if values.size >= 30 else 0)
        assert got.level[k] == pytest.approx(np.median(values) if values.size >= 30 else 0.0, abs=1e-6)


def test_noise_of_the_real_exposure() -> None:
    # Tmag 10: 15,000 e-/s in 12.6 pixels of 100 e-/s, 720 reads of 10 electrons.
    electrons = (15000 + 100 * 12.6) * 1425.6
    expected = np.sqrt(electrons + 12.6 * 720 * 100) / 1425.6
    assert expected_noise(15000.0, 100.0, 12.6, 1425.6, 10.0, 720) == pytest.approx(expected, rel=1e-12)
    assert expected_noise(-50.0, 100.0, 12.6, 1425.6) == expected_noise(0.0, 100.0, 12.6, 1425.6)
    assert np.isnan(expected_noise([np.nan, 1.0, 1.0], 1.0, 1.0, [1.0, np.nan, 0.0])).all()


def test_each_output_has_its_read_noise() -> None:
    column = [44.0, 555.4, 555.6, 1067.4, 1068.0, 1579.4, 1579.6, 2091.0]
    np.testing.assert_array_equal(read_noise(OUTPUTS, column), [10.0, 10.0, 7.5, 7.5, 7.3, 7.3, 9.2, 9.2])
    # Off the science columns and for a star without a position: the mean of the outputs.
    np.testing.assert_allclose(read_noise(OUTPUTS, [3.0, np.nan]), 8.5)
    np.testing.assert_array_equal(read_noise({}, [3.0]), [0.0])


def test_reads_of_a_frame() -> None:
    assert n_readout({"NREADOUT": 720, "EXPOSURE": 1.0}) == 720
    assert n_readout({"EXPOSURE": 0.016499994018}) == 720
    assert n_readout({"EXPOSURE": 0.0165, "INT_TIME": 3.96}) == 360
    assert n_readout({}) == 0
    with pytest.raises(FrameError, match="NREADOUT = -1"):
        n_readout({"NREADOUT": -1})


def test_fainter_stars_get_smaller_apertures() -> None:
    tmag = np.linspace(4, 17, 200)
    radius = aperture_radius(tmag)
    assert (np.diff(radius) <= 0).all()
    assert radius.min() >= 1.5
    assert radius.max() <= 6
    assert aperture_radius([np.nan]) == [2.5]
