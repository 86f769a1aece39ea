"""Noise that does not average down: what a box of a given duration scatters by, beyond white noise.

Owns the split of a star's noise into a white part per point and a red part per box (Pont, Zucker & Queloz 2006).
Refuses to look inside candidates: their points are taken out before.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from starskope.search.selection import mad_between, median, ranked_between

__all__ = ["box_means", "mad_scatter", "split_noise"]

F64 = NDArray[np.float64]

MAD_TO_SIGMA = 1.4826
STEPS_PER_BOX = 3
LEAST_BOXES = 8
TAIL, TAIL_SIGMA = 0.95, 1.96
TAIL_REACH = 0.3
"""Part of the expected tail within which it is looked for first."""


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def mad_scatter(values: F64) -> float:
    """Return the standard deviation from the median absolute deviation; NaN of nothing."""
    left = values.copy()
    middle = median(left, left.size)
    for i in range(values.size):
        left[i] = abs(values[i] - middle)
    sigma: float = MAD_TO_SIGMA * median(left, left.size)
    return sigma


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
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


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def split_noise(
    time: F64, flux: F64, weight: F64, duration: float, centre: float, scatter: float
) -> tuple[float, float]:
    """Measure white and red noise of a star for boxes of one duration.

    Parameters
    ----------
    time, flux, weight : (n,) float64
        Points outside the candidate; weights with mean 1.
    duration : float
        Days.
    centre, scatter : float
        About the median of ``flux sqrt(weight)`` and its scatter, where these are known: they only save time.

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
    white = mad_between(flux * np.sqrt(weight), time.size, centre, scatter, np.empty(time.size + 1))[1]
    means, weights = box_means(time, flux, weight, duration, duration / STEPS_PER_BOX)
    average = 0.0
    for i in range(means.size):
        average += weights[i]
    half = 0.5 * average / means.size
    n, inverse, total, square = 0, 0.0, 0.0, 0.0
    for i in range(means.size):
        if weights[i] >= half:
            means[n] = means[i]
            n += 1
            inverse += 1.0 / weights[i]
            total += means[i]
            square += means[i] * means[i]
    if n < LEAST_BOXES:
        return white, 0.0
    sigma = np.sqrt(max(square / n - (total / n) ** 2, 0.0))
    scratch = np.empty(n + 1)
    by_median = mad_between(means, n, total / n, sigma, scratch)[1]
    # `means` now holds the deviations, of which the upper of two in the middle counts.
    middle = ranked_between(means, n, n // 2, 0.9 * by_median / MAD_TO_SIGMA, 1.1 * by_median / MAD_TO_SIGMA, scratch)
    tail = TAIL_SIGMA * max(sigma, by_median)
    tail = ranked_between(means, n, int(TAIL * (n - 1)), (1.0 - TAIL_REACH) * tail, (1.0 + TAIL_REACH) * tail, scratch)
    spread = max(MAD_TO_SIGMA * middle, tail / TAIL_SIGMA)
    return white, np.sqrt(max(spread**2 - white**2 * inverse / n, 0.0))
