"""A slow sliding biweight in plain NumPy: the oracle of `starskope.curves.biweight`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    F64 = NDArray[np.float64]


def biweight_location(values: ArrayLike, cval: float) -> tuple[float, float]:
    """Biweight location of finite values, iterated from their median to 1e-9 of their MAD; and the MAD."""
    x = np.asarray(values, dtype=np.float64)
    center = float(np.median(x))
    mad = float(np.median(np.abs(x - center)))
    if mad == 0.0:
        return center, mad
    for _ in range(10_000):
        u = (x - center) / (cval * mad)
        weight = np.where(np.abs(u) < 1.0, (1.0 - u**2) ** 2, 0.0)
        mean = float(np.sum(weight * x) / np.sum(weight))
        if abs(mean - center) <= 1e-9 * mad:
            return mean, mad
        center = mean
    raise AssertionError("no convergence")


def biweight_trend(
    time: ArrayLike, values: ArrayLike, window: float, *, cval: float, break_tolerance: float, edge_days: float
) -> tuple[F64, F64]:
    """Trend of one star and the MAD of each window; NaN where the value is missing or the edge is cut.

    Values are first freed of what is missing, then parted where two neighbours are farther apart than
    ``break_tolerance`` (0 = nowhere); a window holds the values of one part with ``t - w/2 <= time < t + w/2``.
    """
    t, x = np.asarray(time, dtype=np.float64), np.asarray(values, dtype=np.float64)
    trend, spread = np.full(t.size, np.nan), np.full(t.size, np.nan)
    rows = np.flatnonzero(np.isfinite(x))
    if rows.size == 0:
        return trend, spread
    tolerance = break_tolerance if break_tolerance > 0 else math.inf
    edge = min(edge_days, window / 2)
    for part in np.split(rows, np.flatnonzero(np.diff(t[rows]) > tolerance) + 1):
        for i in part:
            if not t[part[0]] + edge <= t[i] <= t[part[-1]] - edge:
                continue
            inside = part[(t[part] >= t[i] - window / 2) & (t[part] < t[i] + window / 2)]
            trend[i], spread[i] = biweight_location(x[inside], cval)
    return trend, spread
