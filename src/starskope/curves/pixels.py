"""From target pixels to one flux per cadence.

Owns the choice of the aperture of a target pixel file and the sum over it, with the sky where the maker left it in.
Refuses files (``mission_fits``), and apertures on full frames (``frames.photometry``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starskope.errors import FrameError
from starskope.layout.bintable import image_values
from starskope.layout.fits import Hdu

__all__ = ["PixelSum", "aperture_bits", "choose_aperture", "sum_pixels"]

Bits = NDArray[np.int64]
Mask = NDArray[np.bool_]

COLLECTED = 1
OPTIMAL = 2
# A pixel belongs to a star when its median light stands this many robust deviations above that of all pixels.
_THRESHOLD_SIGMA = 3.0
_FEWEST_SKY_PIXELS = 4


@dataclass(frozen=True)
class PixelSum:
    """Flux, its error and the sky of one target: (n_time,) each; `notes` says how the aperture was found."""

    flux: NDArray[np.float64]
    error: NDArray[np.float64] | None
    background: NDArray[np.float64] | None
    notes: tuple[str, ...]


def aperture_bits(data: bytes, hdu: Hdu, what: str) -> Bits:
    """Return the APERTURE image of a target pixel file, (n_row, n_col) int64: bit 1 collected, bit 2 optimal."""
    bits = image_values(data, hdu, name=what)
    if bits.ndim != 2 or bits.dtype.kind not in "iu":
        raise FrameError(f"{what}: APERTURE has shape {bits.shape} and dtype {bits.dtype}; expected a plane of flags")
    return bits.astype(np.int64)


def choose_aperture(
    median: NDArray[np.float64], bits: Bits | None, target: tuple[float, float] | None = None
) -> tuple[Mask, str]:
    """Choose the pixels to sum.

    Parameters
    ----------
    median : (n_row, n_col) float64
        Median light of each pixel; NaN = never measured.
    bits : (n_row, n_col) int64, optional
        Flags of the maker.
    target : (row, column), optional
        Where the target is, 0-based; default: the centre.

    Returns
    -------
    mask : (n_row, n_col) bool
        The maker's optimal aperture. Where there is none (cutouts, K2's crowded fields) the pixels that stand 3 robust
        deviations above the median pixel and from which light rises to the same peak as from the one of them that is
        nearest to the target; the brightest pixel where none stands out.
    how : str
        One of these in words.
    """
    lit = np.isfinite(median)
    if bits is not None:
        optimal = ((bits & OPTIMAL) != 0) & lit
        if optimal.any():
            return optimal, f"optimal aperture of the pipeline, {np.count_nonzero(optimal)} pixels"
        lit &= (bits & COLLECTED) != 0
    if not lit.any():
        return lit, "no pixel was measured"
    level = np.median(median[lit])
    spread = 1.4826 * np.median(np.abs(median[lit] - level))
    bright = lit & (np.where(lit, median, -np.inf) > level + _THRESHOLD_SIGMA * spread)
    if not bright.any():
        bright = np.zeros_like(lit)
        bright.flat[np.argmax(np.where(lit, median, -np.inf))] = True
    peaks = _peaks(np.where(bright, median, -np.inf))
    row, column = np.nonzero(bright)
    n_row, n_col = bright.shape
    at_row, at_column = target or ((n_row - 1) / 2, (n_col - 1) / 2)
    nearest = int(np.argmin((row - at_row) ** 2 + (column - at_column) ** 2))
    mask: Mask = bright & (peaks == peaks[row[nearest], column[nearest]])
    return mask, f"no aperture in the file: the target's peak summed, pixels: {np.count_nonzero(mask)}"


def _peaks(light: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return for each pixel the flat position of the peak to which steps to the brightest neighbour lead."""
    n_row, n_col = light.shape
    around = np.pad(light, 1, constant_values=-np.inf)
    positions = np.pad(np.arange(light.size).reshape(light.shape), 1)
    windows = [(slice(i, i + n_row), slice(j, j + n_col)) for i in range(3) for j in range(3)]
    # The pixel itself comes first: on a plateau it stays where it is.
    windows.insert(0, windows.pop(4))
    best = np.argmax(np.stack([around[window] for window in windows]), axis=0)
    step = np.take_along_axis(np.stack([positions[window] for window in windows]), best[None], axis=0)[0].ravel()
    while not np.array_equal(further := step[step], step):
        step = further
    peaks: NDArray[np.intp] = step.reshape(light.shape)
    return peaks


def sum_pixels(
    flux: NDArray[Any],
    error: NDArray[Any] | None,
    background: NDArray[Any] | None,
    bits: Bits | None,
    *,
    is_background_subtracted: bool,
    is_good: Mask,
    target: tuple[float, float] | None = None,
    what: str,
) -> PixelSum:
    """Sum the aperture of one target on every cadence.

    Parameters
    ----------
    flux, error, background : (n_time, n_row, n_col) float
        Planes of the file; NaN = missing. `background` is what the maker subtracted.
    bits : (n_row, n_col) int64, optional
        See `aperture_bits`.
    is_background_subtracted : bool
        What the file says of itself (BACKAPP); without any background of the maker it is not believed.
    is_good : (n_time,) bool
        Cadences that may choose the aperture; all do where none is good.
    target : (row, column), optional
        See `choose_aperture`.
    what : str
        What error messages call the file.

    Returns
    -------
    PixelSum
        NaN on cadences where a pixel of the aperture is missing. Where no sky was subtracted, the median of the pixels
        below the threshold is taken off each pixel, provided that there are 4 of them.

    Raises
    ------
    FrameError
        Planes of other shapes than the aperture.
    """
    planes = np.asarray(flux, np.float64)
    n_time, *shape = planes.shape
    if bits is not None and list(bits.shape) != shape:
        raise FrameError(f"{what}: APERTURE is {bits.shape}, its pixels {tuple(shape)}; the file is damaged")
    median = _median_plane(planes[is_good] if is_good.any() else planes)
    mask, how = choose_aperture(median, bits, target)
    if not mask.any():
        nothing = np.full(n_time, np.nan)
        return PixelSum(nothing, None, None, (how,))
    inside = planes[:, mask]
    n_pixel = int(np.count_nonzero(mask))
    notes = [how]
    known = background is not None and bool(np.any(np.nan_to_num(background)))
    sky: NDArray[np.float64] | None = None
    total = inside.sum(axis=1)
    if known and is_background_subtracted:
        sky = np.asarray(background, np.float64)[:, mask].mean(axis=1)
    else:
        faint = _faint_pixels(median, mask)
        if np.count_nonzero(faint) >= _FEWEST_SKY_PIXELS:
            sky = _row_medians(planes[:, faint])
            total = total - n_pixel * sky
            notes.append(f"no sky was subtracted: median of {np.count_nonzero(faint)} faint pixels taken off")
        else:
            notes.append("no sky was subtracted, and too few pixels are dark to measure it")
    errors = None
    if error is not None:
        errors = np.sqrt((np.asarray(error, np.float64)[:, mask] ** 2).sum(axis=1))
        errors = np.where(np.isfinite(total) & (errors > 0), errors, np.nan)
        if not np.isfinite(errors).any():
            errors = None
    return PixelSum(total, errors, sky, tuple(notes))


def _median_plane(planes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median over time, NaN where a pixel was never measured (np.nanmedian would warn)."""
    flat = planes.reshape(len(planes), math.prod(planes.shape[1:]))
    seen = np.isfinite(flat).any(axis=0) if len(flat) else np.zeros(flat.shape[1], bool)
    median = np.full(flat.shape[1], np.nan)
    if seen.any():
        median[seen] = np.nanmedian(flat[:, seen], axis=0)
    return median.reshape(planes.shape[1:])


def _row_medians(values: NDArray[np.float64]) -> NDArray[np.float64]:
    seen = np.isfinite(values).any(axis=1)
    medians = np.full(len(values), np.nan)
    if seen.any():
        medians[seen] = np.nanmedian(values[seen], axis=1)
    return medians


def _faint_pixels(median: NDArray[np.float64], mask: Mask) -> Mask:
    """Pixels outside the aperture at or below the median of those: half of what is left, free of neighbours."""
    outside = np.isfinite(median) & ~mask
    if not outside.any():
        return outside
    faint: Mask = outside & (np.where(outside, median, np.inf) <= np.median(median[outside]))
    return faint
