"""Where targets are: what a caller calls targets, their places on the sky, and the rectangles of pixels around them.

Owns what counts as a list of targets and as a size, the corner of a cutout, and who lies on a CCD. Pure. Refuses files
and names (``frames.target_list``) and motion itself (``frames.moving``).

The corner is that of the archive's own cutouts (astrocut, TESScut): ``round(position - size / 2)``, half to even, so
that the same target and size give the same pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from starskope.frames.cutout_axis import FrameAxis
from starskope.frames.moving import Ephemerides, is_ephemeris
from starskope.validation import as_float64, integer_at_least

__all__ = ["OFF", "Wanted", "corners", "cutout_shape", "on_ccd", "read_wanted"]

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]

OFF = -(2**30)
"""Corner of a moving target in a frame for which its ephemeris has no place."""

_MOST_PIXELS = 2048


@dataclass(frozen=True, eq=False)
class Wanted:
    """Targets of one call.

    Attributes
    ----------
    table : Table
        One row per target: ``target`` (its number), and what came with it; ``ra``, ``dec`` where it stays.
    ra, dec : (n_target,) float64
        Degrees; NaN where there is none. Empty for targets that move.
    paths : Ephemerides or None
        Of targets that move.
    """

    table: Table
    ra: F64
    dec: F64
    paths: Ephemerides | None = None

    @property
    def n_target(self) -> int:
        """Number of targets."""
        return len(self.table)

    @property
    def is_moving(self) -> bool:
        """Whether targets have a place per frame."""
        return self.paths is not None

    def pixels(self, rows: NDArray[np.int64], axis: FrameAxis) -> tuple[F64, F64, F64, F64]:
        """Return ``ra, dec, row, column`` of some targets; (n,), or (n, n_time) where they move."""
        if self.paths is None:
            ra, dec = self.ra[rows], self.dec[rows]
            return ra, dec, *axis.wcs.world_to_pixel(ra, dec)
        ra, dec = self.paths.select(rows).at(axis.time_spacecraft)
        row, column = np.full(ra.shape, np.nan), np.full(ra.shape, np.nan)
        for frame, wcs in enumerate(axis.every_wcs()):
            row[:, frame], column[:, frame] = wcs.world_to_pixel(ra[:, frame], dec[:, frame])
        return ra, dec, row, column


def read_wanted(targets: Any) -> Wanted:
    """Take targets as a caller may give them.

    Parameters
    ----------
    targets : Table, mapping, SkyCoord, (n, 2) array_like, or Ephemerides
        A table needs ``ra`` and ``dec`` (degrees unless the columns say otherwise, ICRS); its other columns are kept
        (``target`` as ``name``). Rows of an array are (ra, dec); one (ra, dec) alone is one target. A table with
        ephemerides (see `Ephemerides.from_table`) makes targets that move.

    Raises
    ------
    ValueError
        No targets, no positions, or shapes that do not fit.
    TypeError
        Something else.
    """
    if isinstance(targets, dict):
        targets = Table(targets)
    if is_ephemeris(targets):
        paths = targets if isinstance(targets, Ephemerides) else Ephemerides.from_table(targets)
        if not paths.n_target:
            raise ValueError("there are no targets: the ephemeris is empty")
        table = Table({"target": np.arange(paths.n_target), "name": np.array(paths.names, np.str_)})
        return Wanted(table, np.empty(0), np.empty(0), paths)
    if isinstance(targets, Table):
        missing = [name for name in ("ra", "dec") if name not in targets.colnames]
        if missing:
            raise ValueError(f"targets need columns ra and dec; found {', '.join(targets.colnames) or 'none'}")
        table = targets.copy()
        if "target" in table.colnames:  # which is the number of the target from here on
            table.rename_column("target", "name" if "name" not in table.colnames else "target_name")
        ra, dec = _degrees(table["ra"], "ra"), _degrees(table["dec"], "dec")
    elif hasattr(targets, "icrs"):
        place = targets.icrs
        ra, dec = np.atleast_1d(place.ra.deg).astype(np.float64), np.atleast_1d(place.dec.deg).astype(np.float64)
        if ra.ndim != 1:
            raise ValueError(f"targets is a SkyCoord of shape {ra.shape}: expected one axis, or an ephemeris")
        table = Table()
    else:
        places = np.atleast_2d(as_float64(targets, "targets", (1, 2)))
        if not places.size:
            raise ValueError("there are no targets: the list is empty")
        if places.shape[1] != 2:
            raise ValueError(f"targets has shape {places.shape}: expected (n_target, 2), ra and dec in degrees")
        ra, dec = np.ascontiguousarray(places[:, 0]), np.ascontiguousarray(places[:, 1])
        table = Table()
    if not len(ra):
        raise ValueError("there are no targets: the list is empty")
    good = np.isfinite(ra) & (np.abs(np.nan_to_num(dec, nan=np.inf)) <= 90.0)
    ra, dec = np.where(good, np.mod(np.where(good, ra, 0.0), 360.0), np.nan), np.where(good, dec, np.nan)
    table["ra"], table["dec"], table["target"] = ra, dec, np.arange(len(ra))
    order = ["target", *(name for name in table.colnames if name != "target")]
    return Wanted(table[order], ra, dec)


def _degrees(column: Any, name: str) -> F64:
    unit = getattr(column, "unit", None)
    if unit is not None and str(unit) not in ("deg", "degree", "degrees"):
        column = (column.quantity if hasattr(column, "quantity") else column).to_value("deg")
    return as_float64(getattr(column, "value", column), f"targets[{name!r}]", 1).copy()


def cutout_shape(size: Any) -> tuple[int, int]:
    """Turn a size into rows and columns.

    Raises
    ------
    ValueError, TypeError
        No whole number, nor two, from 1 to 2048.
    """
    sizes = tuple(size) if isinstance(size, tuple | list | np.ndarray) else (size, size)
    if len(sizes) != 2:
        raise ValueError(f"size={size!r}: expected one number of pixels, or rows and columns")
    n_row, n_col = (integer_at_least(value, "size", 1) for value in sizes)
    if max(n_row, n_col) > _MOST_PIXELS:
        raise ValueError(f"size={size!r}: expected at most {_MOST_PIXELS} pixels a side")
    return n_row, n_col


def corners(row: F64, column: F64, shape: tuple[int, int]) -> tuple[I32, I32]:
    """Return first rows and columns of cutouts around positions; `OFF` where there is no position."""
    starts = []
    for centre, length in ((row, shape[0]), (column, shape[1])):
        start = np.rint(centre - length / 2.0)
        near = np.abs(start) < -OFF  # False for NaN
        starts.append(np.where(near, start, OFF).astype(np.int32))
    return starts[0], starts[1]


def on_ccd(row: F64, column: F64, science: tuple[slice, slice]) -> NDArray[np.bool_]:
    """Return (n_target,) bool: whose place is on pixels that see the sky; of a moving target, in any frame."""
    with np.errstate(invalid="ignore"):
        inside = (row >= science[0].start - 0.5) & (row < science[0].stop - 0.5)
        inside &= (column >= science[1].start - 0.5) & (column < science[1].stop - 0.5)
    return np.asarray(inside.any(axis=1) if inside.ndim == 2 else inside)
