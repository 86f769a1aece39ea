"""From times in days to places on a regular grid.

Owns the grid that lies nearest to given times, how far they stand off it, when that counts as regular, and the check
that a cadence is in days. Refuses to move or fill data: who uses a grid decides what a missing place means.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starskope.curves.shapes import increasing_times
from starskope.validation import positive

__all__ = ["REGULAR_PHASE", "Grid", "cadence_in_days", "fit_grid", "regular_grid"]

REGULAR_PHASE = 0.01
"""Radians of phase at the highest frequency by which a regular cadence may be off."""

_LONGEST_DAYS = 10.0
_OFF_STEP, _MANY_OFF = 0.25, 0.05
_MOST_PLACES = 1 << 24
_MINUTES_PER_DAY, _SECONDS_PER_DAY = 1440.0, 86400.0


@dataclass(frozen=True, eq=False)
class Grid:
    """Places ``start + cadence_days * (0 .. n_time - 1)`` and the one that each given time is nearest to.

    Attributes
    ----------
    start : float
        Time of place 0, in days on the axis of the given times.
    cadence_days : float
        Distance of neighbouring places.
    n_time : int
        Places, from the first time to the last; those without a time are gaps.
    place : (n_given,) intp or None
        Place of each given time, strictly increasing; None where every place has its time, or times keep to no grid.
    deviation : (n_given,) float64
        Given time minus time of its place, days; infinite where times keep to no grid.
    """

    start: float
    cadence_days: float
    n_time: int
    place: NDArray[np.intp] | None
    deviation: NDArray[np.float64]

    @property
    def nyquist(self) -> float:
        """Half the sampling frequency, per day."""
        return 0.5 / self.cadence_days

    def phase_error(self, frequency_max: float) -> float:
        """Largest phase in radians by which a signal of ``frequency_max`` (per day) is off when times are rounded."""
        return 2.0 * math.pi * frequency_max * float(np.max(np.abs(self.deviation), initial=0.0))

    def is_regular(self, frequency_max: float) -> bool:
        """Whether a transform on the grid stands for one at the given times, up to ``frequency_max`` per day."""
        return self.phase_error(frequency_max) < REGULAR_PHASE


def cadence_in_days(value: Any, name: str = "cadence") -> float:
    """Return a cadence as days above 0; an astropy Quantity of time is converted.

    Raises
    ------
    TypeError
        No number.
    ValueError
        Not finite, not above 0, or so long that it must be in another unit.
    """
    if hasattr(value, "to_value"):
        from astropy import units

        try:
            value = value.to_value(units.day)
        except units.UnitConversionError:
            raise ValueError(f"{name}={value}: expected a time, such as 30 minutes or a plain number of days") from None
    days = positive(value, name)
    if days >= _LONGEST_DAYS:
        raise ValueError(f"{name}={days:g} days looks like {_other_unit(days)}: give days")
    return days


def _other_unit(value: float) -> str:
    minutes, seconds = value / _MINUTES_PER_DAY, value / _SECONDS_PER_DAY
    if value > 100.0:
        return f"seconds ({seconds:.6g} d)"
    return f"seconds or minutes ({seconds:.6g} or {minutes:.6g} d)"


def regular_grid(n_time: int, cadence_days: float) -> Grid:
    """Return the grid of ``n_time`` samples that are regular by declaration, from time 0."""
    return Grid(0.0, cadence_days, n_time, None, np.zeros(0))


def fit_grid(time: Any, *, cadence_days: float | None = None) -> Grid:
    """Lay a regular grid through times.

    Parameters
    ----------
    time : (n_given,) float64
        Days, finite and strictly increasing, two or more.
    cadence_days : float, optional
        About the distance of neighbouring samples; default: the median step.

    Returns
    -------
    Grid
        Neighbours stand as many places apart as their step holds cadences, rounded; start and cadence are the least
        squares line of the times over these places, shifted so that the largest deviations up and down are equal.
        Where more than a twentieth of the steps is no multiple of the cadence to a quarter of it, there is no such
        grid: deviations are infinite, and ``n_time`` cadences of the given length fill the span.

    Raises
    ------
    TypeError, ValueError
        Not real numbers, fewer than two, not finite, unsorted, repeated, or in another unit than days.

    Notes
    -----
    Steps are rounded one by one, so a slow drift (barycentric times depart from a line by 8.7 s over a TESS sector, by
    a minute and more over a Kepler quarter) adds up to no wrong place, and neither does a long gap.
    """
    times = increasing_times(time)
    if times.size < 2:
        raise ValueError(f"time holds {times.size} cadences; a spectrum needs 2 or more")
    steps = np.diff(times)
    typical = float(np.median(steps))
    if cadence_days is None:
        if typical >= _LONGEST_DAYS:
            raise ValueError(f"time: steps of {typical:g} days look like {_other_unit(typical)}: give days")
        cadence_days = typical
    n_step = np.rint(steps / cadence_days)
    # Offsets after gaps are common, ten of them in a sector; a series is irregular where off steps are the rule.
    irregular = float(np.mean(np.abs(steps / cadence_days - n_step) > _OFF_STEP)) > _MANY_OFF
    n_step = np.maximum(n_step, 1.0)
    span = times[-1] - times[0]
    n_time = 1 + round(span / cadence_days if irregular else n_step.sum())
    if n_time > _MOST_PLACES:
        raise ValueError(
            f"time spans {span:.6g} d, which is {n_time} cadences of {cadence_days:.6g} d (at most "
            f"{_MOST_PLACES}): give the true cadence, or parts of the series"
        )
    if irregular:
        return Grid(float(times[0]), cadence_days, n_time, None, np.full(times.size, np.inf))
    place = np.concatenate([[0.0], np.cumsum(n_step)])
    start, slope = _line(place, times)
    deviation = times - (start + slope * place)
    shift = 0.5 * (float(deviation.max()) + float(deviation.min()))
    deviation -= shift
    full = n_time == times.size
    return Grid(start + shift, slope, n_time, None if full else place.astype(np.intp), deviation)


def _line(place: NDArray[np.float64], times: NDArray[np.float64]) -> tuple[float, float]:
    """Least squares line; sums around the middle keep every digit of times near 2.4 million days."""
    centre, middle = float(place.mean()), float(times[0])
    x, y = place - centre, times - middle
    slope = float(x @ y) / float(x @ x)
    return middle + float(y.mean()) - slope * centre, slope
