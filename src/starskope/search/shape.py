"""The shape of a dip: a trapezoid, smeared by the exposure, and where in time it fits best.

Owns the fit of the shape to the folded dip and the least-squares ephemeris that the shape gives. Refuses to say what a
shape means.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from starskope.search.fold import ramp
from starskope.search.rednoise import mad_scatter
from starskope.search.refine import Ephemeris, first_event
from starskope.search.series import StarSeries

__all__ = ["BOX", "DipShape", "fit_ephemeris", "fit_shape", "smeared_trapezoid"]

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
N_ITERATION = 6
SINGULAR = 1e-9
"""Determinant of the normal matrix, its diagonal scaled to 1, below which period and epoch cannot be told apart."""


class DipShape(NamedTuple):
    """A trapezoid in units of the box's duration; length 0 = the box itself.

    Attributes
    ----------
    length : float
        Whole length over the duration of the box.
    bottom : float
        Flat bottom over the whole length: 0 = V, 0.9 = box.
    bottom_max : float
        Largest ``bottom`` that the data allow.
    smear : float
        Exposure over the duration of the box.
    """

    length: float
    bottom: float
    bottom_max: float
    smear: float


BOX = DipShape(0.0, 1.0, 1.0, 0.0)


def fit_shape(series: StarSeries, at: Ephemeris, level: float) -> DipShape:
    """Fit a trapezoid to the folded dip; a box where fewer than eight points lie in and around it.

    Notes
    -----
    Whole lengths of 0.9 to 2.3 times the duration of the box, bottoms of 0 to 0.9 of them, small shifts of the middle,
    each smeared over one cadence; the depth is linear. Of the shapes within 4 of the best chi-squared the flattest is
    taken, for a point at the bottom of a V makes dips deeper than they are; within 9 they are allowed. The unit is the
    noise of a point or, where nothing fits well, the best fit's own scatter.
    """
    offset = _offsets(series.time, at)
    near = np.abs(offset) < min(WINDOW * at.duration, 0.5 * at.period)
    n_point = np.count_nonzero(near)
    if n_point < LEAST_POINTS:
        return BOX
    x, y, w = _cells(offset[near] / at.duration, series.flux[near] - level, series.weight[near])
    smear = series.cadence / at.duration
    chi2 = _chi2(x, y, w, LENGTHS, BOTTOMS, SHIFTS, smear)
    per_bottom = chi2.min(axis=(0, 2))
    lowest = float(per_bottom.min())
    # What averaging in cells hides of the points' scatter does not depend on the shape.
    unit = max(mad_scatter(series.flux * np.sqrt(series.weight)) ** 2, lowest / max(x.size - 4, 1), 1e-300)
    good = int(np.flatnonzero(per_bottom <= lowest + GOOD * unit)[-1])
    allowed = int(np.flatnonzero(per_bottom <= lowest + EXCLUDED * unit)[-1])
    length = LENGTHS[int(np.argmin(chi2[:, good].min(axis=1)))]
    return DipShape(float(length), float(BOTTOMS[good]), float(BOTTOMS[allowed]), smear)


def fit_ephemeris(series: StarSeries, at: Ephemeris, shape: DipShape, level: float) -> tuple[Ephemeris, float, float]:
    """Fit period and epoch to all points near the events by least squares.

    Returns
    -------
    ephemeris : Ephemeris
        ``at`` itself where the fit does not converge within half a duration.
    period_err, t0_err : float
        One-sigma errors from the scatter of the points, days; NaN without a fit.

    Notes
    -----
    Gauss-Newton in depth, mid-transit near the middle of the times and period, with the derivative of the smeared
    trapezoid. A box has no slopes: its best position is only known to a cadence, the trapezoid's to a fraction of one.
    """
    middle = at.t0 + at.period * round((0.5 * float(series.time[0] + series.time[-1]) - at.t0) / at.period)
    number = np.rint((series.time - middle) / at.period)
    near = np.abs(series.time - middle - number * at.period) < min(WINDOW * at.duration, 0.5 * at.period)
    time, number = series.time[near], number[near]
    flux, root_w = series.flux[near] - level, np.sqrt(series.weight[near])
    unchanged = (at, math.nan, math.nan)
    if np.unique(number).size < 2 or time.size < LEAST_POINTS:
        return unchanged
    epoch, period = middle, at.period
    covariance = np.zeros((3, 3))
    rest = flux
    for _ in range(N_ITERATION):
        x = (time - epoch - number * period) / at.duration
        model = smeared_trapezoid(x, shape.length, shape.bottom, shape.smear)
        # The shape is even, and its derivative is taken over a stretch in which a cadence moves little.
        h = 0.03
        slope = (
            smeared_trapezoid(x + h, shape.length, shape.bottom, shape.smear)
            - smeared_trapezoid(x - h, shape.length, shape.bottom, shape.smear)
        ) / (2.0 * h)
        norm = float((root_w * model) @ (root_w * model))
        depth = -float((root_w * model) @ (root_w * flux)) / norm if norm > 0 else 0.0
        if not depth > 0:
            return unchanged
        # d flux / d epoch = depth * slope / duration, and number times that for the period.
        columns = np.stack([-model, depth * slope / at.duration, depth * slope * number / at.duration], axis=1)
        left = flux + depth * model
        normal = (columns * root_w[:, None] ** 2).T @ columns
        scale = np.sqrt(np.diag(normal))
        if not (scale > 0).all():
            return unchanged
        scaled = normal / np.outer(scale, scale)
        if not np.linalg.det(scaled) > SINGULAR:
            return unchanged
        covariance = np.linalg.inv(scaled) / np.outer(scale, scale)
        step = covariance @ ((columns * root_w[:, None] ** 2).T @ left)
        limit = 0.2 * at.duration
        epoch += float(np.clip(step[1], -limit, limit))
        reach = limit / max(float(np.abs(number).max()), 1.0)
        period += float(np.clip(step[2], -reach, reach))
        rest = left - columns @ step
    scatter = mad_scatter(root_w * rest)
    farthest = max(float(np.abs(number).max()), 1.0)
    if abs(epoch - middle) > 0.5 * at.duration or abs(period - at.period) * farthest > 0.5 * at.duration:
        return unchanged
    fitted = Ephemeris(period, first_event(epoch, period, float(series.time[0])), at.duration)
    n_back = round((epoch - fitted.t0) / period)
    t0_var = covariance[1, 1] - 2.0 * n_back * covariance[1, 2] + n_back**2 * covariance[2, 2]
    return fitted, scatter * math.sqrt(covariance[2, 2]), scatter * math.sqrt(max(t0_var, 0.0))


def _offsets(time: F64, at: Ephemeris) -> F64:
    offset = time - at.t0
    return np.asarray(offset - at.period * np.rint(offset / at.period))


def _cells(x: F64, y: F64, w: F64) -> tuple[F64, F64, F64]:
    """Weighted means in cells of the folded dip, a sixteenth of its duration wide; empty cells are left out."""
    cell = np.floor(x * CELLS).astype(np.int64)
    cell -= cell.min()
    total: F64 = np.bincount(cell, w).astype(np.float64)
    filled = total > 0
    total = total[filled]
    return np.bincount(cell, w * x)[filled] / total, np.bincount(cell, w * y)[filled] / total, total


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
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


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _chi2(x: F64, y: F64, w: F64, lengths: F64, bottoms: F64, shifts: F64, smear: float) -> F64:
    """Chi-squared of every shape with its best depth: (n_length, n_bottom, n_shift)."""
    out = np.zeros((lengths.size, bottoms.size, shifts.size))
    for i in range(lengths.size):
        for j in range(bottoms.size):
            for k in range(shifts.size):
                model = smeared_trapezoid(x - shifts[k], lengths[i], bottoms[j], smear)
                mm, my, yy = 0.0, 0.0, 0.0
                for n in range(x.size):
                    mm += w[n] * model[n] * model[n]
                    my += w[n] * model[n] * y[n]
                    yy += w[n] * y[n] * y[n]
                out[i, j, k] = yy - my * my / mm if mm > 0.0 and my < 0.0 else yy
    return out
