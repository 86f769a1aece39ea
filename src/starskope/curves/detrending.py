"""Light curves without their slow part: the trend of a set of stars, and the set divided by it.

Owns ``LightCurves.trend`` and ``LightCurves.flatten``. Refuses to mask (``masks`` does that, before) and to
judge what the trend took away.

**What a window costs a transit.** The trend follows a dip once that fills a good part of the window, and what it
follows is lost from the depth. Percent of the depth left by the default window of 0.75 d (box transits in white noise
at 30 min cadence, mean of 64 stars; depths in units of the noise of one point):

    duration    1 h    2 h    3 h    4 h    5 h    6 h    7 h    8 h   10 h
    depth 3      99     94     93     87     78     72     64     57     44
    depth 10    100    100    100    100    100    100     98     76     26
    depth 30    100    100    100    100    100    100    100    100      3

So dips that stand out of the noise survive up to 7 h, and those that only many transits together show lose a tenth at
3 h and a quarter at 6 h. Durations near half the window vanish: for long transits give a wider window (at 6 h and depth
3, 1 d leaves 86 % and 1.5 d 93 %).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from starskope.validation import choice

if TYPE_CHECKING:
    from starskope.curves.container import LightCurves

__all__ = ["flatten", "trend"]

METHODS = ("biweight",)


def trend(
    curves: LightCurves,
    window: float = 0.75,
    *,
    method: str = "biweight",
    break_tolerance: float = 0.5,
    edge_days: float = 0.0,
    workers: int = 1,
) -> NDArray[np.float32]:
    """Return the trend of each star (n_time, n_star), in the unit of the flux; NaN where the flux is missing.

    Parameters
    ----------
    curves : LightCurves
        Flags play no part: what is to be left out must be NaN (`LightCurves.mask`).
    window, break_tolerance, edge_days, workers
        As `starskope.curves.biweight.biweight` takes them; days.
    method : "biweight"
        The estimator.
    """
    choice(method, "method", METHODS)
    from starskope.curves.biweight import biweight  # numba: not for those who only read and write

    return biweight(
        curves.time, curves.flux, window, break_tolerance=break_tolerance, edge_days=edge_days, workers=workers
    )


def flatten(
    curves: LightCurves,
    window: float = 0.75,
    *,
    method: str = "biweight",
    break_tolerance: float = 0.5,
    edge_days: float = 0.0,
    workers: int = 1,
) -> LightCurves:
    """Return the light curves divided by their trends; parameters as for `trend`.

    ``flux`` is around 1 and ``flux_err`` scaled alike. Where a trend is zero or negative (faint stars after background
    subtraction) both are NaN: a ratio would mean nothing.
    """
    slow = trend(curves, window, method=method, break_tolerance=break_tolerance, edge_days=edge_days, workers=workers)
    slow[~(slow > 0)] = np.nan
    notes = {
        "method": method,
        "window_days": float(window),
        "break_tolerance_days": float(break_tolerance),
        "edge_days": float(edge_days),
    }
    errors = None if curves.flux_err is None else curves.flux_err / slow
    return replace(
        curves,
        flux=np.divide(curves.flux, slow, out=slow),
        flux_err=errors,
        meta={**curves.meta, "flux_unit": "", "flattened": notes},
    )
