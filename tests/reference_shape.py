"""Where a dip fits best and what shape it has, with plain NumPy (cpp/src/dip_boxes.hpp, dip_shape.hpp)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from reference_events import BOX, DipShape, Ephemeris, StarPoints, first_event, mad_scatter
from reference_folding import box_around, ramp

F32 = NDArray[np.float32]
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


def _chi2(x: F64, y: F64, w: F64, lengths: F64, bottoms: F64, shifts: F64, smear: float) -> F64:
    """Chi-squared of every shape with its best depth: (n_length, n_bottom, n_shift)."""
    n_lane = bottoms.size * shifts.size
    out = np.zeros((lengths.size, n_lane))
    lane = np.arange(n_lane)
    shift = shifts[lane % shifts.size]
    half = 0.5 * smear
    yy = np.sum(w * y * y)
    for i in range(lengths.size):
        outer = 0.5 * lengths[i]
        inner = outer * bottoms[lane // shifts.size]
        mm, my = np.zeros(n_lane), np.zeros(n_lane)
        for n in range(x.size):
            ends = []
            for end in (x[n] - shift + half, x[n] - shift - half):
                on_slope = np.maximum(np.minimum(np.abs(end), outer) - inner, 0.0)
                area = np.minimum(np.abs(end), outer) - 0.5 / (outer - inner) * on_slope**2
                ends.append(np.where(end >= 0.0, area, -area))
            model = ends[0] - ends[1]
            mm += w[n] * model * model
            my += w[n] * model * y[n]
        dips = (mm > 0.0) & (my < 0.0)
        out[i] = yy
        out[i, dips] -= my[dips] ** 2 / mm[dips]
    return out.reshape((lengths.size, bottoms.size, shifts.size))


N_ITERATION = 6
SLOPE_STEP = 0.03
"""Durations over which the derivative of the shape is taken: a stretch in which a cadence moves little."""
SINGULAR = 1e-9
"""Determinant of the normal matrix, its diagonal scaled to 1, below which period and epoch cannot be told apart."""


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


CELLS_COARSE, CELLS_FINE = 16, 32
"""Cells per box of the first and second pass."""
FREEDOM_COARSE, FREEDOM_FINE = 8.0, 40.0
"""Frequency steps of these passes: the last event moves by this part of the duration."""
LONGEST_DUTY = 0.16
"""Longest duration as a fraction of the period: an orbit within two stellar radii tears a planet apart; longer boxes
fit the half waves of variable stars."""
MOST_FREQUENCIES = 129


def refine(points: StarPoints, start: Ephemeris, frequency_step: float, shortest: float, longest: float) -> Ephemeris:
    """Find the best box near a candidate.

    Parameters
    ----------
    points : StarPoints
    start : Ephemeris
        From the grid.
    frequency_step : float
        Step of that grid in 1/day: the true frequency lies within one and a half of it.
    shortest, longest : float
        Limits of the duration, days.

    Returns
    -------
    Ephemeris
        ``t0`` is the first mid-transit at or after the first time. ``start`` itself where no dip is left.

    Notes
    -----
    Two passes of `fold.box_around`, with 16 and 32 cells per box and frequency steps that move the last event by an
    eighth and a fortieth of the duration.
    """
    begin, end = points.time[0], points.time[points.time.size - 1]
    at, reach = start, 1.5 * frequency_step
    for coarse in (True, False):
        n_cell, freedom = (CELLS_COARSE, FREEDOM_COARSE) if coarse else (CELLS_FINE, FREEDOM_FINE)
        step = at.duration / (freedom * at.period * max(end - begin, at.period))
        n_side = int(min(np.ceil(reach / step), MOST_FREQUENCIES // 2))
        frequencies = 1.0 / at.period + reach * np.arange(-n_side, n_side + 1) / max(n_side, 1)
        frequencies = frequencies[frequencies > 0]
        middle = at.t0 + at.period * np.rint((0.5 * (begin + end) - at.t0) / at.period)
        half_window = min((2.0 if coarse else 1.25) * max(at.duration, points.cadence), 0.5 * at.period)
        cell = at.duration / n_cell
        cells = max(int(2.0 * half_window / cell), 2)
        cell = 2.0 * half_window / cells
        least = max(int(np.ceil(shortest / cell - 1e-9)), 1)
        most = max(int(min(longest, LONGEST_DUTY * at.period) / cell + 1e-9), least)
        gain, i, first, n = box_around(
            points.time, points.flux, points.weight, frequencies, middle, half_window, cells, least, most
        )
        if not gain > 0:
            return at
        period = 1.0 / frequencies[i]
        t0 = middle - half_window + (first + 0.5 * n) * cell
        at = Ephemeris(period, first_event(t0, period, begin), n * cell)
        reach = 1.5 * step
    return at


def locate(points: StarPoints, period: float, shortest: float, longest: float) -> tuple[bool, Ephemeris]:
    """Find the best box at one period, at any phase: what a box periodogram has found there, on all points.

    Returns
    -------
    found : bool
        False where nothing dips.
    at : Ephemeris
    """
    best_gain, middle, duration = 0.0, 0.0, 0.0
    n_cell = int(np.ceil(3.0 * period / shortest))
    cell = period / n_cell
    most = max(int(min(longest, LONGEST_DUTY * period) / cell), 3)
    # The window ends half a period off its epoch: a dip that one window cuts lies in the middle of the other.
    for half_turn in (0.0, 0.5):
        epoch = points.time[0] + half_turn * period
        gain, _, first, n = box_around(
            points.time, points.flux, points.weight, np.array([1.0 / period]), epoch, 0.5 * period, n_cell, 3, most
        )
        if gain > best_gain:
            best_gain, middle, duration = gain, epoch - 0.5 * period + (first + 0.5 * n) * cell, n * cell
    return best_gain > 0.0, Ephemeris(period, first_event(middle, period, points.time[0]), duration)
