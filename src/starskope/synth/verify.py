"""What a reduction found against what is true: stacks, noise of light curves, depths of transits.

Owns the comparison. Refuses to reduce frames, and to take anything but the scene's own truth as the measure.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from astropy import units as u
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray

from starskope.synth.aperture_noise import expected_scatter
from starskope.synth.scene import Scene

__all__ = ["check_light_curves", "check_stack", "check_transits", "flattened", "robust_std"]

_MAD_TO_SIGMA = 1.4826


class _Curves(Protocol):
    """What is needed of ``curves.LightCurves``."""

    @property
    def time(self) -> NDArray[np.float64]: ...
    @property
    def flux(self) -> NDArray[np.float32]: ...
    @property
    def quality(self) -> Any: ...
    @property
    def stars(self) -> Any: ...


def robust_std(values: NDArray[np.float64], axis: int | None = None) -> Any:
    """Return 1.4826 times the median absolute deviation; NaN are left out, and NaN is what nothing but NaN gives."""
    if axis is not None and np.ndim(values) > 1:
        empty = ~np.isfinite(values).any(axis=axis)
        # Zeros in place of a series without values spare nanmedian's warning.
        spread = _spread(np.where(np.expand_dims(empty, axis), 0.0, values), axis)
        return np.where(empty, np.nan, spread)
    return _spread(values, axis) if np.isfinite(values).any() else np.nan


def _spread(values: NDArray[np.float64], axis: int | None) -> Any:
    """Return the same where every series has values."""
    centre = np.nanmedian(values, axis=axis, keepdims=True)
    return _MAD_TO_SIGMA * np.nanmedian(np.abs(values - centre), axis=axis)


def check_stack(
    image: NDArray[np.float32],
    background: NDArray[np.float32] | None,
    std: NDArray[np.float32],
    count: NDArray[np.int32],
    used: Sequence[int] | NDArray[np.int64],
    scene: Scene,
) -> dict[str, float]:
    """Compare a stack with the mean of the noise-free frames that went into it.

    Parameters
    ----------
    image, background, std, count : (n_row, n_col)
        Stack of the full plane or of its science pixels; `background` is the mean that was subtracted before, or None.
    used : sequence of int, or (n_frame,) bool
        Frames in the stack.
    scene : Scene
        The synthetic sector.

    Returns
    -------
    dict
        ``robust_std`` and ``median`` of (image + background - truth) / (std / sqrt(count)) over science pixels that are
        never saturated and to which variable stars bring less than 0.05 e-/s; ``largest`` absolute value; ``offset``,
        the median of image + background - truth in e-/s; ``n_pixel`` compared and their ``fraction`` of the science
        pixels; ``n_empty`` science pixels without data.

    Raises
    ------
    ValueError
        When the shapes are those of neither the full plane nor the science pixels, or no frame was used.
    """
    frames = np.flatnonzero(used) if np.asarray(used).dtype == bool else np.asarray(used, int)
    if not frames.size:
        raise ValueError("the stack holds no frame: pass the indices of the frames used")
    science = scene.config.science
    planes = [_science(np.asarray(plane, np.float64), scene) for plane in (image, std, count)]
    total = planes[0] + (0.0 if background is None else _science(np.asarray(background, np.float64), scene))
    truth = np.zeros(total.shape)
    for frame in frames:
        truth += scene.noise_free(int(frame))[science]
    truth /= frames.size
    plain = ~(scene.saturated_pixels() | scene.variable_pixels())[science]
    known = np.isfinite(total) & (planes[2] > 0)
    chosen = plain & known & (planes[1] > 0)
    difference = (total - truth)[chosen]
    score = difference / (planes[1] / np.sqrt(np.maximum(planes[2], 1)))[chosen]
    return {
        "robust_std": float(robust_std(score)),
        "median": float(np.median(score)),
        "largest": float(np.abs(score).max()),
        "offset": float(np.median(difference)),
        "n_pixel": int(chosen.sum()),
        "fraction": float(chosen.mean()),
        "n_empty": int((~known).sum()),
    }


def _science(plane: NDArray[np.float64], scene: Scene) -> NDArray[np.float64]:
    config = scene.config
    if plane.shape == config.shape:
        return plane[config.science]
    if plane.shape != (config.n_row, config.n_col):
        raise ValueError(
            f"a stack of {plane.shape}: expected the full plane {config.shape} or its science pixels "
            f"{(config.n_row, config.n_col)} of this sector"
        )
    return plane


def flattened(time: NDArray[np.float64], flux: ArrayLike, window_days: float = 1.0) -> NDArray[np.float64]:
    """Divide each series by its own running median.

    Parameters
    ----------
    time : (n_time,) float64
        Days, ascending.
    flux : (n_time, n_star)
        NaN = missing.
    """
    flux = np.asarray(flux, np.float64)
    first = np.searchsorted(time, time - 0.5 * window_days)
    last = np.searchsorted(time, time + 0.5 * window_days, side="right")
    level = np.full_like(flux, np.nan)
    some = np.isfinite(flux).any(axis=0)
    for k in range(len(time)):
        part = flux[first[k] : last[k]]
        seen = some & np.isfinite(part).any(axis=0)
        level[k, seen] = np.nanmedian(part[:, seen], axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(flux / level)


def check_light_curves(
    curves: _Curves,
    scene: Scene,
    radius: ArrayLike | None = None,
    tmag_bins: Sequence[float] = (7, 8, 9, 10, 11, 12, 13),
    foreign_max: float = 0.05,
) -> Table:
    """Compare the scatter of isolated quiet stars with the noise that their apertures must have.

    Parameters
    ----------
    curves : LightCurves
        Stars carry `tic_id`; flagged cadences are left out, the unflagged episode is not.
    scene : Scene
    radius : (n_star,) float, optional
        Aperture radii in pixels, in the order of the curves. Default: the column `aperture_radius` of their stars.
    tmag_bins : sequence of float
        Edges.
    foreign_max : float
        A star counts as isolated when other stars add at most this fraction to its own light in the aperture.

    Returns
    -------
    Table
        One row per bin: `tmag_low`, `tmag_high`, `n_star`, and medians over stars of `measured` and `expected` scatter
        per cadence (ppm) and of their `ratio`; NaN for an empty bin. Measured is 1.4826 MAD after dividing each star by
        its running median over 1 d.

    Raises
    ------
    ValueError
        When no radii are given or no star or cadence belongs to this sector.
    """
    columns, rows, frames, good = _matched(curves, scene)
    if radius is None:
        if "aperture_radius" not in curves.stars.colnames:
            raise ValueError("the curves' stars have no column aperture_radius: pass radius, one per star in pixels")
        radius = curves.stars["aperture_radius"]
    radii = np.asarray(radius, np.float64)[columns]
    quiet = np.asarray(scene.stars["kind"])[rows] == "quiet"
    columns, rows, radii = columns[quiet], rows[quiet], radii[quiet]
    expected, foreign = expected_scatter(scene, radii, rows, frames)
    measured = robust_std(flattened(np.asarray(curves.time)[good], np.asarray(curves.flux)[good][:, columns]), axis=0)
    tmag = np.asarray(scene.stars["tmag"])[rows]
    table = []
    for low, high in pairwise(tmag_bins):
        chosen = (
            (tmag >= low) & (tmag < high) & (foreign <= foreign_max) & np.isfinite(expected) & np.isfinite(measured)
        )
        some = chosen.any()
        figures = [
            float(np.median(values[chosen])) if some else np.nan
            for values in (1e6 * measured, 1e6 * expected, measured / expected)
        ]
        table.append((float(low), float(high), int(chosen.sum()), *figures))
    names = ("tmag_low", "tmag_high", "n_star", "measured", "expected", "ratio")
    ppm = u.Unit(1e-6)
    return Table(rows=table, names=names, units=(u.mag, u.mag, None, ppm, ppm, None))


def _matched(
    curves: _Curves, scene: Scene
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return columns of the curves with their truth rows, frames of the good cadences, and which cadences are good."""
    truth = {int(tic): row for row, tic in enumerate(scene.stars["tic_id"])}
    pairs = [(column, truth[int(tic)]) for column, tic in enumerate(curves.stars["tic_id"]) if int(tic) in truth]
    time = np.asarray(curves.time, np.float64)
    frame = np.clip(np.searchsorted(scene.timeline.time, time - 0.25 * scene.config.cadence_days), 0, len(scene) - 1)
    good = np.abs(scene.timeline.time[frame] - time) < 0.25 * scene.config.cadence_days
    if curves.quality is not None:
        good &= np.asarray(curves.quality) == 0
    if not pairs or not good.any():
        what = "star" if not pairs else "unflagged cadence"
        raise ValueError(
            f"no {what} of these light curves belongs to {scene!r}: check them against the sector they came from"
        )
    columns, rows = np.array(pairs, np.int64).T
    return columns, rows, frame[good], good


def check_transits(curves: _Curves, scene: Scene) -> Table:
    """Compare the depth of injected transits and eclipses with what the light curves show.

    Returns
    -------
    Table
        One row per planet and binary: `tic_id`, `kind`, `tmag`, `depth`, `n_cadence` inside events, `recovered` =
        measured over true depth by least squares (1 when perfect, less where other stars dilute), `error` of it from
        the scatter.
    """
    columns, rows, frames, good = _matched(curves, scene)
    kinds = np.asarray(scene.stars["kind"])[rows]
    wanted = (kinds == "planet") | (kinds == "binary")
    columns, rows = columns[wanted], rows[wanted]
    flux = flattened(np.asarray(curves.time)[good], np.asarray(curves.flux)[good][:, columns])
    table = []
    for n, row in enumerate(rows):
        model = 1 - scene.relative_flux[frames, row]
        seen = np.isfinite(flux[:, n])
        inside = seen & (model > 1e-6)
        weight = float((model[inside] ** 2).sum())
        noise = float(robust_std(flux[seen & ~inside, n])) if (seen & ~inside).any() else np.nan
        found = float((model[inside] * (1 - flux[inside, n])).sum() / weight) if weight else np.nan
        star = scene.stars[int(row)]
        error = noise / np.sqrt(weight) if weight else np.nan
        figures = float(star["tmag"]), float(star["depth"]), int(inside.sum()), found, error
        table.append((int(star["tic_id"]), str(star["kind"]), *figures))
    names = ("tic_id", "kind", "tmag", "depth", "n_cadence", "recovered", "error")
    return Table(rows=table or None, names=names, units=(None, None, u.mag, None, None, None, None))
