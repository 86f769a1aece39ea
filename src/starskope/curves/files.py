"""From a name to the store that keeps light curves under it.

Owns the choice of format by the first bytes, and putting the stars of several files side by side. Refuses to parse:
each format has its module.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from astropy.table import vstack

from starskope.curves.unpacking import MOST_BYTES, unzipped
from starskope.errors import FrameError
from starskope.landing import replaced_folder_of
from starskope.validation import finite

if TYPE_CHECKING:
    from starskope.curves.container import LightCurves

__all__ = ["read", "write"]

_FITS = b"SIMPLE  ="
_GZIP = b"\x1f\x8b"
_LEAD = 2880


def write(curves: LightCurves, path: Path) -> Path:
    """Write to the format that the ending of ``path`` names."""
    match path.suffix.lower():
        case ".zarr":
            from starskope.curves.zarr_store import write_zarr

            write_zarr(curves, path)
        case ".fits":
            from starskope.curves.fits_store import write_fits

            write_fits(curves, path)
        case _:
            raise ValueError(f"{path.name} names no format: let the name end in .zarr or .fits")
    return path


def read(
    paths: str | Path | Sequence[str | Path], stars: slice | None = None, time_zero: float | None = None
) -> LightCurves:
    """Read one file, or several of one time axis; arguments as in `LightCurves.read`."""
    if not isinstance(paths, str | Path | Sequence):
        raise TypeError(f"read: paths is a {type(paths).__name__}; give a path or a list of paths")
    several = [paths] if isinstance(paths, str | Path) else list(paths)
    if "" in several:
        raise ValueError("read: a path is empty; give the name of a file")
    if not several:
        raise ValueError("read: the list of paths is empty; give at least one")
    if stars is not None and not isinstance(stars, slice):
        raise TypeError(
            f"read: stars is a {type(stars).__name__}; give a slice of positions, or select() after reading"
        )
    if stars is not None and (stars.step or 1) < 1:
        raise ValueError(f"read: stars={stars} runs backwards; give a positive step, and order the stars with select()")
    zero = None if time_zero is None else finite(time_zero, "time_zero")
    parts = [_read_one(Path(path), stars, zero) for path in several]
    return parts[0] if len(parts) == 1 else _side_by_side(parts, [str(path) for path in several])


def _read_one(path: Path, stars: slice | None, time_zero: float | None) -> LightCurves:
    if not path.exists():
        old = replaced_folder_of(path)
        hint = f"; an interrupted write left the old one as {old.name}" if old.exists() else ""
        raise FileNotFoundError(2, f"no light curves here{hint}", str(path))
    if path.is_dir():
        from starskope.curves.zarr_store import read_zarr

        return read_zarr(path, stars)
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise FrameError(f"{path} has {size} bytes, more than any light curve here ({MOST_BYTES / 1e9:.3g} GB)")
    with path.open("rb") as file:
        start = file.read(_LEAD)
    if start[:2] == _GZIP:
        return _foreign(unzipped(path.read_bytes(), str(path)), path, stars, time_zero)
    if start.startswith(_FITS) and _is_own(start):
        from starskope.curves.fits_store import read_fits

        return read_fits(path, stars)
    return _foreign(path.read_bytes(), path, stars, time_zero)


def _is_own(start: bytes) -> bool:
    """Tell whether the first cards name the format of this program."""
    from starskope.curves.fits_store import FORMAT

    return f"FORMAT  = '{FORMAT}".encode() in start


def _foreign(data: bytes, path: Path, stars: slice | None, time_zero: float | None) -> LightCurves:
    """Read a file that others made: one star."""
    if data.startswith(_FITS):
        from starskope.curves.mission_fits import read_mission_fits

        curves = read_mission_fits(data, path, time_zero)
    else:
        from starskope.curves.text import read_text

        curves = read_text(data, path, time_zero)
    return curves if stars is None else curves.select(stars)


def _side_by_side(parts: list[LightCurves], names: list[str]) -> LightCurves:
    """Join along stars; the first file gives the observer and the notes, flags are OR-ed."""
    from starskope.curves.container import LightCurves

    first = parts[0]
    optional = ("flux_err", "background", "observer", "direction")
    for part, name in zip(parts[1:], names[1:], strict=True):
        if not np.array_equal(part.time, first.time) or part.time_zero != first.time_zero:
            raise ValueError(f"{name} and {names[0]} have different time axes: read them one by one")
        for field in ("mission", "flux_unit"):
            if getattr(part, field) != getattr(first, field):
                raise ValueError(
                    f"{name} has {field} {getattr(part, field)!r}, {names[0]} {getattr(first, field)!r}: "
                    "read them one by one"
                )
        if part.stars.colnames != first.stars.colnames:
            raise ValueError(f"{name} and {names[0]} have different star columns: read them one by one")
        for field in optional:
            if (getattr(part, field) is None) != (getattr(first, field) is None):
                raise ValueError(f"only one of {name} and {names[0]} holds {field}: read them one by one")
    return LightCurves(
        first.time,
        np.concatenate([part.flux for part in parts], axis=1),
        vstack([part.stars for part in parts], join_type="exact", metadata_conflicts="silent"),
        flux_err=_columns([part.flux_err for part in parts], axis=1),
        quality=np.bitwise_or.reduce([part.quality for part in parts]),
        observer=first.observer,
        direction=_columns([part.direction for part in parts], axis=0),
        background=_columns([part.background for part in parts], axis=1),
        time_zero=first.time_zero,
        exposure_s=first.exposure_s,
        mission=first.mission,
        meta=first.meta,
    )


def _columns(arrays: Sequence[npt.NDArray[Any] | None], axis: int) -> npt.NDArray[Any] | None:
    present = [array for array in arrays if array is not None]
    return np.concatenate(present, axis=axis) if present else None
