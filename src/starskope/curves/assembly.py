"""From what blocks of frames measured to one set of light curves.

Owns the order in time, which of two frames of the same moment counts, and how the observer's path and the directions
of the stars are found. Refuses pixels and I/O.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray

from starskope.curves.container import LightCurves
from starskope.curves.observer import earth_path, solve_observer, unit_vectors
from starskope.errors import FrameError
from starskope.frames.wcs import TanSip

__all__ = ["FLUX_UNIT", "assemble", "star_directions"]

FLUX_UNIT = "electron / s"


def assemble(
    stars: Table,
    *,
    time: ArrayLike,
    flux: NDArray[np.float32],
    flux_err: NDArray[np.float32] | None = None,
    background: NDArray[np.float32] | None = None,
    quality: ArrayLike | None = None,
    barycorr: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    wcs: TanSip | None = None,
    centre: tuple[float, float] | None = None,
    exposure_s: float = math.nan,
    left_out: Sequence[Mapping[str, Any]] = (),
) -> LightCurves:
    """Put the measurements of TESS frames in order.

    Parameters
    ----------
    stars : astropy.table.Table
        (n_star,) rows; ``ra`` and ``dec`` in degrees give the directions.
    time : (n_frame,) float64
        Mid-exposure times at the spacecraft, BTJD (TDB), in any order; NaN = not known.
    flux, flux_err, background : (n_frame, n_star) float32
        Electrons per second (``background``: and pixel); NaN = missing.
    quality : (n_frame,) int32, optional
        Flags of the frames.
    barycorr : (n_frame,) float64, optional
        BARYCORR cards, days; NaN = absent.
    names : sequence of str, optional
        Names of the frames for the notes; default: their numbers.
    wcs, centre : TanSip and (row, column), optional
        Where ``barycorr`` holds on the sky, see `observer.ccd_centre`. Without them the observer is Earth.
    exposure_s : float
        Seconds of light per frame.
    left_out : sequence of mappings
        What was left out before: ``{"frame": name, "reason": text}``.

    Returns
    -------
    LightCurves
        In order of time. ``meta["left_out"]`` lists the frames that are missing from it and why, ``meta["observer"]``
        says where the observer's path comes from.

    Raises
    ------
    FrameError
        No frame has a time.
    """
    times = np.asarray(time, np.float64)
    labels = [str(name) for name in (names if names is not None else range(times.size))]
    dropped = [dict(entry) for entry in left_out]
    keep: list[int] = []
    for i in np.argsort(times, kind="stable"):
        if not math.isfinite(times[i]):
            dropped.append({"frame": labels[i], "reason": "no TSTART and TSTOP in its primary header: time not known"})
        elif keep and times[keep[-1]] == times[i]:
            dropped.append({"frame": labels[i], "reason": f"duplicate: same time as {labels[keep[-1]]}"})
        else:
            keep.append(int(i))
    if times.size and not keep:
        raise FrameError(
            f"none of {times.size} frames has a time; first: {dropped[-1]['frame']}: {dropped[-1]['reason']}"
        )
    rows = np.array(keep, dtype=np.intp)
    cards = None if barycorr is None else np.asarray(barycorr, np.float64)[rows]
    observer, source = _observer(times[rows], cards, wcs, centre)
    return LightCurves(
        times[rows],
        _rows(flux, rows),
        stars,
        flux_err=None if flux_err is None else _rows(flux_err, rows),
        quality=None if quality is None else np.asarray(quality)[rows],
        observer=observer,
        direction=star_directions(stars),
        background=None if background is None else _rows(background, rows),
        exposure_s=exposure_s,
        meta={"flux_unit": FLUX_UNIT, "observer": source, "left_out": dropped},
    )


def star_directions(stars: Table) -> NDArray[np.float64] | None:
    """Return unit vectors (n_star, 3) from the columns ra and dec (degrees), or None where they are absent."""
    if not {"ra", "dec"} <= set(stars.colnames):
        return None
    ra, dec = (np.ma.filled(np.ma.asarray(stars[name], np.float64), np.nan) for name in ("ra", "dec"))
    return unit_vectors(ra, dec).reshape(len(stars), 3)


def _rows(values: NDArray[np.float32], rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """Rows in order; the array itself where nothing moves, for it may be large."""
    return values if np.array_equal(rows, np.arange(values.shape[0])) else values[rows]


def _observer(
    time: NDArray[np.float64],
    cards: NDArray[np.float64] | None,
    wcs: TanSip | None,
    centre: tuple[float, float] | None,
) -> tuple[NDArray[np.float64], str]:
    if cards is None or not np.isfinite(cards).any():
        return earth_path(time), "Earth: the frames hold no BARYCORR"
    if wcs is None or centre is None:
        return earth_path(time), "Earth: no frame has a WCS that says where BARYCORR holds"
    ra, dec = wcs.pixel_to_world(*centre)
    try:
        path = solve_observer(time, unit_vectors(ra, dec), cards[:, None])
    except FrameError as error:
        return earth_path(time), f"Earth: {error}"
    return path, f"Earth, corrected to meet {np.count_nonzero(np.isfinite(cards))} BARYCORR cards of one CCD"
