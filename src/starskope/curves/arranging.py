"""What is done to light curves as a set: normalise, bin, choose. These are methods of `LightCurves`.

Owns the functions that give another set of light curves of the same stars or fewer, at the same cadences or fewer.
Refuses to take trends off and to judge cadences.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Column
from numpy.typing import ArrayLike, NDArray

from starskope.curves import binning, selection

if TYPE_CHECKING:
    from starskope.curves.container import LightCurves

__all__ = ["bin_cadences", "normalize", "select"]


def normalize(curves: LightCurves) -> LightCurves:
    """Divide each star by its median flux over the unflagged cadences (over all, where it has none of these).

    Returns
    -------
    LightCurves
        ``flux`` around 1, ``flux_err`` scaled alike, ``background`` as it was. The medians stand in the star table
        as ``median_flux``; a star whose median is zero, negative or missing becomes NaN throughout.
    """
    median = binning.star_medians(curves.flux, curves.quality == 0)
    scale = np.where(median > 0, median, np.nan)
    stars = curves.stars.copy()
    stars["median_flux"] = Column(median, unit=curves.flux_unit or None, description="median before normalisation")
    return replace(
        curves,
        flux=_divided(curves.flux, scale),
        flux_err=None if curves.flux_err is None else _divided(curves.flux_err, scale),
        stars=stars,
        meta={**curves.meta, "flux_unit": "", "normalized": "median"},
    )


def bin_cadences(curves: LightCurves, n: int | None = None, *, width_days: float | None = None) -> LightCurves:
    """Average neighbouring cadences.

    Parameters
    ----------
    n : int, optional
        Width of a bin in cadences.
    width_days : float, optional
        Width of a bin in days; give this or ``n``.

    Returns
    -------
    LightCurves
        ``time`` is the mean of the cadences in the bin, ``flux`` the mean weighted by inverse variance (plain where
        no error is known), ``flux_err`` its error, ``quality`` the OR of all flags, ``observer`` and ``background``
        plain means, ``exposure_s`` that of a full bin.

    Notes
    -----
    Bins lie on the grid of the cadences: missing ones keep their place, so no bin reaches over a gap to gather
    points on both sides; empty bins are left out. Flagged cadences take part: drop them first with
    ``select(quality=-1)``.
    """
    if (n is None) == (width_days is None):
        raise ValueError(f"bin(n={n}, width_days={width_days}): give exactly one of the two")
    if n is not None and (n != int(n) or n < 1):
        raise ValueError(f"bin(n={n}): give a whole number of cadences, at least 1")
    if width_days is not None and not (math.isfinite(width_days) and width_days > 0):
        raise ValueError(f"bin(width_days={width_days}): give a positive width in days")
    starts = binning.bin_starts(curves.time, n=n, width_days=width_days)
    flux, errors = binning.bin_means(curves.flux, curves.flux_err, starts)
    cadence = binning.cadence_days(curves.time)
    per_bin = float(n) if n is not None else max(1.0, round((width_days or 0.0) / cadence)) if cadence > 0 else 1.0
    return replace(
        curves,
        time=_means(curves.time, starts),
        flux=flux,
        flux_err=None if curves.flux_err is None else errors,
        quality=np.bitwise_or.reduceat(curves.quality, starts) if starts.size else curves.quality,
        observer=None if curves.observer is None else _means(curves.observer, starts),
        background=None if curves.background is None else binning.bin_means(curves.background, None, starts)[0],
        exposure_s=curves.exposure_s * per_bin,
        meta={**curves.meta, "binned": {"n": n} if n is not None else {"width_days": width_days}},
    )


def select(
    curves: LightCurves,
    stars: ArrayLike | slice | None = None,
    time: ArrayLike | slice | tuple[float | None, float | None] | None = None,
    quality: int | None = None,
    *,
    ids: ArrayLike | None = None,
) -> LightCurves:
    """Keep some stars and some cadences.

    Parameters
    ----------
    stars : bool mask (n_star,), positions, or slice, optional
        Which stars, in which order.
    time : bool mask (n_time,), slice, or tuple (start, stop), optional
        Which cadences; the tuple is in days on the time axis, start <= time < stop, either end may be None.
    quality : int, optional
        Drop the cadences that carry any of these bits; -1 drops every flagged one.
    ids : integers, optional
        Catalogue numbers (column ``tic_id`` or its like) instead of ``stars``.

    Returns
    -------
    LightCurves
    """
    if stars is not None and ids is not None:
        raise ValueError("select: give stars= (positions) or ids= (catalogue numbers), not both")
    columns = (
        selection.star_positions(stars, curves.n_star) if ids is None else selection.positions_of_ids(curves.stars, ids)
    )
    rows = selection.cadences(time, curves.time)
    if quality is not None:
        rows = rows[(curves.quality[rows] & quality) == 0]
    both = np.ix_(rows, columns)
    return replace(
        curves,
        time=curves.time[rows],
        flux=curves.flux[both],
        stars=curves.stars[columns],
        flux_err=None if curves.flux_err is None else curves.flux_err[both],
        quality=curves.quality[rows],
        observer=None if curves.observer is None else curves.observer[rows],
        direction=None if curves.direction is None else curves.direction[columns],
        background=None if curves.background is None else curves.background[both],
    )


def _divided(values: NDArray[np.float32], scale: NDArray[np.float64]) -> NDArray[np.float32]:
    """Divide each column by a float64 scale, rounded once, without a float64 copy of the whole."""
    return np.divide(values, scale, out=np.empty_like(values), casting="same_kind")


def _means(values: NDArray[np.float64], starts: NDArray[np.intp]) -> NDArray[np.float64]:
    """Plain mean of each bin along time; differences from the bin's first row keep every digit of the times."""
    if not starts.size:
        return values
    n_cadence = np.diff(starts, append=values.shape[0])
    first = values[starts]
    counts = n_cadence.reshape(-1, *([1] * (values.ndim - 1)))
    rest = values - np.repeat(first, n_cadence, axis=0)
    means: NDArray[np.float64] = first + np.add.reduceat(rest, starts, axis=0) / counts
    return means
