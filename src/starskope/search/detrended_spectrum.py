"""Signal detection efficiency: how far a peak of a box periodogram stands out of the spectrum around it.

Owns the trend of a spectrum and its scatter. Refuses to know what the peak is.

A box periodogram rises towards long periods, where boxes hold fewer points of fewer events and red noise averages less;
without its trend the longest period wins in any noise (Kovacs, Zucker & Mazeh 2002; Ofir 2014,
doi:10.1051/0004-6361/201220860). The trend is the median in bands of equal width in the logarithm of the period, wide
enough to hold many independent frequencies, joined by straight lines.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from starskope import _core

__all__ = ["detrend", "trend_bands"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

BAND_WIDTH = 0.08
"""Natural logarithm of the period."""
LEAST_PER_BAND = 150
"""Periods of the grid; a peak of a real signal spans some ten to twenty of them."""


def trend_bands(periods: F64) -> tuple[NDArray[np.int64], F64]:
    """Split a grid of periods into bands.

    Parameters
    ----------
    periods : (n_period,) float64
        Strictly monotonic.

    Returns
    -------
    edges : (n_band + 1,) int64
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
    bands = np.array(edges, np.int64)
    centres: F64 = (bands[:-1] + bands[1:] - 1) / 2.0
    return bands, centres


def detrend(statistic: F32, edges: NDArray[np.int64], centres: F64) -> F64:
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
    out = np.empty(statistic.size)
    _core.detrend_spectrum(statistic, edges, centres, out)
    return out
