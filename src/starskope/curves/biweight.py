"""The slow part of every light curve: Tukey's biweight in a sliding window of time, all stars at once.

Owns the trend of plain arrays ``(n_time, n_star)``. What depends on time alone (windows, segments) is found once for
64 stars, and each of them keeps a window sorted in its own lane. Refuses the container (``detrending`` knows it), other
estimators, and any guess across a gap: segments that a gap parts do not see each other.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from starskope.curves import shapes
from starskope.parallel import map_ranges
from starskope.validation import finite, positive

__all__ = ["biweight"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

# Stars that share their windows: fewer leave the vector units idle, more push the sorted windows out of the cache.
_TILE = 64
# The iteration ends with a Newton step below the first or a plain step below the second, in MADs: what is left is then
# below 1e-6 of a MAD, for Newton's error is about the square of its step.
_NEWTON_STEP, _PLAIN_STEP = 5e-4, 1e-6
_MAX_STEP = 1000
# Newton's step needs an objective that curves upward; below this part of the weights' sum the plain step is taken.
_CONVEX = 0.3
_FAR = np.float32(8.0)
_TINY = np.float32(1e-37)


def biweight(
    time: ArrayLike,
    flux: ArrayLike,
    window: float,
    *,
    cval: float = 5.0,
    break_tolerance: float = 0.5,
    edge_days: float = 0.0,
    workers: int = 1,
) -> F32:
    """Trend of each star: the biweight location of the values within half a window of each cadence.

    Parameters
    ----------
    time : (n_time,) array-like
        Days, finite and strictly increasing.
    flux : (n_time, n_star) array-like
        NaN = missing. Any unit and offset.
    window : float
        Width of the window in days.
    cval : float
        Distance from the location, in MADs, at which a value's weight reaches zero.
    break_tolerance : float
        A gap longer than this (days) between two values of a star parts its light curve; 0 never does.
    edge_days : float
        Leave the trend NaN within this of the ends of each segment, half a window at most.
    workers : int
        Threads; -1 = the CPUs this process may use. Any number gives the same bytes.

    Returns
    -------
    (n_time, n_star) float32
        NaN where the flux is missing, and at edges that were cut.

    Raises
    ------
    ValueError, TypeError
        Shapes, order of the times or a setting do not fit; the message names the value.

    Notes
    -----
    The location c of values x with median absolute deviation m about their median solves ``c = sum(w x) / sum(w)``,
    ``w = (1 - u^2)^2`` for ``|u| < 1`` and else 0, ``u = (x - c) / (cval m)``. From the median one such mean is taken,
    then Newton's steps where the objective is convex and further means elsewhere, until 1e-6 m is reached. Where m is 0
    the location is the median. A window holds ``t - window/2 <= time < t + window/2``. These are the trends of wotan's
    ``flatten(method="biweight")`` (Hippke et al. 2019, AJ 158, 143) within the rounding of float32.

    The cost of a cadence grows with the number of cadences per window; memory beside the result is 64 stars per worker.

    References
    ----------
    Mosteller & Tukey 1977, Data Analysis and Regression; Beers, Flynn & Gebhardt 1990, AJ 100, 32.

    Examples
    --------
    >>> import numpy as np
    >>> from starskope.curves.biweight import biweight
    >>> time = np.arange(480) / 48.0
    >>> slow = 1.0 + 0.01 * np.sin(time)[:, None]
    >>> float(np.abs(biweight(time, slow, 0.75) / slow - 1).max()) < 0.003
    True
    """
    times = shapes.increasing_times(time)
    matrix = shapes.flux_matrix("flux", flux, times.size)
    width, reach = positive(window, "window"), positive(cval, "cval")
    tolerance, edge = finite(break_tolerance, "break_tolerance"), finite(edge_days, "edge_days")
    if tolerance < 0:
        raise ValueError(f"break_tolerance={tolerance}: expected days, 0 or more (0 joins everything)")
    if edge < 0:
        raise ValueError(f"edge_days={edge}: expected days, 0 or more")
    trend = np.full(matrix.shape, np.nan, dtype=np.float32)
    if matrix.size == 0:
        return trend
    half = 0.5 * width
    first = np.searchsorted(times, times - half)
    last = np.searchsorted(times, times + half)

    def one_tile(start: int, stop: int) -> None:
        tile = np.ascontiguousarray(matrix[:, start:stop])
        breaks = _segment_starts(times, tile, tolerance if tolerance > 0 else math.inf)
        for rows, columns in _alike(breaks):
            values = tile if columns.size == tile.shape[1] else np.ascontiguousarray(tile[:, columns])
            found = np.full(values.shape, np.nan, dtype=np.float32)
            for begin, end in itertools.pairwise(rows):
                _slide(
                    values[begin:end],
                    np.maximum(first[begin:end], begin) - begin,
                    np.minimum(last[begin:end], end) - begin,
                    np.float32(reach),
                    found[begin:end],
                )
                _keep_seen(times[begin:end], values[begin:end], min(edge, half), found[begin:end])
            trend[:, start + columns] = found

    map_ranges(one_tile, matrix.shape[1], _TILE, workers)
    return trend


def _alike(breaks: NDArray[np.bool_]) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Group stars that the same gaps part: the bounds of their segments, and their columns."""
    groups: dict[bytes, list[int]] = {}
    for column, starts in enumerate(np.packbits(breaks.T, axis=1)):
        groups.setdefault(starts.tobytes(), []).append(column)
    grouped = []
    for columns in groups.values():
        inner = np.flatnonzero(breaks[:, columns[0]])
        grouped.append((np.concatenate([[0], inner, [breaks.shape[0]]]), np.array(columns, dtype=np.intp)))
    return grouped


@njit(cache=True, nogil=True)
def _segment_starts(time, flux, tolerance):  # type: ignore[no-untyped-def]
    """Mark the values (n_time, n_star) of which the one before, of the same star, is farther than the tolerance."""
    n_time, n_star = flux.shape
    starts = np.zeros((n_time, n_star), dtype=np.bool_)
    before = np.full(n_star, np.inf)
    for i in range(n_time):
        for s in range(n_star):
            if not np.isnan(flux[i, s]):
                starts[i, s] = time[i] - before[s] > tolerance
                before[s] = time[i]
    return starts


@njit(cache=True, nogil=True)
def _keep_seen(time, flux, edge, trend):  # type: ignore[no-untyped-def]
    """Blank the trend where the star has no value, and within ``edge`` of its first and last value."""
    n_time, n_star = flux.shape
    for s in range(n_star):
        low, high = 0, n_time - 1
        while low < n_time and np.isnan(flux[low, s]):
            low += 1
        while high > low and np.isnan(flux[high, s]):
            high -= 1
        for i in range(n_time):
            if np.isnan(flux[i, s]) or time[i] < time[low] + edge or time[i] > time[high] - edge:
                trend[i, s] = np.nan


@njit(cache=True, nogil=True)
def _slide(flux, first, last, cval, trend):  # type: ignore[no-untyped-def]
    """Walk one segment: windows are the rows ``first[i]`` to ``last[i]`` of ``flux (n_time, n_star)``.

    Sorted windows stand in the rows 1 to n_row of their scratch, between a row of -inf and one of inf.
    """
    n_time, n_star = flux.shape
    n_most = 1
    for i in range(n_time):
        n_most = max(n_most, last[i] - first[i])
    window, spare = np.full((n_most + 3, n_star), np.inf, np.float32), np.full((n_most + 3, n_star), np.inf, np.float32)
    window[0], spare[0] = -np.inf, -np.inf
    scaled = np.empty((n_most + 3, n_star), np.float32)
    old, new = np.empty(n_star, np.float32), np.empty(n_star, np.float32)
    median, mad, scale = np.empty(n_star, np.float32), np.empty(n_star, np.float32), np.empty(n_star, np.float32)
    location = np.empty(n_star, np.float32)
    n_value = np.zeros(n_star, np.int64)
    low, high, n_row = 0, 0, 0
    for i in range(n_time):
        while low < first[i] or high < last[i]:
            leaves, enters = low < first[i], high < last[i]
            old[:] = np.inf
            new[:] = np.inf
            if leaves:
                for s in range(n_star):
                    if not np.isnan(flux[low, s]):
                        old[s] = flux[low, s]
                        n_value[s] -= 1
                low += 1
            if enters:
                for s in range(n_star):
                    if not np.isnan(flux[high, s]):
                        new[s] = flux[high, s]
                        n_value[s] += 1
                high += 1
            n_row += enters and not leaves
            _exchange(window, spare, n_row, old, new)
            window, spare = spare, window
            n_row -= leaves and not enters
        _median_and_mad(window, n_row, n_value, median, mad)
        for s in range(n_star):
            # Weights reach zero at a scaled distance of 1. A MAD of 0 leaves the median as it is.
            reach = cval * mad[s]
            scale[s] = np.float32(1.0) / reach if reach > _TINY else np.float32(0.0)
        _rescale(window, n_row, median, scale, scaled)
        _locate(scaled, (n_row + 3) // 4 * 4, np.float32(1.0) / cval, n_value, scale, location)
        for s in range(n_star):
            trend[i, s] = median[s] + (location[s] / scale[s] if scale[s] > 0 else np.float32(0.0))


@njit(cache=True, nogil=True)
def _exchange(window, result, n_row, old, new):  # type: ignore[no-untyped-def]
    """Take ``old`` out of the sorted rows 1 to n_row of each lane and put ``new`` in; inf = the free end.

    Without branches: the rows from the old value on move down by one, and each place then takes the middle one of the
    new value and its two neighbours.
    """
    for k in range(1, n_row + 1):
        row_below, row, row_above, sorted_row = window[k - 1], window[k], window[k + 1], result[k]
        for s in range(old.size):
            leaving, entering = old[s], new[s]
            below = row[s] if row_below[s] >= leaving else row_below[s]
            here = row_above[s] if row[s] >= leaving else row[s]
            lifted = below if below > entering else entering
            sorted_row[s] = lifted if lifted < here else here
    # What stood here before belongs to an older window.
    result[n_row + 1] = np.inf


@njit(cache=True, nogil=True)
def _median_and_mad(window, n_row, n_value, median, mad):  # type: ignore[no-untyped-def]
    """Median and median absolute deviation of the sorted values of each lane; 0 where a lane has none.

    The deviations are two sorted runs, outward from the median. Their k-th smallest is the least, over the ways to take
    i from the lower run and k - i from the upper one, of the larger of both ends.
    """
    n_lower, n_upper = n_row // 2, n_row - n_row // 2
    low_middle, high_middle = window[(n_row - 1) // 2 + 1], window[n_lower + 1]
    for s in range(median.size):
        median[s] = np.float32(0.5) * (low_middle[s] + high_middle[s])
        mad[s] = 0.0
    smallest = np.empty(median.size, np.float32)
    for wanted in ((n_row - 1) // 2 + 1, n_row // 2 + 1):
        smallest[:] = np.inf
        for i in range(max(0, wanted - n_upper), min(wanted, n_lower) + 1):
            # Row 0 and the row above the window are infinitely far: never the larger end where nothing is taken.
            lower = window[n_lower + 1 - i] if i > 0 else median
            upper = window[n_lower + wanted - i] if wanted > i else median
            for s in range(median.size):
                below, above = median[s] - lower[s], upper[s] - median[s]
                larger = below if below > above else above
                smallest[s] = larger if larger < smallest[s] else smallest[s]
        for s in range(median.size):
            mad[s] += np.float32(0.5) * smallest[s]
    for s in range(median.size):
        if n_value[s] < n_row:
            median[s], mad[s] = _lane_median_and_mad(window, n_value[s], s)


@njit(cache=True, nogil=True)
def _lane_median_and_mad(window, n, s):  # type: ignore[no-untyped-def]
    """`_median_and_mad` of one lane that lacks values, by bisection."""
    if n == 0:
        return np.float32(0.0), np.float32(0.0)
    n_lower = n // 2
    median = np.float32(0.5) * (window[(n - 1) // 2 + 1, s] + window[n_lower + 1, s])
    total = np.float32(0.0)
    for wanted in ((n - 1) // 2 + 1, n // 2 + 1):
        least, most = max(0, wanted - (n - n_lower)), min(wanted, n_lower)
        # The first i whose lower end reaches the upper end that goes with it; the optimum is there or one before.
        low, high = least, most
        while low < high:
            i = (low + high) // 2
            if _farther_end(window, s, median, n_lower, i, 0) >= _farther_end(
                window, s, median, n_lower, 0, wanted - i
            ):
                high = i
            else:
                low = i + 1
        best = _farther_end(window, s, median, n_lower, low, wanted - low)
        if low > least:
            best = min(best, _farther_end(window, s, median, n_lower, low - 1, wanted - low + 1))
        total += np.float32(0.5) * best
    return median, total


@njit(cache=True, nogil=True)
def _farther_end(window, s, median, n_lower, i, j):  # type: ignore[no-untyped-def]
    """Largest deviation among the i values next below the median and the j next above it."""
    below = median - window[n_lower + 1 - i, s] if i > 0 else np.float32(0.0)
    above = window[n_lower + j, s] - median if j > 0 else np.float32(0.0)
    return max(below, above)


@njit(cache=True, nogil=True)
def _rescale(window, n_row, median, scale, scaled):  # type: ignore[no-untyped-def]
    """Fill ``scaled`` with distances from the median in cval MADs; what is missing, or pads to fours, is far."""
    for k in range(n_row):
        row, distance = window[k + 1], scaled[k]
        for s in range(median.size):
            u = (row[s] - median[s]) * scale[s]
            distance[s] = u if u < _FAR else _FAR
    scaled[n_row : (n_row + 3) // 4 * 4] = _FAR


@njit(cache=True, nogil=True)
def _locate(scaled, n_row, unit, n_value, scale, center):  # type: ignore[no-untyped-def]
    """Iterate the locations of all lanes; ``unit`` is a MAD. A lane that has arrived stays, whatever the others do."""
    n_star = center.size
    weighted, weight, linear = np.empty(n_star, np.float32), np.empty(n_star, np.float32), np.empty(n_star, np.float32)
    on_the_way = np.empty(n_star, np.int32)
    near, nearest = np.float32(_NEWTON_STEP) * unit, np.float32(_PLAIN_STEP) * unit
    for s in range(n_star):
        center[s] = 0.0
        on_the_way[s] = n_value[s] > 0 and scale[s] > 0
    for n_step in range(_MAX_STEP):
        _weigh(scaled, n_row, center, weighted, weight, linear)
        convex = np.float32(_CONVEX if n_step > 0 else np.inf)
        n_left = np.int32(0)
        for s in range(n_star):
            slope = np.float32(5.0) * weight[s] - np.float32(4.0) * linear[s]
            newton = slope > convex * weight[s]
            divisor = slope if newton else weight[s]
            step = weighted[s] / (divisor if divisor > 0 else np.float32(1.0))
            size = abs(step)
            going = on_the_way[s]
            center[s] += step if going else np.float32(0.0)
            going = going if size > (near if newton else nearest) else np.int32(0)
            on_the_way[s] = going
            n_left += going
        if n_left == 0:
            return


@njit(cache=True, nogil=True)
def _weigh(scaled, n_row, center, weighted, weight, linear):  # type: ignore[no-untyped-def]
    """Sum ``v^2 d``, ``v^2`` and ``v = max(0, 1 - d^2)`` of each lane, ``d`` from its centre, over rows in fours."""
    one, zero = np.float32(1.0), np.float32(0.0)
    weighted[:] = zero
    weight[:] = zero
    linear[:] = zero
    for k in range(0, n_row, 4):
        row0, row1, row2, row3 = scaled[k], scaled[k + 1], scaled[k + 2], scaled[k + 3]
        for s in range(center.size):
            c = center[s]
            d0, d1, d2, d3 = row0[s] - c, row1[s] - c, row2[s] - c, row3[s] - c
            v0, v1, v2, v3 = one - d0 * d0, one - d1 * d1, one - d2 * d2, one - d3 * d3
            v0 = v0 if v0 > zero else zero
            v1 = v1 if v1 > zero else zero
            v2 = v2 if v2 > zero else zero
            v3 = v3 if v3 > zero else zero
            w0, w1, w2, w3 = v0 * v0, v1 * v1, v2 * v2, v3 * v3
            linear[s] += (v0 + v1) + (v2 + v3)
            weight[s] += (w0 + w1) + (w2 + w3)
            weighted[s] += (d0 * w0 + d1 * w1) + (d2 * w2 + d3 * w3)
