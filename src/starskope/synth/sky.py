"""Where the CCD looks: the WCS of any camera and CCD at rest, and pixel positions of stars under small motions.

Owns the true astrometry, computed with astropy and independent of ``frames.wcs``. Refuses to know when and how the
spacecraft moves (``pointing``).
"""

from __future__ import annotations

import functools

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from starskope.synth.config import FULL_CCD, SectorConfig
from starskope.synth.real_header import IMAGE_CARDS

__all__ = ["StarProjection", "make_wcs", "pointing_terms", "reference_cards", "unit_vector"]

_SIP = (f"{axis}_{p}_{q}" for axis in "AB" for p in range(5) for q in range(5) if 2 <= p + q <= 4)
_LINEAR = "WCSAXES CTYPE1 CTYPE2 CRVAL1 CRVAL2 CRPIX1 CRPIX2 CD1_1 CD1_2 CD2_1 CD2_2 RADESYS A_ORDER B_ORDER"
_CARD_NAMES = frozenset((*_LINEAR.split(), *_SIP))
# Centres of the four cameras in sector 1 (ICRS, degrees), from the mission's pointing table.
_CAMERA_CENTRES = ((324.5670, -33.1730), (338.5766, -55.0789), (19.4927, -71.9781), (90.0042, -66.5647))
_OBLIQUITY = np.deg2rad(23.4392911)
_SECTOR_STEP = np.deg2rad(27.4)
_REAL_CCD = 4


@functools.cache
def _real_cards() -> dict[str, float | str]:
    cards: dict[str, float | str] = {}
    for line in IMAGE_CARDS.splitlines():
        keyword, _, rest = line.partition(" = ")
        if keyword in _CARD_NAMES:
            text = rest.partition(" / ")[0].strip()
            cards[keyword] = text.strip("' ") if text.startswith("'") else float(text)
    for keyword in ("WCSAXES", "A_ORDER", "B_ORDER"):
        cards[keyword] = int(cards[keyword])
    return cards


def unit_vector(ra: NDArray[np.float64] | float, dec: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Return ICRS unit vectors, last axis x, y, z, of right ascension and declination in degrees."""
    ra, dec = np.deg2rad(ra), np.deg2rad(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def _rotation(axis: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross))


def _carry(config: SectorConfig) -> NDArray[np.float64]:
    """Rotation of the sky that carries sector 1, camera 1, CCD 4 to the CCD asked for."""
    first = unit_vector(*_CAMERA_CENTRES[0])
    target = unit_vector(*_CAMERA_CENTRES[config.camera - 1])
    rotation = _rotation(first, (config.ccd - _REAL_CCD) * np.pi / 2)
    axis = np.cross(first, target)
    if config.camera > 1:
        sine = float(np.linalg.norm(axis))
        rotation = _rotation(axis / sine, float(np.arctan2(sine, first @ target))) @ rotation
    pole = np.array([0.0, -np.sin(_OBLIQUITY), np.cos(_OBLIQUITY)])
    return np.asarray(_rotation(pole, (config.sector - 1) * _SECTOR_STEP) @ rotation)


def _tangent_basis(ra: float, dec: float) -> NDArray[np.float64]:
    ra, dec = np.deg2rad(ra), np.deg2rad(dec)
    east = [-np.sin(ra), np.cos(ra), 0.0]
    north = [-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)]
    return np.array([east, north])


def reference_cards(config: SectorConfig) -> dict[str, float | int | str]:
    """Return the WCS cards of the CCD at rest.

    Notes
    -----
    Exactly the real ones for sector 1, camera 1, CCD 4 at full size. A smaller field is the window in the middle of the
    CCD: CRPIX moves by the rows and columns cut, CD and SIP stay. Another CCD is the real one turned by quarters about
    the camera's axis and carried rigidly along the sky: plausible positions, not the mission's own coefficients.
    """
    cards = dict(_real_cards())
    cards["CRPIX1"] = float(cards["CRPIX1"]) - (FULL_CCD - config.n_col) // 2
    cards["CRPIX2"] = float(cards["CRPIX2"]) - (FULL_CCD - config.n_row) // 2
    if (config.sector, config.camera, config.ccd) == (1, 1, _REAL_CCD):
        return cards
    rotation = _carry(config)
    ra, dec = float(cards["CRVAL1"]), float(cards["CRVAL2"])
    x, y, z = rotation @ unit_vector(ra, dec)
    cards["CRVAL1"], cards["CRVAL2"] = float(np.rad2deg(np.arctan2(y, x)) % 360), float(np.rad2deg(np.arcsin(z)))
    turned = _tangent_basis(ra, dec) @ rotation.T
    turn = _tangent_basis(float(cards["CRVAL1"]), float(cards["CRVAL2"])) @ turned.T
    return _with_cd(cards, turn @ _cd(cards))


def _cd(cards: dict[str, float | int | str]) -> NDArray[np.float64]:
    return np.array([[float(cards["CD1_1"]), float(cards["CD1_2"])], [float(cards["CD2_1"]), float(cards["CD2_2"])]])


def _with_cd(cards: dict[str, float | int | str], cd: NDArray[np.float64]) -> dict[str, float | int | str]:
    changed = dict(cards)
    for i in range(2):
        for j in range(2):
            changed[f"CD{i + 1}_{j + 1}"] = float(cd[i, j])
    return changed


def pointing_terms(
    cards: dict[str, float | int | str], shift_row: float, shift_col: float, matrix: NDArray[np.float64]
) -> dict[str, float | int | str]:
    """Return the cards of a frame whose pointing is off.

    Parameters
    ----------
    cards : dict
        Cards at rest.
    shift_row, shift_col : float
        Stars move by this many pixels.
    matrix : (2, 2) float64
        Focal-plane offsets (column, row) from CRPIX, distortion included, grow by ``matrix @ offset``: roll and the
        linear part of the velocity aberration.
    """
    changed = _with_cd(cards, _cd(cards) @ np.linalg.inv(np.eye(2) + matrix))
    changed["CRPIX1"] = float(cards["CRPIX1"]) + shift_col
    changed["CRPIX2"] = float(cards["CRPIX2"]) + shift_row
    return changed


def make_wcs(cards: dict[str, float | int | str]) -> WCS:
    """Return astropy's WCS of these cards (1-based CRPIX, TAN-SIP)."""
    return WCS(cards)


class StarProjection:
    """Pixel positions of stars for any small motion, without solving the WCS again in each frame.

    Parameters
    ----------
    cards : dict
        WCS cards at rest.
    ra, dec : (n_star,) float64
        Degrees, ICRS.

    Attributes
    ----------
    row, column : (n_star,) float64
        Positions at rest in the full plane, 0-based, from ``WCS.all_world2pix``.

    Notes
    -----
    With focal-plane offset u (pixels from CRPIX after the SIP terms) and Jacobian J = du/dpixel the stars move by
    ``shift + inv(J) matrix u``: exact to second order in `matrix`, 1e-5 pixel for the motions of a sector.
    """

    def __init__(self, cards: dict[str, float | int | str], ra: NDArray[np.float64], dec: NDArray[np.float64]) -> None:
        wcs = make_wcs(cards)
        self.column, self.row = wcs.all_world2pix(ra, dec, 0, tolerance=1e-9)
        self._reference = np.array([[float(cards["CRPIX1"])], [float(cards["CRPIX2"])]])
        self._offset = self._focal(wcs, self.column, self.row)
        step = 0.5
        along = (self._focal(wcs, self.column + step, self.row) - self._focal(wcs, self.column - step, self.row)) / (
            2 * step
        )
        across = (self._focal(wcs, self.column, self.row + step) - self._focal(wcs, self.column, self.row - step)) / (
            2 * step
        )
        self._inverse = np.linalg.inv(np.stack([along, across], axis=-1).transpose(1, 0, 2))

    def _focal(self, wcs: WCS, column: NDArray[np.float64], row: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.stack(wcs.pix2foc(column, row, 0)) + 1 - self._reference)

    def positions(
        self, shift_row: float, shift_col: float, matrix: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return row and column, each (n_star,) float64, under the motions of `pointing_terms`."""
        moved = np.einsum("nij,jn->in", self._inverse, matrix @ self._offset)
        return self.row + shift_row + moved[1], self.column + shift_col + moved[0]
