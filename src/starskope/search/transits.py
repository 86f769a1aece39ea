"""``search_transits``: from flattened light curves to a table of candidates with verdicts.

Owns the boundary: light curves or plain arrays in, blocks of stars, the final table out. Refuses detrending (give it
flattened curves); the search of a block stands in ``block``, what needs all stars in ``batch``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import ArrayLike

from starskope.curves.container import LightCurves
from starskope.curves.joined import Joined
from starskope.parallel import map_ranges
from starskope.search.batch import conclude
from starskope.search.block import search_block
from starskope.search.joined_search import joined_points
from starskope.search.settings import SearchSettings
from starskope.validation import as_float32, as_float64

__all__ = ["BLOCK", "SearchSettings", "search_transits"]

BLOCK = 256
"""Stars that are searched together."""


def search_transits(
    x: LightCurves | Joined | ArrayLike,
    *,
    time: ArrayLike | None = None,
    flux_err: ArrayLike | None = None,
    period_min: float = 0.5,
    period_max: float | None = None,
    periods: ArrayLike | None = None,
    durations: ArrayLike | None = None,
    oversample: int = 3,
    n_candidates: int = 3,
    workers: int = 1,
    axis: int = 0,
    **thresholds: float,
) -> Table:
    """Search flattened light curves for transits.

    Parameters
    ----------
    x : LightCurves, Joined or array-like
        Flattened. Joined light curves are one star, searched over all missions at once: each segment by its own level,
        errors and scatter, on one grid of periods for the whole span. An array is ``(n_time,)`` or ``(n_time, n_star)``
        (``axis=1``: the other way round), relative to any positive level, NaN = missing, and needs ``time``.
    time : (n_time,) array-like, optional
        Days, strictly increasing; with an array only.
    flux_err : array-like, optional
        One-sigma errors in the shape of the array; only their ratios count, the noise itself is measured. NaN or 0 =
        not known.
    period_min, period_max : float
        Days. Default of ``period_max``: half the span of the times; of joined light curves, half the days that their
        segments cover.
    periods, durations : array-like, optional
        Days; instead of the grids.
    oversample : int
        Of the frequency grid: steps in the width of a transit's peak.
    n_candidates : int
        Most rows per star.
    workers : int
        Threads; -1 = all CPUs. Any number gives the same bytes.
    axis : int
        Axis of time of an array.
    **thresholds : float
        ``snr_min``, ``sde_min``, ``single_snr_min``, ``false_alarm_max`` of `SearchSettings`.

    Returns
    -------
    astropy.table.Table
        One row per (star, rank), sorted by both; rank 0 is always there, NaN where a star has nothing to search, a
        further rank where the one before stands out. ``star`` is the column of the array, ``t0`` lies on the time axis
        given, depths are fractions of the light. ``claim`` says whether the row passes; ``verdict`` is ``planet-like``,
        ``binary``, ``ambiguous`` or ``single-event`` (period NaN, or the distance of two events; ``periods_allowed``
        and ``period_least`` say what the coverage leaves). Light curves with barycentric times add ``t0_bjd``, and
        ``period`` is then barycentric too.

    Raises
    ------
    TypeError
        No light curves, no numbers, or an unknown threshold.
    ValueError
        Times that do not increase or are not in days, negative errors, limits out of order, or a period beyond the span
        of the times.

    Notes
    -----
    See `starskope.search.block.search_block` for the method and `starskope.search.verdict` for what is claimed.
    Time: some 2 ms per star of 1,282 points and 6,000 periods on one core, 20 ms more for a planet whose transit is
    fitted; threads share stars and hold no lock in the loops; 1-2 s for a file of
    20,000 points; 0.5 to 8 us per period for years of data, which are folded in stretches of time
    (`starskope.search.box_scan`). Results of a star do not depend on the other stars, its false-alarm probability and
    ``same_as`` apart (the last digits may, where no star of the block has a point).

    Examples
    --------
    >>> import numpy as np
    >>> time = np.arange(0.0, 20.0, 1 / 48)
    >>> flux = 1.0 + 1e-4 * np.random.default_rng(1).standard_normal(time.size)
    >>> flux[(time - 1.0) % 3.0 < 0.1] -= 1e-3
    >>> found = search_transits(flux, time=time)
    >>> bool(found["claim"][0]), round(float(found["period"][0]), 2)
    (True, 3.0)
    """
    segment = None
    if isinstance(x, Joined):
        _refuse_own_axis(time, flux_err)
        curves, segment, observed = joined_points(x)
        if period_max is None and periods is None:
            _refuse_empty_range(observed, period_min, "the days that the segments cover")
            # Segments too short for any period are no mistake: one is tried.
            period_max = max(0.5 * observed, math.nextafter(period_min, math.inf))
    else:
        curves = _curves(x, time, flux_err, axis)
    settings = SearchSettings(
        period_min=period_min,
        period_max=period_max,
        periods=periods,
        durations=durations,
        oversample=oversample,
        n_candidates=n_candidates,
        **thresholds,
    )
    if settings.periods is None and settings.period_max is None and curves.n_time > 1:
        _refuse_empty_range(float(curves.time[-1] - curves.time[0]), period_min, "the span of the times")
    if curves.n_star <= BLOCK:
        alone = search_block(curves, settings, workers=workers, segment=segment)
        return conclude([alone], curves.stars, settings, time_zero=curves.time_zero)
    blocks = map_ranges(
        lambda start, stop: search_block(curves.select(stars=slice(start, stop)), settings),
        curves.n_star,
        BLOCK,
        workers,
    )
    return conclude(blocks, curves.stars, settings, time_zero=curves.time_zero)


def _refuse_empty_range(days: float, period_min: float, what: str) -> None:
    """Refuse a shortest period that somebody chose and that leaves nothing to search; short curves are no mistake."""
    if period_min > SearchSettings.period_min and 0.0 < 0.5 * days <= period_min:
        raise ValueError(
            f"period_min={period_min:g}: expected less than {0.5 * days:.6g} d, half {what}, or a period_max"
        )


def _refuse_own_axis(time: ArrayLike | None, flux_err: ArrayLike | None) -> None:
    if time is not None or flux_err is not None:
        raise ValueError("light curves have their own time and flux_err: give these with an array only")


def _curves(x: Any, time: ArrayLike | None, flux_err: ArrayLike | None, axis: int) -> LightCurves:
    if isinstance(x, LightCurves):
        _refuse_own_axis(time, flux_err)
        return x
    if time is None:
        raise ValueError("search_transits needs time=, the days of each point, with an array")
    if axis not in (0, 1, -1, -2):
        raise ValueError(f"axis={axis}: expected 0 (time-major) or 1")

    def major(values: ArrayLike, name: str) -> Any:
        array = as_float32(values, name, (1, 2))
        if array.ndim == 1:
            return array[:, None]
        return np.ascontiguousarray(array.T) if axis in (1, -1) else array

    return LightCurves(
        as_float64(time, "time", 1),
        major(x, "flux"),
        flux_err=None if flux_err is None else major(flux_err, "flux_err"),
    )
