"""`measure`, `expected_noise` and the box levels of the background against float64 oracles."""

from __future__ import annotations

import math

import numpy as np
import pytest
import reference
import tolerances
from numpy.typing import NDArray

from starskope.frames.background import box_levels, estimate_background
from starskope.frames.photometry import expected_noise, measure


def frame(n_row: int = 60, n_col: int = 71, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(5.0, 12.0, size=(n_row, n_col)).astype(np.float32)


@pytest.mark.parametrize("n_star", [0, 1, 2, 3, 15, 16, 17, 63, 64, 65, 257])
def test_flux_is_the_exact_sum_and_missing_where_a_pixel_is(n_star: int) -> None:
    rng = np.random.default_rng(n_star)
    image = frame()
    image[rng.random(image.shape) < 0.01] = np.nan
    row, column, radius = rng.uniform(-3, 62, n_star), rng.uniform(-3, 73, n_star), rng.uniform(1.0, 4.0, n_star)
    got = measure(image, rng.uniform(50, 150, n_star), row, column, radius, exposure_s=1425.6)
    assert got.flux.dtype == got.flux_err.dtype == got.background.dtype == np.float32
    assert got.flux.shape == got.flux_err.shape == got.background.shape == got.n_bad.shape == (n_star,)
    for i in range(n_star):
        want = reference.aperture_sum(image, row[i], column[i], radius[i])
        assert got.n_bad[i] == want.n_bad + want.n_off
        if want.n_bad + want.n_off:
            assert np.isnan(got.flux[i])
        else:
            atol = tolerances.rtol(np.float32, 64) * want.magnitude
            assert math.isclose(got.flux[i], want.total, rel_tol=0.0, abs_tol=atol)


def test_error_and_background_follow_the_photons() -> None:
    rng = np.random.default_rng(4)
    n = 40
    image = np.abs(frame()) * 50.0
    row, column, radius = rng.uniform(5, 54, n), rng.uniform(5, 65, n), rng.uniform(1.0, 4.0, n)
    background, read_noise = rng.uniform(50, 150, n), rng.uniform(7.0, 10.0, n)
    got = measure(image, background, row, column, radius, exposure_s=1425.6, read_noise_e=read_noise, n_read=720)
    np.testing.assert_allclose(got.background, background, rtol=1e-7)
    for i in range(n):
        want = reference.aperture_sum(image, row[i], column[i], radius[i])
        electrons = (want.total + background[i] * want.area) * 1425.6
        variance = electrons + want.area * 720 * read_noise[i] ** 2
        assert math.isclose(got.flux_err[i], math.sqrt(variance) / 1425.6, rel_tol=1e-6)
    again = expected_noise(got.flux, background, math.pi * radius**2, 1425.6, read_noise, 720)
    np.testing.assert_allclose(got.flux_err, again, rtol=1e-6)


def test_noise_of_many_exposures_is_what_expected_noise_says() -> None:
    rng = np.random.default_rng(5)
    exposure_s, rate, n_read, read_noise = 100.0, 40.0, 50, 8.0
    electrons = rng.poisson(rate * exposure_s, size=(3000, 7, 7)) + rng.normal(
        0, read_noise * n_read**0.5, (3000, 7, 7)
    )
    images = (electrons / exposure_s).astype(np.float32) - np.float32(rate)
    place = np.array([3.0])
    sums = [
        measure(image, [rate], place, place, 2.0, exposure_s=exposure_s, read_noise_e=read_noise, n_read=n_read)
        for image in images
    ]
    scatter = float(np.std([s.flux[0] for s in sums]))
    # The weights of edge pixels enter squared, so the scatter lies somewhat below that of whole pixels of one area.
    weights = [reference.overlap_area(3.0, 3.0, 2.0, i, j) for i in range(7) for j in range(7)]
    per_pixel = math.sqrt(rate * exposure_s + n_read * read_noise**2) / exposure_s
    assert math.isclose(scatter, per_pixel * math.sqrt(math.fsum(w * w for w in weights)), rel_tol=0.05)
    told = float(np.median([s.flux_err[0] for s in sums]))
    assert math.isclose(told, per_pixel * math.sqrt(math.fsum(weights)), rel_tol=0.02)


@pytest.mark.parametrize("radius", [0.0, -1.0, np.nan, np.inf])
def test_radii_without_sense_are_refused(radius: float) -> None:
    with pytest.raises(ValueError, match="radius"):
        measure(frame(), [1.0], [5.0], [5.0], [radius], exposure_s=1.0)


def test_a_star_without_a_place_has_no_flux_and_harms_no_other() -> None:
    row, column = np.array([10.0, np.nan, 20.0, np.inf]), np.array([10.0, 10.0, np.nan, 5.0])
    got = measure(frame(), np.ones(4), row, column, 2.0, exposure_s=1.0)
    assert np.isnan(got.flux[1:]).all()
    assert got.flux[0] == measure(frame(), [1.0], [10.0], [10.0], 2.0, exposure_s=1.0).flux[0]


def test_box_levels_are_clipped_medians() -> None:
    rng = np.random.default_rng(8)
    sky = rng.normal(120.0, 3.0, size=(70, 96)).astype(np.float32)
    sky[rng.random(sky.shape) < 0.05] += 500.0
    sky[rng.random(sky.shape) < 0.05] = np.nan
    rows, columns = np.array([0, 30, 70]), np.array([0, 31, 64, 96])
    got = box_levels(sky, rows, columns)
    assert got.shape == (2, 3)
    for i in range(2):
        for j in range(3):
            box = sky[rows[i] : rows[i + 1], columns[j] : columns[j + 1]]
            want = reference.clip_one(box.ravel(), sigma_low=3.0, sigma_high=3.0, max_iters=None)
            assert math.isclose(got[i, j], want.median, abs_tol=tolerances.atol_box_level(want.std))


def test_background_of_a_tilted_sky_with_stars() -> None:
    rng = np.random.default_rng(9)
    y, x = np.mgrid[0:512, 0:640]
    truth = 100.0 + 0.02 * y - 0.01 * x + 5.0 * np.sin(y / 250.0) * np.cos(x / 300.0)
    image = truth + rng.normal(0.0, 1.0, truth.shape)
    for _ in range(400):
        i, j = rng.integers(3, 509), rng.integers(3, 637)
        image[i - 2 : i + 3, j - 2 : j + 3] += rng.uniform(50, 5000)
    got = estimate_background(image.astype(np.float32))
    # A level is a median of some 4,000 pixels of unit noise (0.02), biased by star wings that are not clipped.
    assert np.abs(got - truth).max() < 0.5
    assert float(np.sqrt(np.mean((got - truth) ** 2))) < 0.1
    assert abs(float(np.mean(got - truth))) < 0.05


def test_background_of_a_plane_is_the_plane() -> None:
    y, x = np.mgrid[0:300, 0:280]
    plane = (50.0 + 0.25 * y - 0.125 * x).astype(np.float32)
    # 37 pixels of slope make a box; towards the edges the surface is continued by half a box and errors grow by half.
    spread = 37.0 * math.hypot(0.25, 0.125) / math.sqrt(12.0)
    np.testing.assert_allclose(estimate_background(plane), plane, rtol=0, atol=1.5 * tolerances.atol_box_level(spread))
    flat = estimate_background(np.full((300, 280), 7.25, np.float32))
    np.testing.assert_allclose(flat, np.float32(7.25), rtol=2e-6)
