"""The shape of a dip: a trapezoid, smeared by the exposure.

Owns the fit of the shape to the folded dip. Refuses to say what a shape means, and to move the dip
(`ephemeris_fit`).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from starskope.search.ephemeris import BOX, DipShape, Ephemeris
from starskope.search.fold import ramp
from starskope.search.star_points import StarPoints

__all__ = ["LEAST_POINTS", "WINDOW", "fit_shape", "smeared_trapezoid"]

F64 = NDArray[np.float64]

BOTTOMS = np.linspace(0.0, 0.9, 10)
LENGTHS = np.linspace(0.9, 2.3, 15)
SHIFTS = np.linspace(-0.2, 0.2, 5)
GOOD, EXCLUDED = 4.0, 9.0
"""Rise of chi-squared up to which a shape is as good as the best, and beyond which it is excluded."""
CELLS = 16
"""Cells per duration into which the folded dip is averaged for the fit."""
WINDOW = 1.5
"""Durations on either side of the middle that take part."""
LEAST_POINTS = 8


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def fit_shape(points: StarPoints, at: Ephemeris, level: float) -> DipShape:
    """Fit a trapezoid to the folded dip; a box where fewer than eight points lie in and around it.

    Notes
    -----
    Whole lengths of 0.9 to 2.3 times the duration of the box, bottoms of 0 to 0.9 of them, small shifts of the middle,
    each smeared over one cadence; the depth is linear. Of the shapes within 4 of the best chi-squared the flattest is
    taken, for a point at the bottom of a V makes dips deeper than they are; within 9 they are allowed. The unit is the
    noise of a point or, where nothing fits well, the best fit's own scatter.
    """
    n_point, x, y, w = _cells(points, at, level)
    if n_point < LEAST_POINTS:
        return BOX
    smear = points.cadence / at.duration
    chi2 = _chi2(x, y, w, LENGTHS, BOTTOMS, SHIFTS, smear)
    per_bottom = np.empty(BOTTOMS.size)
    for j in range(BOTTOMS.size):
        per_bottom[j] = np.min(chi2[:, j])
    lowest = np.min(per_bottom)
    # What averaging in cells hides of the points' scatter does not depend on the shape.
    unit = max(points.scatter**2, lowest / max(x.size - 4, 1), 1e-300)
    good, allowed = 0, 0
    for j in range(BOTTOMS.size):
        if per_bottom[j] <= lowest + GOOD * unit:
            good = j
        if per_bottom[j] <= lowest + EXCLUDED * unit:
            allowed = j
    per_length = np.empty(LENGTHS.size)
    for i in range(LENGTHS.size):
        per_length[i] = np.min(chi2[i, good])
    length = LENGTHS[np.argmin(per_length)]
    return DipShape(length, BOTTOMS[good], BOTTOMS[allowed], smear)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _cells(points: StarPoints, at: Ephemeris, level: float) -> tuple[int, F64, F64, F64]:
    """Return how many points lie near the dip, and their weighted means in cells a sixteenth of its duration wide.

    Empty cells are left out.
    """
    reach = min(WINDOW * at.duration, 0.5 * at.period)
    # A cell on either side more than the window holds: rounding never leaves the array.
    middle = int(np.ceil(reach / at.duration * CELLS)) + 1
    total, x, y = np.zeros(2 * middle + 1), np.zeros(2 * middle + 1), np.zeros(2 * middle + 1)
    offset = np.empty(points.time.size)
    for i in range(offset.size):
        from_t0 = points.time[i] - at.t0
        offset[i] = from_t0 - at.period * np.rint(from_t0 / at.period)
    n_point = 0
    for i in range(offset.size):
        if abs(offset[i]) < reach:
            n_point += 1
            place, weight = offset[i] / at.duration, points.weight[i]
            cell = middle + int(np.floor(place * CELLS))
            total[cell] += weight
            x[cell] += weight * place
            y[cell] += weight * (points.flux[i] - level)
    filled = total > 0
    total = total[filled]
    return n_point, x[filled] / total, y[filled] / total, total


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def smeared_trapezoid(x: F64, length: float, bottom: float, smear: float) -> F64:
    """Return the depth at ``x`` of a trapezoid, averaged over an exposure and scaled to 1 at the middle.

    Parameters
    ----------
    x : (n,) float64
        Distance from the middle, in any unit.
    length, bottom, smear : float
        Whole length, flat part of it as a fraction below 1, length of the exposure; in the unit of ``x``.
    """
    outer = 0.5 * length
    inner = outer * bottom
    peak = 2.0 * ramp(0.5 * smear, outer, inner)
    out = np.zeros(x.size)
    for i in range(x.size):
        out[i] = (ramp(x[i] + 0.5 * smear, outer, inner) - ramp(x[i] - 0.5 * smear, outer, inner)) / peak
    return out


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _chi2(x: F64, y: F64, w: F64, lengths: F64, bottoms: F64, shifts: F64, smear: float) -> F64:
    """Chi-squared of every shape with its best depth: (n_length, n_bottom, n_shift)."""
    n_lane = bottoms.size * shifts.size
    out = np.zeros((lengths.size, n_lane))
    lane = np.arange(n_lane)
    shift = shifts[lane % shifts.size]
    half = 0.5 * smear
    mm, my = np.empty(n_lane), np.empty(n_lane)
    yy = np.sum(w * y * y)
    for i in range(lengths.size):
        outer = 0.5 * lengths[i]
        inner = outer * bottoms[lane // shifts.size]
        slope = 0.5 / (outer - inner)
        mm[:] = 0.0
        my[:] = 0.0
        for n in range(x.size):
            here, weight, flux = x[n], w[n], y[n]
            # All bottoms and shifts at once; `ramp` without its branches. The height of the middle divides out.
            for k in range(n_lane):
                low, high = here - shift[k] - half, here - shift[k] + half
                to_low, to_high = min(abs(low), outer), min(abs(high), outer)
                on_low, on_high = max(to_low - inner[k], 0.0), max(to_high - inner[k], 0.0)
                area_low = to_low - slope[k] * on_low * on_low
                area_high = to_high - slope[k] * on_high * on_high
                model = (area_high if high >= 0.0 else -area_high) - (area_low if low >= 0.0 else -area_low)
                mm[k] += weight * model * model
                my[k] += weight * model * flux
        for k in range(n_lane):
            out[i, k] = yy - my[k] * my[k] / mm[k] if mm[k] > 0.0 and my[k] < 0.0 else yy
    return out.reshape((lengths.size, bottoms.size, shifts.size))
