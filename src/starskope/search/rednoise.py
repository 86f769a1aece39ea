"""Noise that does not average down: what a box of a given duration scatters by, beyond white noise.

Owns the split of a star's noise into a white part per point and a red part per box (Pont, Zucker & Queloz 2006).
Refuses to look inside candidates: their points are taken out before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["Noise", "box_means", "box_noise", "mad_scatter", "split_noise"]

F64 = NDArray[np.float64]

MAD_TO_SIGMA = 1.4826
STEPS_PER_BOX = 3
LEAST_BOXES = 8
TAIL, TAIL_SIGMA = 0.95, 1.96


@dataclass(frozen=True)
class Noise:
    """Noise of one star in boxes of one duration.

    Attributes
    ----------
    white : float
        Scatter of a point of weight 1, in the unit of the flux.
    red : float
        Scatter of the mean of a box that is left when white noise is taken away.
    """

    white: float
    red: float

    def box_variance(self, weight: F64 | float) -> F64:
        """Variance of the weighted mean of one box: ``white**2 / sum w + red**2``; infinite for an empty box."""
        w = np.asarray(weight, np.float64)
        return np.where(w > 0, self.white**2 / np.where(w > 0, w, 1.0), np.inf) + self.red**2


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def mad_scatter(values: F64) -> float:
    """Return the standard deviation from the median absolute deviation; NaN of nothing."""
    if values.size == 0:
        return np.nan
    sigma: float = MAD_TO_SIGMA * np.median(np.abs(values - np.median(values)))
    return sigma


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
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
    if time.size == 0:
        return np.zeros(0), np.zeros(0)
    n_box = max(int((time[-1] - time[0] - duration) / step) + 1, 0)
    mean, total = np.zeros(n_box), np.zeros(n_box)
    first, last, kept = 0, 0, 0
    for b in range(n_box):
        start = time[0] + b * step
        while first < time.size and time[first] < start:
            first += 1
        last = max(last, first)
        while last < time.size and time[last] < start + duration:
            last += 1
        w, y = 0.0, 0.0
        for i in range(first, last):
            w += weight[i]
            y += weight[i] * flux[i]
        if w > 0.0:
            mean[kept], total[kept] = y / w, w
            kept += 1
    return mean[:kept], total[:kept]


def box_noise(time: F64, flux: F64, weight: F64, duration: float) -> Noise:
    """Measure white and red noise of a star for boxes of one duration.

    Parameters
    ----------
    time, flux, weight : (n,) float64
        Points outside the candidate; weights with mean 1.
    duration : float
        Days.

    Notes
    -----
    The means of all boxes scatter by V(n) = white**2 / n + red**2 (Pont, Zucker & Queloz 2006, eq. 5); scatters are
    taken from the median absolute deviation, so that a second planet or a flare does not count as noise, and from the
    95th percentile where that is larger, so that long tails do.

    References
    ----------
    Pont, Zucker & Queloz 2006, doi:10.1111/j.1365-2966.2006.11012.x
    """
    return Noise(*split_noise(time, flux, weight, duration))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def split_noise(time: F64, flux: F64, weight: F64, duration: float) -> tuple[float, float]:
    """White and red noise, as `box_noise` returns them."""
    if time.size == 0:
        return np.nan, 0.0
    white = mad_scatter(flux * np.sqrt(weight))
    means, weights = box_means(time, flux, weight, duration, duration / STEPS_PER_BOX)
    if means.size:
        full = weights >= 0.5 * np.mean(weights)
        means, weights = means[full], weights[full]
    if means.size < LEAST_BOXES:
        return white, 0.0
    deviation = np.sort(np.abs(means - np.median(means)))
    spread = max(
        MAD_TO_SIGMA * deviation[deviation.size // 2], deviation[int(TAIL * (deviation.size - 1))] / TAIL_SIGMA
    )
    return white, np.sqrt(max(spread**2 - white**2 * np.mean(1.0 / weights), 0.0))
