"""TAN-SIP against astropy.wcs over the full CCD of the real header, corrections, and headers that lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import atol_pixel

from starskope.errors import FrameError
from starskope.frames.wcs import TanSip, has_wcs

N_ROW, N_COLUMN = 2078, 2136


def sip_cards(a_order: int = 4, b_order: int = 4) -> dict[str, str | int | float]:
    """Cards of the size found on TESS; every coefficient differs, so that an exchange shows."""
    rng = np.random.default_rng(5)
    cards: dict[str, str | int | float] = {
        "CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "CRVAL1": 359.9, "CRVAL2": -68.0,
        "CRPIX1": 1045.0, "CRPIX2": 1001.0, "CD1_1": -0.0055, "CD1_2": 0.0014, "CD2_1": -0.0016, "CD2_2": -0.0055,
        "A_ORDER": a_order, "B_ORDER": b_order,
    }  # fmt: skip
    for name, order in (("A", a_order), ("B", b_order)):
        for p in range(order + 1):
            for q in range(order + 1 - p):
                if p + q >= 2:
                    cards[f"{name}_{p}_{q}"] = float(rng.uniform(0.3, 1.0) * {2: 2e-5, 3: 3e-9, 4: 4e-13}[p + q])
    return cards


def pixels(n: int = 4000, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Random positions over the whole CCD, its corners included."""
    rng = np.random.default_rng(seed)
    row, column = rng.uniform(-0.5, N_ROW - 0.5, n), rng.uniform(-0.5, N_COLUMN - 0.5, n)
    row[:4], column[:4] = [-0.5, -0.5, N_ROW - 0.5, N_ROW - 0.5], [-0.5, N_COLUMN - 0.5, -0.5, N_COLUMN - 0.5]
    return row, column


def astropy_wcs(cards: dict[str, str | int | float]) -> WCS:
    return WCS(fits.Header(list(cards.items())))


def assert_equals_astropy(wcs: TanSip, oracle: WCS) -> None:
    row, column = pixels()
    ra, dec = wcs.pixel_to_world(row, column)
    ra_astropy, dec_astropy = oracle.all_pix2world(column, row, 0)
    pixel_deg = np.sqrt(abs(np.linalg.det(wcs.cd)))
    turn = (ra - ra_astropy + 180.0) % 360.0 - 180.0
    assert np.abs(turn * np.cos(np.radians(dec))).max() < atol_pixel() * pixel_deg
    assert np.abs(dec - dec_astropy).max() < atol_pixel() * pixel_deg
    column_astropy, row_astropy = oracle.all_world2pix(ra, dec, 0, tolerance=1e-9)
    row_back, column_back = wcs.world_to_pixel(ra, dec)
    assert np.abs(row_back - row_astropy).max() < atol_pixel()
    assert np.abs(column_back - column_astropy).max() < atol_pixel()
    # Against its own forward map the inverse is held tighter than against astropy's iteration.
    assert np.abs(row_back - row).max() < 1e-9
    assert np.abs(column_back - column).max() < 1e-9


def test_equals_astropy_on_the_real_ffi_header(data_dir: Path) -> None:
    header = fits.getheader(data_dir / "ffi" / "tess2018206192942-s0001-1-4-0120-s_ffic.fits", 1)
    assert has_wcs(header)
    # fix=False: the dates of the header are none of our concern, and astropy announces each change to them.
    assert_equals_astropy(TanSip.from_header(header), WCS(header, fix=False))


def test_equals_astropy_on_a_kepler_header(data_dir: Path) -> None:
    header = fits.getheader(data_dir / "ffi" / "kplr-ffi_ch01_test_v1.fits", 1)
    wcs, oracle = TanSip.from_header(header), WCS(header, fix=False)
    row, column = np.random.default_rng(2).uniform(0, 200, (2, 500))
    ra, dec = oracle.all_pix2world(column, row, 0)
    row_back, column_back = wcs.world_to_pixel(ra, dec)
    assert max(np.abs(row_back - row).max(), np.abs(column_back - column).max()) < atol_pixel()


@pytest.mark.parametrize(("a_order", "b_order"), [(4, 4), (3, 4), (4, 2), (2, 3)])
def test_orders_may_differ(a_order: int, b_order: int) -> None:
    cards = sip_cards(a_order, b_order)
    assert_equals_astropy(TanSip.from_header(cards), astropy_wcs(cards))


def test_plain_tan_and_cdelt() -> None:
    cards: dict[str, str | int | float] = {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 3.0, "CRVAL2": 89.5, "CRPIX1": 100.0, "CRPIX2": 7.0,
        "CDELT1": -0.006, "CDELT2": 0.0055, "PC1_1": 0.8, "PC1_2": 0.6, "PC2_1": -0.6, "PC2_2": 0.8,
    }  # fmt: skip
    assert_equals_astropy(TanSip.from_header(cards), astropy_wcs(cards))


@pytest.mark.parametrize(("dec", "lonpole"), [(90.0, None), (90.0, 180.0), (-90.0, None), (12.0, 37.0), (-68.0, 0.0)])
def test_lonpole_is_honoured(dec: float, lonpole: float | None) -> None:
    cards = sip_cards() | {"CRVAL2": dec} | ({} if lonpole is None else {"LONPOLE": lonpole})
    wcs = TanSip.from_header(cards)
    assert_equals_astropy(wcs, astropy_wcs(cards))
    assert_equals_astropy(TanSip.from_header(wcs.to_header()), astropy_wcs(cards))


def test_header_round_trip_is_exact_and_astropy_reads_it() -> None:
    wcs = TanSip.from_header(sip_cards(3, 4))
    again = TanSip.from_header(wcs.to_header())
    assert (again.crval, again.crpix) == (wcs.crval, wcs.crpix)
    for mine, theirs in ((wcs.cd, again.cd), (wcs.a, again.a), (wcs.b, again.b)):
        np.testing.assert_array_equal(mine, theirs)
    assert_equals_astropy(wcs, astropy_wcs(wcs.to_header()))


def test_shift_moves_every_star_by_the_same_pixels() -> None:
    wcs = TanSip.from_header(sip_cards())
    row, column = pixels(300)
    ra, dec = wcs.pixel_to_world(row, column)
    row_new, column_new = wcs.shifted(0.31, -1.7).world_to_pixel(ra, dec)
    np.testing.assert_allclose(row_new, row + 0.31, atol=1e-9)
    np.testing.assert_allclose(column_new, column - 1.7, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-1e-3, 1e-3), min_size=4, max_size=4), st.tuples(st.floats(-2, 2), st.floats(-2, 2)))
def test_affine_motion_is_exact_and_survives_its_header(change: list[float], shift: tuple[float, float]) -> None:
    wcs = TanSip.from_header(sip_cards(3, 4))
    matrix, origin = np.eye(2) + np.reshape(change, (2, 2)), (900.0, 1100.0)
    row, column = pixels(200)
    ra, dec = wcs.pixel_to_world(row, column)
    moved = TanSip.from_header(wcs.moved(matrix, origin, shift).to_header())
    expected = (
        np.reshape(origin, (2, 1))
        + np.reshape(shift, (2, 1))
        + matrix @ (np.array([row, column]) - np.reshape(origin, (2, 1)))
    )
    np.testing.assert_allclose(moved.world_to_pixel(ra, dec), expected, atol=2e-9)


def test_nan_behind_the_sky_and_for_nan_and_no_mirror_image() -> None:
    wcs = TanSip.from_header(sip_cards())
    row, column = wcs.world_to_pixel([wcs.crval[0] + 180.0, np.nan, 0.0, np.inf], [68.0, 10.0, np.nan, 0.0])
    assert np.isnan(row).all()
    assert np.isnan(column).all()
    # Stars of the whole hemisphere: none but those that the forward map puts there may land on the CCD.
    rng = np.random.default_rng(3)
    ra, dec = rng.uniform(0, 360, 20000), np.degrees(np.arcsin(rng.uniform(-1, 1, 20000)))
    row, column = wcs.world_to_pixel(ra, dec)
    on_ccd = (row > 0) & (row < N_ROW) & (column > 0) & (column < N_COLUMN)
    ra_back, dec_back = wcs.pixel_to_world(row[on_ccd], column[on_ccd])
    assert 10 < on_ccd.sum() < 200
    np.testing.assert_allclose(dec_back, dec[on_ccd], atol=1e-9)
    np.testing.assert_allclose((ra_back - ra[on_ccd] + 180) % 360 - 180, 0, atol=1e-8)


def test_where_the_search_begins_does_not_matter() -> None:
    wcs = TanSip.from_header(sip_cards())
    row, column = pixels(5000)
    ra, dec = wcs.pixel_to_world(row, column)
    plain = np.array(wcs.world_to_pixel(ra, dec))
    for off in (0.0, 0.3, 40.0):
        begun = wcs.world_to_pixel(ra, dec, near=(row + off, column - off))
        np.testing.assert_allclose(begun, plain, rtol=0, atol=1e-9)
    row[7] = np.nan  # nowhere on the other frame
    np.testing.assert_allclose(wcs.world_to_pixel(ra, dec, near=(row, column)), plain, rtol=0, atol=1e-9)


def test_any_shape_and_more_than_one_chunk() -> None:
    wcs = TanSip.from_header(sip_cards())
    row, column = pixels(10_007)
    ra, dec = wcs.pixel_to_world(row, column)
    whole = np.array(wcs.world_to_pixel(ra, dec))
    single = np.array([wcs.world_to_pixel(ra[i], dec[i]) for i in (0, 4095, 4096, 10_006)]).T
    np.testing.assert_allclose(whole[:, [0, 4095, 4096, 10_006]], single, atol=1e-11)
    assert wcs.pixel_to_world(row[:6].reshape(2, 3), 4.0)[0].shape == (2, 3)
    assert wcs.world_to_pixel([], [])[0].shape == (0,)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"CRVAL1": None, "CD2_2": None}, "lacks CRVAL1, CD2_2"),
        ({"B_ORDER": None}, "lacks B_ORDER"),
        ({"CTYPE1": None}, "CTYPE1"),
        ({"CTYPE1": "GLON-TAN"}, "GLON-TAN"),
        ({"CD1_1": 0.0, "CD1_2": 0.0}, "singular"),
        ({"CRPIX1": "middle"}, "CRPIX1 = 'middle'"),
        ({"A_2_0": float("nan")}, "A_2_0"),
        ({"A_ORDER": 4.5}, "A_ORDER"),
        ({"LONPOLE": "south"}, "LONPOLE = 'south'"),
    ],
)
def test_bad_cards_are_named(change: dict[str, object], text: str) -> None:
    cards = {key: value for key, value in (sip_cards() | change).items() if value is not None}
    with pytest.raises(FrameError, match=text):
        TanSip.from_header(cards)


def test_a_header_without_wcs_is_seen() -> None:
    assert not has_wcs({"CTYPE1": "RAWX", "CRVAL1": 1.0})
    assert not has_wcs({})
    with pytest.raises(ValueError, match="invertible"):
        TanSip.from_header(sip_cards()).moved(np.zeros((2, 2)), (0, 0), (0, 0))
