"""Light curves as a Zarr v3 group.

Owns the layout on disk: the arrays ``time``, ``quality``, ``flux`` and, where known, ``flux_err``, ``background``,
``observer``, ``direction``, in chunks of all times x 256 stars, and a group ``stars`` with one array per column.
Refuses pickle, object dtypes, and stores that others made. No date, host or version is written: the same light curves
give the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starskope.curves.columns import star_table
from starskope.curves.zarr_arrays import create_array, fill_array, get_array, get_stars, open_store, put_stars
from starskope.errors import FrameError
from starskope.landing import replacing_folder

if TYPE_CHECKING:
    from astropy.table import Table

    from starskope.curves.container import LightCurves

__all__ = ["FORMAT", "FORMAT_VERSION", "read_zarr", "write_zarr", "write_zarr_parts"]

FORMAT = "starskope.light_curves"
FORMAT_VERSION = 1
_WHAT = "light curves"
_REFERENCE = {False: "mid-exposure at the spacecraft", True: "mid-exposure at the barycentre"}

# name -> (axes, unit; None = that of the flux)
_ARRAYS: dict[str, tuple[tuple[str, ...], str | None]] = {
    "time": (("time",), "d"),
    "quality": (("time",), ""),
    "flux": (("time", "star"), None),
    "flux_err": (("time", "star"), None),
    "background": (("time", "star"), "electron / (pixel s)"),
    "observer": (("time", "xyz"), "s"),
    "direction": (("star", "xyz"), ""),
}
_DTYPES = {"quality": "int32", "flux": "float32", "flux_err": "float32", "background": "float32"}


def write_zarr(curves: LightCurves, path: Path) -> None:
    """Write a store; a store of light curves that stands at ``path`` is replaced, anything else is left alone.

    Attributes of the group: ``format``, ``format_version``, ``arrays`` (those there are), ``time_unit``,
    ``time_scale``, ``time_reference``, ``time_zero``, ``exposure_s`` (null = not known), ``mission`` and ``meta``.
    """
    write_zarr_parts([curves], curves.stars, path)


def write_zarr_parts(parts: Iterable[LightCurves], stars: Table, path: Path) -> None:
    """Write light curves that are given some stars at a time, for together they may not fit in memory.

    Parameters
    ----------
    parts : iterable of LightCurves
        Of the same times and notes; a multiple of 256 stars each, the last one fewer.
    stars : Table
        All stars, in their order.
    path : Path
        As in `write_zarr`.
    """
    import zarr

    with replacing_folder(path, _is_store) as folder:
        group = None
        arrays: dict[str, Any] = {}
        first = 0
        for curves in parts:
            group = group or zarr.create_group(folder, zarr_format=3, attributes=_attributes(curves))
            for name, (axes, unit) in _ARRAYS.items():
                values = getattr(curves, name)
                if values is None or (first and "star" not in axes):
                    continue
                if not first:
                    shape = [len(stars) if axis == "star" else n for axis, n in zip(axes, values.shape, strict=True)]
                    told = {"unit": curves.flux_unit if unit is None else unit}
                    # Kept open: an array that is opened again would leave out chunks that hold nothing but zeros.
                    arrays[name] = create_array(group, name, shape, values.dtype, axes, told)
                fill_array(arrays[name], values, axes, first)
            first += curves.n_star
        if group is not None:
            put_stars(group, star_table(stars, len(stars)))


def _attributes(curves: LightCurves) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "arrays": [name for name in _ARRAYS if getattr(curves, name) is not None],
        "time_unit": "d",
        "time_scale": "TDB",
        "time_reference": _REFERENCE[curves.is_barycentric],
        "time_zero": curves.time_zero,
        "exposure_s": None if math.isnan(curves.exposure_s) else curves.exposure_s,
        "mission": curves.mission,
        "meta": curves.meta,
    }


def _is_store(path: Path) -> bool:
    try:
        return bool(open_store(path, _WHAT).attrs.get("format") == FORMAT)
    except FrameError:
        return False


def read_zarr(path: Path, stars: slice | None = None) -> LightCurves:
    """Read a store, or some of its stars; only the chunks that hold them are read.

    Raises
    ------
    FrameError
        The folder holds something else, a newer format, or damaged or missing pieces.
    """
    from starskope.curves.container import LightCurves

    group = open_store(path, _WHAT)
    attributes = dict(group.attrs)
    if attributes.get("format") != FORMAT:
        raise FrameError(f"{path} is a Zarr group, but not of light curves (format {attributes.get('format')!r})")
    version = attributes.get("format_version")
    if version != FORMAT_VERSION:
        raise FrameError(f"{path} has format version {version}, this program reads {FORMAT_VERSION}: update starskope")
    chosen = stars or slice(None)
    try:
        arrays: dict[str, Any] = {
            name: get_array(path, group, name, axes, _WHAT, dtype=_DTYPES.get(name), stars=chosen)
            for name, (axes, _) in _ARRAYS.items()
            if name in attributes["arrays"]
        }
        exposure_s = attributes["exposure_s"]
        return LightCurves(
            **arrays,
            stars=get_stars(path, group, _WHAT, chosen),
            time_zero=attributes["time_zero"],
            exposure_s=math.nan if exposure_s is None else exposure_s,
            mission=attributes["mission"],
            meta=attributes["meta"],
        )
    except FrameError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise FrameError(f"{path} is damaged ({error}): write the light curves again") from error
