"""From what blocks of frames measured to one set of light curves.

Owns the order in time, which of two frames of the same moment counts, and how the observer's path and the directions
of the stars are found. Refuses pixels and I/O.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from astropy.table import Column, Table
from numpy.typing import ArrayLike, NDArray

from starskope.curves.container import LightCurves
from starskope.errors import FrameError
from starskope.frames.block import BlockProduct
from starskope.frames.targets import Targets
from starskope.frames.wcs import TanSip, has_wcs
from starskope.layout.observer import ccd_centre, earth_path, solve_observer, unit_vectors
from starskope.validation import as_float64, positive

__all__ = [
    "FLUX_UNIT",
    "assemble",
    "given_times",
    "join_blocks",
    "refuse_strangers",
    "star_directions",
    "with_radius",
]

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
    flux_unit: str = FLUX_UNIT,
    is_spacecraft_time: bool = True,
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
    flux_unit : str
        Empty = not known.
    is_spacecraft_time : bool
        False where the caller made the times: the observer is then not known.

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
    observer, source = _observer(times[rows], cards, wcs, centre) if is_spacecraft_time else (None, "not known")
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
        meta={"flux_unit": flux_unit, "observer": source, "left_out": dropped},
    )


def join_blocks(
    products: Sequence[BlockProduct],
    left_out: Sequence[tuple[int, str]],
    names: Sequence[str],
    stars: Table,
    targets: Targets,
    times: NDArray[np.float64] | None = None,
) -> LightCurves:
    """Put the reduced blocks of a list of frames together and say what is missing.

    Parameters
    ----------
    products : sequence of BlockProduct
        In any order; frames that were not measured are left out with their reasons.
    left_out : sequence of (int, str)
        Number and reason of frames that entered no block.
    names : sequence of str
        Of all frames, by number.
    stars, targets : Table, Targets
        The stars that were measured.
    times : (n_frame,) float64, optional
        Instead of those of the frames; the observer is then not known.

    Raises
    ------
    FrameError
        Not one frame was measured.
    ValueError
        No star lies on any frame.
    """
    missing = list(left_out)
    for product in products:
        missing += [(int(product.index[k]), product.reasons[k]) for k in np.flatnonzero(~product.measured)]
    missing.sort()
    if not any(product.measured.any() for product in products):
        number, reason = missing[0] if missing else (0, "no frames")
        raise FrameError(f"none of {len(names)} frames could be used; the first, {names[number]}: {reason}")

    def joined(field: str) -> NDArray[Any]:
        return np.concatenate([getattr(product, field)[product.measured] for product in products])

    numbers = [int(number) for number in joined("index")]
    exposures = joined("exposure_s")
    known = exposures[np.isfinite(exposures)]
    n_row, n_col = products[0].image.shape
    refuse_strangers(joined("row"), joined("column"), (n_row, n_col))
    header = next((product.header for product in products if has_wcs(product.header)), None)
    curves = assemble(
        with_radius(stars, targets),
        time=joined("time") if times is None else times[numbers],
        flux=joined("flux"),
        flux_err=joined("flux_err"),
        background=joined("background"),
        quality=joined("quality"),
        barycorr=joined("barycorr"),
        names=[names[number] for number in numbers],
        wcs=None if header is None else TanSip.from_header(header),
        centre=None if header is None else ccd_centre(header, (n_row, n_col)),
        exposure_s=float(np.median(known)) if known.size else math.nan,
        left_out=[{"frame": names[number], "reason": reason} for number, reason in missing],
        is_spacecraft_time=times is None,
    )
    curves.meta["notes"] = [
        {"frame": name, "note": note}
        for product in products
        for name, note in zip(product.names, product.notes, strict=True)
        if note
    ]
    return curves


def given_times(time: ArrayLike | None, cadence: float | None, n_frame: int) -> NDArray[np.float64] | None:
    """Return the times (n_frame,) in days that the caller gives, or None where the frames are to tell."""
    if time is not None and cadence is not None:
        raise ValueError("give time= or cadence=, not both")
    if cadence is not None:
        return np.arange(n_frame, dtype=np.float64) * positive(cadence, "cadence")
    if time is None:
        return None
    times = as_float64(time, "time", 1)
    if times.size != n_frame:
        raise ValueError(f"time has {times.size} values for {n_frame} frames: give one per frame, in their order")
    return times


def with_radius(stars: Table, targets: Targets) -> Table:
    """Return a copy of the star table with the aperture radii (pixels) that were used."""
    table = stars.copy()
    table["aperture_radius"] = Column(targets.radius, unit="pix", description="radius of the circular aperture")
    return table


def refuse_strangers(row: NDArray[Any], column: NDArray[Any], shape: tuple[int, int]) -> None:
    """Raise ValueError when no star has its centre on any frame, positions being (n_frame, n_star)."""
    inside = (row >= -0.5) & (row < shape[0] - 0.5) & (column >= -0.5) & (column < shape[1] - 0.5)
    if not inside.any():
        raise ValueError(
            f"none of the {inside.shape[1]} stars lies on these frames of {shape[0]}x{shape[1]} pixels: "
            "check sector, camera and CCD, or the positions"
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
