"""What a person needs to judge a candidate: its light, the spectrum it stands in, and the pixels it comes from.

Owns the gathering of these for a few chosen candidates. Refuses to search anew for other candidates, to judge, and to
draw.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from starskope.curves.binning import bin_means, bin_starts
from starskope.search.box import BoxSearch
from starskope.search.detrended_spectrum import detrend, trend_bands
from starskope.search.grids import duration_limits
from starskope.search.refine import LONGEST_DUTY
from starskope.search.series import centred, near_events, usable_errors
from starskope.search.settings import SearchSettings

if TYPE_CHECKING:
    from astropy.table import Row, Table

    from starskope.curves.container import LightCurves
    from starskope.report.folder import RunFolder

__all__ = ["BoxSpectrum", "Evidence", "Stamp", "cut_stamp", "gather"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

_HALF = 7  # pixels from the star to the edge of its stamp
_TAKEN = 2.0  # durations around the events of stronger candidates that are left out, as the search does


@dataclass(frozen=True, eq=False)
class Stamp:
    """Pixels of the stack around a star.

    Attributes
    ----------
    image : (n_row, n_column) float32
        Background-subtracted; NaN = no data or off the stack.
    row, column : float
        Place of the star in the stamp.
    radius : float
        Of its aperture, pixels; NaN = not known.
    neighbours : (n, 2) float64
        Row and column of the other stars of the catalogue.
    """

    image: F32
    row: float
    column: float
    radius: float
    neighbours: F64


@dataclass(frozen=True, eq=False)
class BoxSpectrum:
    """Signal detection efficiency at each period (n_period,), days, of the light and of the light upside down."""

    period: F64
    sde: F64
    inverted: F64


@dataclass(frozen=True, eq=False)
class Evidence:
    """One candidate with all that is shown of it.

    Attributes
    ----------
    candidate : Row
        Its row of the table.
    time : (n_time,) float64
        Barycentric where that is known, days since ``time_zero``.
    time_label : str
    level, flat : (n_time,) float32
        Normalised and levelled flux; NaN = missing or masked.
    period, t0, duration, depth : float
        Days and fraction; ``t0`` on the axis of ``time``, ``period`` NaN for a single event.
    others : tuple of (period, t0)
        Stronger candidates of the same star.
    spectrum : BoxSpectrum or None
        None where the times are too few.
    stamp : Stamp or None
        None where the star has no place on the stack.
    """

    candidate: Row
    time: F64
    time_label: str
    level: F32
    flat: F32
    period: float
    t0: float
    duration: float
    depth: float
    others: tuple[tuple[float, float], ...]
    spectrum: BoxSpectrum | None
    stamp: Stamp | None


def gather(folder: RunFolder, rows: Sequence[Row]) -> Iterator[Evidence]:
    """Yield what belongs to each of these rows of the table of candidates."""
    if not rows or folder.candidates is None:
        return
    asked = folder.run.get("identity", {})
    settings = SearchSettings(period_min=float(asked.get("period_min") or 0.5), period_max=asked.get("period_max"))
    lights = folder.curves([int(row["star"]) for row in rows])
    for row, (level, flat) in zip(rows, lights, strict=True):
        star = int(row["star"])
        time, label = _star_time(flat, row)
        stronger = [other for other in _of_star(folder.candidates, star) if other["rank"] < row["rank"]]
        masked = flat.flux[:, 0].copy()
        for other in stronger:
            masked[near_events(time, _period_or_inf(other), _epoch(other, flat), _TAKEN * float(other["duration"]))] = (
                np.nan
            )
        yield Evidence(
            candidate=row,
            time=time,
            time_label=label,
            level=level.flux[:, 0],
            flat=masked,
            period=float(row["period"]) if row["verdict"] != "single-event" else float("nan"),
            t0=_epoch(row, flat),
            duration=float(row["duration"]),
            depth=float(row["depth"]),
            others=tuple((_period_or_inf(other), _epoch(other, flat)) for other in stronger),
            spectrum=_spectrum(flat, masked, settings),
            stamp=cut_stamp(folder, star),
        )


def _of_star(table: Table, star: int) -> list[Any]:
    return [table[int(i)] for i in np.flatnonzero(np.asarray(table["star"]) == star)]


def _period_or_inf(row: Any) -> float:
    period = float(row["period"])
    return period if np.isfinite(period) and row["verdict"] != "single-event" else float("inf")


def _is_barycentric(row: Any, curves: LightCurves) -> bool:
    return bool(np.isfinite(row["t0_bjd"])) and curves.observer is not None and curves.direction is not None


def _epoch(row: Any, curves: LightCurves) -> float:
    if _is_barycentric(row, curves):
        return float(row["t0_bjd"]) - curves.time_zero
    return float(row["t0"])


def _star_time(curves: LightCurves, row: Any) -> tuple[F64, str]:
    if _is_barycentric(row, curves):
        return curves.bjd(0), f"BJD (TDB) - {curves.time_zero:.0f} (d)"
    return curves.time, f"time, TDB - {curves.time_zero:.0f} (d)"


def _spectrum(curves: LightCurves, flux: F32, settings: SearchSettings) -> BoxSpectrum | None:
    """Search one star at all periods, as the run did, for the picture."""
    grid = settings.grid(curves.time)
    if grid is None:
        return None
    centre = centred(flux[:, np.newaxis])
    errors = usable_errors(curves.flux_err, centre)
    time = curves.time
    if grid.n_bin > 1:
        starts = bin_starts(time, n=grid.n_bin)
        count = np.diff(starts, append=time.size)
        centre, mean_errors = bin_means(centre, errors, starts)
        errors = None if errors is None else mean_errors
        time = time[starts] + np.add.reduceat(time - np.repeat(time[starts], count), starts) / count
    kernel = BoxSearch(time, centre, errors, durations=grid.durations, max_duty_cycle=LONGEST_DUTY)
    limits = duration_limits(grid.periods, cadence=grid.cadence)
    found = kernel.periodogram(grid.periods, limits=limits, inverted=True, details=False)
    bands = trend_bands(grid.periods)

    def efficiency(power: F32 | None) -> F64:
        if power is None:
            return np.zeros(grid.periods.size)
        sde: F64 = detrend(np.sqrt(2.0 * np.nan_to_num(power[:, 0])), *bands)
        return sde

    return BoxSpectrum(grid.periods, efficiency(found.power), efficiency(found.inverted_power))


def cut_stamp(folder: RunFolder, star: int) -> Stamp | None:
    """Cut the surroundings of a star out of the stack."""
    rows, columns = folder.places
    row, column = float(rows[star]), float(columns[star])
    image = folder.stack.image
    if not (np.isfinite(row) and np.isfinite(column)):
        return None
    top, left = round(row) - _HALF, round(column) - _HALF
    size = 2 * _HALF + 1
    if not (-size < top < image.shape[0] and -size < left < image.shape[1]):
        return None
    stamp = np.full((size, size), np.nan, np.float32)
    a, b = max(top, 0), max(left, 0)
    piece = image[a : top + size, b : left + size]
    stamp[a - top :, b - left :][: piece.shape[0], : piece.shape[1]] = piece
    near = (np.abs(rows - row) <= _HALF) & (np.abs(columns - column) <= _HALF)
    near[star] = False
    radius = "aperture_radius"
    return Stamp(
        stamp,
        row - top,
        column - left,
        float(folder.stars[radius][star]) if radius in folder.stars.colnames else float("nan"),
        np.stack([rows[near] - top, columns[near] - left], axis=1),
    )
