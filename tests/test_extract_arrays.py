"""Extraction from arrays in memory: the real cutout against float64 sums, and arrays that cannot be meant."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import reference
from astropy.io import fits
from astropy.table import Table

from starskope.curves.extract import light_curves
from starskope.frames.reduce import ReduceSettings
from starskope.frames.wcs import TanSip
from starskope.synth import SectorConfig, SyntheticSector

DAY = 86400.0


# --- the real cutout: 1,155 frames ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cutout(data_dir: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Time at the spacecraft, planes in their own bytes as astropy reads them, quality."""
    name = "tess-s0019-1-3_65.489205_28.443210_10x10_astrocut.fits"
    with fits.open(data_dir / "cutouts" / name) as file:
        table = file["PIXELS"].data
        time = table["TIME"].astype(np.float64) - table["TIMECORR"]
        return time, np.array(table["FLUX"]), np.array(table["QUALITY"])


def test_a_real_cutout_gives_numpys_float64_sums(cutout) -> None:
    time, planes, quality = cutout
    assert planes.shape == (1155, 10, 10)
    assert np.count_nonzero(quality) == 31
    # Zeros around, so that an aperture can hold all hundred pixels whole.
    padded = np.zeros((1155, 30, 30), ">f4")
    padded[:, 10:20, 10:20] = planes
    stars = Table({"row": [14.5], "column": [14.5]})
    curves = light_curves(padded, stars, time=time, settings=ReduceSettings(radius=7.5))
    expected = planes.astype(np.float64).sum(axis=(1, 2))
    assert np.ptp(expected) > 0.01 * expected.mean()
    np.testing.assert_allclose(curves.flux[:, 0], expected, rtol=1e-6)
    np.testing.assert_array_equal(curves.time, time)


def test_apertures_on_a_real_cutout_weigh_pixels_by_their_exact_overlap(cutout) -> None:
    time, planes, _ = cutout
    places = [(4.5, 4.5, 3.0), (5.1, 3.8, 2.2), (4.0, 5.0, 0.5), (2.3, 6.9, 1.7)]
    for row, column, radius in places:
        weights = np.array([[reference.overlap_area(row, column, radius, i, j) for j in range(10)] for i in range(10)])
        assert weights.sum() == pytest.approx(math.pi * radius**2, rel=1e-9)
        curves = light_curves(
            planes, Table({"row": [row], "column": [column]}), time=time, settings=ReduceSettings(radius=radius)
        )
        expected = (planes.astype(np.float64) * weights).sum(axis=(1, 2))
        np.testing.assert_allclose(curves.flux[:, 0], expected, rtol=1e-6)


def test_quality_and_order_of_a_real_cutout_survive(cutout) -> None:
    time, planes, _ = cutout
    shuffled = np.random.default_rng(3).permutation(1155)
    star = Table({"row": [5.0], "column": [4.0]})
    settings = ReduceSettings(radius=2.0)
    in_order = light_curves(planes, star, time=time, settings=settings)
    mixed = light_curves(planes[shuffled], star, time=time[shuffled], settings=settings)
    assert mixed.flux.tobytes() == in_order.flux.tobytes()
    assert mixed.time.tobytes() == in_order.time.tobytes()


# --- arrays ---------------------------------------------------------------------------------------------------------


def test_repeated_and_unknown_times_are_left_out_with_their_reasons() -> None:
    cube = np.arange(5, dtype=np.float32)[:, None, None] * np.ones((5, 9, 9), np.float32)
    star = Table({"row": [4.0], "column": [4.0]})
    curves = light_curves(cube, star, time=[3.0, 1.0, 3.0, np.nan, 2.0], settings=ReduceSettings(radius=1.0))
    np.testing.assert_allclose(curves.flux[:, 0], np.pi * np.array([1, 4, 0]), rtol=1e-6)
    assert curves.time.tolist() == [1, 2, 3]
    assert {entry["frame"]: entry["reason"] for entry in curves.meta["left_out"]} == {
        "2": "duplicate: same time as 0",
        "3": "no TSTART and TSTOP in its primary header: time not known",
    }


def test_stars_of_an_array_are_placed_by_its_world_coordinates() -> None:
    sector = SyntheticSector(SectorConfig(n_row=64, n_col=64, n_frame=3, n_star=80, n_planet=0))
    cards = dict(sector.header_values(0)[1])
    cube = np.stack([sector.noise_free(i) for i in range(3)])
    wcs = TanSip.from_header(cards)
    ra, dec = wcs.pixel_to_world([20.0, 40.5], [60.0, 80.25])
    settings = ReduceSettings(radius=2.5)
    by_sky = light_curves(cube, Table({"ra": ra, "dec": dec}), cadence=0.02, wcs=cards, settings=settings)
    by_pixel = light_curves(
        cube, Table({"row": [20.0, 40.5], "column": [60.0, 80.25]}), cadence=0.02, settings=settings
    )
    np.testing.assert_allclose(by_sky.flux, by_pixel.flux, rtol=1e-6)
    assert by_sky.direction.shape == (2, 3)
    assert by_pixel.direction is None
    assert by_sky.observer is None
    assert by_sky.stars["aperture_radius"].tolist() == [2.5, 2.5]
    np.testing.assert_allclose(by_sky.time, [0, 0.02, 0.04])


def test_errors_of_an_array_follow_the_exposure() -> None:
    cube = np.full((2, 9, 9), 100.0, np.float32)
    star = Table({"row": [4.0], "column": [4.0]})
    settings = ReduceSettings(radius=2.0)
    known = light_curves(cube, star, cadence=1.0, exposure_s=1425.6, settings=settings)
    electrons = 100.0 * math.pi * 4.0 * 1425.6
    np.testing.assert_allclose(known.flux_err, math.sqrt(electrons) / 1425.6, rtol=1e-6)
    assert light_curves(cube, star, cadence=1.0, settings=settings).flux_err is None


@pytest.mark.parametrize("workers", [2, 3, 8])
def test_planes_in_memory_give_the_same_bytes_for_any_number_of_workers(workers: int) -> None:
    rng = np.random.default_rng(5)
    cube = rng.normal(100, 10, (37, 30, 30)).astype(np.float32)
    stars = Table({"row": rng.uniform(5, 25, 50), "column": rng.uniform(5, 25, 50), "tmag": rng.uniform(6, 14, 50)})
    one = light_curves(cube, stars, cadence=0.02, exposure_s=10.0)
    many = light_curves(cube, stars, cadence=0.02, exposure_s=10.0, workers=workers)
    assert one.flux.tobytes() == many.flux.tobytes()
    assert one.flux_err.tobytes() == many.flux_err.tobytes()


STAR = {"row": [4.0], "column": [4.0]}


@pytest.mark.parametrize(
    ("stars", "arguments", "error", "message"),
    [
        (Table(STAR), {}, ValueError, "array of frames has no times: give time="),
        (Table(STAR), {"time": [1.0]}, ValueError, "time has 1 values for 3 frames"),
        (Table(STAR), {"time": [1.0, 2, 3], "cadence": 1.0}, ValueError, "not both"),
        (Table(STAR), {"cadence": 0.0}, ValueError, "cadence"),
        (Table(STAR), {"cadence": 1.0, "workers": 0}, ValueError, "workers=0"),
        (Table(STAR), {"cadence": 1.0, "block_frames": 0}, ValueError, "block_frames=0"),
        (Table(STAR)[:0], {"cadence": 1.0}, ValueError, "stars is empty: give at least one"),
        ([1], {"cadence": 1.0}, TypeError, "stars is a list; give a Table"),
        (Table({"x": [1.0]}), {"cadence": 1.0}, ValueError, "stars need columns ra and dec, or row and column"),
        (Table({"ra": [1.0], "dec": [1.0]}), {"cadence": 1.0}, ValueError, "no world coordinates: give wcs="),
        (
            Table({"row": [20.0], "column": [4.0]}),
            {"cadence": 1.0},
            ValueError,
            "none of the 1 stars lies on these frames",
        ),
    ],
)
def test_bad_input_for_arrays_is_named(stars, arguments, error, message) -> None:
    with pytest.raises(error, match=message):
        light_curves(np.ones((3, 9, 9)), stars, **arguments)


def test_an_array_needs_three_axes() -> None:
    with pytest.raises(ValueError, match=r"frames: expected 3 axes, got shape \(9, 9\)"):
        light_curves(np.ones((9, 9)), Table(STAR), cadence=1.0)


def test_a_star_off_the_frame_is_nan_and_the_others_are_measured() -> None:
    stars = Table({"row": [4.0, 50.0, np.nan], "column": [4.0, 4.0, 4.0]})
    curves = light_curves(np.ones((2, 9, 9)), stars, cadence=1.0, settings=ReduceSettings(radius=1.0))
    np.testing.assert_allclose(curves.flux[:, 0], math.pi, rtol=1e-6)
    assert np.isnan(curves.flux[:, 1:]).all()
