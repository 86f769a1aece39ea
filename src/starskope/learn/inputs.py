"""What the machines of `starskope.learn` see of a star: its spectrogram and its stamp as rows of numbers.

Owns how a star is made comparable to others: pooling, logarithm or stretch, and scaling by the star itself. Refuses to
look at other stars; means and scales over a sample belong to `starskope.learn.features`.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import ArrayLike, NDArray

from starskope.learn.quantiles import median
from starskope.validation import as_float32, as_float64, integer_at_least

__all__ = ["LEAST_POWER", "SPECTROGRAM_SHAPE", "frequency_bins", "spectrogram_rows", "stamp_rows"]

SPECTROGRAM_SHAPE = (8, 32)
"""Bins in time and in frequency of every spectrogram row, whatever the spectrogram had."""
LEAST_POWER = 1e-14
"""Power of the rounding of float32 light around 1; what lies below tells nothing of a star."""

_DECADES = 6.0
_STRETCH = 10.0


def spectrogram_rows(power: ArrayLike) -> NDArray[np.float32]:
    """Turn spectrograms into rows of one size: the logarithm of pooled power around the star's own median.

    Parameters
    ----------
    power : (n_segment, n_frequency, n_star) float32
        From `starskope.search.segments.spectrogram`, of normalised light curves; the first frequency is zero. NaN and
        values up to ``LEAST_POWER`` = missing.

    Returns
    -------
    (n_star, 256) float32
        ``SPECTROGRAM_SHAPE`` flattened, time first; decades. A missing bin takes the star's median at this frequency,
        else 0. NaN throughout = a star without any power.

    Raises
    ------
    ValueError, TypeError
        Not a spectrogram: three axes, a segment and two frequencies at least.
    """
    values = as_float32(power, "power", 3)
    n_segment, n_frequency, n_star = values.shape
    if n_segment < 1 or n_frequency < 2:
        raise ValueError(f"power has shape {values.shape}: expected (n_segment >= 1, n_frequency >= 2, n_star)")
    n_time_bin, n_frequency_bin = SPECTROGRAM_SHAPE
    times = [(n_segment * i // n_time_bin, -(-n_segment * (i + 1) // n_time_bin)) for i in range(n_time_bin)]
    edges = frequency_bins(n_frequency)
    rows = np.empty((n_star, n_time_bin, n_frequency_bin), np.float32)
    for i, (start, stop) in enumerate(times):
        for j, (low, high) in enumerate(edges):
            rows[:, i, j] = _log_mean(values[start:stop, low:high])
    rows -= median(rows.reshape(n_star, n_time_bin * n_frequency_bin))[:, None, None]
    profile = median(np.moveaxis(rows, 1, 2))
    blank = np.isnan(profile).all(axis=1)
    profile[np.isnan(profile)] = 0.0
    np.copyto(rows, profile[:, None, :], where=np.isnan(rows))
    np.clip(rows, -_DECADES, _DECADES, out=rows)
    rows[blank] = np.nan
    return rows.reshape(n_star, n_time_bin * n_frequency_bin)


def frequency_bins(n_frequency: int) -> list[tuple[int, int]]:
    """Return first and last-but-one row of each frequency bin: single rows at first, then ever wider ranges.

    Frequency zero is left out. Where there are fewer rows than bins, neighbouring bins share rows.
    """
    n_bin, n_row = SPECTROGRAM_SHAPE[1], n_frequency - 1
    if n_row <= n_bin:
        return [(1 + i * n_row // n_bin, 2 + i * n_row // n_bin) for i in range(n_bin)]
    # The ratio of neighbouring edges, by halving: bin i goes on from max(edge + 1, edge * ratio).
    low, high = 1.0, float(n_frequency)
    for _ in range(60):
        ratio = 0.5 * (low + high)
        low, high = (ratio, high) if _edges(ratio, n_bin)[-1] < n_frequency else (low, ratio)
    edges = [round(edge) for edge in _edges(high, n_bin)]
    edges[-1] = n_frequency
    return list(itertools.pairwise(edges))


def _edges(ratio: float, n_bin: int) -> list[float]:
    edges = [1.0]
    for _ in range(n_bin):
        edges.append(max(edges[-1] + 1.0, edges[-1] * ratio))
    return edges


def _log_mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return log10 of the mean over the first two axes of what is there; NaN where nothing is."""
    there = np.isfinite(values) & (values > LEAST_POWER)
    total = np.where(there, values, 0).sum(axis=(0, 1), dtype=np.float64)
    count = there.sum(axis=(0, 1))
    out = np.full(values.shape[2], np.nan, np.float32)
    some = count > 0
    out[some] = np.log10(total[some] / count[some])
    return out


def stamp_rows(image: ArrayLike, row: ArrayLike, column: ArrayLike, size: int = 11) -> NDArray[np.float32]:
    """Cut a square around each star and scale it by itself.

    Parameters
    ----------
    image : (n_row, n_col) float32
        A stacked image; NaN = no data.
    row, column : (n_star,)
        Places of the stars in pixels of the image, 0-based, a pixel's centre at its whole number. NaN = not known.
    size : int
        Pixels along a side, odd.

    Returns
    -------
    (n_star, size * size) float32
        From -1 to 1, the largest excursion of each star being 1: ``asinh(10 y) / asinh(10)`` with y the light above the
        stamp's median over its largest magnitude. Pixels without data are 0. NaN throughout = a star off the image,
        without a place, or on a stamp without contrast.

    Raises
    ------
    ValueError, TypeError
        An image of other than two axes, places of different numbers, an even size.
    """
    pixels = as_float32(image, "image", 2)
    rows, columns = as_float64(row, "row", 1), as_float64(column, "column", 1)
    if rows.shape != columns.shape:
        raise ValueError(f"row has {rows.size} stars, column {columns.size}: give one of each per star")
    if integer_at_least(size, "size", 3) % 2 == 0:
        raise ValueError(f"size={size}: expected an odd number of pixels, so that the star stands in the middle")
    half = size // 2
    with np.errstate(invalid="ignore"):
        inside = (np.abs(rows) < 1e6) & (np.abs(columns) < 1e6)
    top = np.rint(np.where(inside, rows, -1e6)).astype(np.intp) - half
    left = np.rint(np.where(inside, columns, -1e6)).astype(np.intp) - half
    out = np.full((rows.size, size, size), np.nan, np.float32)
    n_row, n_col = pixels.shape
    for star in np.flatnonzero((top > -size) & (top < n_row) & (left > -size) & (left < n_col)):
        a, b = max(top[star], 0), max(left[star], 0)
        piece = pixels[a : top[star] + size, b : left[star] + size]
        out[star, a - top[star] :, b - left[star] :][: piece.shape[0], : piece.shape[1]] = piece
    out[~np.isfinite(out)] = np.nan
    flat = out.reshape(rows.size, size * size)
    flat -= median(flat)[:, None]
    there = ~np.isnan(flat)
    flat[~there] = 0.0
    largest = np.abs(flat).max(axis=1, initial=0.0)
    blank = largest <= 0
    flat /= np.where(blank, np.float32(1), largest)[:, None]
    flat[:] = np.arcsinh(np.float32(_STRETCH) * flat) / np.float32(np.arcsinh(_STRETCH))
    flat[blank] = np.nan
    return flat
