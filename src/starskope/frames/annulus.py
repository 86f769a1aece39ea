"""What the surface of the background leaves around each star, from a ring of pixels.

Owns the ring: its clipped median is what remains of faint neighbours' light and of structure finer than the boxes of
``frames.background``. Refuses to replace that surface: a ring alone follows it with more noise, so it only corrects it.

Measured on synthetic sectors of 432 frames with jitter, aberration and moving scattered light, rings lower the scatter
of isolated quiet stars of Tmag 7-13 by 4-9 % with the analytic point response and by 5-13 % with the real ones. There
the surface alone ends at 1.29-1.38 times the expected noise, with rings at 1.17-1.26.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from starskope.frames.clip import clip_series

__all__ = ["Ring", "ring_levels"]

Array = NDArray[np.float64]
Image = NDArray[np.float32]

_STARS_PER_PASS = 512
_MIN_PIXELS = 30


@dataclass(frozen=True, eq=False)
class Ring:
    """What the rings of all stars hold.

    Attributes
    ----------
    level : ndarray, shape (n_star,), float64
        Clipped median, e-/s per pixel; 0 where fewer than 30 pixels are left, NaN for a star without a position.
    count : ndarray, shape (n_star,), int32
        Pixels that survived clipping; 0 where the level is not a measurement.
    """

    level: Array
    count: NDArray[np.int32]


def ring_levels(image: Image, row: Array, column: Array, inner: Array, width: float) -> Ring:
    """Measure the light left in a ring around each star.

    Parameters
    ----------
    image : ndarray, shape (n_row, n_col), float32
        Background-subtracted, NaN = missing.
    row, column : ndarray, shape (n_star,), float64
        0-based pixels; NaN for a star without a position.
    inner : ndarray, shape (n_star,), float64
        Inner radii, pixels.
    width : float
        Outer less inner radius, pixels.

    Returns
    -------
    Ring

    Notes
    -----
    Whole pixels around the one nearest to the star, the inner radius rounded up, clipped at 3 sigma around the median.
    A ring that followed the star by fractions of a pixel gave the same scatter at three times the cost; 2 us per star.
    """
    n_star = row.size
    level, count = np.full(n_star, np.nan), np.zeros(n_star, dtype=np.int32)
    n_row, n_col = image.shape
    with np.errstate(invalid="ignore"):
        near = (row > -1e4) & (row < n_row + 1e4) & (column > -1e4) & (column < n_col + 1e4)
    flat = np.ascontiguousarray(image).reshape(-1)
    whole_inner = np.ceil(inner)
    for first in np.unique(whole_inner[near]):
        same = np.flatnonzero(near & (whole_inner == first))
        reach = int(np.ceil(first + width))
        dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        distance = np.hypot(dy, dx)
        shell = (distance >= first) & (distance < first + width)
        dy, dx = dy[shell][:, None], dx[shell][:, None]
        for start in range(0, same.size, _STARS_PER_PASS):
            part = same[start : start + _STARS_PER_PASS]
            y, x = np.rint(row[part]).astype(np.intp), np.rint(column[part]).astype(np.intp)
            inside = (y >= reach) & (y < n_row - reach) & (x >= reach) & (x < n_col - reach)
            pixels = flat.take((y * n_col + x) + (dy * n_col + dx), mode="clip")
            if not inside.all():
                y, x = y[~inside] + dy, x[~inside] + dx
                off = (y < 0) | (y >= n_row) | (x < 0) | (x >= n_col)
                pixels[:, ~inside] = np.where(off, np.float32(np.nan), pixels[:, ~inside])
            clipped = clip_series(pixels, sigma=3.0, max_iters=None, median=True)
            enough = clipped.count >= _MIN_PIXELS
            level[part] = np.where(enough, clipped.median if clipped.median is not None else 0.0, 0.0)
            count[part] = np.where(enough, clipped.count, 0)
    return Ring(level, count)
