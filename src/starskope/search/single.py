"""Single events: one dip in time, with nothing to fold.

Owns the durations that are tried and what a found dip is; boxes, noise and gaps are the compiled core's
(``cpp/src/single_dips.cpp``). Refuses events that touch a gap, a momentum dump or a masked interval within their own
duration: there the light curves of every mission dip and jump.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from starskope import _core
from starskope.search.series import StarSeries

__all__ = ["Dip", "find_dips", "single_durations"]

F64 = NDArray[np.float64]

SHORTEST_CELLS = 3
"""Cadences per box, at least: fewer are an outlier's business."""
DURATIONS = (0.06, 0.09, 0.13, 0.18, 0.25, 0.36, 0.5)
"""Days: from the equator of a dwarf to half of the window of detrending."""


class Dip(NamedTuple):
    """One dip: middle and duration in days, depth as a fraction, its error, signal-to-noise ratio."""

    time: float
    duration: float
    depth: float
    error: float
    snr: float


def single_durations(cadence: float) -> F64:
    """Durations (days) that hold at least three cadences."""
    return np.array([d for d in DURATIONS if d >= (SHORTEST_CELLS - 0.5) * cadence])


def find_dips(series: StarSeries, forbidden: F64, n_dip: int = 3) -> tuple[list[Dip], list[Dip]]:
    """Find the most significant dips of a star in time, and the most significant bumps.

    Parameters
    ----------
    series : StarSeries
        Binned where the cadence is fast; each of several joined light curves by its own scatter.
    forbidden : (n_forbidden,) float64
        Increasing times of dumps and masked cadences.
    n_dip : int
        How many, in order of significance; none overlap.

    Returns
    -------
    dips, bumps : list of Dip
        Bumps by the same measure, their depth upwards: what noise of either sign does in this star.
    """
    durations = single_durations(series.cadence)
    found = [
        _core.single_dips(part.time, part.flux, part.weight, series.cadence, durations, forbidden, n_dip)
        for part in series.parts()
        if part.time.size > 1
    ]
    dips, rises = ([Dip(*row) for part in found for row in part[k]] for k in (0, 1))
    return (dips, rises) if len(found) < 2 else (_apart(dips, n_dip), _apart(rises, n_dip))


def _apart(found: list[Dip], n_dip: int) -> list[Dip]:
    """Choose the most significant that do not overlap."""
    kept: list[Dip] = []
    for dip in sorted(found, key=lambda one: -one.snr):
        if all(abs(dip.time - other.time) > 1.5 * (dip.duration + other.duration) for other in kept):
            kept.append(dip)
    return kept[:n_dip]
