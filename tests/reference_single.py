"""Single events with plain loops (cpp/src/single_dips.cpp), and the trend of a spectrum (cpp/src/dip_peaks.cpp)."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from reference_events import MAD_TO_SIGMA, mad_scatter

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

SAMPLES_PER_BAND = 301
SAMPLES = 8192
"""Positions of a spectrum, from which its scatter is taken, and up to twice as many."""
PROBABLE = 3.0
"""Efficiency above which the peaks are looked for first; any value gives the same."""


def _band_medians(statistic: F32, edges: NDArray[np.intp]) -> F64:
    """Median of up to some 300 to 600 values of each band."""
    bands = [statistic[low:high].astype(np.float64) for low, high in pairwise(edges)]
    return np.array([np.median(band[:: max(1, band.size // SAMPLES_PER_BAND)]) for band in bands])


def detrend(statistic: F32, edges: NDArray[np.intp], centres: F64) -> F64:
    """Return the spectrum of one star in units of its scatter about its trend.

    Parameters
    ----------
    statistic : (n_period,) float32
        Signal-to-noise ratios (square root of twice the log-likelihood gain).
    edges, centres
        From `trend_bands`.

    Returns
    -------
    (n_period,) float64
        Signal detection efficiency at every period; zeros where the spectrum has no scatter.

    Notes
    -----
    The scatter is 1.4826 times the median absolute deviation from the trend over the whole spectrum.
    """
    n_band, n = centres.size, statistic.size
    medians = _band_medians(statistic, edges)
    out = np.empty(n)
    for b in range(-1, n_band):
        # Straight lines between the centres, level before the first and after the last.
        start = 0 if b < 0 else min(int(np.floor(centres[b])) + 1, n)
        stop = n if b == n_band - 1 else min(int(np.floor(centres[b + 1])) + 1, n)
        low, high = max(b, 0), min(b + 1, n_band - 1)
        width = centres[high] - centres[low] if high > low else 1.0
        for i in range(start, stop):
            out[i] = statistic[i] - (medians[low] + (i - centres[low]) / width * (medians[high] - medians[low]))
    scatter = MAD_TO_SIGMA * np.median(np.abs(out[:: max(1, n // SAMPLES)]))
    if scatter > 0.0:
        out /= scatter
    else:
        out[:] = 0.0
    return out


def distinct_peaks(efficiency: F64, periods: F64, span: float, n_peak: int) -> NDArray[np.intp]:
    """Positions of the highest peaks that are not flanks of each other.

    Parameters
    ----------
    efficiency : (n_period,) float64
    periods : (n_period,) float64
    span : float
        Days observed: frequencies closer than ``1 / span`` belong to one peak.
    n_peak : int

    Returns
    -------
    (up to n_peak,) intp
    """
    places, n = _above(efficiency, PROBABLE)
    found: NDArray[np.intp] = _chosen(efficiency, periods, span, n_peak, places[:n])
    if found.size < n_peak:
        places, n = _above(efficiency, 0.0)
        found = _chosen(efficiency, periods, span, n_peak, places[:n])
    return found


def _above(efficiency: F64, least: float) -> tuple[NDArray[np.intp], int]:
    """Positions above a height, and how many these are."""
    places, n = np.empty(efficiency.size + 1, np.intp), 0
    for i in range(efficiency.size):
        places[n] = i
        n += int(efficiency[i] > least)
    return places, n


def _chosen(efficiency: F64, periods: F64, span: float, n_peak: int, places: NDArray[np.intp]) -> NDArray[np.intp]:
    """Choose the highest of these positions, drop its flanks, and so on."""
    free = np.ones(places.size, np.bool_)
    found, n = np.zeros(n_peak, np.intp), 0
    while n < n_peak:
        best = -1
        for j in range(places.size):
            if free[j] and (best < 0 or efficiency[places[j]] > efficiency[best]):
                best = places[j]
        if best < 0:
            break
        found[n] = best
        n += 1
        for j in range(places.size):
            if abs(1.0 / periods[places[j]] - 1.0 / periods[best]) < 1.0 / span:
                free[j] = False
    return found[:n]


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


class BoxSums(NamedTuple):
    """Sums of weight and weighted flux before each point (n + 1,), and how many gaps lie before it (n,)."""

    w: F64
    y: F64
    hole: NDArray[np.int64]


def dips_and_bumps(
    time: F64, flux: F64, weight: F64, cadence: float, durations: F64, forbidden: F64, n_dip: int
) -> tuple[F64, F64]:
    """Find dips and bumps (n, 6): the fields of `Dip`, and whether it is clear, which all of them are."""
    n_each = n_dip + N_BLOCKERS
    dips, bumps = np.empty((durations.size * n_each, 6)), np.empty((durations.size * n_each, 6))
    n_dips, n_bumps = 0, 0
    sums = running_sums(time, flux, weight, cadence)
    for duration in durations:
        depth, clear, edges = matched_box(time, sums, duration, cadence)
        _forbid(time, duration, forbidden, clear)
        if np.count_nonzero(clear) < LEAST_POSITIONS:
            continue
        scatter = mad_scatter(depth[clear])
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


def _forbid(middle: F64, duration: float, forbidden: F64, clear: NDArray[np.bool_]) -> None:
    """Take from ``clear`` the boxes with a forbidden time within a duration of them."""
    k = 0
    for i in range(middle.size):
        while k < forbidden.size and forbidden[k] < middle[i] - 1.5 * duration:
            k += 1
        if k < forbidden.size and forbidden[k] <= middle[i] + 1.5 * duration:
            clear[i] = False


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
