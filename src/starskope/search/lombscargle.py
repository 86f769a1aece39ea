"""Lomb-Scargle periodograms, regular cadences in the core and all other times by nifty-ls.

Owns `lomb_scargle`: its grid of frequencies, the choice of the way, and what counts for false alarms. Refuses
detrending, and any normalisation but the standard one.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from starskope import _core
from starskope.parallel import map_ranges
from starskope.search.cadence import Grid
from starskope.search.spectra import Spectra
from starskope.search.spectra_input import STARS_PER_BLOCK, read_series
from starskope.validation import integer_at_least, positive

__all__ = ["lomb_scargle"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


def lomb_scargle(
    x: ArrayLike | Any,
    *,
    cadence: float | None = None,
    time: ArrayLike | None = None,
    flux_err: ArrayLike | None = None,
    oversample: int = 5,
    frequency_max: float | None = None,
    axis: int = 0,
    workers: int = 1,
    out: Any = None,
) -> Spectra:
    """Lomb-Scargle periodograms of many series at once.

    Parameters
    ----------
    x : LightCurves, or array_like (n_time, n_star) of real numbers
        A single axis is one series. NaN and infinities are gaps. Flagged cadences of light curves take part:
        ``x.mask()`` sets them to NaN.
    cadence : float or Quantity
        Days from sample to sample; of arrays only, which must have this or ``time``. With both, it sets the grid of
        frequencies.
    time : (n_time,) array_like, optional
        Any times in days, strictly increasing; several stars share them.
    flux_err : array_like like x, or (n_time,), optional
        One-sigma errors; NaN or 0 = not known: the point is left out, unless no error of the series is known. Light
        curves bring their own.
    oversample : int
        Frequencies per independent one.
    frequency_max : float, optional
        Per day; default: Nyquist, 1 / (2 cadence). Above it the periodogram of a regular cadence is its mirror image.
    axis : 0 or 1
        Axis of time in arrays.
    workers : int
        Compute threads, -1 = all CPUs of this process; the result has the same bytes for any number.
    out : (n_freq, n_star) float32, optional
        Where the powers go, C-contiguous or a range of columns; `Spectra.power` is it then. No input may lie in it.

    Returns
    -------
    Spectra
        Frequencies ``k / (oversample n_time cadence)``, k = 1, 2, ..., the last at most ``frequency_max``; ``power``
        (n_freq, n_star) float32 from 0 to 1; NaN for a series of fewer than four points or without variance.

    Raises
    ------
    TypeError, ValueError
        Anything that does not fit: no cadence, one that is not in days, fewer than two cadences, unsorted or repeated
        times, negative errors, a grid without a frequency.

    Notes
    -----
    Each frequency fits ``c + a cos + b sin`` by weighted least squares; the power is the fraction of the weighted
    variance about the mean that the sine takes away (floating mean, standard normalisation; Zechmeister & Kürster).
    Times count as regular when rounding them to a grid shifts no phase by 0.01 rad at the highest frequency; the core
    is exact for gaps and errors of every star then. `Spectra.method` says which way was taken. The last digits of a
    series depend on its neighbours in the batch: the same batch gives the same bytes.

    References
    ----------
    Zechmeister & Kürster 2009, A&A 496, 577, doi:10.1051/0004-6361:200811296; Garrison, Foreman-Mackey, Shih & Barnett
    2024, RNAAS 8, 250, doi:10.3847/2515-5172/ad82cd (nifty-ls)

    Examples
    --------
    >>> import numpy as np
    >>> import starskope as sk
    >>> time = np.arange(1280) * 0.025
    >>> flux = 1 + 0.01 * np.sin(2 * np.pi * time / 4)
    >>> flux[300:400] = np.nan
    >>> float(sk.lomb_scargle(flux, cadence=0.025).peaks()["period"][0])
    4.0
    """
    series = read_series(x, cadence=cadence, time=time, flux_err=flux_err, axis=axis, caller="lomb_scargle")
    oversample = integer_at_least(oversample, "oversample", 1)
    grid = series.grid
    top = grid.nyquist if frequency_max is None else positive(frequency_max, "frequency_max")
    step = 1.0 / (oversample * grid.n_time * grid.cadence_days)
    n_freq = _count(top, step, grid)
    regular = grid.is_regular(top)
    power = series.result(out, (n_freq, series.n_star))
    n_point = np.zeros(series.n_star, dtype=np.int64)
    baseline = np.zeros(series.n_star)
    days = series.given_places() * grid.cadence_days

    def transform(start: int, stop: int) -> None:
        values, weights = series.block(start, stop), series.weights(start, stop)
        out = power[:, start:stop]
        if regular:
            laid = None if weights is None else series.on_grid(weights, 0.0)
            count, spread = np.empty(stop - start), np.empty(stop - start)
            _on_grid(series.on_grid(values), laid, out, oversample * grid.n_time, count, spread)
            n_point[start:stop] = count
            baseline[start:stop] = grid.cadence_days * np.sqrt(4.0 * math.pi * np.maximum(spread, 0.0))
        else:
            n_point[start:stop], baseline[start:stop] = _extent(days, values, weights)
            _at_own_times(days, values, weights, out, step)

    map_ranges(transform, series.n_star, STARS_PER_BLOCK, workers)
    return Spectra(
        power=power,
        frequency=np.arange(1, n_freq + 1, dtype=np.float64) * step,
        stars=series.stars,
        normalization="standard",
        method="regular" if regular else "nifty-ls",
        cadence_days=grid.cadence_days,
        phase_error=grid.phase_error(top) if regular else 0.0,
        settings={"oversample": oversample, "frequency_max": top, "n_time": grid.n_time},
        n_point=n_point,
        baseline_days=baseline,
    )


def _count(top: float, step: float, grid: Grid) -> int:
    """Return how many frequencies lie up to ``top``; a last one that is ``top`` but for rounding belongs to it."""
    n_freq = math.floor(top / step * (1.0 + 1e-12))
    if n_freq < 1:
        raise ValueError(
            f"frequency_max={top:g} per day lies below the first frequency, {step:g}: give more, or oversample"
        )
    if n_freq > 1 << 28:
        raise ValueError(
            f"frequency_max={top:g} per day asks for {n_freq} frequencies (Nyquist is {grid.nyquist:.6g} per day): "
            "give less, per day"
        )
    return n_freq


def _extent(days: F64, values: F32, weights: F32 | None) -> tuple[NDArray[np.int64], F64]:
    """Return points (n_star,) and ``sqrt(4 pi var(t))`` of each series, weighted."""
    centred = days - days.mean()
    moments = np.stack([np.ones_like(centred), centred, centred * centred])
    weight = np.isfinite(values).astype(np.float64)
    if weights is not None:
        weight *= weights.reshape(days.size, -1)
    # Not the product of matrices: its last digits may depend on the threads of the BLAS.
    total, first, second = np.einsum("kt,ts->ks", moments, weight)
    some = np.where(total > 0, total, 1.0)
    variance = np.maximum(second / some - np.square(first / some), 0.0)
    return np.count_nonzero(weight > 0, axis=0), np.sqrt(4.0 * math.pi * variance)


def _on_grid(values: F32, weights: F32 | None, out: F32, n_fft: int, count: F64, spread: F64) -> None:
    """Write periodograms at ``(row + 1) / n_fft`` per cadence, mirrored above Nyquist as a regular cadence has it."""
    n_freq = out.shape[0]
    if 2 * n_freq <= n_fft:
        _core.lomb_scargle(values, weights, out, n_fft, count, spread)
        return
    half = np.empty((n_fft // 2, out.shape[1]), dtype=np.float32)
    _core.lomb_scargle(values, weights, half, n_fft, count, spread)
    k = np.arange(1, n_freq + 1) % n_fft
    k = np.minimum(k, n_fft - k)
    # At multiples of the sampling frequency a sine is a constant, which the mean has taken already.
    constant = np.where(np.isnan(half[0]), np.nan, 0.0)
    out[:] = np.where((k > 0)[:, np.newaxis], half[np.maximum(k, 1) - 1], constant)


def _at_own_times(days: F64, values: F32, weights: F32 | None, out: F32, step: float) -> None:
    """Write periodograms at any times to ``out`` (n_freq, n_star)."""
    import nifty_ls

    seen = np.isfinite(values)
    weight = np.ones_like(values) if weights is None else np.broadcast_to(weights.reshape(days.size, -1), values.shape)
    weight = np.where(seen, weight, 0.0).astype(np.float64)
    # A mean of the points taken off first keeps the digits of small signals on large fluxes.
    total = weight.sum(axis=0)
    plain = np.where(seen, values, 0.0).astype(np.float64)
    plain = np.where(seen, plain - (weight * plain).sum(axis=0) / np.where(total > 0, total, 1.0), 0.0)
    enough = (np.count_nonzero(weight > 0, axis=0) >= 4) & ((weight * plain * plain).sum(axis=0) > 0)
    out[:] = np.nan
    if not enough.any():
        return
    with np.errstate(divide="ignore"):
        errors = 1.0 / np.sqrt(weight)  # infinite where there is nothing: nifty-ls gives that the weight 0
    n_freq = out.shape[0]
    found = nifty_ls.lombscargle(
        days,
        np.ascontiguousarray(plain.T[enough]),
        np.ascontiguousarray(errors.T[enough]),
        fmin=step,
        fmax=step * n_freq,
        Nf=n_freq,
        backend="finufft",
        nthreads=1,
    )
    # Rounding may leave the bounds that a fraction of the variance has.
    out[:, np.flatnonzero(enough)] = np.clip(found.power.T, 0.0, 1.0)
