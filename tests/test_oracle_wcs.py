"""The TAN-SIP code against the plain one of `reference.py` and against astropy, over the sky and over SIP orders."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import reference
import tolerances
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning
from hypothesis import given, settings
from hypothesis import strategies as st

from starskope.frames.wcs import TanSip

Cards = dict[str, Any]


def cards(
    ra: float = 84.29, dec: float = -80.47, orders: tuple[int, int] = (4, 4), roll_deg: float = 33.0, seed: int = 0
) -> Cards:
    """Give the cards of a camera like TESS's (21 arcsec pixels, distortion of some pixels at the corners)."""
    rng = np.random.default_rng([seed, *orders])
    angle, scale = math.radians(roll_deg), 21.0 / 3600.0
    sip = max(orders) > 0
    out: Cards = {"CTYPE1": "RA---TAN-SIP" if sip else "RA---TAN", "CTYPE2": "DEC--TAN-SIP" if sip else "DEC--TAN"}
    out |= {"CUNIT1": "deg", "CUNIT2": "deg", "CRVAL1": ra, "CRVAL2": dec, "CRPIX1": 1045.0, "CRPIX2": 1001.5}
    out |= {"CD1_1": -scale * math.cos(angle), "CD1_2": scale * math.sin(angle)}
    out |= {"CD2_1": scale * math.sin(angle), "CD2_2": scale * math.cos(angle)}
    for letter, order in zip("AB", orders, strict=True):
        if not sip:
            continue
        out[f"{letter}_ORDER"] = order
        for p in range(order + 1):
            for q in range(order + 1 - p):
                if p + q >= 2:
                    out[f"{letter}_{p}_{q}"] = float(rng.normal()) * 3.0 / 1000.0 ** (p + q)
    return out


def astropy_wcs(header: Cards) -> WCS:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        return WCS(fits.Header({"NAXIS": 2, "NAXIS1": 2136, "NAXIS2": 2078, **header}))


def assert_same_sky(got: tuple[Any, Any], want: tuple[Any, Any]) -> None:
    """Compare as vectors, so that 359.99999 and 0 agree and right ascension may be anything at a pole."""

    def vectors(ra: Any, dec: Any) -> Any:
        lon, lat = np.radians(ra), np.radians(dec)
        return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])

    # 1e-6 pixel of 21 arcsec is 1e-10 rad.
    np.testing.assert_allclose(vectors(*got), vectors(*want), rtol=0, atol=1e-10 * tolerances.atol_pixel() / 1e-6)


@pytest.mark.parametrize("orders", [(0, 0), (2, 2), (2, 3), (3, 2), (4, 4), (5, 4)])
@pytest.mark.parametrize(
    ("ra", "dec"),
    [
        (84.29, -80.47),
        (0.0, 0.0),
        (359.999, 12.0),
        (180.0, -45.0),
        (10.0, 89.9),
        (200.0, -89.99),
        (33.0, 90.0),
        (7.0, -90.0),
    ],
)
def test_equals_the_papers_and_astropy(orders: tuple[int, int], ra: float, dec: float) -> None:
    header = cards(ra, dec, orders)
    ours, plain, wcs = TanSip.from_header(header), reference.TanSip(header), astropy_wcs(header)
    rng = np.random.default_rng(1)
    row, column = rng.uniform(-60, 2140, 500), rng.uniform(-60, 2200, 500)
    sky = ours.pixel_to_world(row, column)
    assert_same_sky(sky, plain.pixel_to_world(row, column))
    assert_same_sky(sky, wcs.all_pix2world(column, row, 0))
    assert (sky[0] >= 0).all()
    assert (sky[0] < 360).all()
    got = ours.world_to_pixel(*sky)
    for back, truth in zip(got, (row, column), strict=True):
        np.testing.assert_allclose(back, truth, rtol=0, atol=tolerances.atol_pixel())
    theirs = wcs.all_world2pix(*sky, 0, tolerance=1e-8)[::-1]
    for back, expected in zip(got, theirs, strict=True):
        np.testing.assert_allclose(back, expected, rtol=0, atol=tolerances.atol_pixel())


@pytest.mark.parametrize("n", [0, 1, 2, 3, 15, 16, 17, 257, 10_001])
def test_every_number_of_stars(n: int) -> None:
    header = cards()
    rng = np.random.default_rng(n)
    row, column = rng.uniform(0, 2078, n), rng.uniform(0, 2136, n)
    ra, dec = reference.TanSip(header).pixel_to_world(row, column)
    got_row, got_column = TanSip.from_header(header).world_to_pixel(ra, dec)
    assert got_row.shape == got_column.shape == (n,)
    np.testing.assert_allclose(got_row, row, rtol=0, atol=tolerances.atol_pixel())
    np.testing.assert_allclose(got_column, column, rtol=0, atol=tolerances.atol_pixel())


def test_shapes_and_layouts() -> None:
    ours = TanSip.from_header(cards())
    row, column = np.meshgrid(np.linspace(0, 2077, 7), np.linspace(0, 2135, 5), indexing="ij")
    ra, dec = ours.pixel_to_world(row, column)
    assert ra.shape == (7, 5)
    transposed = ours.pixel_to_world(row.T, column.T)
    np.testing.assert_array_equal(transposed[0].T, ra)
    scalar = ours.pixel_to_world(float(row[2, 3]), float(column[2, 3]))
    assert np.shape(scalar[0]) == ()
    assert float(scalar[0]) == ra[2, 3]
    frozen_ra, frozen_dec = ra.copy(), dec.copy()
    frozen_ra.flags.writeable = frozen_dec.flags.writeable = False
    back = ours.world_to_pixel(frozen_ra[::2, ::-1], frozen_dec[::2, ::-1])
    np.testing.assert_allclose(back[0], row[::2, ::-1], rtol=0, atol=tolerances.atol_pixel())
    float32 = ours.world_to_pixel(ra.astype(">f8"), dec.astype(">f8"))
    np.testing.assert_allclose(float32[1], column, rtol=0, atol=tolerances.atol_pixel())


def test_missing_and_hidden_stars_have_no_pixel() -> None:
    header = cards(84.29, -30.0)
    ra = [84.29, np.nan, 84.29, 84.29 + 180.0, 84.29 + 180.0, np.inf]
    dec = [-30.0, 0.0, np.nan, 30.0, -10.0, 0.0]
    row, column = TanSip.from_header(header).world_to_pixel(ra, dec)
    assert math.isclose(row[0], header["CRPIX2"] - 1.0, abs_tol=1e-6)
    assert math.isclose(column[0], header["CRPIX1"] - 1.0, abs_tol=1e-6)
    assert np.isnan(row[1:]).all()
    assert np.isnan(column[1:]).all()


def test_a_neighbour_does_not_change_an_answer() -> None:
    ours = TanSip.from_header(cards())
    rng = np.random.default_rng(3)
    sky = np.array(ours.pixel_to_world(rng.uniform(0, 2078, 100), rng.uniform(0, 2136, 100)))
    together = np.array(ours.world_to_pixel(*sky))
    spoiled = np.concatenate([sky, [[np.nan, 10.0, 264.29], [np.nan, 89.0, 80.47]]], axis=1)
    np.testing.assert_array_equal(np.array(ours.world_to_pixel(*spoiled))[:, :100], together)
    alone = np.array([ours.world_to_pixel(ra, dec) for ra, dec in sky.T]).T
    np.testing.assert_allclose(alone, together, rtol=0, atol=1e-9)


def test_cards_come_back_as_they_were() -> None:
    header = cards(orders=(4, 3))
    ours = TanSip.from_header(header)
    again = TanSip.from_header(ours.to_header())
    np.testing.assert_array_equal(
        again.pixel_to_world([5.0, 900.0], [3.0, 2000.0]), ours.pixel_to_world([5.0, 900.0], [3.0, 2000.0])
    )
    ra, dec = astropy_wcs(dict(ours.to_header())).all_pix2world([3.0, 2000.0], [5.0, 900.0], 0)
    assert_same_sky(ours.pixel_to_world([5.0, 900.0], [3.0, 2000.0]), (ra, dec))


@settings(max_examples=60, deadline=None)
@given(
    dec=st.floats(-90, 90),
    ra=st.floats(0, 360, exclude_max=True),
    roll=st.floats(-180, 180),
    angle=st.floats(-0.01, 0.01),
    stretch=st.floats(-0.01, 0.01),
    shift=st.tuples(st.floats(-5, 5), st.floats(-5, 5)),
)
def test_motion_of_the_stars_over_the_pixels(
    dec: float, ra: float, roll: float, angle: float, stretch: float, shift: tuple[float, float]
) -> None:
    ours = TanSip.from_header(cards(ra, dec, roll_deg=roll))
    matrix = (1.0 + stretch) * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    origin = np.array([1000.0, 1100.0])
    rng = np.random.default_rng(0)
    old = np.stack([rng.uniform(0, 2078, 50), rng.uniform(0, 2136, 50)])
    sky = ours.pixel_to_world(*old)
    new = ours.moved(matrix, tuple(origin), shift).world_to_pixel(*sky)
    expected = origin[:, None] + np.array(shift)[:, None] + matrix @ (old - origin[:, None])
    np.testing.assert_allclose(new, expected, rtol=0, atol=tolerances.atol_pixel())
    shifted = ours.shifted(*shift).world_to_pixel(*sky)
    np.testing.assert_allclose(shifted, old + np.array(shift)[:, None], rtol=0, atol=tolerances.atol_pixel())
