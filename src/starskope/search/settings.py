"""What a transit search is told: the grids, how many planets per star, and the thresholds of a claim.

Owns the numbers, their checks and the grids that follow from a time axis. Refuses to search and to judge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from starskope.search import grids
from starskope.search.refine import LONGEST_DUTY
from starskope.validation import as_float64, finite, integer_at_least, positive

__all__ = ["Grid", "SearchSettings", "refuse_other_units"]

F64 = NDArray[np.float64]

SECONDS_PER_DAY = 86400.0
SHORTEST_CADENCE = 1.5e-4
"""Days; TESS's fastest is 20 s = 2.3e-4 d."""
LONGEST_CADENCE = 0.21
"""Days; beyond five hours between points no box of a transit holds two of them."""
MOST_CANDIDATES = 100
"""Rows per star; as many as a job allows."""
MOST_OVERSAMPLE = 1000
"""More trial periods in a transit's peak only take memory."""
LEAST_CADENCES = 3
"""A shorter period has no phase without and with a transit."""
BIN_DAYS = 10.0 / 1440.0
"""Faster cadences are averaged to ten minutes before the period search: the shortest box holds four such bins."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Periods and durations that are tried on one time axis.

    Attributes
    ----------
    periods : (n_period,) float64
        Days, strictly increasing or decreasing.
    durations : (n_duration,) float64
        Days, increasing.
    cadence : float
        Median step of the times in days.
    n_bin : int
        Cadences that are averaged before the period search; 1 = none.
    """

    periods: F64
    durations: F64
    cadence: float
    n_bin: int


@dataclass(frozen=True, eq=False)
class SearchSettings:
    """Settings of `search_transits`; the defaults are calibrated, see `starskope.search.verdict`.

    Parameters
    ----------
    period_min, period_max : float
        Days. Default of ``period_max``: half the span of the times, beyond which no three transits fit.
    periods, durations : array-like, optional
        Days; instead of the grids made from the limits.
    oversample : int
        Of the frequency grid, up to 1000.
    n_candidates : int
        Most rows per star, up to 100; a further one is sought only where the one before stands out, in the light curve
        without it.
    snr_min, sde_min : float
        Least signal-to-noise ratio (red noise included) and signal detection efficiency of a periodic claim.
    single_snr_min : float
        Least signal-to-noise ratio of a single event.
    false_alarm_max : float
        Largest false-alarm probability of a claim.
    """

    period_min: float = 0.5
    period_max: float | None = None
    periods: ArrayLike | None = None
    durations: ArrayLike | None = None
    oversample: int = 3
    n_candidates: int = 3
    snr_min: float = 7.0
    sde_min: float = 5.5
    single_snr_min: float = 12.0
    false_alarm_max: float = 0.001

    def __post_init__(self) -> None:
        low = positive(self.period_min, "period_min")
        if self.period_max is not None and positive(self.period_max, "period_max") <= low:
            raise ValueError(
                f"period_min={self.period_min}, period_max={self.period_max}: expected period_min below period_max"
            )
        for name, most in (("oversample", MOST_OVERSAMPLE), ("n_candidates", MOST_CANDIDATES)):
            if integer_at_least(getattr(self, name), name, 1) > most:
                raise ValueError(f"{name}={getattr(self, name)}: expected 1 to {most}")
        for name in ("periods", "durations"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _days(getattr(self, name), name))
        for name in ("snr_min", "sde_min", "single_snr_min"):
            finite(getattr(self, name), name)
        if not 0 < finite(self.false_alarm_max, "false_alarm_max") <= 1:
            raise ValueError(f"false_alarm_max={self.false_alarm_max}: expected a probability above 0 and up to 1")

    def grid(self, time: F64, segment: NDArray[np.int32] | None = None) -> Grid | None:
        """Return the grids for a time axis, or None where it is too short for any period.

        With the ``segment`` (n_time,) of each time, the cadence is that within segments, which may overlap.

        Raises
        ------
        ValueError
            A period beyond the span of the times.
        """
        span = float(time[-1] - time[0]) if time.size > 1 else 0.0
        if time.size < 3:
            return None
        cadence = _cadence(time, segment)
        longest = self.period_max
        if self.periods is not None:
            periods = np.asarray(self.periods, np.float64)
            longest = float(periods.max())
        if longest is not None and longest > span:
            raise ValueError(
                f"period {longest:g} d is longer than the light curves, which span {span:.6g} d: "
                f"search up to {0.5 * span:.4g} d (three transits), or leave period_max out"
            )
        shortest = float(periods.min()) if self.periods is not None else self.period_min
        if shortest < LEAST_CADENCES * cadence:
            raise ValueError(
                f"period {shortest:g} d is shorter than {LEAST_CADENCES} cadences of {cadence * 1440:.4g} min: "
                f"search from {LEAST_CADENCES * cadence:.3g} d"
            )
        if self.periods is None:
            longest = 0.5 * span if longest is None else longest
            if longest <= self.period_min:
                return None
            periods = grids.period_grid(
                time, period_min=self.period_min, period_max=longest, oversample=self.oversample
            )
        if self.durations is not None:
            durations = np.asarray(self.durations, np.float64)
            if durations[0] > LONGEST_DUTY * periods.max():
                raise ValueError(
                    f"durations from {durations[0]:g} d: expected one of up to {LONGEST_DUTY * periods.max():.3g} d, "
                    f"{LONGEST_DUTY} of the longest period"
                )
        else:
            durations = grids.durations(float(periods.min()), float(periods.max()), cadence)
        n_bin = max(1, math.floor(min(BIN_DAYS, 0.25 * float(durations[0])) / cadence + 1e-6))
        return Grid(periods, durations, cadence, n_bin)


def _cadence(time: F64, segment: NDArray[np.int32] | None) -> float:
    parts = [time] if segment is None else [time[segment == k] for k in np.unique(segment)]
    return float(np.median(np.concatenate([np.diff(part) for part in parts])))


def refuse_other_units(time: F64) -> None:
    """Raise ValueError where the step of the times cannot be in days, saying which unit it looks like."""
    if time.size < 3:
        return
    step = float(np.median(np.diff(time)))
    if step <= LONGEST_CADENCE:
        return
    for unit, per_day in (("hours", 24.0), ("minutes", 1440.0), ("seconds", SECONDS_PER_DAY)):
        if SHORTEST_CADENCE <= step / per_day <= 0.0625:
            raise ValueError(
                f"time steps by {step:.6g}, as no light curve does in days: it looks like {unit}; "
                f"divide the times by {per_day:g}"
            )
    raise ValueError(
        f"time steps by {step:.6g} d: a search for transits needs points every {LONGEST_CADENCE} d or less"
    )


def _days(values: ArrayLike, name: str) -> F64:
    array = as_float64(values, name, 1)
    if array.size == 0 or not np.isfinite(array).all() or array.min() <= 0:
        raise ValueError(f"{name}: expected positive finite numbers of days, at least one")
    return np.unique(array)
