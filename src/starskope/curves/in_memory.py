"""Light curves from an array of planes.

Owns aperture sums over a cube ``(n_time, n_row, n_col)`` that the caller has already calibrated. Refuses files, and any
background of its own: a cutout of a few pixels holds no sky to measure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import ArrayLike

from starskope.curves.assembly import assemble, given_times, refuse_strangers, with_radius
from starskope.curves.container import LightCurves
from starskope.frames import photometry
from starskope.frames.targets import Targets
from starskope.frames.wcs import TanSip
from starskope.parallel import map_ranges
from starskope.validation import as_float32

__all__ = ["measure_planes"]

# Planes that one thread sums in a row; it sets the pace and nothing else.
_PLANES_PER_TASK = 8


def measure_planes(
    cube: ArrayLike,
    stars: Table,
    targets: Targets,
    *,
    time: ArrayLike | None,
    cadence: float | None,
    wcs: TanSip | Mapping[str, Any] | None,
    exposure_s: float,
    workers: int,
) -> LightCurves:
    """Sum the apertures of all stars on all planes; arguments as in `extract.light_curves`."""
    planes = as_float32(cube, "frames", 3)
    n_time, n_row, n_col = planes.shape
    times = given_times(time, cadence, n_time)
    if times is None:
        raise ValueError("an array of frames has no times: give time= (days, one per frame) or cadence= (days)")
    placed = targets.positions(wcs if wcs is None or isinstance(wcs, TanSip) else TanSip.from_header(wcs))
    if placed is None:
        raise ValueError("stars have ra and dec, but an array has no world coordinates: give wcs=, or row and column")
    row, column = placed
    refuse_strangers(row[None], column[None], (n_row, n_col))
    flux, errors = np.empty((n_time, len(stars)), np.float32), np.empty((n_time, len(stars)), np.float32)

    def photograph(start: int, stop: int) -> None:
        for k in range(start, stop):
            measured = photometry.measure(planes[k], 0.0, row, column, targets.radius, exposure_s=exposure_s)
            flux[k], errors[k] = measured.flux, measured.flux_err

    map_ranges(photograph, n_time, _PLANES_PER_TASK, workers)
    return assemble(
        with_radius(stars, targets),
        time=times,
        flux=flux,
        flux_err=None if math.isnan(exposure_s) else errors,
        exposure_s=exposure_s,
        flux_unit="",
        is_spacecraft_time=False,
    )
