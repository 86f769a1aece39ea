"""Joined light curves as the search takes them: one star, one cadence, and for each point the segment that it is from.

Owns how segments of different cadences and noise come together: each is normalised and weighted by its own level and
scatter, and nothing is put on a grid over the years between them. Refuses to flatten (`Joined.flatten`) and to search.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from starskope.curves.binning import cadence_days
from starskope.curves.container import LightCurves
from starskope.curves.joined import Joined
from starskope.search.series import mad_scatter

__all__ = ["JoinedPoints", "joined_points"]

I32 = NDArray[np.int32]
F64 = NDArray[np.float64]

LEAST_POINTS = 16
"""A segment with fewer points has no scatter worth the name, and is left out."""


class JoinedPoints(NamedTuple):
    """The points of all segments.

    Attributes
    ----------
    curves : LightCurves
        One star, in order of time; ``flux_err`` is the scatter of its segment, shared out by the errors given.
    segment : (n_time,) int32
        Segment of each point.
    observed : float
        Days that the segments cover, those of several missions counted once.
    """

    curves: LightCurves
    segment: I32
    observed: float


def joined_points(joined: Joined) -> JoinedPoints:
    """Put the segments of a star together.

    Parameters
    ----------
    joined : Joined
        Flattened.

    Raises
    ------
    ValueError
        No segment holds 16 points with a level above 0 and any scatter.

    Notes
    -----
    Faster segments are averaged to the slowest cadence, so that an event is worth its points anywhere. Of points at one
    moment in two segments the better one stays. Errors of a segment are scaled to its measured scatter: what missions
    call an error differs by factors.
    """
    step = max(cadence_days(curves.time) for curves in joined.segments)
    parts = []
    for i, curves in enumerate(joined.segments):
        part = _segment(i, curves, step)
        if part is not None:
            parts.append(part)
    if not parts:
        raise ValueError(
            f"joined light curves: none of {joined.n_segment} segments holds {LEAST_POINTS} measured points that differ"
        )
    time, flux, error, quality, segment = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.lexsort((error, time))
    order = order[np.concatenate([[True], np.diff(time[order]) > 0])]
    missions = list(dict.fromkeys(curves.mission for curves in joined.segments))
    curves = LightCurves(
        time[order],
        flux[order, None].astype(np.float32),
        _one_star(joined),
        flux_err=error[order, None].astype(np.float32),
        quality=quality[order],
        time_zero=joined.time_zero,
        mission="+".join(missions),
        meta={"time_reference": "barycentre"},
    )
    return JoinedPoints(curves, segment[order].astype(np.int32), _observed(parts))


def _segment(number: int, curves: LightCurves, step: float) -> tuple[F64, F64, F64, I32, I32] | None:
    """Return times, relative flux, errors, flags and numbers of the points of a segment; None of too few."""
    own = cadence_days(curves.time)
    n_bin = int(step / own + 0.05) if own > 0 else 1
    if n_bin > 1:
        curves = curves.bin(n_bin)
    flux = curves.flux[:, 0].astype(np.float64)
    there = np.isfinite(flux)
    if np.count_nonzero(there) < LEAST_POINTS:
        return None
    level = float(np.median(flux[there]))
    scatter = mad_scatter(flux[there] / level - 1.0) if level > 0 else 0.0
    if not scatter > 0:
        return None
    error = np.full(flux.size, scatter)
    if curves.flux_err is not None:
        given = curves.flux_err[:, 0].astype(np.float64)
        known = there & np.isfinite(given) & (given > 0)
        if known.any():
            error[known] = given[known] * (scatter / float(np.median(given[known])))
    n_point = np.count_nonzero(there)
    return (
        curves.time[there],
        flux[there] / level,
        error[there],
        curves.quality[there].astype(np.int32),
        np.full(n_point, number, np.int32),
    )


def _observed(parts: list[tuple[F64, F64, F64, I32, I32]]) -> float:
    """Days from first to last point of the segments, overlaps counted once."""
    total, end = 0.0, -np.inf
    for start, stop in sorted((float(part[0][0]), float(part[0][-1])) for part in parts):
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total


def _one_star(joined: Joined) -> Table:
    """One row that knows of the star what any segment knows: the first that has a column gives it."""
    row = Table(joined.segments[0].stars, copy=True)
    for curves in joined.segments[1:]:
        for name in curves.stars.colnames:
            if name not in row.colnames:
                row[name] = curves.stars[name]
    return row
