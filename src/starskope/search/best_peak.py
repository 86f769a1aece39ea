"""The candidate that a spectrum gives: its highest peaks refined on all points, the one that stands out most vetted.

Owns the choice among the peaks, in one call per spectrum. Refuses to search periods (`box_spectra`) and to judge.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from starskope.search.detrended_spectrum import detrend, distinct_peaks, trend_bands
from starskope.search.ephemeris import BOX, Ephemeris, Limits
from starskope.search.grids import duration_limits
from starskope.search.one_ephemeris import Depth, Measured
from starskope.search.refine import locate
from starskope.search.settings import Grid
from starskope.search.star_points import StarPoints
from starskope.search.vetting import NOTHING, Vetted, measure, snr, vet

__all__ = ["PeriodTrials", "best_peak"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

N_PEAKS = 3
"""Peaks of a spectrum that are looked at; the one whose events stand out most is the candidate."""
_NOTHING = NOTHING


class PeriodTrials(NamedTuple):
    """What all stars of a block share: the periods that were tried, their limits, and the bands of their trend."""

    periods: F64
    shortest: F64
    longest: F64
    edges: NDArray[np.intp]
    centres: F64

    @classmethod
    def of(cls, grid: Grid) -> PeriodTrials:
        """Prepare a grid."""
        return cls(grid.periods, *duration_limits(grid.periods, cadence=grid.cadence), *trend_bands(grid.periods))


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def best_peak(points: StarPoints, statistic: F32, trials: PeriodTrials) -> tuple[bool, float, Vetted]:
    """Refine the highest peaks of a spectrum and vet the one whose events stand out most.

    Parameters
    ----------
    points : StarPoints
    statistic : (n_period,) float32
        Signal-to-noise ratios of the best boxes.
    trials : PeriodTrials

    Returns
    -------
    dips : bool
        False where nothing dips: then there is nothing to vet.
    sde : float
        Height of the peak above the trend of the spectrum in its scatter; NaN without a peak.
    vetted : Vetted
    """
    efficiency = detrend(statistic, trials.edges, trials.centres)
    last = trials.periods.size - 1
    is_any, sde = False, np.nan
    best, limits = _nothing(), Limits(np.nan, np.nan, np.nan, np.nan)
    for i in distinct_peaks(efficiency, trials.periods, points.time[points.time.size - 1] - points.time[0], N_PEAKS):
        period = trials.periods[i]
        step = 0.0
        for k in range(max(i - 1, 0), min(i + 1, last)):
            step = max(step, abs(1.0 / trials.periods[k + 1] - 1.0 / trials.periods[k]))
        its_limits = Limits(trials.periods[0], trials.periods[last], trials.shortest[i], trials.longest[i])
        is_found, start = locate(points, period, its_limits.duration_min, its_limits.duration_max)
        if not is_found:
            continue
        found = measure(points, start, step, its_limits)
        if not is_any or snr(found) > snr(best):
            is_any, best, limits, sde = True, found, its_limits, efficiency[i]
    if not snr(best) > 0:
        return False, sde, _NOTHING
    return True, sde, vet(points, best, limits)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _nothing() -> Measured:
    """Return what no events measure."""
    none = np.zeros(0)
    at, depth = Ephemeris(np.nan, np.nan, np.nan), Depth(np.nan, np.nan, np.nan)
    return Measured(at, BOX, np.zeros(0, np.int64), none, none, depth, np.nan, np.nan, np.nan)
