"""The kernels of the sliding biweight: windows that stay sorted while they move, and the locations in them.

Owns compiled loops on tiles ``(n_time, n_star)`` in which inf = missing; neighbouring stars are the lanes. All of them
stand in this one file, for a compiled function does not notice that another file which it calls has changed. Refuses
checks, NaN and threads: ``biweight`` has seen to these.
"""

from __future__ import annotations

import numpy as np

from starskope.compiled import compiled

__all__ = ["keep_seen", "segment_starts", "slide"]

# The iteration ends with a Newton step below the first or a plain step below the second, in MADs: what is left is then
# below 1e-6 of a MAD, for Newton's error is about the square of its step.
_NEWTON_STEP, _PLAIN_STEP = 5e-4, 1e-6
_MAX_STEP = 1000
# Newton's step needs an objective that curves upward; below this part of the weights' sum the plain step is taken.
_CONVEX = 0.3
_FAR = np.float32(8.0)
_TINY = np.float32(1e-37)


@compiled()
def segment_starts(time, flux, tolerance):  # type: ignore[no-untyped-def]
    """Mark the values (n_time, n_star) of which the one before, of the same star, is farther than the tolerance."""
    n_time, n_star = flux.shape
    starts = np.zeros((n_time, n_star), dtype=np.bool_)
    before = np.full(n_star, np.inf)
    for i in range(n_time):
        for s in range(n_star):
            if flux[i, s] < np.inf:
                starts[i, s] = time[i] - before[s] > tolerance
                before[s] = time[i]
    return starts


@compiled()
def keep_seen(time, flux, edge, trend):  # type: ignore[no-untyped-def]
    """Blank the trend where the star has no value, and within ``edge`` of its first and last value."""
    n_time, n_star = flux.shape
    for s in range(n_star):
        low, high = 0, n_time - 1
        while low < n_time and flux[low, s] == np.inf:
            low += 1
        while high > low and flux[high, s] == np.inf:
            high -= 1
        for i in range(n_time):
            if flux[i, s] == np.inf or time[i] < time[low] + edge or time[i] > time[high] - edge:
                trend[i, s] = np.nan


@compiled()
def slide(flux, first, last, cval, trend):  # type: ignore[no-untyped-def]
    """Walk one segment: the window of cadence i holds rows ``first[i]`` to ``last[i]`` of ``flux (n_time, n_star)``."""
    n_time, n_star = flux.shape
    n_most = 1
    for i in range(n_time):
        n_most = max(n_most, last[i] - first[i])
    window, spare = np.full((n_most + 3, n_star), np.inf, np.float32), np.full((n_most + 3, n_star), np.inf, np.float32)
    window[0], spare[0] = -np.inf, -np.inf
    scaled = np.empty((n_most + 3, n_star), np.float32)
    nothing = np.full(n_star, np.inf, np.float32)
    median, mad, scale = np.empty(n_star, np.float32), np.empty(n_star, np.float32), np.empty(n_star, np.float32)
    location = np.empty(n_star, np.float32)
    n_value = np.zeros(n_star, np.int32)
    low, high, n_row = 0, 0, 0
    for i in range(n_time):
        while low < first[i] or high < last[i]:
            leaves, enters = low < first[i], high < last[i]
            leaving, entering = flux[low] if leaves else nothing, flux[high] if enters else nothing
            low, high = low + leaves, high + enters
            n_row += enters and not leaves
            _exchange(window, spare, n_row, leaving, entering)
            window, spare = spare, window
            n_row -= leaves and not enters
            for s in range(n_star):
                n_value[s] += (np.int32(1) if entering[s] < np.inf else np.int32(0)) - (
                    np.int32(1) if leaving[s] < np.inf else np.int32(0)
                )
        _median_and_mad(window, n_row, n_value, median, mad)
        for s in range(n_star):
            # Weights reach zero at a scaled distance of 1. A MAD of 0 leaves the median as it is.
            reach = cval * mad[s]
            scale[s] = np.float32(1.0) / reach if reach > _TINY else np.float32(0.0)
        _rescale(window, n_row, median, scale, scaled)
        _locate(scaled, (n_row + 3) // 4 * 4, np.float32(1.0) / cval, n_value, scale, location)
        row = trend[i]
        for s in range(n_star):
            row[s] = median[s] + location[s] * (cval * mad[s])


@compiled()
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


@compiled()
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


@compiled()
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


@compiled()
def _farther_end(window, s, median, n_lower, i, j):  # type: ignore[no-untyped-def]
    """Largest deviation among the i values next below the median and the j next above it."""
    below = median - window[n_lower + 1 - i, s] if i > 0 else np.float32(0.0)
    above = window[n_lower + j, s] - median if j > 0 else np.float32(0.0)
    return max(below, above)


@compiled()
def _rescale(window, n_row, median, scale, scaled):  # type: ignore[no-untyped-def]
    """Fill ``scaled`` with distances from the median in cval MADs; what is missing, or pads to fours, is far."""
    for k in range(n_row):
        row, distance = window[k + 1], scaled[k]
        for s in range(median.size):
            u = (row[s] - median[s]) * scale[s]
            distance[s] = u if u < _FAR else _FAR
    scaled[n_row : (n_row + 3) // 4 * 4] = _FAR


@compiled()
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


@compiled()
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
