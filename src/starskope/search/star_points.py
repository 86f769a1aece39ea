"""The valid points of one star as Numba's loops take them, with the scatter that all of these ask for.

Owns the tuple of arrays and how a column of a block becomes one. Refuses missing points and detrending.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from starskope.search.selection import mad_between

__all__ = ["StarPoints", "star_points", "upside_down"]

F64 = NDArray[np.float64]


class StarPoints(NamedTuple):
    """Points of one star.

    Attributes
    ----------
    time, flux, weight : (n,) float64
        Days, increasing; relative flux, its level subtracted; inverse variances of mean 1.
    scaled : (n,) float64
        ``flux sqrt(weight)``: of equal scatter.
    centre, scatter : float
        Median of that and its standard deviation from the median absolute deviation.
    cadence : float
        Median step of the times, days.
    """

    time: F64
    flux: F64
    weight: F64
    scaled: F64
    centre: float
    scatter: float
    cadence: float


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def star_points(time: F64, flux: F64, weight: F64, cadence: float) -> StarPoints:
    """Add to the points of a star (n,) what all loops over them ask for."""
    n = time.size
    scaled = flux * np.sqrt(weight)
    total, square = 0.0, 0.0
    for i in range(n):
        total += scaled[i]
        square += scaled[i] * scaled[i]
    mean = total / n
    sigma = np.sqrt(max(square / n - mean * mean, 0.0))
    centre, scatter = mad_between(scaled.copy(), n, mean, sigma, np.empty(n + 1))
    return StarPoints(time, flux, weight, scaled, centre, scatter, cadence)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def upside_down(points: StarPoints) -> StarPoints:
    """Return the points with dips and rises exchanged."""
    return StarPoints(
        points.time,
        -points.flux,
        points.weight,
        -points.scaled,
        -points.centre,
        points.scatter,
        points.cadence,
    )
