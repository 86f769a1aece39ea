"""Single events: one dip in time, with nothing to fold.

Owns the matched box in time at each duration, its noise, what counts as a gap, the threshold from the inverted series,
and which periods the coverage leaves for a star that was seen to dip once or twice. Refuses events that touch a gap, a
momentum dump or a masked interval within their own duration: there the light curves of every mission dip and jump.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from starskope.search.rednoise import mad_scatter
from starskope.search.series import StarSeries

__all__ = ["Dip", "allowed_periods", "find_dips", "find_dips_by_segment", "matched_box", "single_durations"]

F64 = NDArray[np.float64]

SHORTEST_CELLS = 3
"""Cadences per box, at least: fewer are an outlier's business."""
DURATIONS = (0.06, 0.09, 0.13, 0.18, 0.25, 0.36, 0.5)
"""Days: from the equator of a dwarf to half of the window of detrending."""
GAP_DAYS = 0.05
"""A stretch without points is a gap from here on, or from two and a half cadences."""
LEAST_COVERAGE = 0.7
LEAST_POSITIONS = 20
"""Positions of a box from which its scatter is measured, at least."""
N_BLOCKERS = 2
"""Dips beside gaps that are kept in mind at each duration besides those wanted."""
HALVES_DIFFER = 0.6
"""A dip's halves may differ by this fraction of the depth (and three sigma): a step or a ramp is no transit."""


class Dip(NamedTuple):
    """One dip: middle and duration in days, depth as a fraction, its error, signal-to-noise ratio."""

    time: float
    duration: float
    depth: float
    error: float
    snr: float


def single_durations(cadence: float) -> F64:
    """Durations (days) that hold at least three cadences."""
    return np.array([d for d in DURATIONS if d >= (SHORTEST_CELLS - 0.5) * cadence])


def find_dips(series: StarSeries, forbidden: F64, n_dip: int = 3) -> tuple[list[Dip], list[Dip]]:
    """Find the most significant dips of a star in time, and the most significant bumps.

    Parameters
    ----------
    series : StarSeries
        Binned where the cadence is fast.
    forbidden : (n_forbidden,) float64
        Increasing times of dumps and masked cadences.
    n_dip : int
        How many, in order of significance; none overlap.

    Returns
    -------
    dips, bumps : list of Dip
        Bumps by the same measure, their depth upwards: what noise of either sign does in this star.
    """
    dips: list[tuple[Dip, bool]] = []
    bumps: list[tuple[Dip, bool]] = []
    for duration in single_durations(series.cadence):
        middle, depth, uneven, clear = matched_box(series.time, series.flux, series.weight, duration, series.cadence)
        if forbidden.size:
            nearest = np.searchsorted(forbidden, middle - 1.5 * duration)
            ahead = forbidden[np.minimum(nearest, forbidden.size - 1)]
            clear &= ~((ahead >= middle - 1.5 * duration) & (ahead <= middle + 1.5 * duration))
        if np.count_nonzero(clear) < LEAST_POSITIONS:
            continue
        scatter = mad_scatter(depth[clear])
        if not scatter > 0:
            continue
        # Every box competes, so that a dip beside a gap is not found again as a worse box that keeps off it.
        whole = np.isfinite(depth) & ~(uneven >= HALVES_DIFFER * np.abs(depth) + 3.0 * scatter)
        significance = np.where(whole, depth / scatter, 0.0)
        for sign, found in ((1.0, dips), (-1.0, bumps)):
            left = sign * significance
            for i in _highest(left, middle, 2.0 * duration, n_dip + N_BLOCKERS):
                dip = Dip(float(middle[i]), float(duration), sign * float(depth[i]), scatter, float(left[i]))
                found.append((dip, bool(clear[i])))
    return _apart(dips, n_dip), _apart(bumps, n_dip)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _highest(values: F64, middle: F64, apart: float, n: int) -> NDArray[np.int64]:
    """Return the places of the highest values above 0, at most ``n``, those nearer than ``apart`` to a chosen not."""
    chosen = np.zeros(n, np.int64)
    free = values > 0.0
    for k in range(n):
        best = -1
        for i in range(values.size):
            if free[i] and (best < 0 or values[i] > values[best]):
                best = i
        if best < 0:
            return chosen[:k]
        chosen[k] = best
        for i in range(values.size):
            free[i] = free[i] and not abs(middle[i] - middle[best]) < apart
    return chosen


def find_dips_by_segment(series: StarSeries, forbidden: F64, n_dip: int = 3) -> tuple[list[Dip], list[Dip]]:
    """Find dips and bumps as `find_dips` does, in each of several joined light curves by its own scatter."""
    found = [find_dips(part, forbidden, n_dip) for part in series.parts()]
    if len(found) == 1:
        return found[0]
    both = ([(dip, True) for part in found for dip in part[sign]] for sign in (0, 1))
    dips, bumps = (_apart(dips, n_dip) for dips in both)
    return dips, bumps


def _apart(found: list[tuple[Dip, bool]], n_dip: int) -> list[Dip]:
    """Choose the most significant that do not overlap; those that are not clear take their place and are left out."""
    kept: list[tuple[Dip, bool]] = []
    for dip, is_clear in sorted(found, key=lambda one: -one[0].snr):
        if all(abs(dip.time - other.time) > 1.5 * (dip.duration + other.duration) for other, _ in kept):
            kept.append((dip, is_clear))
            if sum(clear for _, clear in kept) == n_dip:
                break
    return [dip for dip, is_clear in kept if is_clear]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def matched_box(
    time: F64, flux: F64, weight: F64, duration: float, cadence: float
) -> tuple[F64, F64, F64, NDArray[np.bool_]]:
    """Depth of a box against its two flanks of the same length, centred on every point in turn.

    Parameters
    ----------
    time, flux, weight : (n,) float64
    duration, cadence : float
        Days.

    Returns
    -------
    middle, depth, uneven : (n,) float64
        Mid-time; mean of the flanks minus mean of the box; the larger of the differences between the box's two halves
        and between its two flanks (0 with one flank only). NaN where too few points lie in the box or in both flanks.
    clear : (n,) bool
        Whether neither a gap nor an end of the times lies within a duration of the box.
    """
    n = time.size
    middle, depth, uneven = time.copy(), np.full(n, np.nan), np.full(n, np.nan)
    clear = np.zeros(n, np.bool_)
    gap = max(GAP_DAYS, 2.5 * cadence)
    w, y, hole = np.zeros(n + 1), np.zeros(n + 1), np.zeros(n, np.int64)
    for i in range(n):
        w[i + 1] = w[i] + weight[i]
        y[i + 1] = y[i] + weight[i] * flux[i]
        hole[i] = (hole[i - 1] + (1 if time[i] - time[i - 1] > gap else 0)) if i else 0
    expected = duration / cadence
    edges = np.zeros(5, np.int64)
    steps = np.array([-1.5, -0.5, 0.0, 0.5, 1.5]) * duration
    half = 0.5 * cadence
    for i in range(n):
        t = time[i]
        for k in range(5):
            target = t + steps[k] - 1e-9
            while edges[k] < n and time[edges[k]] < target:
                edges[k] += 1
        a, b, c, d, e = edges[0], edges[1], edges[2], edges[3], edges[4]
        least = LEAST_COVERAGE * expected
        left, right = b - a >= least, e - d >= least
        if d - b < max(least, 2) or not (left or right):
            continue
        w_flank, y_flank = 0.0, 0.0
        if left:
            w_flank += w[b] - w[a]
            y_flank += y[b] - y[a]
        if right:
            w_flank += w[e] - w[d]
            y_flank += y[e] - y[d]
        depth[i] = y_flank / w_flank - (y[d] - y[b]) / (w[d] - w[b])
        uneven[i] = 0.0
        if c > b and d > c:
            uneven[i] = abs((y[c] - y[b]) / (w[c] - w[b]) - (y[d] - y[c]) / (w[d] - w[c]))
        if not (left and right):
            continue
        uneven[i] = max(uneven[i], abs((y[b] - y[a]) / (w[b] - w[a]) - (y[e] - y[d]) / (w[e] - w[d])))
        # A gap that begins with the first point that is missing counts from there, not from the points around it.
        before = a > 0 and hole[a - 1] != hole[a] and time[a] - cadence > t - 1.5 * duration
        after = e < n and hole[e] != hole[e - 1] and time[e - 1] + cadence < t + 1.5 * duration
        at_end = t - 1.5 * duration < time[0] - half or t + 1.5 * duration > time[n - 1] + half
        clear[i] = not (before or after or at_end or hole[e - 1] != hole[a])
    return middle, depth, uneven, clear


def allowed_periods(
    series: StarSeries, dip: Dip, apart: float, shortest: float, longest: float
) -> list[tuple[float, float]]:
    """Find the periods at which every other event falls where nothing was measured, or something like the dip.

    Parameters
    ----------
    series : StarSeries
    dip : Dip
        The event, or the first of two.
    apart : float
        Days to the second event; NaN = there is none.
    shortest, longest : float
        Days between which periods are tried.

    Returns
    -------
    list of (low, high)
        Allowed periods in order, days: whole fractions of ``apart`` (low equals high), or ranges; the last is open
        (high infinite) where the coverage sets no limit up to ``longest``.
    """
    if math.isfinite(apart):
        fractions = [apart / n for n in range(max(int(apart / shortest), 1), 0, -1)]
        return [(period, period) for period in fractions if _is_allowed(series, dip, period)]
    reach = float(max(series.time[-1] - dip.time, dip.time - series.time[0]))
    # Neighbouring periods move the farthest event by a quarter of the duration.
    n_period = math.ceil(math.log(longest / shortest) * 4.0 * max(reach, dip.duration) / dip.duration) + 1
    periods = np.geomspace(shortest, longest, n_period)
    allowed = _allowed(series.time, series.flux, series.weight, series.cadence, *dip[:4], periods, reach)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], allowed, [False]])))
    ranges = [(float(periods[low]), float(periods[high - 1])) for low, high in edges.reshape(-1, 2)]
    if allowed[-1]:
        ranges[-1] = (ranges[-1][0], math.inf)
    return ranges


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _allowed(
    time: F64,
    flux: F64,
    weight: F64,
    cadence: float,
    middle: float,
    duration: float,
    depth: float,
    error: float,
    periods: F64,
    reach: float,
) -> NDArray[np.bool_]:
    """Say of each period whether it is beyond reach or no event of it was observed to be missing."""
    allowed = np.zeros(periods.size, np.bool_)
    for i in range(periods.size):
        allowed[i] = periods[i] > reach or _none_missing(
            time, flux, weight, cadence, middle, duration, depth, error, periods[i]
        )
    return allowed


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _none_missing(
    time: F64,
    flux: F64,
    weight: F64,
    cadence: float,
    middle: float,
    duration: float,
    depth: float,
    error: float,
    period: float,
) -> bool:
    """Say whether no event of this period was observed to be missing."""
    first = int(np.ceil((time[0] - middle) / period))
    last = int(np.floor((time[-1] - middle) / period))
    k = first - 1
    while k < last:
        k += 1
        a = np.searchsorted(time, middle + k * period - 0.5 * duration)
        b = np.searchsorted(time, middle + k * period + 0.5 * duration)
        if a == b:
            if a == time.size:
                break
            # The next event that has points: gaps of years hold thousands without.
            k = max(k, int(np.ceil((time[a] - 0.5 * duration - middle) / period)) - 1)
            continue
        if k == 0 or b - a < 0.5 * duration / cadence:
            continue
        w, y = 0.0, 0.0
        for i in range(a, b):
            w += weight[i]
            y += weight[i] * flux[i]
        here = -y / w
        if here < 0.5 * depth and depth - here > 3.0 * error:
            return False
    return True


def _is_allowed(series: StarSeries, dip: Dip, period: float) -> bool:
    return bool(
        _none_missing(
            series.time,
            series.flux,
            series.weight,
            series.cadence,
            dip.time,
            dip.duration,
            dip.depth,
            dip.error,
            period,
        )
    )
