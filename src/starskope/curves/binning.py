"""Averages along time: each star's median, and bins on the cadence grid.

Owns plain functions on time-major arrays ``(n_time, n_star)``, NaN = missing. Refuses the container, and any
model of a star's light: detrending is elsewhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["bin_means", "bin_starts", "cadence_days", "star_medians"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

# Series handled at once: float64 scratch stays small and in cache, whatever the number of stars.
_TILE = 256


def star_medians(flux: F32, usable: NDArray[np.bool_]) -> F64:
    """Median of each star over the usable cadences, or over all of them where no usable one has a value.

    Parameters
    ----------
    flux : (n_time, n_star) float32
        NaN = missing.
    usable : (n_time,) bool

    Returns
    -------
    (n_star,) float64
        NaN for a star without any value.
    """
    medians = _medians(flux, usable)
    empty = np.flatnonzero(np.isnan(medians))
    if empty.size and not usable.all():
        medians[empty] = _medians(flux[:, empty], np.ones_like(usable))
    return medians


def _medians(flux: F32, usable: NDArray[np.bool_]) -> F64:
    medians = np.full(flux.shape[1], np.nan)
    if not usable.any():
        return medians
    for start in range(0, flux.shape[1], _TILE):
        # Sorting puts NaN last, so that stars with different gaps need no loop and raise no warning.
        ordered = np.sort(flux[usable, start : start + _TILE].T, axis=1).astype(np.float64)
        n_value = np.count_nonzero(~np.isnan(ordered), axis=1)
        star = np.flatnonzero(n_value)
        low, high = ordered[star, (n_value[star] - 1) // 2], ordered[star, n_value[star] // 2]
        medians[start + star] = 0.5 * (low + high)
    return medians


def cadence_days(time: F64) -> float:
    """Median step of the times in days; 0 for fewer than two times."""
    return float(np.median(np.diff(time))) if time.size > 1 else 0.0


def bin_starts(time: F64, *, n: int | None = None, width_days: float | None = None) -> NDArray[np.intp]:
    """First cadence of every bin that holds one, for bins of equal width on the grid of the cadences.

    The grid begins with the first cadence. Cadences that are missing keep their place on it, so no bin reaches over a
    gap to gather what lies on both sides.

    Parameters
    ----------
    time : (n_time,) float64
        Days, strictly increasing.
    n : int, optional
        Width in places of the grid (places, not cadences that exist).
    width_days : float, optional
        Width in days.

    Returns
    -------
    (n_bin,) intp
        Strictly increasing, first 0; empty without cadences.
    """
    if time.size == 0:
        return np.zeros(0, dtype=np.intp)
    cadence = cadence_days(time)
    if n is not None:
        steps = np.rint(np.diff(time) / cadence) if cadence > 0 else np.zeros(0)
        place = np.concatenate([[0.0], np.cumsum(steps)]) // n
    else:
        # Half a cadence before the first mid-exposure: bin edges then fall between cadences, not onto them.
        place = np.floor((time - time[0] + 0.5 * cadence) / width_days)
    return np.concatenate([[0], np.flatnonzero(np.diff(place)) + 1]).astype(np.intp)


def bin_means(values: F32, errors: F32 | None, starts: NDArray[np.intp]) -> tuple[F32, F32]:
    """Mean of each bin and star, weighted by inverse variance where errors are known, and its error.

    Parameters
    ----------
    values : (n_time, n_star) float32
        NaN = missing.
    errors : (n_time, n_star) float32 or None
        One-sigma errors; NaN or 0 = not known.
    starts : (n_bin,) intp
        From `bin_starts`.

    Returns
    -------
    mean, error : (n_bin, n_star) float32
        NaN where a bin holds no value (mean) or no value with a known error (error).

    Notes
    -----
    ``mean = sum(w x) / sum(w)``, ``error = sum(w)**-0.5`` with ``w = error**-2``, over the values with known errors. A
    bin in which none is known takes the plain mean of its values. Sums are float64.
    """
    shape = (starts.size, values.shape[1])
    mean, error = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    if 0 in shape:
        return mean, error
    n_cadence = np.diff(starts, append=values.shape[0])
    for start in range(0, values.shape[1], _TILE):
        tile = np.s_[:, start : start + _TILE]
        x = values[tile].astype(np.float64)
        seen = ~np.isnan(x)
        weight = seen.astype(np.float64)
        known = np.zeros((shape[0], x.shape[1]), dtype=bool)
        if errors is not None:
            sigma = errors[tile].astype(np.float64)
            usable = seen & (sigma > 0)
            known = np.logical_or.reduceat(usable, starts, axis=0)
            weighted = np.where(usable, 1.0 / np.square(np.where(usable, sigma, 1.0)), 0.0)
            weight = np.where(np.repeat(known, n_cadence, axis=0), weighted, weight)
        total = np.add.reduceat(weight, starts, axis=0)
        filled = total > 0
        divisor = np.where(filled, total, 1.0)
        moment = np.add.reduceat(weight * np.where(seen, x, 0.0), starts, axis=0)
        mean[tile] = np.where(filled, moment / divisor, np.nan)
        error[tile] = np.where(known, 1.0 / np.sqrt(divisor), np.nan)
    return mean, error
