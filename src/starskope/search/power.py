"""Power spectra by the fast Fourier transform.

Owns `power_spectrum`: its grid of frequencies, the windows, and the way to irregular times. Refuses trends but a line,
and significance: a power spectrum has no null hypothesis here, `lomb_scargle` has.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from starskope import _core
from starskope.parallel import map_ranges, resolve_workers
from starskope.search.spectra import Spectra
from starskope.search.spectra_input import STARS_PER_BLOCK, SeriesBatch, read_series
from starskope.search.windows import Window, window_label, window_values
from starskope.validation import choice, integer_at_least

__all__ = ["power_spectrum"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

MOST_FREQUENCIES = 1 << 28


def power_spectrum(
    x: ArrayLike | Any,
    *,
    cadence: float | None = None,
    window: Window = "hann",
    oversample: int = 1,
    detrend: str = "constant",
    normalization: str = "amplitude",
    axis: int = 0,
    workers: int = 1,
    out: Any = None,
) -> Spectra:
    """Power spectra of many series at once.

    Parameters
    ----------
    x : LightCurves, or array_like (n_time, n_star) of real numbers
        A single axis is one series. NaN and infinities are missing. Light curves are put on their regular grid; places
        without a cadence are gaps. Flagged cadences take part: ``x.mask()`` sets them to NaN.
    cadence : float or Quantity
        Days from sample to sample; of arrays only, which must have it.
    window : str, tuple, array_like or None
        What `scipy.signal.get_window` takes, periodic form, or one value per place of the grid; None: ones.
    oversample : int
        The series is padded with zeros to ``n = oversample * n_time``.
    detrend : "constant" or "linear"
        What is taken off each series first, fitted to its points with equal weights: their mean, or a straight line.
    normalization : "amplitude" or "density"
        See Notes.
    axis : 0 or 1
        Axis of time in an array; 1 costs a transposing copy. The result is (n_freq, n_star) either way.
    workers : int
        Compute threads, -1 = all CPUs of this process; the result has the same bytes for any number.
    out : (n // 2 + 1, n_star) float32, optional
        Where the powers go, C-contiguous or a range of columns; `Spectra.power` is it then. No input may lie in it.

    Returns
    -------
    Spectra
        Rows 0 .. n // 2, zero frequency included; ``power`` (n // 2 + 1, n_star) float32. NaN for a series without a
        point.

    Raises
    ------
    TypeError, ValueError
        Anything that does not fit, such as a cadence missing or not in days, fewer than two cadences, an unknown
        window; unsorted or repeated times.

    Notes
    -----
    Each series loses the mean of its points, or their line; missing ones become 0; then the window and the transform::

        power[k] = s[k] |sum_j w[j] x[j] exp(-2 pi i j k / n)|**2 / scale

    "amplitude": s = 4, and 1 at zero frequency and at Nyquist, where the sine and its mirror image are one; the scale
    is the square of the sum of w[j] over the points that are there: a sine of amplitude A on the grid has power A**2.
    "density": s = 2, and 1 at both ends; the scale is the sum of w[j]**2 over these points, divided by the cadence in
    days: power per unit of frequency, whose integral is the variance, as `scipy.signal.periodogram` has it. Times of
    light curves count as regular when no phase is off by 0.01 rad at Nyquist; others (barycentric times of Kepler, say)
    are transformed at their own times by finufft, and `Spectra.method` says so. Cost: O(n log n) per series; memory:
    the result and, where there are gaps or other dtypes, 256 series per worker. Two neighbouring series share a complex
    transform, so the last digits of one depend on the other: the same batch gives the same bytes.

    References
    ----------
    Barnett, Magland & af Klinteberg 2019, SIAM J. Sci. Comput. 41, C479, doi:10.1137/18M120885X (finufft)

    Examples
    --------
    >>> import numpy as np
    >>> import starskope as sk
    >>> time = np.arange(1280) * 0.025
    >>> spectra = sk.power_spectrum(1 + 0.01 * np.sin(2 * np.pi * time / 4), cadence=0.025)
    >>> float(spectra.peaks()["period"][0]), f"{spectra.power.max():.2e}"
    (4.0, '1.00e-04')
    """
    series = read_series(x, cadence=cadence, axis=axis, caller="power_spectrum")
    oversample = integer_at_least(oversample, "oversample", 1)
    grid = series.grid
    n_fft = oversample * grid.n_time
    if n_fft // 2 >= MOST_FREQUENCIES:
        raise ValueError(f"oversample={oversample} asks for {n_fft // 2 + 1} frequencies: give less")
    linear = choice(detrend, "detrend", ("constant", "linear")) == "linear"
    normalization = choice(normalization, "normalization", ("amplitude", "density"))
    density = grid.cadence_days if normalization == "density" else 0.0
    values = window_values(window, grid.n_time)
    regular = grid.is_regular(grid.nyquist)
    power = series.result(out, (n_fft // 2 + 1, series.n_star))

    def transform(start: int, stop: int) -> None:
        out = power[:, start:stop]
        given = series.block(start, stop)
        if regular:
            _core.power_spectrum(series.on_grid(given), out, values, n_fft, linear, density)
        else:
            _at_own_times(series, given, out, values, n_fft, linear, density)

    step = series.stars_per_range(resolve_workers(workers)) if regular else STARS_PER_BLOCK
    map_ranges(transform, series.n_star, step, workers)
    return Spectra(
        power=power,
        frequency=np.arange(n_fft // 2 + 1, dtype=np.float64) / (n_fft * grid.cadence_days),
        stars=series.stars,
        normalization=normalization,
        method="regular" if regular else "finufft",
        cadence_days=grid.cadence_days,
        phase_error=grid.phase_error(grid.nyquist) if regular else 0.0,
        settings={"window": window_label(window), "oversample": oversample, "n_time": grid.n_time, "detrend": detrend},
    )


def _at_own_times(
    series: SeriesBatch, given: F32, out: F32, window: F32, n_fft: int, linear: bool, density: float
) -> None:
    """Write the same sums at irregular times (n_given,) to ``out``, window and places read between the grid's."""
    import finufft

    grid = series.grid
    place = series.given_places()
    weight = np.interp(place, np.arange(grid.n_time), window.astype(np.float64))
    seen = np.isfinite(given)
    count = np.count_nonzero(seen, axis=0)
    values = np.where(seen, given, 0.0).astype(np.float64)
    values = np.where(seen, values - values.sum(axis=0) / np.maximum(count, 1), 0.0)
    if linear:
        when = np.where(seen, place[:, np.newaxis], 0.0)
        when = np.where(seen, when - when.sum(axis=0) / np.maximum(count, 1), 0.0)
        spread = np.square(when).sum(axis=0)
        values -= when * ((when * values).sum(axis=0) / np.where(spread > 0, spread, 1.0))
    weighted = values * weight[:, np.newaxis]
    total = np.square((seen * weight[:, np.newaxis]).sum(axis=0))
    if density:
        total = 2.0 * (seen * np.square(weight)[:, np.newaxis]).sum(axis=0) / density
    angle = np.remainder(2.0 * math.pi / n_fft * place + math.pi, 2.0 * math.pi) - math.pi
    # One thread: the threads are ours, and so is the order of the sums.
    sums = finufft.nufft1d1(
        angle, np.ascontiguousarray(weighted.T, dtype=np.complex128), n_fft, eps=1e-9, isign=-1, modeord=1, nthreads=1
    )
    half = np.abs(np.atleast_2d(sums)[:, : n_fft // 2 + 1].T) ** 2
    scale = np.full(half.shape[0], 4.0)
    ends = [0] if n_fft % 2 else [0, -1]
    scale[ends] = 2.0 if density else 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        out[:] = np.where(count > 0, half * scale[:, np.newaxis] / total, np.nan)
