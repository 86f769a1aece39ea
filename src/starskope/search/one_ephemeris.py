"""One ephemeris of one star in one call: level and noise outside its events, and every event by itself.

Owns the order of these steps in Numba: a search measures a dozen ephemerides of every star, and what the interpreter
does between the loops would cost more than the loops. Refuses choices: each step is a function of ``rednoise`` and
``fold``, and what is observed enough is for the caller to say.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from starskope.search.fold import event_sums
from starskope.search.rednoise import split_noise

__all__ = ["measured_at", "observed_events", "weighted_mean"]

F64 = NDArray[np.float64]

SCATTER_PRIOR = 3.0
"""Degrees of freedom by which the scatter of few events is held to its expectation."""


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def weighted_mean(depth: F64, variance: F64) -> tuple[float, float, float]:
    """Return the mean by inverse variance, its formal error, and the error that grows with the scatter; NaN of none."""
    if depth.size == 0:
        return np.nan, np.nan, np.nan
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
    return value, formal, formal * max(1.0, growth)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _near(time: F64, period: float, t0: float, width: float, near: NDArray[np.bool_]) -> None:
    for i in range(time.size):
        offset = time[i] - t0
        if np.isfinite(period):
            offset -= period * np.rint(offset / period)
        near[i] |= abs(offset) < 0.5 * width


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def measured_at(
    time: F64,
    flux: F64,
    weight: F64,
    ephemeris: tuple[float, float, float],
    shape: tuple[float, float, float],
    other_t0: float,
    width: float,
    least: float,
) -> tuple[float, float, float, NDArray[np.int64], F64, F64]:
    """Measure an ephemeris as it is.

    Parameters
    ----------
    time, flux, weight : (n,) float64
        Points of one star.
    ephemeris : period, t0, duration
        Days.
    shape : length, bottom, smear
        Of the dip, as `fold.event_sums` takes them.
    other_t0 : float
        Epoch of what else dips with this period; NaN = nothing.
    width : float
        Days around each event within which nothing counts as quiet.
    least : float
        Points within the duration from which an event counts as observed.

    Returns
    -------
    level, white, red : float
        Mean flux and noise of the quiet points, see `rednoise.split_noise`.
    number, depth, variance : (n_event,)
        Of the observed events.
    """
    period, t0, duration = ephemeris
    taken = np.zeros(time.size, np.bool_)
    _near(time, period, t0, width, taken)
    if np.isfinite(other_t0):
        _near(time, period, other_t0, width, taken)
    quiet = np.flatnonzero(~taken)
    if quiet.size == 0:
        quiet = np.arange(time.size)
    quiet_flux, quiet_weight = flux[quiet], weight[quiet]
    level = np.sum(quiet_weight * quiet_flux) / np.sum(quiet_weight)
    white, red = split_noise(time[quiet], quiet_flux, quiet_weight, duration)
    number, depth, variance = observed_events(time, flux - level, weight, ephemeris, shape, white, red, least)
    return level, white, red, number, depth, variance


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def observed_events(
    time: F64,
    flux: F64,
    weight: F64,
    ephemeris: tuple[float, float, float],
    shape: tuple[float, float, float],
    white: float,
    red: float,
    least: float,
) -> tuple[NDArray[np.int64], F64, F64]:
    """Return number, depth and variance of the observed events; the level of ``flux`` is 0."""
    period, t0, duration = ephemeris
    length, bottom, smear = shape
    first, count, wm, wmm, wmy = event_sums(time, flux, weight, period, t0, duration, length, bottom, smear)
    seen = np.flatnonzero((count >= least) & (wmm > 0.0))
    # Red noise shifts all points of an event alike: the shape turns a shift into wm / wmm of it.
    shifted = red * wm[seen] / wmm[seen]
    return first + seen, -wmy[seen] / wmm[seen], white**2 / wmm[seen] + shifted**2
