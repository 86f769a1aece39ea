"""The slow part of every light curve: Tukey's biweight in a sliding window of time, all stars at once.

Owns the trend of plain arrays ``(n_time, n_star)``. What depends on time alone (windows, segments) is found once for
64 stars, and each of them keeps a window sorted in its own lane. Refuses the container (``detrending`` knows it), other
estimators, and any guess across a gap: segments that a gap parts do not see each other.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from starskope.curves import shapes
from starskope.curves.biweight_kernels import keep_seen, segment_starts, slide
from starskope.parallel import map_ranges
from starskope.validation import finite, positive

__all__ = ["biweight"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

# Stars that share their windows: fewer leave the vector units idle, more push the sorted windows out of the cache.
_TILE = 64


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
        tile = matrix[:, start:stop].copy()
        tile[np.isnan(tile)] = np.inf
        breaks = segment_starts(times, tile, tolerance if tolerance > 0 else math.inf)
        for rows, columns in _alike(breaks):
            values = tile if columns.size == tile.shape[1] else np.ascontiguousarray(tile[:, columns])
            found = np.full(values.shape, np.nan, dtype=np.float32)
            for begin, end in itertools.pairwise(rows):
                slide(
                    values[begin:end],
                    np.maximum(first[begin:end], begin) - begin,
                    np.minimum(last[begin:end], end) - begin,
                    np.float32(reach),
                    found[begin:end],
                )
                keep_seen(times[begin:end], values[begin:end], min(edge, half), found[begin:end])
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
