"""World coordinates of cutouts: for each, the plain gnomonic projection that fits the distorted frame best.

Owns the fit. The cards of a table's column can hold no SIP polynomial, so a target pixel file needs a linear map; over
the few pixels of a cutout it departs from the frame's by about a thousandth of a pixel, and how far is told. Refuses
the cards themselves (``frames.target_pixel_cards``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from starskope.frames.wcs import TanSip

__all__ = ["LinearWcs", "fit_linear"]

F64 = NDArray[np.float64]

_MOST_POINTS = 100


@dataclass(frozen=True, eq=False)
class LinearWcs:
    """TAN projections of many cutouts.

    Attributes
    ----------
    crval : (n, 2) float64
        Right ascension and declination of the reference points, degrees.
    crpix : (n, 2) float64
        Column and row of them in the cutout, 0-based.
    cd : (n, 2, 2) float64
        Degrees per pixel; columns are (column, row).
    separation : (n,) float64
        Farthest that the fit departs from the frame's world coordinates over the cutout, degrees.
    scatter : (n,) float64
        Root of the summed squares of the departures of all pixels, degrees.
    """

    crval: F64
    crpix: F64
    cd: F64
    separation: F64
    scatter: F64

    def tan_sip(self, index: int) -> TanSip:
        """Return one of them, in pixels of its cutout."""
        (ra, dec), (column, row) = self.crval[index], self.crpix[index]
        return TanSip((float(ra), float(dec)), (float(row), float(column)), self.cd[index])


def fit_linear(wcs: TanSip, row0: NDArray[np.int32], col0: NDArray[np.int32], shape: tuple[int, int]) -> LinearWcs:
    """Fit the cutouts that start at ``row0``, ``col0``.

    Parameters
    ----------
    wcs : TanSip
        Of the whole frame.
    row0, col0 : (n,) int32
        First row and column of each cutout, 0-based; may lie off the frame.
    shape : (int, int)
        Rows and columns of the cutouts.

    Returns
    -------
    LinearWcs

    Notes
    -----
    Least squares on the tangent plane through the middle of the cutout over at most about 100 pixels, evenly spread,
    corners included: the points and the reference point that astrocut takes, so that both fits agree to 1e-6 pixel.
    A cutout of one row or column borrows the pixel beside it, since a line of points fixes no plane.
    """
    n_row, n_col = shape
    rows, columns = _spread(n_row, n_col)
    grid_row, grid_column = (axis.ravel() for axis in np.meshgrid(rows, columns, indexing="ij"))
    first_row, first_column = row0[:, None].astype(np.float64), col0[:, None].astype(np.float64)
    ra, dec = wcs.pixel_to_world(first_row + grid_row, first_column + grid_column)
    crval = _middle(ra, dec)
    xi, eta = _project(ra, dec, crval)
    design = np.stack([grid_column, grid_row, np.ones_like(grid_row)], axis=1)
    inverse = np.linalg.pinv(design)
    # Summed point by point, not by the BLAS, whose order depends on how many targets come together.
    planes = np.stack([(axis[:, None, :] * inverse).sum(axis=2) for axis in (xi, eta)], axis=1)
    cd, offset = planes[:, :, :2], planes[:, :, 2:]
    crpix = -np.linalg.solve(cd, offset)[:, :, 0]
    separation, scatter = _departure(wcs, planes, crval, (first_row, first_column), shape)
    return LinearWcs(crval, crpix, cd, separation, scatter)


def _spread(n_row: int, n_col: int) -> tuple[F64, F64]:
    """Every step-th row and column, with the smallest step that gives at most about 100 pixels, and the last ones."""
    step = 1
    while (n_col / step) * (n_row / step) > _MOST_POINTS:
        step += 1
    axes = []
    for length in (max(n_row, 2), max(n_col, 2)):
        axis = np.arange(0, length, step, dtype=np.float64)
        axes.append(axis if axis[-1] == length - 1 else np.append(axis, length - 1.0))
    return axes[0], axes[1]


def _middle(ra: F64, dec: F64) -> F64:
    """Halfway along the great circle between the corners of the box of right ascensions and declinations."""
    near = ra[:, :1]
    turn = np.mod(ra - near + 180.0, 360.0) - 180.0
    corners = np.stack(
        [
            _unit(near[:, 0] + turn.min(axis=1), dec.max(axis=1)),
            _unit(near[:, 0] + turn.max(axis=1), dec.min(axis=1)),
        ]
    ).sum(axis=0)
    x, y, z = corners.T
    return np.stack([np.mod(np.degrees(np.arctan2(y, x)), 360.0), np.degrees(np.arctan2(z, np.hypot(x, y)))], axis=1)


def _unit(ra: F64, dec: F64) -> F64:
    alpha, delta = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(delta) * np.cos(alpha), np.cos(delta) * np.sin(alpha), np.sin(delta)], axis=-1)


def _project(ra: F64, dec: F64, crval: F64) -> tuple[F64, F64]:
    """Gnomonic projection, degrees: (n, n_point) positions about (n, 2) reference points."""
    turn, delta = np.radians(ra - crval[:, :1]), np.radians(dec)
    dec0 = np.radians(crval[:, 1:])
    toward = np.cos(delta) * np.cos(turn)
    scale = np.degrees(1.0) / (np.sin(dec0) * np.sin(delta) + np.cos(dec0) * toward)
    return (
        np.cos(delta) * np.sin(turn) * scale,
        (np.cos(dec0) * np.sin(delta) - np.sin(dec0) * toward) * scale,
    )


def _departure(wcs: TanSip, planes: F64, crval: F64, first: tuple[F64, F64], shape: tuple[int, int]) -> tuple[F64, F64]:
    """Return the largest distance and the root of the summed squares over all pixels, degrees on the tangent plane."""
    row, column = (axis.ravel().astype(np.float64) for axis in np.indices(shape))
    xi, eta = _project(*wcs.pixel_to_world(first[0] + row, first[1] + column), crval)
    x = planes[:, 0, :1] * column + planes[:, 0, 1:2] * row + planes[:, 0, 2:]
    y = planes[:, 1, :1] * column + planes[:, 1, 1:2] * row + planes[:, 1, 2:]
    squares = (x - xi) ** 2 + (y - eta) ** 2
    return np.sqrt(squares.max(axis=1)), np.sqrt(squares.sum(axis=1))
