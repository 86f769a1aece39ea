"""Single events: one dip in time, with nothing to fold.

Owns the matched box in time at each duration, its noise, and what counts as a gap. Refuses events that touch a gap, a
momentum dump or a masked interval within their own duration: there the light curves of every mission dip and jump.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from starskope.search.selection import mad_between
from starskope.search.series import StarSeries

__all__ = ["Dip", "find_dips", "matched_box", "running_sums", "single_durations", "unevenness"]

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
PROBABLE = 1.5
"""Significance above which the highest are looked for first; any value gives the same."""
HALVES_DIFFER = 0.6
"""A dip's halves may differ by this fraction of the depth (and three sigma): a step or a ramp is no transit."""


class Dip(NamedTuple):
    """One dip: middle and duration in days, depth as a fraction, its error, signal-to-noise ratio."""

    time: float
    duration: float
    depth: float
    error: float
    snr: float


class BoxSums(NamedTuple):
    """Sums of weight and weighted flux before each point (n + 1,), and how many gaps lie before it (n,)."""

    w: F64
    y: F64
    hole: NDArray[np.int64]


def single_durations(cadence: float) -> F64:
    """Durations (days) that hold at least three cadences."""
    return np.array([d for d in DURATIONS if d >= (SHORTEST_CELLS - 0.5) * cadence])


def find_dips(series: StarSeries, forbidden: F64, n_dip: int = 3) -> tuple[list[Dip], list[Dip]]:
    """Find the most significant dips of a star in time, and the most significant bumps.

    Parameters
    ----------
    series : StarSeries
        Binned where the cadence is fast; each of several joined light curves by its own scatter.
    forbidden : (n_forbidden,) float64
        Increasing times of dumps and masked cadences.
    n_dip : int
        How many, in order of significance; none overlap.

    Returns
    -------
    dips, bumps : list of Dip
        Bumps by the same measure, their depth upwards: what noise of either sign does in this star.
    """
    durations = single_durations(series.cadence)
    found = [
        _dips_and_bumps(part.time, part.flux, part.weight, series.cadence, durations, forbidden, n_dip)
        for part in series.parts()
    ]
    if len(found) > 1:
        found = [tuple(_apart(np.concatenate(rows), n_dip) for rows in zip(*found, strict=True))]
    dips, bumps = ([Dip(*row[: len(Dip._fields)]) for row in rows.tolist()] for rows in found[0])
    return dips, bumps


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _dips_and_bumps(
    time: F64, flux: F64, weight: F64, cadence: float, durations: F64, forbidden: F64, n_dip: int
) -> tuple[F64, F64]:
    """Find dips and bumps (n, 6): the fields of `Dip`, and whether it is clear, which all of them are."""
    n, n_each = time.size, n_dip + N_BLOCKERS
    dips, bumps = np.empty((durations.size * n_each, 6)), np.empty((durations.size * n_each, 6))
    n_dips, n_bumps = 0, 0
    held, scratch = np.empty(n + 1), np.empty(n + 1)
    sums = running_sums(time, flux, weight, cadence)
    for duration in durations:
        depth, clear, edges = matched_box(time, sums, duration, cadence)
        _forbid(time, duration, forbidden, clear)
        m, total, square = 0, 0.0, 0.0
        for i in range(n):
            held[m] = depth[i]
            if clear[i]:
                m += 1
                total += depth[i]
                square += depth[i] * depth[i]
        if m < LEAST_POSITIONS:
            continue
        sigma = np.sqrt(max(square / m - (total / m) ** 2, 0.0))
        scatter = mad_between(held, m, total / m, sigma, scratch)[1]
        if not scatter > 0:
            continue
        # Every box competes, so that a dip beside a gap is not found again as a worse box that keeps off it.
        for sign in (1.0, -1.0):
            significance = (sign / scatter) * depth
            for i in _highest(significance, time, sums, edges, 2.0 * duration, scatter, n_each):
                row = dips[n_dips] if sign > 0 else bumps[n_bumps]
                row[0], row[1], row[2], row[3] = time[i], duration, sign * depth[i], scatter
                row[4], row[5] = sign * depth[i] / scatter, 1.0 if clear[i] else 0.0
                n_dips, n_bumps = (n_dips + 1, n_bumps) if sign > 0 else (n_dips, n_bumps + 1)
    return _apart(dips[:n_dips], n_dip), _apart(bumps[:n_bumps], n_dip)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _forbid(middle: F64, duration: float, forbidden: F64, clear: NDArray[np.bool_]) -> None:
    """Take from ``clear`` the boxes with a forbidden time within a duration of them."""
    k = 0
    for i in range(middle.size):
        while k < forbidden.size and forbidden[k] < middle[i] - 1.5 * duration:
            k += 1
        if k < forbidden.size and forbidden[k] <= middle[i] + 1.5 * duration:
            clear[i] = False


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _highest(
    significance: F64, time: F64, sums: BoxSums, edges: NDArray[np.int64], apart: float, scatter: float, n: int
) -> NDArray[np.int64]:
    """Return the places of the highest values above 0, at most ``n``, those nearer than ``apart`` to a chosen not.

    Steps and ramps do not count. The probable are looked at first, which any few of the others could not change.
    """
    chosen = np.zeros(n, np.int64)
    place = np.empty(time.size + 1, np.int64)
    for least in (PROBABLE, 0.0):
        m = 0
        for i in range(time.size):
            place[m] = i
            m += int(significance[i] > least)
        free = np.ones(m, np.bool_)
        n_chosen = 0
        while n_chosen < n:
            best = -1
            for j in range(m):
                if free[j] and (best < 0 or significance[place[j]] > significance[place[best]]):
                    best = j
            if best < 0:
                break
            i = place[best]
            free[best] = False
            if not unevenness(sums, edges[i], i) < (HALVES_DIFFER * significance[i] + 3.0) * scatter:
                continue
            chosen[n_chosen] = i
            n_chosen += 1
            for j in range(m):
                free[j] = free[j] and not abs(time[place[j]] - time[i]) < apart
        if n_chosen == n:
            break
    return chosen[:n_chosen]


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _apart(found: F64, n_dip: int) -> F64:
    """Choose the most significant that do not overlap; those that are not clear take their place and are left out."""
    kept, n_kept, n_clear = np.empty_like(found), 0, 0
    # A stable order: of equals the one that was found first.
    for i in np.argsort(-found[:, 4], kind="mergesort"):
        overlaps = False
        for k in range(n_kept):
            overlaps |= not abs(found[i, 0] - kept[k, 0]) > 1.5 * (found[i, 1] + kept[k, 1])
        if not overlaps:
            kept[n_kept] = found[i]
            n_kept += 1
            n_clear += int(found[i, 5])
            if n_clear == n_dip:
                break
    return kept[:n_kept][kept[:n_kept, 5] > 0]


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def running_sums(time: F64, flux: F64, weight: F64, cadence: float) -> BoxSums:
    """Sum up the points of a star (n,) from the first to each of them."""
    n = time.size
    gap = max(GAP_DAYS, 2.5 * cadence)
    w, y, hole = np.zeros(n + 1), np.zeros(n + 1), np.zeros(n, np.int64)
    for i in range(n):
        w[i + 1] = w[i] + weight[i]
        y[i + 1] = y[i] + weight[i] * flux[i]
        hole[i] = (hole[i - 1] + (1 if time[i] - time[i - 1] > gap else 0)) if i else 0
    return BoxSums(w, y, hole)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def matched_box(
    time: F64, sums: BoxSums, duration: float, cadence: float
) -> tuple[F64, NDArray[np.bool_], NDArray[np.int64]]:
    """Depth of a box against its two flanks of the same length, centred on every point in turn.

    Parameters
    ----------
    time : (n,) float64
    sums : BoxSums
        From `running_sums`.
    duration, cadence : float
        Days.

    Returns
    -------
    depth : (n,) float64
        Mean of the flanks minus mean of the box. NaN where too few points lie in the box or in both flanks.
    clear : (n,) bool
        Whether neither a gap nor an end of the times lies within a duration of the box.
    edges : (n, 4) int64
        First point of the flank before, of the box, of the flank after, and behind that; an empty flank has too few
        points.
    """
    n = time.size
    w, y, hole = sums
    depth, clear, edges = np.full(n, np.nan), np.zeros(n, np.bool_), np.empty((n, 4), np.int64)
    half = 0.5 * cadence
    least = LEAST_COVERAGE * duration / cadence
    a, b, d, e = 0, 0, 0, 0
    for i in range(n):
        t = time[i]
        while a < n and time[a] < t - 1.5 * duration - 1e-9:
            a += 1
        while b < n and time[b] < t - 0.5 * duration - 1e-9:
            b += 1
        while d < n and time[d] < t + 0.5 * duration - 1e-9:
            d += 1
        while e < n and time[e] < t + 1.5 * duration - 1e-9:
            e += 1
        left, right = b - a >= least, e - d >= least
        before, after = a if left else b, e if right else d
        edges[i, 0], edges[i, 1], edges[i, 2], edges[i, 3] = before, b, d, after
        if d - b < max(least, 2) or not (left or right):
            continue
        w_flank = (w[b] - w[before]) + (w[after] - w[d])
        y_flank = (y[b] - y[before]) + (y[after] - y[d])
        depth[i] = y_flank / w_flank - (y[d] - y[b]) / (w[d] - w[b])
        if left and right and hole[e - 1] == hole[a]:
            # A gap that begins with the first point that is missing counts from there, not from the points around it.
            gap_before = a > 0 and hole[a - 1] != hole[a] and time[a] - cadence > t - 1.5 * duration
            gap_after = e < n and hole[e] != hole[e - 1] and time[e - 1] + cadence < t + 1.5 * duration
            at_end = t - 1.5 * duration < time[0] - half or t + 1.5 * duration > time[n - 1] + half
            clear[i] = not (gap_before or gap_after or at_end)
    return depth, clear, edges


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def unevenness(sums: BoxSums, edges: NDArray[np.int64], c: int) -> float:
    """Return the larger of the differences between the halves of the box around point ``c`` and between its flanks."""
    w, y, _ = sums
    a, b, d, e = edges
    uneven = 0.0
    if c > b and d > c:
        uneven = abs((y[c] - y[b]) / (w[c] - w[b]) - (y[d] - y[c]) / (w[d] - w[c]))
    if b > a and e > d:
        uneven = max(uneven, abs((y[b] - y[a]) / (w[b] - w[a]) - (y[e] - y[d]) / (w[e] - w[d])))
    return float(uneven)
