"""Where in time the shape of a dip fits best: period and epoch by least squares.

Owns the fit and its errors. Refuses boxes, which have no slopes, and to change the shape (`shape`).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from starskope.search.ephemeris import DipShape, Ephemeris, first_event
from starskope.search.rednoise import mad_scatter
from starskope.search.shape import LEAST_POINTS, WINDOW, smeared_trapezoid
from starskope.search.star_points import StarPoints

__all__ = ["fit_ephemeris"]

F64 = NDArray[np.float64]

N_ITERATION = 6
SLOPE_STEP = 0.03
"""Durations over which the derivative of the shape is taken: a stretch in which a cadence moves little."""
SINGULAR = 1e-9
"""Determinant of the normal matrix, its diagonal scaled to 1, below which period and epoch cannot be told apart."""


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def fit_ephemeris(points: StarPoints, at: Ephemeris, shape: DipShape, level: float) -> tuple[Ephemeris, float, float]:
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
    begin, end = points.time[0], points.time[points.time.size - 1]
    middle = at.t0 + at.period * np.rint((0.5 * (begin + end) - at.t0) / at.period)
    number = np.rint((points.time - middle) / at.period)
    near = np.abs(points.time - middle - number * at.period) < min(WINDOW * at.duration, 0.5 * at.period)
    time, number = points.time[near], number[near]
    flux, root_w = points.flux[near] - level, np.sqrt(points.weight[near])
    if time.size < LEAST_POINTS or np.min(number) == np.max(number):
        return at, np.nan, np.nan
    farthest = max(np.max(np.abs(number)), 1.0)
    epoch, period = middle, at.period
    covariance = np.zeros((3, 3))
    rest = flux
    for _ in range(N_ITERATION):
        x = (time - epoch - number * period) / at.duration
        model = smeared_trapezoid(x, shape.length, shape.bottom, shape.smear)
        slope = (
            smeared_trapezoid(x + SLOPE_STEP, shape.length, shape.bottom, shape.smear)
            - smeared_trapezoid(x - SLOPE_STEP, shape.length, shape.bottom, shape.smear)
        ) / (2.0 * SLOPE_STEP)
        norm = np.sum((root_w * model) ** 2)
        depth = -np.sum(root_w**2 * model * flux) / norm if norm > 0 else 0.0
        if not depth > 0:
            return at, np.nan, np.nan
        # d flux / d epoch = depth * slope / duration, and number times that for the period.
        columns = np.empty((3, time.size))
        columns[0], columns[1] = -model, depth * slope / at.duration
        columns[2] = columns[1] * number
        left = flux + depth * model
        normal, right = np.empty((3, 3)), np.empty(3)
        for j in range(3):
            right[j] = np.sum(columns[j] * root_w**2 * left)
            for k in range(3):
                normal[j, k] = np.sum(columns[j] * root_w**2 * columns[k])
        is_solved, covariance = _inverted(normal)
        if not is_solved:
            return at, np.nan, np.nan
        step = np.empty(3)
        for j in range(3):
            step[j] = np.sum(covariance[j] * right)
        limit = 0.2 * at.duration
        epoch += min(max(step[1], -limit), limit)
        reach = limit / farthest
        period += min(max(step[2], -reach), reach)
        rest = left - step[0] * columns[0] - step[1] * columns[1] - step[2] * columns[2]
    scatter = mad_scatter(root_w * rest)
    if abs(epoch - middle) > 0.5 * at.duration or abs(period - at.period) * farthest > 0.5 * at.duration:
        return at, np.nan, np.nan
    fitted = Ephemeris(period, first_event(epoch, period, begin), at.duration)
    n_back = np.rint((epoch - fitted.t0) / period)
    t0_var = covariance[1, 1] - 2.0 * n_back * covariance[1, 2] + n_back**2 * covariance[2, 2]
    return fitted, scatter * np.sqrt(covariance[2, 2]), scatter * np.sqrt(max(t0_var, 0.0))


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _inverted(normal: F64) -> tuple[bool, F64]:
    """Inverse of a symmetric matrix (3, 3), its diagonal scaled to 1 meanwhile; False where it is nearly singular."""
    out = np.zeros((3, 3))
    scale = np.sqrt(np.diag(normal))
    if not (scale[0] > 0 and scale[1] > 0 and scale[2] > 0):
        return False, out
    a = normal / np.outer(scale, scale)
    for j in range(3):
        j1, j2 = (j + 1) % 3, (j + 2) % 3
        for k in range(3):
            k1, k2 = (k + 1) % 3, (k + 2) % 3
            out[k, j] = a[j1, k1] * a[j2, k2] - a[j1, k2] * a[j2, k1]
    determinant = a[0, 0] * out[0, 0] + a[0, 1] * out[1, 0] + a[0, 2] * out[2, 0]
    if not determinant > SINGULAR:
        return False, out
    return True, out / determinant / np.outer(scale, scale)
