"""From a peak on a grid to a period, an epoch and a duration, on all points of a star.

Owns the finer box search around a known candidate. Refuses to search from nothing (`box`) and to judge.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from starskope.search.ephemeris import Ephemeris, first_event
from starskope.search.fold import box_around
from starskope.search.star_points import StarPoints

__all__ = ["LONGEST_DUTY", "locate", "refine"]

CELLS_COARSE, CELLS_FINE = 16, 32
"""Cells per box of the first and second pass."""
FREEDOM_COARSE, FREEDOM_FINE = 8.0, 40.0
"""Frequency steps of these passes: the last event moves by this part of the duration."""
LONGEST_DUTY = 0.16
"""Longest duration as a fraction of the period: an orbit within two stellar radii tears a planet apart; longer boxes
fit the half waves of variable stars."""
MOST_FREQUENCIES = 129


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def refine(points: StarPoints, start: Ephemeris, frequency_step: float, shortest: float, longest: float) -> Ephemeris:
    """Find the best box near a candidate.

    Parameters
    ----------
    points : StarPoints
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
    begin, end = points.time[0], points.time[points.time.size - 1]
    at, reach = start, 1.5 * frequency_step
    for coarse in (True, False):
        n_cell, freedom = (CELLS_COARSE, FREEDOM_COARSE) if coarse else (CELLS_FINE, FREEDOM_FINE)
        step = at.duration / (freedom * at.period * max(end - begin, at.period))
        n_side = int(min(np.ceil(reach / step), MOST_FREQUENCIES // 2))
        frequencies = 1.0 / at.period + reach * np.arange(-n_side, n_side + 1) / max(n_side, 1)
        frequencies = frequencies[frequencies > 0]
        middle = at.t0 + at.period * np.rint((0.5 * (begin + end) - at.t0) / at.period)
        half_window = min((2.0 if coarse else 1.25) * max(at.duration, points.cadence), 0.5 * at.period)
        cell = at.duration / n_cell
        cells = max(int(2.0 * half_window / cell), 2)
        cell = 2.0 * half_window / cells
        least = max(int(np.ceil(shortest / cell - 1e-9)), 1)
        most = max(int(min(longest, LONGEST_DUTY * at.period) / cell + 1e-9), least)
        gain, i, first, n = box_around(
            points.time, points.flux, points.weight, frequencies, middle, half_window, cells, least, most
        )
        if not gain > 0:
            return at
        period = 1.0 / frequencies[i]
        t0 = middle - half_window + (first + 0.5 * n) * cell
        at = Ephemeris(period, first_event(t0, period, begin), n * cell)
        reach = 1.5 * step
    return at


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def locate(points: StarPoints, period: float, shortest: float, longest: float) -> tuple[bool, Ephemeris]:
    """Find the best box at one period, at any phase: what a box periodogram has found there, on all points.

    Returns
    -------
    found : bool
        False where nothing dips.
    at : Ephemeris
    """
    best_gain, middle, duration = 0.0, 0.0, 0.0
    n_cell = int(np.ceil(3.0 * period / shortest))
    cell = period / n_cell
    most = max(int(min(longest, LONGEST_DUTY * period) / cell), 3)
    # The window ends half a period off its epoch: a dip that one window cuts lies in the middle of the other.
    for half_turn in (0.0, 0.5):
        epoch = points.time[0] + half_turn * period
        gain, _, first, n = box_around(
            points.time, points.flux, points.weight, np.array([1.0 / period]), epoch, 0.5 * period, n_cell, 3, most
        )
        if gain > best_gain:
            best_gain, middle, duration = gain, epoch - 0.5 * period + (first + 0.5 * n) * cell, n * cell
    return best_gain > 0.0, Ephemeris(period, first_event(middle, period, points.time[0]), duration)
