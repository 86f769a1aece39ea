"""Linear world coordinates of cutouts: as near to the frame's as they say, at every size, at the poles and at zero."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from starskope.frames.cutout_wcs import fit_linear
from starskope.frames.wcs import TanSip
from starskope.synth import SectorConfig, SyntheticSector

PIXEL_DEG = 0.0057


@pytest.fixture(scope="module")
def wcs() -> TanSip:
    """The distorted field of a whole CCD."""
    sector = SyntheticSector(SectorConfig(n_row=2048, n_col=2048, n_frame=1, n_star=100))
    return TanSip.from_header(sector.wcs_cards(0))


def departure_px(wcs: TanSip, row0: int, col0: int, shape: tuple[int, int]) -> tuple[float, float]:
    """Farthest departure of the fit by astropy's angular separation, and as the fit states it, pixels."""
    fit = fit_linear(wcs, np.array([row0], np.int32), np.array([col0], np.int32), shape)
    row, column = np.indices(shape)
    there = SkyCoord(*wcs.pixel_to_world(row0 + row, col0 + column), unit="deg")
    fitted = SkyCoord(*fit.tan_sip(0).pixel_to_world(row, column), unit="deg")
    return there.separation(fitted).deg.max() / PIXEL_DEG, fit.separation[0] / PIXEL_DEG


@pytest.mark.parametrize(
    ("shape", "most_px"),
    [
        ((1, 1), 1e-4),
        ((1, 5), 2e-4),
        ((5, 1), 2e-4),
        ((2, 2), 1e-4),
        ((11, 11), 2e-3),
        ((30, 30), 0.02),
        ((100, 3), 0.1),
    ],
)
def test_every_size_is_fitted_as_well_as_distortion_allows(wcs: TanSip, shape: tuple[int, int], most_px: float) -> None:
    for row0, col0 in ((500, 500), (-5, -5), (2070, 2130)):
        found, stated = departure_px(wcs, row0, col0, shape)
        assert found < most_px
        np.testing.assert_allclose(found, stated, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("crval", [(0.0, 20.0), (359.99999, 0.0), (100.0, -89.9999), (100.0, 90.0), (180.0, -90.0)])
def test_zero_and_the_poles_are_places_like_others(wcs: TanSip, crval: tuple[float, float]) -> None:
    turned = TanSip(crval, wcs.crpix, wcs.cd, wcs.a, wcs.b)
    row0, col0 = int(wcs.crpix[0]) - 5, int(wcs.crpix[1]) - 5
    for row, column in ((row0, col0), (row0 - 4, col0 + 9), (row0 + 700, col0)):
        assert departure_px(turned, row, column, (11, 11))[0] < 2e-3


def test_the_company_of_other_targets_changes_no_bit(wcs: TanSip) -> None:
    rng = np.random.default_rng(5)
    row0, col0 = rng.integers(0, 2000, (2, 301)).astype(np.int32)
    together = fit_linear(wcs, row0, col0, (11, 11))
    for start, stop in ((0, 1), (7, 8), (100, 117), (300, 301)):
        alone = fit_linear(wcs, row0[start:stop], col0[start:stop], (11, 11))
        for name in ("crval", "crpix", "cd", "separation", "scatter"):
            assert getattr(alone, name).tobytes() == getattr(together, name)[start:stop].tobytes(), name
    nobody = fit_linear(wcs, row0[:0], col0[:0], (11, 11))
    assert nobody.cd.shape == (0, 2, 2)
