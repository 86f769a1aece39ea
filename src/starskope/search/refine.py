"""From a peak on a grid to a period, an epoch and a duration, on all points of a star.

Owns the finer box search around a known candidate. Refuses to search from nothing (`box`) and to judge.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from starskope.search.fold import box_around
from starskope.search.series import StarSeries

__all__ = ["LONGEST_DUTY", "Ephemeris", "first_event", "locate", "refine"]

CELLS_COARSE, CELLS_FINE = 16, 32
"""Cells per box of the first and second pass."""
LONGEST_DUTY = 0.16
"""Longest duration as a fraction of the period: an orbit within two stellar radii tears a planet apart; longer boxes
fit the half waves of variable stars."""
MOST_FREQUENCIES = 129


class Ephemeris(NamedTuple):
    """Period, mid-transit of the first event, duration: days."""

    period: float
    t0: float
    duration: float


def refine(
    series: StarSeries, start: Ephemeris, frequency_step: float, *, shortest: float, longest: float
) -> Ephemeris:
    """Find the best box near a candidate.

    Parameters
    ----------
    series : StarSeries
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
    Two passes of `fold.box_around`, with 16 and 32 cells per box and frequency steps that move the last event by an
    eighth and a fortieth of the duration.
    """
    at, reach = start, 1.5 * frequency_step
    for n_cell, freedom in ((CELLS_COARSE, 8.0), (CELLS_FINE, 40.0)):
        step = at.duration / (freedom * at.period * max(series.span, at.period))
        n_side = min(math.ceil(reach / step), MOST_FREQUENCIES // 2)
        frequencies = 1.0 / at.period + reach * np.arange(-n_side, n_side + 1) / max(n_side, 1)
        frequencies = frequencies[frequencies > 0]
        middle = at.t0 + at.period * round((0.5 * (series.time[0] + series.time[-1]) - at.t0) / at.period)
        half_window = min((2.0 if n_cell == CELLS_COARSE else 1.25) * max(at.duration, series.cadence), 0.5 * at.period)
        cell = at.duration / n_cell
        cells = max(int(2.0 * half_window / cell), 2)
        cell = 2.0 * half_window / cells
        least = max(math.ceil(shortest / cell - 1e-9), 1)
        most = max(int(min(longest, LONGEST_DUTY * at.period) / cell + 1e-9), least)
        gain, i, first, n = box_around(
            series.time, series.flux, series.weight, frequencies, middle, half_window, cells, least, most
        )
        if not gain > 0:
            return at
        period = 1.0 / float(frequencies[i])
        t0 = middle - half_window + (first + 0.5 * n) * cell
        at = Ephemeris(period, first_event(t0, period, float(series.time[0])), n * cell)
        reach = 1.5 * step
    return at


def first_event(t0: float, period: float, start: float) -> float:
    """First mid-transit at or after ``start``."""
    return t0 + period * math.ceil((start - t0) / period - 1e-9)


def locate(series: StarSeries, period: float, shortest: float, longest: float) -> Ephemeris | None:
    """Find the best box at one period, at any phase: what a box periodogram has found there, on all points.

    Returns
    -------
    Ephemeris or None
        None where nothing dips.
    """
    best: tuple[float, float, float] = (0.0, 0.0, 0.0)
    n_cell = math.ceil(3.0 * period / shortest)
    cell = period / n_cell
    most = max(int(min(longest, LONGEST_DUTY * period) / cell), 3)
    # The window ends half a period off its epoch: a dip that one window cuts lies in the middle of the other.
    for epoch in (series.time[0], series.time[0] + 0.5 * period):
        gain, _, first, n = box_around(
            series.time, series.flux, series.weight, np.array([1.0 / period]), epoch, 0.5 * period, n_cell, 3, most
        )
        if gain > best[0]:
            best = (gain, epoch - 0.5 * period + (first + 0.5 * n) * cell, n * cell)
    if not best[0] > 0:
        return None
    return Ephemeris(period, first_event(best[1], period, float(series.time[0])), best[2])
