"""The candidate that a spectrum gives: its highest peaks refined on all points, the one that stands out most vetted.

Owns what the compiled core is asked and the names of what it answers: which peak, which multiple of its period, events,
noise, shape and other phases are its business (``cpp/src/dip_vetting.hpp``). Refuses thresholds of claims: those are
the verdict's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from starskope import _core
from starskope.search.detrended_spectrum import trend_bands
from starskope.search.grids import duration_limits
from starskope.search.series import StarSeries
from starskope.search.settings import Grid

__all__ = ["PeriodTrials", "Vetted", "best_peak"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


class PeriodTrials(NamedTuple):
    """What all stars of a block share: the periods that were tried, their limits, and the bands of their trend."""

    periods: F64
    shortest: F64
    longest: F64
    edges: NDArray[np.int64]
    centres: F64

    @classmethod
    def of(cls, grid: Grid) -> PeriodTrials:
        """Prepare a grid."""
        return cls(grid.periods, *duration_limits(grid.periods, cadence=grid.cadence), *trend_bands(grid.periods))


class Vetted(NamedTuple):
    """A candidate after vetting: the fields of `candidate.Candidate` that the star alone can tell, and two more.

    Attributes
    ----------
    gain : float
        Of the box, and of that at a significant secondary, to compare with `sines.sine_gain`.
    level : float
        Mean flux outside.
    """

    period: float
    t0: float
    duration: float
    depth: float
    depth_err: float
    snr: float
    n_transits: float
    n_consistent: float
    steadiness: float
    odd_even: float
    odd_even_err: float
    secondary: float
    secondary_err: float
    secondary_phase: float
    n_secondary: float
    bump: float
    flat_bottom: float
    flat_bottom_max: float
    length: float
    period_err: float
    t0_err: float
    gain: float
    level: float


def best_peak(
    series: StarSeries, statistic: F32, trials: PeriodTrials, *, upside_down: bool = False
) -> tuple[float, Vetted | None]:
    """Refine the three highest peaks of a spectrum and vet the one whose events stand out most.

    Parameters
    ----------
    series : StarSeries
        All points of the star, unbinned.
    statistic : (n_period,) float32
        Signal-to-noise ratios of the best boxes.
    trials : PeriodTrials
    upside_down : bool
        Take rises for dips; ``statistic`` is then theirs.

    Returns
    -------
    sde : float
        Height of the peak above the trend of the spectrum in its scatter; NaN without a peak.
    vetted : Vetted or None
        None where nothing dips: then there is nothing to vet.

    Notes
    -----
    The period is settled among P/3, P/2, P, 2P and 3P by the signal-to-noise ratios of their events with red noise
    (Pont, Zucker & Queloz 2006); the other phases are scanned as by Coughlin et al. (2016).

    References
    ----------
    Pont, Zucker & Queloz 2006, doi:10.1111/j.1365-2966.2006.11012.x
    Coughlin et al. 2016, doi:10.3847/0067-0049/224/1/12
    """
    if series.time.size < 2:
        return float("nan"), None
    sde, found = _core.best_peak(
        series.time,
        series.flux,
        series.weight,
        series.cadence,
        upside_down,
        statistic,
        trials.periods,
        trials.shortest,
        trials.longest,
        trials.edges,
        trials.centres,
    )
    return sde, None if found is None else Vetted(*found)
