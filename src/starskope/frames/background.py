"""The smooth background of one frame: zodiacal and scattered light under the stars.

Owns box statistics that stars do not move, the repair of boxes that hold no sky, and the surface through them. Refuses
to know time: each frame is estimated alone, so moving scattered light is followed and no frame depends on another.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

__all__ = ["Background", "box_levels", "estimate_background", "fit_background"]

Image = NDArray[np.float32]
Array = NDArray[np.float64]
Index = NDArray[np.intp]

_N_SAMPLE = 128
_N_BINS = 256
_HALF_RANGE = 5.0  # the histogram spans +- 5 first-guess sigma: a bin is 0.039 sigma wide
_MIN_PIXELS = 0.1  # of a box must be finite, else its neighbours tell its level


@dataclass(frozen=True, eq=False)
class Background:
    """A smooth surface through the levels of boxes; linear in them, so the mean of surfaces is that of mean levels.

    Attributes
    ----------
    shape : tuple of int
        (n_row, n_col) of the image.
    science : tuple of slice
        Rows and columns that the boxes cover.
    levels : ndarray, shape (n_box_row, n_box_column), float64
        e-/s per pixel; all NaN where the frame holds no sky.
    """

    shape: tuple[int, int]
    science: tuple[slice, slice]
    levels: Array

    def plane(self) -> Image:
        """Evaluate on every pixel: shape (n_row, n_col), float32, NaN outside the science region."""
        out = np.empty(self.shape, dtype=np.float32)
        inner = out[self.science]
        if inner.size < out.size or not np.isfinite(self.levels).all():
            out.fill(np.nan)
        if inner.size and np.isfinite(self.levels).all():
            grid, rows, columns = self._splines(inner.shape)
            _evaluate(grid, rows.start, rows.weights, columns.start, columns.weights, inner)
        return out

    def at(self, row: ArrayLike, column: ArrayLike) -> Array:
        """Evaluate at the pixels nearest to positions (n_star,): float64, NaN outside the science region."""
        inner = np.empty(self.shape, dtype=np.bool_)[self.science].shape
        first = [part.indices(n)[0] for part, n in zip(self.science, self.shape, strict=True)]
        with np.errstate(invalid="ignore"):
            r, c = np.rint(np.asarray(row, np.float64)) - first[0], np.rint(np.asarray(column, np.float64)) - first[1]
            inside = (r >= 0) & (r < inner[0]) & (c >= 0) & (c < inner[1])
        out = np.full(r.shape, np.nan)
        if inside.any() and np.isfinite(self.levels).all():
            grid, rows, columns = self._splines(inner)
            i, j = r[inside].astype(np.intp), c[inside].astype(np.intp)
            total = np.zeros(i.shape)
            for k, row_weights in enumerate(rows.weights):
                for m, column_weights in enumerate(columns.weights):
                    total += row_weights[i] * column_weights[j] * grid[rows.start[i] + k, columns.start[j] + m]
            out[inside] = total
        return out

    def _splines(self, inner: tuple[int, ...]) -> tuple[Array, _Spline, _Spline]:
        rows, columns = _spline(inner[0], self.levels.shape[0]), _spline(inner[1], self.levels.shape[1])
        return _product(_product(rows.coefficients, self.levels), columns.coefficients.T), rows, columns


def fit_background(image: Image, science: tuple[slice, slice] | None = None, *, box: int | None = None) -> Background:
    """Measure the background of a frame.

    Parameters
    ----------
    image : ndarray, shape (n_row, n_col), float32
        e-/s, NaN = missing.
    science : tuple of slice, optional
        Rows and columns that see the sky; the whole image without it.
    box : int, optional
        Side of a box in pixels; boxes are stretched to fill the region evenly. Default: 64, smaller on frames that
        would hold fewer than eight boxes along an axis, but at least 24.

    Returns
    -------
    Background

    Raises
    ------
    ValueError
        The box is smaller than 4 pixels.

    Notes
    -----
    Level of a box: median of its pixels after clipping at 3 sigma around the median until nothing changes. A box far
    above its neighbours is replaced by them; a natural bicubic spline through the box centres, continued linearly to
    the edges, is the surface.
    """
    whole = (slice(0, image.shape[0]), slice(0, image.shape[1]))
    region = whole if science is None else science
    sky = image[region]
    n_row, n_col = sky.shape
    if box is None:
        box = min(64, max(24, min(n_row, n_col) // 8))
    if box < 4:
        raise ValueError(f"box = {box}: a box needs at least 4 pixels along each side")
    if sky.size == 0:
        levels = np.full((1, 1), np.nan)
    else:
        levels = _repaired(box_levels(sky, _edges(n_row, box), _edges(n_col, box)))
    return Background((image.shape[0], image.shape[1]), region, levels)


def estimate_background(image: Image, science: tuple[slice, slice] | None = None, *, box: int | None = None) -> Image:
    """Give the background plane of a frame: `fit_background`, evaluated on every pixel.

    Returns
    -------
    background : ndarray, shape (n_row, n_col), float32
        e-/s per pixel; NaN outside the science region, and everywhere if no box holds sky.
    """
    return fit_background(image, science, box=box).plane()


def box_levels(sky: Image, row_edges: Index, column_edges: Index) -> Array:
    """Give the clipped median of each box; NaN where a box has too few finite pixels.

    Parameters
    ----------
    sky : ndarray, shape (n_row, n_col), float32
    row_edges, column_edges : ndarray, shape (n + 1,), intp
        Where the boxes begin and end.

    Returns
    -------
    levels : ndarray, shape (len(row_edges) - 1, len(column_edges) - 1), float64
    """
    levels = np.empty((len(row_edges) - 1, len(column_edges) - 1))
    _box_levels(sky, row_edges, column_edges, levels)
    return levels


def _edges(n: int, box: int) -> Index:
    return np.rint(np.linspace(0, n, max(round(n / box), 1) + 1)).astype(np.intp)


@njit(nogil=True, cache=True)
def _box_levels(sky, row_edges, column_edges, levels):  # type: ignore[no-untyped-def]
    """Write the clipped level of each box from one pass over its pixels.

    A sorted sample of about 128 pixels places a histogram; clipping then works on its counts, with the median
    interpolated inside its bin.
    """
    sample = np.empty(4 * _N_SAMPLE, np.float32)
    counts = np.empty((4, _N_BINS + 2), np.int32)
    widest = 0
    for j in range(levels.shape[1]):
        widest = max(widest, column_edges[j + 1] - column_edges[j])
    bins = np.empty(widest, np.int32)
    for i in range(levels.shape[0]):
        for j in range(levels.shape[1]):
            top, bottom, left, right = row_edges[i], row_edges[i + 1], column_edges[j], column_edges[j + 1]
            width = right - left
            size = (bottom - top) * width
            stride = max(size // _N_SAMPLE, 1)
            if stride > 1 and stride % 2 == 0:
                stride += 1  # an even stride would take whole columns of the box
            n = 0
            for k in range(0, size, stride):
                value = sky[top + k // width, left + k % width]
                if np.isfinite(value):
                    sample[n] = value
                    n += 1
            levels[i, j] = np.nan
            if n < max(_MIN_PIXELS * size / stride, 4):
                continue
            ordered = sample[:n]
            for k in range(1, n):  # insertion sort: short, and without the allocations of np.sort
                value = ordered[k]
                m = k
                while m > 0 and ordered[m - 1] > value:
                    ordered[m] = ordered[m - 1]
                    m -= 1
                ordered[m] = value
            middle = np.float64(ordered[n // 2])
            # The lower half of the pixels tells the noise: stars stretch only the upper half.
            sigma = max((middle - ordered[n // 4]) / 0.6745, (middle - ordered[n // 20]) / 1.645)
            sigma = max(sigma, 1e-6 * abs(middle), 1e-30)
            low = np.float32(middle - _HALF_RANGE * sigma)
            per_bin = np.float32(_N_BINS / (2.0 * _HALF_RANGE * sigma))
            counts[:] = 0
            highest = np.float32(_N_BINS + 1)
            for r in range(top, bottom):
                row = sky[r, left:right]
                for c in range(width):
                    # Bins 0 and _N_BINS + 1 take what lies outside; NaN fails the comparison and goes to 0.
                    place = (row[c] - low) * per_bin + np.float32(1.0)
                    place = place if place >= np.float32(0.0) else np.float32(0.0)
                    bins[c] = np.int32(place if place < highest else highest)
                for c in range(width):
                    # Four tables in turn: neighbours fall into the same few bins, and each count waits for the last.
                    counts[c & 3, np.uint32(bins[c])] += np.int32(1)
            levels[i, j] = low + _clipped_level(counts.sum(axis=0)[1:-1]) / per_bin


@njit(nogil=True, cache=True)
def _clipped_level(counts):  # type: ignore[no-untyped-def]
    """Level, in bins, of a histogram clipped at 3 sigma around its median."""
    first, last = 0, len(counts)
    median, mean, sigma = 0.5 * len(counts), 0.5 * len(counts), 0.0
    for _ in range(30):
        total, moment, square = 0, 0, 0
        for k in range(first, last):
            total += counts[k]
            moment += counts[k] * (2 * k + 1)
            square += counts[k] * (2 * k + 1) ** 2
        if total == 0:
            break
        mean = 0.5 * moment / total
        sigma = np.sqrt(max(0.25 * square / total - mean * mean, 1.0 / 12.0))
        below, k = 0, first
        while 2 * (below + counts[k]) < total:
            below += counts[k]
            k += 1
        median = k + (0.5 * total - below) / counts[k]
        new_first, new_last = (
            max(first, int(np.floor(median - 3.0 * sigma))),
            min(last, int(np.ceil(median + 3.0 * sigma))),
        )
        if (new_first == first and new_last == last) or new_last <= new_first:
            break
        first, last = new_first, new_last
    return median


def _repaired(levels: Array) -> Array:
    """Fill boxes without sky from those around them, and replace boxes that bright stars fill.

    A box is compared with the means of opposite neighbours, which a gradient does not change.
    """
    if not np.isfinite(levels).any():
        return np.full(levels.shape, np.nan)
    while np.isnan(levels).any():
        around = _neighbours(levels)
        known = np.isnan(levels) & np.isfinite(around).any(axis=0)
        levels = levels.copy()
        levels[known] = np.nanmedian(around[:, known], axis=0)
    if min(levels.shape) < 3:
        return levels
    around = _neighbours(levels)
    pairs = 0.5 * (around[:4] + around[:3:-1])
    inner = np.isfinite(pairs).any(axis=0)
    middle = levels.copy()
    middle[inner] = np.nanmedian(pairs[:, inner], axis=0)
    off = levels - middle
    limit = 10.0 * 1.4826 * np.median(np.abs(off[inner]))
    return np.where(off > max(limit, 1e-6 * float(np.abs(levels).max())), middle, levels)


def _neighbours(levels: Array) -> Array:
    """Stack the eight boxes around each box: (8, n, m), the k-th opposite the (7 - k)-th, NaN beyond the edge."""
    n, m = levels.shape
    padded = np.full((n + 2, m + 2), np.nan)
    padded[1:-1, 1:-1] = levels
    shifts = [(i, j) for i in range(3) for j in range(3) if (i, j) != (1, 1)]
    return np.stack([padded[i : i + n, j : j + m] for i, j in shifts])


@dataclass(frozen=True, eq=False)
class _Spline:
    """B-spline weights of the pixels of one axis.

    Attributes
    ----------
    start : ndarray, shape (n,), intp
        First coefficient that a pixel needs; rises with the pixel.
    weights : ndarray, shape (n_tap, n), float32
        What the pixel takes of each of n_tap neighbouring coefficients.
    coefficients : ndarray, shape (n_coefficient, n_box), float64
        From box levels to spline coefficients, natural ends.
    """

    start: Index
    weights: NDArray[np.float32]
    coefficients: Array


@lru_cache(maxsize=64)
def _spline(n: int, n_box: int) -> _Spline:
    """Make the spline of n pixels in n_box boxes."""
    from scipy.interpolate import make_interp_spline

    edges = np.linspace(0, n, n_box + 1)
    centres = (edges[:-1] + edges[1:] - 1.0) / 2.0
    if n_box == 1:
        return _Spline(np.zeros(n, dtype=np.intp), np.ones((1, n), dtype=np.float32), np.ones((1, 1)))
    degree = min(3, n_box - 1)
    ends = "natural" if degree == 3 else None
    spline = make_interp_spline(centres, np.eye(n_box), k=degree, bc_type=ends)
    at = np.clip(np.arange(n, dtype=np.float64), centres[0], centres[-1])
    beyond = np.arange(n) - at
    start = np.clip(np.searchsorted(spline.t, at, side="right") - 1, degree, len(spline.t) - degree - 2) - degree
    unit = type(spline)(spline.t, np.eye(len(spline.t) - degree - 1), degree)
    value, slope = unit(at), unit(at, nu=1)
    taps = start[:, None] + np.arange(degree + 1)
    pixels = np.arange(n)[:, None]
    weights = value[pixels, taps] + beyond[:, None] * slope[pixels, taps]
    return _Spline(start.astype(np.intp), np.ascontiguousarray(weights.T, dtype=np.float32), np.asarray(spline.c))


def _product(a: Array, b: Array) -> Array:
    """Small matrix product outside BLAS, whose threads would compete with ours."""
    return np.asarray(np.einsum("ij,jk->ik", a, b), dtype=np.float64)


@njit(nogil=True, cache=True)
def _evaluate(grid, row_start, row_weights, column_start, column_weights, out):  # type: ignore[no-untyped-def]
    """Write the tensor-product spline to out (n_row, n_col)."""
    line = np.empty(grid.shape[1], np.float32)
    n_col = out.shape[1]
    n_tap = column_weights.shape[0]
    for r in range(out.shape[0]):
        for j in range(grid.shape[1]):
            total = 0.0
            for k in range(row_weights.shape[0]):
                total += row_weights[k, r] * grid[row_start[r] + k, j]
            line[j] = total
        first = 0
        while first < n_col:
            # Pixels between two box centres share their coefficients: the inner loop is one fused row operation.
            start = column_start[first]
            last = first
            while last < n_col and column_start[last] == start:
                last += 1
            if n_tap == 4:
                a, b, c, d = line[start], line[start + 1], line[start + 2], line[start + 3]
                for x in range(first, last):
                    out[r, x] = (
                        a * column_weights[0, x]
                        + b * column_weights[1, x]
                        + c * column_weights[2, x]
                        + d * column_weights[3, x]
                    )
            else:
                for x in range(first, last):
                    total32 = np.float32(0.0)
                    for k in range(n_tap):
                        total32 += line[start + k] * column_weights[k, x]
                    out[r, x] = total32
            first = last
