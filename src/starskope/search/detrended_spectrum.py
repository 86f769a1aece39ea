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

from starskope.search.selection import mad_between, median, median_between

__all__ = ["detrend", "distinct_peaks", "trend_bands"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

BAND_WIDTH = 0.08
"""Natural logarithm of the period."""
LEAST_PER_BAND = 150
"""Periods of the grid; a peak of a real signal spans some ten to twenty of them."""
SAMPLES_PER_BAND = 301
SAMPLES = 8192
"""Positions of a spectrum, from which its scatter is taken, and up to twice as many."""
PROBABLE = 3.0
"""Efficiency above which the peaks are looked for first; any value gives the same."""
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


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _band_medians(statistic: F32, edges: NDArray[np.intp]) -> F64:
    """Median of up to some 300 to 600 values of each band; each is sought near that of the band before."""
    medians = np.empty(edges.size - 1)
    sample, scratch = np.empty(statistic.size), np.empty(statistic.size + 1)
    before, scatter = np.nan, np.nan
    for b in range(medians.size):
        stride = max(1, (edges[b + 1] - edges[b]) // SAMPLES_PER_BAND)
        n = 0
        for i in range(edges[b], edges[b + 1], stride):
            sample[n] = statistic[i]
            n += 1
        if b == 0:
            before, scatter = mad_between(sample, n, np.nan, np.nan, scratch)
        else:
            before = median_between(sample, n, before - 0.3 * scatter, before + 0.3 * scatter, scratch)
        medians[b] = before
    return medians


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
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
    stride = max(1, n // SAMPLES)
    deviation, m = np.empty(n // stride + 1), 0
    for i in range(0, n, stride):
        deviation[m] = abs(out[i])
        m += 1
    sample = deviation[: m : max(1, m // SAMPLES_PER_BAND)].copy()
    usual = median(sample, sample.size)
    scatter = MAD_TO_SIGMA * median_between(deviation, m, 0.8 * usual, 1.2 * usual, np.empty(m + 1))
    if scatter > 0.0:
        out /= scatter
    else:
        out[:] = 0.0
    return out


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
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


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _above(efficiency: F64, least: float) -> tuple[NDArray[np.intp], int]:
    """Positions above a height, and how many these are."""
    places, n = np.empty(efficiency.size + 1, np.intp), 0
    for i in range(efficiency.size):
        places[n] = i
        n += int(efficiency[i] > least)
    return places, n


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
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
