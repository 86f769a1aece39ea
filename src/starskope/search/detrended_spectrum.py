"""Signal detection efficiency: how far a peak of a box periodogram stands out of the spectrum around it.

Owns the trend of a spectrum and its scatter. Refuses to know what the peak is.

A box periodogram rises towards long periods, where boxes hold fewer points of fewer events and red noise averages less;
without its trend the longest period wins in any noise (Kovacs, Zucker & Mazeh 2002; Ofir 2014,
doi:10.1051/0004-6361/201220860). The trend is the median in bands of equal width in the logarithm of the period, wide
enough to hold many independent frequencies, joined by straight lines.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["detrend", "distinct_peaks", "trend_bands"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

BAND_WIDTH = 0.08
"""Natural logarithm of the period."""
LEAST_PER_BAND = 150
"""Periods of the grid; a peak of a real signal spans some ten to twenty of them."""
SAMPLES_PER_BAND = 301
MAD_TO_SIGMA = 1.4826


def trend_bands(periods: F64) -> tuple[NDArray[np.intp], F64]:
    """Split a grid of periods into bands.

    Parameters
    ----------
    periods : (n_period,) float64
        Strictly monotonic.

    Returns
    -------
    edges : (n_band + 1,) intp
        The band ``b`` holds the periods ``edges[b] : edges[b + 1]``.
    centres : (n_band,) float64
        Positions on the grid at which the bands' medians hold.
    """
    log_period = np.abs(np.log(periods) - np.log(periods[0]))
    edges = [0]
    while edges[-1] < periods.size:
        start = edges[-1]
        by_width = int(np.searchsorted(log_period, log_period[start] + BAND_WIDTH, side="right"))
        stop = max(by_width, start + LEAST_PER_BAND)
        if periods.size - stop < LEAST_PER_BAND:
            stop = periods.size
        edges.append(stop)
    bands = np.array(edges, np.intp)
    centres: F64 = (bands[:-1] + bands[1:] - 1) / 2.0
    return bands, centres


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
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
    n_band = centres.size
    medians = np.zeros(n_band)
    for b in range(n_band):
        length = edges[b + 1] - edges[b]
        stride = max(1, length // 301)
        medians[b] = np.median(statistic[edges[b] : edges[b + 1] : stride].astype(np.float64))
    out = np.zeros(statistic.size)
    b = 0
    for i in range(statistic.size):
        while b + 2 < n_band and i > centres[b + 1]:
            b += 1
        if n_band == 1 or i <= centres[0]:
            trend = medians[0]
        elif i >= centres[n_band - 1]:
            trend = medians[n_band - 1]
        else:
            share = (i - centres[b]) / (centres[b + 1] - centres[b])
            trend = medians[b] + share * (medians[b + 1] - medians[b])
        out[i] = statistic[i] - trend
    stride = max(1, statistic.size // 8192)
    scatter = 1.4826 * np.median(np.abs(out[::stride]))
    if scatter > 0.0:
        out /= scatter
    else:
        out[:] = 0.0
    return out


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
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
    left = efficiency.copy()
    found = np.zeros(n_peak, np.intp)
    n = 0
    for _ in range(n_peak):
        i = int(np.argmax(left))
        if not left[i] > 0.0:
            break
        found[n] = i
        n += 1
        for j in range(left.size):
            if abs(1.0 / periods[j] - 1.0 / periods[i]) < 1.0 / span:
                left[j] = 0.0
    return found[:n]
