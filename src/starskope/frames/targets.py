"""The stars to measure, as plain arrays: where they are and how wide their apertures.

Owns which columns of a catalogue place a star. Refuses catalogues themselves (``archive``) and photometry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starskope.frames.photometry import aperture_radius
from starskope.frames.wcs import TanSip

__all__ = ["Targets"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Targets:
    """Stars by sky position, by fixed pixels, or both (then the pixels serve frames without world coordinates).

    Attributes
    ----------
    radius : ndarray, shape (n_star,), float64
        Aperture radii, pixels.
    ra, dec : ndarray, shape (n_star,), float64, or None
        Degrees, ICRS; NaN for a star without a position.
    row, column : ndarray, shape (n_star,), float64, or None
        0-based pixels.
    """

    radius: Array
    ra: Array | None = None
    dec: Array | None = None
    row: Array | None = None
    column: Array | None = None

    @classmethod
    def from_table(cls, stars: Any, radius: float | None = None) -> Targets:
        """Take the columns of a table once; None makes no targets.

        Parameters
        ----------
        stars : Table, mapping of str to array_like, or None
            Columns ``ra``, ``dec`` (degrees) or ``row``, ``column``; ``tmag`` sets the aperture where it is there.
        radius : float, optional
            One radius for all stars, pixels.

        Raises
        ------
        ValueError
            Columns are missing, or the radius is not above 0.
        """
        if stars is None:
            return cls(np.empty(0))
        names = list(stars.colnames if hasattr(stars, "colnames") else stars)
        has_sky, has_pixels = {"ra", "dec"} <= set(names), {"row", "column"} <= set(names)
        if not (has_sky or has_pixels):
            found = ", ".join(map(str, names)) or "none"
            raise ValueError(f"stars need columns ra and dec, or row and column; found {found}")
        ra, dec = (_column(stars, "ra"), _column(stars, "dec")) if has_sky else (None, None)
        row, column = (_column(stars, "row"), _column(stars, "column")) if has_pixels else (None, None)
        n_star = len(ra if ra is not None else row if row is not None else ())
        if radius is not None:
            if not (np.isfinite(radius) and radius > 0):
                raise ValueError(f"radius = {radius} px: expected a number above 0")
            radii = np.full(n_star, float(radius))
        else:
            radii = aperture_radius(_column(stars, "tmag") if "tmag" in names else np.full(n_star, np.nan))
        return cls(radii, ra, dec, row, column)

    @property
    def n_star(self) -> int:
        """Number of stars."""
        return self.radius.size

    def positions(self, wcs: TanSip | None, near: tuple[Array, Array] | None = None) -> tuple[Array, Array] | None:
        """Row and column of every star on a frame; None where neither its WCS nor fixed pixels place them.

        `near` tells positions on another frame.
        """
        if wcs is not None and self.ra is not None and self.dec is not None:
            return wcs.world_to_pixel(self.ra, self.dec, near=near)
        if self.row is not None and self.column is not None:
            return self.row, self.column
        return None


def _column(stars: Any, name: str) -> Array:
    values = stars[name]
    plain = np.ma.asarray(getattr(values, "value", values)).astype(np.float64)
    column = np.ascontiguousarray(np.ma.filled(plain, np.nan))
    if column.ndim != 1:
        raise ValueError(f"the column {name} of stars has shape {column.shape}, expected one value per star")
    return column
