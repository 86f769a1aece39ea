"""Which periods the coverage leaves for a star that was seen to dip once or twice.

Owns the test of every other event of a period: where it was measured and nothing dipped, the period is excluded.
Refuses to find dips (`single`).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from starskope.compiled import compiled
from starskope.search.series import StarSeries
from starskope.search.single import Dip

__all__ = ["allowed_periods"]

F64 = NDArray[np.float64]


def allowed_periods(
    series: StarSeries, dip: Dip, apart: float, shortest: float, longest: float
) -> list[tuple[float, float]]:
    """Find the periods at which every other event falls where nothing was measured, or something like the dip.

    Parameters
    ----------
    series : StarSeries
    dip : Dip
        The event, or the first of two.
    apart : float
        Days to the second event; NaN = there is none.
    shortest, longest : float
        Days between which periods are tried.

    Returns
    -------
    list of (low, high)
        Allowed periods in order, days: whole fractions of ``apart`` (low equals high), or ranges; the last is open
        (high infinite) where the coverage sets no limit up to ``longest``.
    """
    if math.isfinite(apart):
        fractions = [apart / n for n in range(max(int(apart / shortest), 1), 0, -1)]
        return [(period, period) for period in fractions if _is_allowed(series, dip, period)]
    reach = float(max(series.time[-1] - dip.time, dip.time - series.time[0]))
    # Neighbouring periods move the farthest event by a quarter of the duration.
    n_period = math.ceil(math.log(longest / shortest) * 4.0 * max(reach, dip.duration) / dip.duration) + 1
    periods = np.geomspace(shortest, longest, n_period)
    allowed = _allowed(series.time, series.flux, series.weight, series.cadence, *dip[:4], periods, reach)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], allowed, [False]])))
    ranges = [(float(periods[low]), float(periods[high - 1])) for low, high in edges.reshape(-1, 2)]
    if allowed[-1]:
        ranges[-1] = (ranges[-1][0], math.inf)
    return ranges


@compiled()
def _allowed(
    time: F64,
    flux: F64,
    weight: F64,
    cadence: float,
    middle: float,
    duration: float,
    depth: float,
    error: float,
    periods: F64,
    reach: float,
) -> NDArray[np.bool_]:
    """Say of each period whether it is beyond reach or no event of it was observed to be missing."""
    allowed = np.zeros(periods.size, np.bool_)
    for i in range(periods.size):
        allowed[i] = periods[i] > reach or _none_missing(
            time, flux, weight, cadence, middle, duration, depth, error, periods[i]
        )
    return allowed


@compiled()
def _none_missing(
    time: F64,
    flux: F64,
    weight: F64,
    cadence: float,
    middle: float,
    duration: float,
    depth: float,
    error: float,
    period: float,
) -> bool:
    """Say whether no event of this period was observed to be missing."""
    first = int(np.ceil((time[0] - middle) / period))
    last = int(np.floor((time[-1] - middle) / period))
    k = first - 1
    while k < last:
        k += 1
        a = np.searchsorted(time, middle + k * period - 0.5 * duration)
        b = np.searchsorted(time, middle + k * period + 0.5 * duration)
        if a == b:
            if a == time.size:
                break
            # The next event that has points: gaps of years hold thousands without.
            k = max(k, int(np.ceil((time[a] - 0.5 * duration - middle) / period)) - 1)
            continue
        if k == 0 or b - a < 0.5 * duration / cadence:
            continue
        w, y = 0.0, 0.0
        for i in range(a, b):
            w += weight[i]
            y += weight[i] * flux[i]
        here = -y / w
        if here < 0.5 * depth and depth - here > 3.0 * error:
            return False
    return True


def _is_allowed(series: StarSeries, dip: Dip, period: float) -> bool:
    return bool(
        _none_missing(
            series.time,
            series.flux,
            series.weight,
            series.cadence,
            dip.time,
            dip.duration,
            dip.depth,
            dip.error,
            period,
        )
    )
