"""One ephemeris of one star: level and noise outside its events, every event by itself, and their mean depth.

Owns the order of these steps; a search measures a dozen ephemerides of every star. Refuses choices: which ephemeris is
better is for ``vetting`` to say.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from starskope.search.ephemeris import DipShape, Ephemeris
from starskope.search.fold import event_sums
from starskope.search.rednoise import split_noise
from starskope.search.star_points import StarPoints

__all__ = ["Depth", "Measured", "least_points", "measured_at", "observed_events", "weighted_mean"]

F64 = NDArray[np.float64]

SCATTER_PRIOR = 3.0
"""Degrees of freedom by which the scatter of few events is held to its expectation."""
LEAST_COVERAGE = 0.35
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


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def least_points(duration: float, cadence: float) -> float:
    """Return the points within its duration from which an event counts as observed."""
    return max(LEAST_COVERAGE * max(duration / cadence, 1.0), 1.0 - 1e-9)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
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


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
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


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
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
    white, red = split_noise(time, flux, weight, at.duration, points.centre, points.scatter)
    number, depth, variance = observed_events(points, at, shape, white, red, level)
    return Measured(at, shape, number, depth, variance, weighted_mean(depth, variance), white, red, level)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
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
