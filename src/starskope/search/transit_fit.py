"""What a transit says about planet and star: radius ratio, distance, impact parameter, density, and a better ephemeris.

Owns the fit of `transit_model` to the points around the events of a candidate, with errors that hold what the shape
leaves open. Refuses candidates whose shape is lost in noise (they stay NaN), limb darkening as a free parameter, and
eccentric orbits: the density is that of a circular one.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from starskope.search.candidate import PERIODIC, Candidate
from starskope.search.ephemeris import first_event
from starskope.search.grids import density_of
from starskope.search.series import StarSeries, mad_scatter
from starskope.search.transit_model import exposure_moments, transit_depths
from starskope.search.transit_shape import LARGEST_RATIO, LIMB_DARKENING, Points, Shape, fit_shape_at

__all__ = ["LEAST_SNR", "fit_transit"]

F64 = NDArray[np.float64]

LEAST_SNR = 15.0
"""Below, ingress and egress are lost in noise: 15 sigma of depth are about 4 of the slopes."""
FIRST_IMPACT = 0.4
IMPACTS = np.linspace(0.0, 1.0, 21)
CELLS = 32
"""Cells per transit into which the folded points are averaged."""
WINDOW = 1.5
"""Transit lengths on either side of the middle that take part."""
LEAST_CELLS, LEAST_IN_TRANSIT = 12, 4
N_EPHEMERIS = 4


def fit_transit(series: StarSeries, candidate: Candidate) -> Candidate:
    """Return the candidate with the parameters of its transit, where its shape can be told.

    Parameters
    ----------
    series : StarSeries
        All points of the star; found planets taken out.
    candidate : Candidate
        Periodic, its ephemeris fitted. Others come back as they are.

    Notes
    -----
    At each of 21 impact parameters from 0 to 1, ratio, distance and middle are fitted to the folded points by damped
    least squares. These solutions are weighted by their likelihood and the volume that the data leave (Laplace's
    approximation, impact parameters equally likely before): values are the means and errors the standard deviations, so
    that they hold the freedom between distance and impact parameter. They grow with the scatter of the events where
    that exceeds white noise. Then period and epoch are fitted to all points near the events, with the model's slopes.
    ``fit_chi2`` is the best sum of squares per degree of freedom, in the scatter of the points.
    """
    if candidate.kind != PERIODIC or not candidate.snr >= LEAST_SNR or not candidate.depth > 0:
        return candidate
    length = candidate.duration * (candidate.length if candidate.length > 0 else 1.3)
    points, level = _folded(series, candidate, length)
    if points is None:
        return candidate
    # What the search has found may smear the slopes: first the ephemeris, then the shape.
    rough = _first_shape(candidate, length, FIRST_IMPACT)
    moments = exposure_moments(series.cadence, length)
    start = fit_shape_at(points, candidate.period, FIRST_IMPACT, rough, length, _smear(series, length))
    if start is None:
        return candidate
    found = candidate
    candidate = _ephemeris(series, candidate, (FIRST_IMPACT, start), level, length, moments)
    points, level = _folded(series, candidate, length)
    if points is None:
        return found
    shapes = _over_impacts(points, candidate, length, _smear(series, length))
    if not shapes:
        return found
    scatter = mad_scatter(series.flux * np.sqrt(series.weight))
    dof = max(points.offset.size - 5, 1)
    lowest = min(shape.cost for _, shape in shapes)
    unit = max(scatter**2, lowest / dof, 1e-300)
    _, best = min(shapes, key=lambda one: one[1].cost)
    # Red noise: the error of the depth is known, and the depth goes with the square of the ratio.
    white = 2.0 * math.sqrt(unit * best.variance[0]) / best.ratio
    growth = max(1.0, candidate.depth_err / candidate.depth / white) if white > 0 else 1.0
    likely = np.array([-0.5 * (s.cost - lowest) / (unit * growth**2) + math.log(s.volume) for _, s in shapes])
    share = np.exp(likely - likely.max())
    share /= share.sum()
    impact, impact_err = _mean(np.array([b for b, _ in shapes]), np.zeros(len(shapes)), share)
    ratio, ratio_err = _mean(
        np.array([s.ratio for _, s in shapes]), unit * growth**2 * np.array([s.variance[0] for _, s in shapes]), share
    )
    log_a, log_a_err = _mean(
        np.array([s.log_a for _, s in shapes]), unit * growth**2 * np.array([s.variance[1] for _, s in shapes]), share
    )
    # The grid itself resolves no better than its step.
    impact_err = max(impact_err, float(IMPACTS[1]) / math.sqrt(12.0))
    a_rs = math.exp(log_a)
    fitted = replace(
        candidate,
        rp_rs=ratio,
        rp_rs_err=ratio_err,
        a_rs=a_rs,
        a_rs_err=a_rs * log_a_err,
        impact=impact,
        impact_err=impact_err,
        density=density_of(candidate.period, a_rs),
        density_err=3.0 * log_a_err * density_of(candidate.period, a_rs),
        fit_chi2=lowest / dof / scatter**2 if scatter > 0 else math.nan,
    )
    most_likely = shapes[int(np.argmax(share))]
    return _ephemeris(series, fitted, most_likely, level, length, moments)


def _over_impacts(
    points: Points, candidate: Candidate, length: float, moments: tuple[F64, F64]
) -> list[tuple[float, Shape]]:
    """Fit every impact parameter, each from the solution of the one before."""
    shapes: list[tuple[float, Shape]] = []
    for impact in IMPACTS.tolist():
        start = shapes[-1][1] if shapes else _first_shape(candidate, length, impact)
        found = fit_shape_at(points, candidate.period, impact, start, length, moments)
        if found is not None:
            shapes.append((impact, found))
    return shapes


def _first_shape(candidate: Candidate, length: float, impact: float) -> Shape:
    """Guess ratio and distance from depth and length."""
    ratio = min(math.sqrt(candidate.depth), 0.5 * LARGEST_RATIO)
    chord = math.sqrt((1.0 + ratio) ** 2 - impact**2)
    sine = math.sin(math.pi * min(length / candidate.period, 0.45))
    return Shape(ratio, math.log(max(chord / sine, 1.2)), 0.0, 0.0, (0.0, 0.0), 0.0)


def _smear(series: StarSeries, length: float) -> tuple[F64, F64]:
    """Moments of the exposure and of the cell, whose variances add."""
    return exposure_moments(math.hypot(series.cadence, length / CELLS), length)


def _folded(series: StarSeries, candidate: Candidate, length: float) -> tuple[Points | None, float]:
    """Average the points around the events in cells; None where transit or surroundings hold too few."""
    offset = _offsets(series.time, candidate.period, candidate.t0)
    half = min(WINDOW * length + 0.5 * series.cadence, 0.5 * candidate.period)
    near = np.abs(offset) < half
    x, y, w = offset[near], series.flux[near], series.weight[near]
    outside = np.abs(x) > 0.6 * length + 0.5 * series.cadence
    if np.count_nonzero(outside) < LEAST_IN_TRANSIT:
        return None, 0.0
    level = float(w[outside] @ y[outside] / w[outside].sum())
    cell = np.floor(x * (CELLS / length)).astype(np.int64)
    cell -= cell.min() if cell.size else 0
    total: F64 = np.bincount(cell, w).astype(np.float64)
    filled = total > 0
    total = total[filled]
    points = Points(np.bincount(cell, w * x)[filled] / total, np.bincount(cell, w * (y - level))[filled] / total, total)
    inside = np.count_nonzero(np.abs(points.offset) < 0.5 * length)
    if points.offset.size < LEAST_CELLS or inside < LEAST_IN_TRANSIT:
        return None, level
    return points, level


def _mean(values: F64, variances: F64, share: F64) -> tuple[float, float]:
    """Mean and standard deviation of a mixture."""
    mean = float(share @ values)
    return mean, math.sqrt(float(share @ (variances + (values - mean) ** 2)))


def _ephemeris(
    series: StarSeries,
    candidate: Candidate,
    likely: tuple[float, Shape],
    level: float,
    length: float,
    moments: tuple[F64, F64],
) -> Candidate:
    """Fit period and epoch to all points near the events; the candidate as it is where that moves it too far."""
    impact, shape = likely
    period, epoch = candidate.period, candidate.t0 + shape.middle
    middle = epoch + period * round((0.5 * float(series.time[0] + series.time[-1]) - epoch) / period)
    number = np.rint((series.time - middle) / period)
    near = np.abs(series.time - middle - number * period) < min(WINDOW * length, 0.5 * period)
    time, number, flux, weight = series.time[near], number[near], series.flux[near] - level, series.weight[near]
    if np.unique(number).size < 2:
        return candidate
    # One table of the model serves all points and all steps.
    table = np.linspace(-2.0 * length, 2.0 * length, 1601)
    depths = transit_depths(table, period, shape.ratio, math.exp(shape.log_a), impact, *LIMB_DARKENING, *moments)
    slopes = np.gradient(depths, table)
    at = np.array([middle, period])
    normal, rest = np.zeros((2, 2)), flux
    for _ in range(N_EPHEMERIS):
        offset = time - at[0] - number * at[1]
        rest = flux + np.interp(offset, table, depths)
        # Moving the epoch later moves the dip: d depth / d epoch = -slope.
        slope = np.interp(offset, table, slopes)
        columns = np.stack([-slope, -slope * number], axis=1)
        normal = (columns * weight[:, None]).T @ columns
        if not np.linalg.cond(normal / np.sqrt(np.outer(np.diag(normal), np.diag(normal)))) < 1e9:
            return candidate
        at = at - np.linalg.solve(normal, (columns * weight[:, None]).T @ rest)
    farthest = max(float(np.abs(number).max()), 1.0)
    if not (abs(at[0] - middle) < 0.2 * length and abs(at[1] - period) * farthest < 0.2 * length):
        return candidate
    covariance = np.linalg.inv(normal) * mad_scatter(rest * np.sqrt(weight)) ** 2
    t0 = first_event(float(at[0]), float(at[1]), float(series.time[0]))
    n_back = round((at[0] - t0) / at[1])
    t0_var = covariance[0, 0] - 2.0 * n_back * covariance[0, 1] + n_back**2 * covariance[1, 1]
    return replace(
        candidate,
        period=float(at[1]),
        t0=t0,
        period_err=math.sqrt(covariance[1, 1]),
        t0_err=math.sqrt(max(float(t0_var), 0.0)),
    )


def _offsets(time: F64, period: float, t0: float) -> F64:
    offset = time - t0
    return np.asarray(offset - period * np.rint(offset / period))
