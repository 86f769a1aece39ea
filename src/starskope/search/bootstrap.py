"""How high noise peaks, measured: periodograms of the points of a star in another order.

Owns the resampling of one star. Refuses formulas (`significance`), and noise that is not white: points that change
places forget their neighbours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from starskope.search.lombscargle import lomb_scargle
from starskope.validation import as_float64, integer_at_least

__all__ = ["bootstrap_false_alarm", "bootstrap_peaks"]

F64 = NDArray[np.float64]


def bootstrap_peaks(
    flux: ArrayLike,
    *,
    flux_err: ArrayLike | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
    **settings: Any,
) -> F64:
    """Return the highest power of each of so many resamplings of one star.

    Parameters
    ----------
    flux : (n_time,) array_like
        NaN = missing; the points that are there keep their times and take values, with their errors, at random from
        all of them, with replacement.
    flux_err : (n_time,) array_like, optional
        One-sigma errors.
    n_bootstrap : int
        Resamplings.
    seed : int
        The same seed gives the same peaks.
    **settings
        ``cadence`` or ``time``, ``oversample``, ``frequency_max``, ``workers`` of `starskope.lomb_scargle`.

    Returns
    -------
    (n_bootstrap,) float64
        Sorted.

    Raises
    ------
    ValueError
        More than one star, fewer than four points, or what `starskope.lomb_scargle` refuses.
    """
    values = as_float64(flux, "flux", 1)
    errors = None if flux_err is None else as_float64(flux_err, "flux_err", 1)
    if errors is not None and errors.shape != values.shape:
        raise ValueError(f"flux_err has shape {errors.shape}; expected {values.shape} like flux")
    n = integer_at_least(n_bootstrap, "n_bootstrap", 1)
    there = np.isfinite(values)
    if errors is not None:
        there &= np.isfinite(errors) & (errors > 0)
    places = np.flatnonzero(there)
    if places.size < 4:
        raise ValueError(f"flux has {places.size} points: a periodogram needs four")
    taken = places[np.random.default_rng(seed).integers(0, places.size, (places.size, n))]
    drawn = np.full((values.size, n), np.nan)
    drawn[places] = values[taken]
    drawn_errors = None
    if errors is not None:
        drawn_errors = np.full((values.size, n), np.nan)
        drawn_errors[places] = errors[taken]
    power = lomb_scargle(drawn, flux_err=drawn_errors, **settings).power
    return np.sort(power.max(axis=0).astype(np.float64))


def bootstrap_false_alarm(power: ArrayLike, peaks: F64) -> F64:
    """Return the fraction of resamplings that peak at ``power`` or above; `bootstrap_peaks` gives ``peaks``."""
    level = np.asarray(power, np.float64)
    above = peaks.size - np.searchsorted(peaks, level, side="left")
    return np.where(np.isnan(level), np.nan, above / peaks.size)
