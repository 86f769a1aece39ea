"""Spectrograms: power spectra of pieces of a series, one after the other.

Owns `spectrogram`: the segments, their times, and how regular a cadence must be within one. Refuses irregular times:
a segment holds too few points to be transformed at any times with profit.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from starskope import _core
from starskope.parallel import map_ranges, resolve_workers
from starskope.search.cadence import Grid
from starskope.search.spectra import Spectrogram
from starskope.search.spectra_input import read_series
from starskope.search.windows import Window, window_label, window_values
from starskope.validation import choice, integer_at_least

__all__ = ["spectrogram"]

_LARGEST_PHASE = 0.25 * math.pi  # a quarter of a cadence at Nyquist


def spectrogram(
    x: ArrayLike | Any,
    *,
    cadence: float | None = None,
    segment: int = 256,
    overlap: int = 128,
    window: Window = "hann",
    detrend: str = "constant",
    axis: int = 0,
    workers: int = 1,
    out: Any = None,
) -> Spectrogram:
    """Spectrograms of many series at once.

    Parameters
    ----------
    x : LightCurves, or array_like (n_time, n_star) of real numbers
        A single axis is one series. NaN and infinities are missing. Light curves are put on their regular grid; places
        without a cadence are gaps.
    cadence : float or Quantity
        Days from sample to sample; of arrays only, which must have it.
    segment : int
        Cadences in a segment, 2 or more, at most those of the series.
    overlap : int
        Cadences that neighbouring segments share, 0 to segment - 1.
    window : str, tuple, array_like or None
        What `scipy.signal.get_window` takes, in its periodic form, or one value per cadence of a segment.
    detrend : "constant" or "linear"
        What is taken off each segment first: its mean, or a straight line.
    axis : 0 or 1
        Axis of time in an array.
    workers : int
        Compute threads, -1 = all CPUs of this process; the result has the same bytes for any number.
    out : (n_segment, segment // 2 + 1, n_star) float32, optional
        Where the powers go, C-contiguous or a range of stars; `Spectrogram.power` is it then. No input may lie in it.

    Returns
    -------
    Spectrogram
        ``power`` (n_segment, segment // 2 + 1, n_star) float32. Segments begin every ``segment - overlap`` cadences;
        the last whole one is the last.

    Raises
    ------
    TypeError, ValueError
        Anything that does not fit; also times that stand off a regular grid by more than a quarter of a cadence within
        a segment.

    Notes
    -----
    Each segment is what `starskope.search.power.power_spectrum` makes of it, with its own mean and its own points:
    ``|X|**2`` scaled so that a sine of amplitude A has power A**2, NaN where no point is. Slow departures of the times
    from the grid (barycentric times) shift a segment as a whole, which power does not feel;
    `Spectrogram.phase_error` tells what is left within one.

    Examples
    --------
    >>> import numpy as np
    >>> import starskope as sk
    >>> flux = 1 + 0.01 * np.sin(2 * np.pi * np.arange(1280) / 16)
    >>> spectrogram = sk.spectrogram(flux, cadence=0.025)
    >>> spectrogram.power.shape, float(spectrogram.frequency[np.argmax(spectrogram.power[3, :, 0])])
    ((9, 129, 1), 2.5)
    """
    series = read_series(x, cadence=cadence, axis=axis, caller="spectrogram")
    segment = integer_at_least(segment, "segment", 2)
    overlap = integer_at_least(overlap, "overlap", 0)
    grid = series.grid
    if overlap >= segment:
        raise ValueError(f"overlap={overlap}: expected less than segment={segment}")
    if segment > grid.n_time:
        raise ValueError(f"segment={segment}: the series has {grid.n_time} cadences: give a shorter segment")
    step = segment - overlap
    n_segment = 1 + (grid.n_time - segment) // step
    starts = step * np.arange(n_segment, dtype=np.float64)
    phase_error = _phase_within(grid, starts, segment)
    if phase_error > _LARGEST_PHASE:
        raise ValueError(
            f"spectrogram: times keep to no regular cadence (near {grid.cadence_days * 1440:.4g} min): "
            "put the series on one, or use lomb_scargle"
        )
    linear = choice(detrend, "detrend", ("constant", "linear")) == "linear"
    values = window_values(window, segment)
    power = series.result(out, (n_segment, segment // 2 + 1, series.n_star))

    def transform(start: int, stop: int) -> None:
        block = series.on_grid(series.block(start, stop))
        _core.spectrogram(block, power[:, :, start:stop], values, segment, step, linear)

    map_ranges(transform, series.n_star, series.stars_per_range(resolve_workers(workers)), workers)
    return Spectrogram(
        power=power,
        time=grid.start + grid.cadence_days * (starts + 0.5 * (segment - 1)),
        frequency=np.arange(segment // 2 + 1, dtype=np.float64) / (segment * grid.cadence_days),
        stars=series.stars,
        method="regular",
        cadence_days=grid.cadence_days,
        phase_error=phase_error,
        time_zero=series.time_zero,
        settings={"window": window_label(window), "segment": segment, "overlap": overlap, "detrend": detrend},
    )


def _phase_within(grid: Grid, starts: NDArray[np.float64], segment: int) -> float:
    """Largest phase error at Nyquist within a segment, the mean shift of the segment taken off."""
    if not np.isfinite(grid.deviation).all():
        return math.inf
    place = np.arange(grid.n_time) if grid.place is None else grid.place
    worst = 0.0
    for first, last in zip(np.searchsorted(place, starts), np.searchsorted(place, starts + segment), strict=True):
        part = grid.deviation[first:last]
        if part.size:
            worst = max(worst, 0.5 * float(part.max() - part.min()))
    return 2.0 * math.pi * grid.nyquist * worst
