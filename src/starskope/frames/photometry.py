"""Aperture photometry of a whole catalogue on one frame, and the noise to expect of it.

Owns the default aperture, circular sums (by the core), their errors from the exposure arithmetic of the camera, and
what makes a measurement missing. Refuses to choose positions or to subtract a background: both are given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from starskope import _core
from starskope.errors import FrameError
from starskope.frames.annulus import ring_levels
from starskope.frames.background import Background

__all__ = ["Photometry", "aperture_radius", "expected_noise", "measure", "n_readout", "read_noise"]

Array = NDArray[np.float64]
Image = NDArray[np.float32]

# Of the radii 1.5, 2, 2.5 ... 6 the ones of least scatter per magnitude bin, on synthetic sectors with the analytic and
# the real point responses; on a plateau the larger one, which loses less light when the pointing jitters.
_TMAG_KNOTS = np.array([6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 14.0])
_RADIUS_KNOTS = np.array([5.0, 4.0, 3.5, 3.0, 2.5, 2.25, 2.0, 1.75])
_DEFAULT_RADIUS = 2.5
_OUTPUTS = "ABCD"
_INTEGRATION_S = 1.98


@dataclass(frozen=True, eq=False)
class Photometry:
    """Aperture sums of one frame.

    Attributes
    ----------
    flux, flux_err : ndarray, shape (n_star,), float32
        Background-subtracted flux and its expected error, e-/s. NaN for a star off the science region or whose aperture
        touches a missing pixel; the error also where the exposure is unknown.
    background : ndarray, shape (n_star,), float32
        Background at the star, e-/s per pixel; NaN off the science region.
    n_bad : ndarray, shape (n_star,), int32
        Missing pixels that the aperture touches, those off the image included.
    """

    flux: NDArray[np.float32]
    flux_err: NDArray[np.float32]
    background: NDArray[np.float32]
    n_bad: NDArray[np.int32]


def aperture_radius(tmag: ArrayLike) -> Array:
    """Give the default aperture radius for TESS magnitudes.

    Parameters
    ----------
    tmag : array_like, shape (n_star,)
        NaN = unknown.

    Returns
    -------
    radius : ndarray, shape (n_star,), float64
        Pixels; 2.5 where the magnitude is unknown.
    """
    magnitudes = np.asarray(tmag, dtype=np.float64)
    radius = np.interp(magnitudes, _TMAG_KNOTS, _RADIUS_KNOTS)
    return np.where(np.isfinite(magnitudes), radius, _DEFAULT_RADIUS)


def measure(
    image: Image,
    background: ArrayLike | Background,
    row: ArrayLike,
    column: ArrayLike,
    radius: ArrayLike,
    *,
    exposure_s: float,
    read_noise_e: ArrayLike = 0.0,
    n_read: int = 0,
    ring: tuple[float, float] | None = None,
) -> Photometry:
    """Sum circular apertures with exact pixel overlap.

    Parameters
    ----------
    image : ndarray, shape (n_row, n_col), float32
        Background-subtracted, e-/s; NaN = missing, collateral pixels included.
    background : array_like, shape (n_star,), float64, or Background
        What was subtracted at each star, e-/s per pixel; or what is to be subtracted, from an image that still has it:
        that happens under the circles alone, with the same result.
    row, column : array_like, shape (n_star,), float64
        0-based centres; NaN for a star that has none.
    radius : array_like, scalar or shape (n_star,), float64
        Pixels.
    exposure_s : float
        Seconds of light; NaN where unknown.
    read_noise_e : array_like, scalar or shape (n_star,), float64
        Electrons per read.
    n_read : int
        Reads summed into the frame.
    ring : tuple of float, optional
        Gap beyond the aperture and width, pixels, of a ring whose clipped median is subtracted too; see `annulus`.

    Returns
    -------
    Photometry

    Raises
    ------
    ValueError
        A radius is not positive and finite, or lengths differ.
    """
    rows, columns = np.array(row, dtype=np.float64, ndmin=1), np.array(column, dtype=np.float64, ndmin=1)
    if rows.ndim != 1 or rows.shape != columns.shape:
        raise ValueError(f"row and column need one length, got shapes {rows.shape} and {columns.shape}")
    radii = np.array(np.broadcast_to(np.asarray(radius, dtype=np.float64), rows.shape))
    if not np.all((radii > 0) & np.isfinite(radii)):
        worst = radii[~((radii > 0) & np.isfinite(radii))][0]
        raise ValueError(f"aperture radius {worst} px: expected a number above 0 for every star")
    n_star = rows.size
    total, area, n_bad = np.empty(n_star), np.empty(n_star), np.empty(n_star, np.int32)
    # A star without a position is put beyond the image, where every pixel is missing.
    lost = ~(np.isfinite(rows) & np.isfinite(columns))
    rows[lost], columns[lost] = -1e6, -1e6
    if isinstance(background, Background):
        level = background.at(rows, columns)
        if ring is None and background.is_measured:
            top, left = (part.indices(n)[0] for part, n in zip(background.science, image.shape, strict=True))
            line, start, weight = background.lines()
            _core.aperture_sums(
                image[background.science], rows - top, columns - left, radii, total, area, n_bad, line, start, weight
            )
        else:
            image = background.subtracted_from(image, np.empty_like(image))
            _core.aperture_sums(image, rows, columns, radii, total, area, n_bad)
    else:
        level = np.array(np.broadcast_to(np.asarray(background, dtype=np.float64), rows.shape))
        _core.aperture_sums(image, rows, columns, radii, total, area, n_bad)
    missing = lost | (n_bad > 0) | ~(area > 0)
    total[missing] = np.nan
    level[lost] = np.nan
    circle = np.pi * radii**2
    ring_variance: Array | float = 0.0
    if ring is not None:
        around = ring_levels(image, rows, columns, radii + ring[0], ring[1])
        total -= around.level * circle
        level += around.level
        # A median has pi/2 times the variance of a mean.
        pixel = expected_noise(0.0, level, 1.0, exposure_s, read_noise_e, n_read)
        ring_variance = np.where(around.count > 0, (circle * pixel) ** 2 * np.pi / 2 / np.maximum(around.count, 1), 0.0)
    photons = expected_noise(total, level, circle, exposure_s, read_noise_e, n_read)
    error = np.sqrt(photons**2 + ring_variance)
    return Photometry(total.astype(np.float32), error.astype(np.float32), level.astype(np.float32), n_bad)


def expected_noise(
    flux: ArrayLike,
    background: ArrayLike,
    area: ArrayLike,
    exposure_s: ArrayLike,
    read_noise_e: ArrayLike = 0.0,
    n_read: ArrayLike = 0,
) -> Array:
    """Give the noise of an aperture sum: photons of star and background, and the reads of its pixels.

    Parameters
    ----------
    flux : array_like
        Of the star, e-/s; negative counts as none.
    background : array_like
        e-/s per pixel.
    area : array_like
        Of the aperture, pixels.
    exposure_s : array_like
        Seconds of light: for TESS the EXPOSURE card, 1,425.6 s of a 1,800 s frame, since the on-board cosmic-ray clip
        discards one fifth of the exposures.
    read_noise_e : array_like
        Electrons per read and pixel (READNOIA-D).
    n_read : array_like
        Reads in the sum (NREADOUT: 720 of 900).

    Returns
    -------
    ndarray, float64
        Standard deviation, e-/s; NaN where an input is NaN.

    Notes
    -----
    ``sqrt((flux + background area) t + area n_read read_noise**2) / t``. All arguments broadcast.
    """
    light = np.maximum(np.asarray(flux, dtype=np.float64), 0.0)
    level, size = np.maximum(np.asarray(background, dtype=np.float64), 0.0), np.asarray(area, dtype=np.float64)
    seconds = np.asarray(exposure_s, dtype=np.float64)
    reads = size * np.asarray(n_read) * np.square(np.asarray(read_noise_e, dtype=np.float64))
    with np.errstate(invalid="ignore", divide="ignore"):
        noise = np.sqrt((light + level * size) * seconds + reads) / seconds
    return np.where(np.isfinite(noise), noise, np.nan)


def n_readout(header: Mapping[str, Any]) -> int:
    """Count the reads in a frame: NREADOUT, else from EXPOSURE and the 1.98 s of one; 0 if neither is there."""
    reads = header.get("NREADOUT")
    if isinstance(reads, int) and not isinstance(reads, bool):
        if reads < 0:
            raise FrameError(f"NREADOUT = {reads}: a count cannot be negative; the header is damaged")
        return reads
    exposure_days = header.get("EXPOSURE")
    if isinstance(exposure_days, int | float) and not isinstance(exposure_days, bool) and exposure_days > 0:
        integration_s = header.get("INT_TIME")
        is_known = isinstance(integration_s, int | float) and not isinstance(integration_s, bool) and integration_s > 0
        return round(exposure_days * 86400.0 / (float(integration_s or 0) if is_known else _INTEGRATION_S))
    return 0


def read_noise(header: Mapping[str, Any], column: ArrayLike) -> Array:
    """Give the read noise of the output that reads each column.

    Parameters
    ----------
    header : mapping
        READNOIA-D and the science columns SCCSA-D, SCCEA-D (1-based) of the four outputs.
    column : array_like, shape (n_star,), float64
        0-based; NaN allowed.

    Returns
    -------
    ndarray, shape (n_star,), float64
        Electrons per read; the mean of the outputs where the columns are not told, 0 where no card is there.
    """
    places = np.asarray(column, dtype=np.float64)
    known = {
        output: float(value)
        for output in _OUTPUTS
        if isinstance(value := header.get(f"READNOI{output}"), int | float) and not isinstance(value, bool)
    }
    noise = np.full(places.shape, np.mean(list(known.values())) if known else 0.0)
    for output, value in known.items():
        first, last = header.get(f"SCCS{output}"), header.get(f"SCCE{output}")
        if isinstance(first, int) and isinstance(last, int):
            with np.errstate(invalid="ignore"):
                noise[(places >= first - 1.5) & (places < last - 0.5)] = value
    return noise
