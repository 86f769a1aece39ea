"""The shape of a dip: how much of it is a flat bottom.

Owns the fit of a trapezoid, smeared by the exposure, to the folded dip. Refuses to say what the shape means.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from starskope.search.rednoise import mad_scatter
from starskope.search.refine import Ephemeris
from starskope.search.series import StarSeries

__all__ = ["flat_bottom", "trapezoid"]

F64 = NDArray[np.float64]

BOTTOMS = np.linspace(0.0, 0.9, 10)
LENGTHS = np.linspace(0.9, 2.3, 15)
SHIFTS = np.linspace(-0.2, 0.2, 5)
EXCLUDED = 9.0
"""Rise of chi-squared beyond which a shape is excluded: three sigma."""
CELLS = 16


def flat_bottom(series: StarSeries, at: Ephemeris, level: float) -> tuple[float, float]:
    """Fit a trapezoid; return the best ratio of bottom to whole length, and the largest that the data allow.

    Returns
    -------
    best, largest : float
        0 = V, 0.9 = box; NaN where fewer than eight points lie in and around the dip.

    Notes
    -----
    Whole lengths of 0.9 to 2.3 times the duration of the box, bottoms of 0 to 0.9 of them, small shifts of the middle,
    each smeared over one cadence; the depth is linear. A shape is allowed while its chi-squared lies within 9 of the
    best, in units of the best fit's own scatter.
    """
    offset = series.time - at.t0
    offset = offset - at.period * np.rint(offset / at.period)
    near = np.abs(offset) < min(1.5 * at.duration, 0.5 * at.period)
    if np.count_nonzero(near) < 8:
        return float("nan"), float("nan")
    x, y, w = _cells(offset[near] / at.duration, series.flux[near] - level, series.weight[near])
    chi2 = _chi2(x, y, w, LENGTHS, BOTTOMS, SHIFTS, series.cadence / at.duration)
    per_bottom = chi2.min(axis=(0, 2))
    best = int(np.argmin(per_bottom))
    # What the cells hide of the points' scatter does not depend on the shape: the noise of a point is the unit.
    unit = max(
        mad_scatter(series.flux * np.sqrt(series.weight)) ** 2,
        per_bottom[best] / max(np.count_nonzero(near) - 4, 1),
        1e-300,
    )
    allowed = np.flatnonzero(per_bottom <= per_bottom[best] + EXCLUDED * unit)
    return float(BOTTOMS[best]), float(BOTTOMS[allowed[-1]])


def _cells(x: F64, y: F64, w: F64) -> tuple[F64, F64, F64]:
    """Weighted means in cells of the folded dip, a sixteenth of its duration wide; empty cells are left out."""
    cell = np.floor(x * CELLS).astype(np.int64)
    cell -= cell.min()
    total: F64 = np.bincount(cell, w).astype(np.float64)
    filled = total > 0
    total = total[filled]
    return np.bincount(cell, w * x)[filled] / total, np.bincount(cell, w * y)[filled] / total, total


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def trapezoid(x: float, length: float, bottom: float) -> float:
    """Depth at ``x`` of a trapezoid of depth 1: whole length ``length``, flat over ``bottom`` of it."""
    a = abs(x)
    outer, inner = 0.5 * length, 0.5 * length * bottom
    if a >= outer:
        return 0.0
    if a <= inner:
        return 1.0
    return (outer - a) / (outer - inner)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _chi2(x: F64, y: F64, w: F64, lengths: F64, bottoms: F64, shifts: F64, smear: float) -> F64:
    out = np.zeros((lengths.size, bottoms.size, shifts.size))
    for i in range(lengths.size):
        for j in range(bottoms.size):
            for k in range(shifts.size):
                mm, my, yy = 0.0, 0.0, 0.0
                for n in range(x.size):
                    m = 0.0
                    for s in range(5):
                        m += trapezoid(x[n] - shifts[k] + smear * ((s + 0.5) / 5.0 - 0.5), lengths[i], bottoms[j])
                    m *= 0.2
                    mm += w[n] * m * m
                    my += w[n] * m * y[n]
                    yy += w[n] * y[n] * y[n]
                out[i, j, k] = yy - my * my / mm if mm > 0.0 and my < 0.0 else yy
    return out
