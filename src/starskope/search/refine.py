"""From a peak on a grid to a period, an epoch and a duration, on all points of a star.

Owns the finer box search around a known candidate. Refuses to search from nothing (`box`) and to judge.
"""

from __future__ import annotations

from starskope import _core
from starskope.search.ephemeris import Ephemeris
from starskope.search.series import StarSeries

__all__ = ["LONGEST_DUTY", "locate", "refine"]

LONGEST_DUTY = 0.16
"""Longest duration as a fraction of the period: an orbit within two stellar radii tears a planet apart; longer boxes
fit the half waves of variable stars."""


def refine(series: StarSeries, start: Ephemeris, frequency_step: float, shortest: float, longest: float) -> Ephemeris:
    """Find the best box near a candidate.

    Parameters
    ----------
    series : StarSeries
        Two points or more.
    start : Ephemeris
        From the grid.
    frequency_step : float
        Step of that grid in 1/day: the true frequency lies within one and a half of it.
    shortest, longest : float
        Limits of the duration, days.

    Returns
    -------
    Ephemeris
        ``t0`` is the first mid-transit at or after the first time. ``start`` itself where no dip is left.

    Notes
    -----
    Two passes over frequencies, mid-transit times and durations, with 16 and 32 cells per box and frequency steps that
    move the last event by an eighth and a fortieth of the duration.
    """
    points = (series.time, series.flux, series.weight, series.cadence)
    return Ephemeris(*_core.refine_box(*points, *start, frequency_step, shortest, longest))


def locate(series: StarSeries, period: float, shortest: float, longest: float) -> Ephemeris | None:
    """Find the best box at one period, at any phase: what a box periodogram has found there, on all points.

    None where nothing dips.
    """
    found = _core.locate_box(series.time, series.flux, series.weight, series.cadence, period, shortest, longest)
    return None if found is None else Ephemeris(*found)
