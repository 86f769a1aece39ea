"""One ephemeris of a star measured with plain loops: points, quiet light, noise, events (cpp/src/dip_events.hpp)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from reference_folding import event_sums

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

MAD_TO_SIGMA = 1.4826
LEAST_COVERAGE = 0.35


def mad_scatter(values: F64) -> float:
    """Standard deviation from the median absolute deviation."""
    return float(MAD_TO_SIGMA * np.median(np.abs(values - np.median(values)))) if values.size else np.nan


class Ephemeris(NamedTuple):
    """Period, mid-transit of the first event, duration: days."""

    period: float
    t0: float
    duration: float


class Limits(NamedTuple):
    """Limits of a search in days: periods, durations."""

    period_min: float
    period_max: float
    duration_min: float
    duration_max: float


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


def first_event(t0: float, period: float, start: float) -> float:
    """First mid-transit at or after ``start``."""
    return float(t0 + period * np.ceil((start - t0) / period - 1e-9))


class StarPoints(NamedTuple):
    """Points of one star.

    Attributes
    ----------
    time, flux, weight : (n,) float64
        Days, increasing; relative flux, its level subtracted; inverse variances of mean 1.
    scaled : (n,) float64
        ``flux sqrt(weight)``: of equal scatter.
    centre, scatter : float
        Median of that and its standard deviation from the median absolute deviation.
    cadence : float
        Median step of the times, days.
    """

    time: F64
    flux: F64
    weight: F64
    scaled: F64
    centre: float
    scatter: float
    cadence: float


def star_points(time: F64, flux: F64, weight: F64, cadence: float) -> StarPoints:
    """Add to the points of a star (n,) what all loops over them ask for."""
    scaled = flux * np.sqrt(weight)
    centre, scatter = float(np.median(scaled)), mad_scatter(scaled)
    return StarPoints(time, flux, weight, scaled, centre, scatter, cadence)


def upside_down(points: StarPoints) -> StarPoints:
    """Return the points with dips and rises exchanged."""
    return StarPoints(
        points.time,
        -points.flux,
        points.weight,
        -points.scaled,
        -points.centre,
        points.scatter,
        points.cadence,
    )


STEPS_PER_BOX = 3
LEAST_BOXES = 8
TAIL, TAIL_SIGMA = 0.95, 1.96


def box_means(time: F64, flux: F64, weight: F64, duration: float, step: float) -> tuple[F64, F64]:
    """Weighted means of boxes that slide along time, and the weights in them; empty boxes are left out.

    Parameters
    ----------
    time, flux, weight : (n,) float64
    duration, step : float
        Days: length of a box, distance of their starts.

    Returns
    -------
    mean, weight : (n_box,) float64
    """
    n = time.size
    if n == 0:
        return np.zeros(0), np.zeros(0)
    n_box = max(int((time[n - 1] - time[0] - duration) / step) + 1, 0)
    mean, total = np.empty(n_box), np.empty(n_box)
    # Sums up to each point: a box is a difference, and fluxes around 0 lose nothing by it.
    sum_w, sum_y = np.empty(n + 1), np.empty(n + 1)
    sum_w[0] = sum_y[0] = 0.0
    for i in range(n):
        sum_w[i + 1] = sum_w[i] + weight[i]
        sum_y[i + 1] = sum_y[i] + weight[i] * flux[i]
    first, last, kept = 0, 0, 0
    for b in range(n_box):
        start = time[0] + b * step
        while first < n and time[first] < start:
            first += 1
        last = max(last, first)
        while last < n and time[last] < start + duration:
            last += 1
        w = sum_w[last] - sum_w[first]
        if last > first and w > 0.0:
            mean[kept], total[kept] = (sum_y[last] - sum_y[first]) / w, w
            kept += 1
    return mean[:kept], total[:kept]


def split_noise(time: F64, flux: F64, weight: F64, duration: float) -> tuple[float, float]:
    """Measure white and red noise of a star for boxes of one duration.

    Parameters
    ----------
    time, flux, weight : (n,) float64
        Points outside the candidate; weights with mean 1.
    duration : float
        Days.

    Returns
    -------
    white : float
        Scatter of a point of weight 1, in the unit of the flux.
    red : float
        Scatter of the mean of a box that is left when white noise is taken away.

    Notes
    -----
    The means of all boxes scatter by V(n) = white**2 / n + red**2 (Pont, Zucker & Queloz 2006, eq. 5); scatters are
    taken from the median absolute deviation, so that a second planet or a flare does not count as noise, and from the
    95th percentile where that is larger, so that long tails do.

    References
    ----------
    Pont, Zucker & Queloz 2006, doi:10.1111/j.1365-2966.2006.11012.x
    """
    if time.size == 0:
        return np.nan, 0.0
    white = mad_scatter(flux * np.sqrt(weight))
    means, weights = box_means(time, flux, weight, duration, duration / STEPS_PER_BOX)
    average = 0.0
    for i in range(means.size):
        average += weights[i]
    half = 0.5 * average / means.size
    n, inverse = 0, 0.0
    for i in range(means.size):
        if weights[i] >= half:
            means[n] = means[i]
            n += 1
            inverse += 1.0 / weights[i]
    if n < LEAST_BOXES:
        return white, 0.0
    kept = means[:n]
    deviation = np.sort(np.abs(kept - np.median(kept)))
    tail = deviation[int(TAIL * (n - 1))]
    # Of two in the middle the upper one counts.
    spread = max(MAD_TO_SIGMA * deviation[n // 2], tail / TAIL_SIGMA)
    return white, np.sqrt(max(spread**2 - white**2 * inverse / n, 0.0))


SCATTER_PRIOR = 3.0
"""Degrees of freedom by which the scatter of few events is held to its expectation."""
"""An event counts as observed when this much of it is: its own error says how little that may be worth."""
TRANSIT_WIDTH = 2.0
"""Durations of a box around an event within which nothing counts as quiet."""


class Depth(NamedTuple):
    """A mean depth, its error from noise alone (``formal``) and with the scatter of the events (``error``)."""

    value: float
    formal: float
    error: float


class Measured(NamedTuple):
    """An ephemeris with its events and the noise they stand in.

    Attributes
    ----------
    at : Ephemeris
    shape : DipShape
        What was fitted to each event, its depth free.
    number : (n_event,) int64
        Of the observed events: mid-transit is ``t0 + number * period``.
    event_depth, variance : (n_event,) float64
        Fraction of the light below the level outside, and its variance with red noise.
    depth : Depth
        Mean of the events.
    white, red, level : float
        Noise and mean flux of the quiet points, see `rednoise.split_noise`.
    """

    at: Ephemeris
    shape: DipShape
    number: NDArray[np.int64]
    event_depth: F64
    variance: F64
    depth: Depth
    white: float
    red: float
    level: float


def least_points(duration: float, cadence: float) -> float:
    """Return the points within its duration from which an event counts as observed."""
    return max(LEAST_COVERAGE * max(duration / cadence, 1.0), 1.0 - 1e-9)


def weighted_mean(depth: F64, variance: F64) -> Depth:
    """Mean depth by inverse variance; its error grows with the scatter of the events where that is larger; NaN of none.

    Notes
    -----
    ``error = formal * max(1, sqrt((chi2 + 3) / (n - 1 + 3)))``: one deep artefact among events of no depth has a large
    error by its own scatter, while three honest events are not punished for the small number.
    """
    if depth.size == 0:
        return Depth(np.nan, np.nan, np.nan)
    total, moment = 0.0, 0.0
    for i in range(depth.size):
        total += 1.0 / variance[i]
        moment += depth[i] / variance[i]
    value = moment / total
    chi2 = 0.0
    for i in range(depth.size):
        chi2 += (depth[i] - value) ** 2 / variance[i]
    formal = total**-0.5
    growth = np.sqrt((chi2 + SCATTER_PRIOR) / (depth.size - 1 + SCATTER_PRIOR))
    return Depth(value, formal, formal * max(1.0, growth))


def _quiet(points: StarPoints, at: Ephemeris, other_t0: float) -> tuple[F64, F64, F64, float]:
    """Time, flux and weight of the points away from the events and those at another epoch (NaN = none), and level.

    All points where no other is left.
    """
    n = points.time.size
    half = 0.5 * TRANSIT_WIDTH * at.duration
    away = np.empty(n, np.bool_)
    for i in range(n):
        offset = points.time[i] - at.t0
        away[i] = not (abs(offset - at.period * np.rint(offset / at.period)) < half)
    if np.isfinite(other_t0):
        for i in range(n):
            offset = points.time[i] - other_t0
            away[i] &= not (abs(offset - at.period * np.rint(offset / at.period)) < half)
    time, flux, weight = np.empty(n + 1), np.empty(n + 1), np.empty(n + 1)
    m = 0
    for i in range(n):
        time[m], flux[m], weight[m] = points.time[i], points.flux[i], points.weight[i]
        m += int(away[i])
    if m == 0:
        time[:n], flux[:n], weight[:n], m = points.time, points.flux, points.weight, n
    total, moment = 0.0, 0.0
    for i in range(m):
        total += weight[i]
        moment += weight[i] * flux[i]
    return time[:m], flux[:m], weight[:m], moment / total


def measured_at(points: StarPoints, at: Ephemeris, shape: DipShape, other_phase: float) -> Measured:
    """Measure an ephemeris as it is.

    Parameters
    ----------
    points : StarPoints
    at : Ephemeris
    shape : DipShape
        Of the dip.
    other_phase : float
        Phase of what else dips with this period, which is not quiet either; NaN = nothing.
    """
    time, flux, weight, level = _quiet(points, at, at.t0 + other_phase * at.period)
    white, red = split_noise(time, flux, weight, at.duration)
    number, depth, variance = observed_events(points, at, shape, white, red, level)
    return Measured(at, shape, number, depth, variance, weighted_mean(depth, variance), white, red, level)


def observed_events(
    points: StarPoints, at: Ephemeris, shape: DipShape, white: float, red: float, level: float
) -> tuple[NDArray[np.int64], F64, F64]:
    """Return number, depth and variance of the events of which enough was observed."""
    first, count, wm, wmm, wmy = event_sums(
        points.time,
        points.flux - level,
        points.weight,
        at.period,
        at.t0,
        at.duration,
        shape.length,
        shape.bottom,
        shape.smear,
    )
    seen = np.flatnonzero((count >= least_points(at.duration, points.cadence)) & (wmm > 0.0))
    # Red noise shifts all points of an event alike: the shape turns a shift into wm / wmm of it.
    shifted = red * wm[seen] / wmm[seen]
    return first + seen, -wmy[seen] / wmm[seen], white**2 / wmm[seen] + shifted**2
