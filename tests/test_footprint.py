"""Footprints on the sky: what they hold, the cones that cover them, and where they come from."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from starskope.archive.field import footprint_from_wcs, footprint_of_ccd_async
from starskope.archive.footprint import Footprint, separation
from starskope.errors import FrameError
from starskope.layout.fits import FFI_LEAD, format_header, iter_hdus, parse_header
from starskope.layout.keys import FfiKey
from starskope.transfer.facade import run_sync
from starskope.transfer.options import TransferOptions

directions = st.tuples(st.floats(0, 360), st.floats(-90, 90))


@given(directions, st.floats(0.1, 12), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_a_convex_footprint_holds_what_lies_left_of_all_its_edges(centre, radius, seed) -> None:
    rng = np.random.default_rng(seed)
    cone = Footprint.of((centre, radius))
    square = cone.square()
    x, y = rng.uniform(-2, 2, (2, 400)) * math.tan(math.radians(radius))
    ra, dec = cone._skies(x, y)
    inside = square.contains(ra, dec)
    corners = SkyCoord(*square.vertices.T, unit="deg").cartesian.xyz.value.T
    stars = SkyCoord(ra, dec, unit="deg").cartesian.xyz.value.T
    normals = np.cross(corners, np.roll(corners, -1, axis=0))
    height = stars @ (normals / np.linalg.norm(normals, axis=1, keepdims=True)).T
    sure = np.abs(height).min(axis=1) > 1e-9
    expected = np.all(height > 0, axis=1) | np.all(height < 0, axis=1)
    np.testing.assert_array_equal(inside[sure], expected[sure])
    assert 0 < expected.sum() < 400
    assert not cone.contains(np.array([np.nan]), np.array([0.0]))[0]


@given(directions, st.floats(0.1, 10), st.integers(1, 4), st.floats(0, 0.5), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_cones_cover_their_footprint(centre, radius, n_side, margin, seed) -> None:
    rng = np.random.default_rng(seed)
    square = Footprint.of((centre, radius)).square()
    x, y = rng.uniform(-1.5, 1.5, (2, 500)) * math.tan(math.radians(radius))
    ra, dec = square._skies(x, y)
    inside = square.contains(ra, dec, margin)
    covered = np.zeros(500, dtype=bool)
    for cone_ra, cone_dec, cone_radius in square.cones(n_side, margin):
        covered |= separation(ra, dec, cone_ra, cone_dec) <= cone_radius
    assert covered[inside].all()


def test_a_concave_footprint_leaves_its_bay_out() -> None:
    bay = Footprint.of([(0, -1), (2, -1), (2, 1), (1, 0), (0, 1)])
    assert bay.contains([0.5, 1.5, 1.0], [0.2, 0.2, 0.5]).tolist() == [True, True, False]
    assert bay.contains([1.0], [0.5], margin_deg=0.4).tolist() == [True]


@pytest.mark.parametrize("shape", [None, (2078, 2136)])
def test_the_footprint_of_the_real_frame_is_its_science_pixels(data_dir: Path, shape) -> None:
    path = data_dir / "ffi" / "tess2018206192942-s0001-1-4-0120-s_ffic.fits"
    header = parse_header(path.read_bytes(), 2880)
    footprint = footprint_from_wcs(header, shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy sets MJD-OBS from DATE-OBS and says so
        wcs = WCS(fits.getheader(path, 1))
    n_row, n_col = (128, 173) if shape is None else (2048, 2092)
    for row, column, inside in [
        (0, 44, True),
        (n_row - 1, n_col - 1, True),
        (n_row / 2, n_col - 0.6, True),
        (n_row / 2, 43.4, False),
        (n_row / 2, n_col - 0.4, False),
        (-0.6, n_col / 2, False),
        (n_row - 0.4, n_col / 2, False),
    ]:
        ra, dec = wcs.all_pix2world(column, row, 0)
        assert footprint.contains([ra], [dec])[0] == inside, (row, column)
        assert footprint.contains([ra], [dec], margin_deg=0.02)[0]
    assert footprint.radius == pytest.approx(0.5094 if shape is None else 8.3, rel=0.03)


def test_a_footprint_comes_from_any_wcs_object() -> None:
    class Flat:
        def pixel_to_world(self, row, column):
            return 10 + column / 100, row / 100

    footprint = footprint_from_wcs(Flat(), (100, 200))
    assert footprint.contains([10.0, 11.99, 12.01], [0.0, 0.985, 0.5]).tolist() == [True, True, False]
    with pytest.raises(ValueError, match="needs shape"):
        footprint_from_wcs(Flat())
    with pytest.raises(FrameError, match="no WCS in these cards"):
        footprint_from_wcs({"NAXIS1": 5, "NAXIS2": 5})


def test_the_field_of_a_ccd_is_found_from_the_first_frame_that_has_a_wcs(endpoint, data_dir: Path) -> None:
    raw = (data_dir / "ffi" / "tess2018206192942-s0001-1-4-0120-s_ffic.fits").read_bytes()
    lead, image = list(iter_hdus(raw))[:2]
    cards = [card for card in image.header.cards if not card.keyword.startswith(("CTYPE", "CRVAL"))]
    blind = raw[: lead.offset] + format_header(cards, n_bytes=image.header.n_bytes) + raw[20160:]
    bucket = "field-of-a-ccd"
    options = TransferOptions(endpoint_url=endpoint.url, backoff_base_s=0.001)
    key = FfiKey(1, 1, 4, "2018206192942", 120)
    endpoint.put(key.key, blind, bucket=bucket)
    endpoint.put(key.key.replace("192942", "195942"), b"", bucket=bucket)
    endpoint.put(key.key.replace("192942", "205942"), b"<html>", bucket=bucket)
    with pytest.raises(FrameError, match=r"none of \d frames of sector 1, camera 1, CCD 4 .* usable WCS"):
        run_sync(footprint_of_ccd_async(1, 1, 4, options=options, bucket=bucket))
    # Days later than those looked at first count too, and 31,680 bytes of it are enough.
    late = FfiKey(1, 1, 4, "2018220192942", 120)
    for day in (207, 208):
        endpoint.put(FfiKey(1, 1, 4, f"2018{day}192942", 120).key, blind, bucket=bucket)
    endpoint.put(late.key, raw[:FFI_LEAD], bucket=bucket)
    footprint = run_sync(footprint_of_ccd_async(1, 1, 4, options=options, bucket=bucket))
    np.testing.assert_array_equal(footprint.vertices, footprint_from_wcs(image.header).vertices)
    with pytest.raises(ValueError, match="its field is unknown; give footprint= or catalog="):
        run_sync(footprint_of_ccd_async(1, 1, 3, options=options, bucket=bucket))
