"""Light curves as a Zarr v3 group.

Owns the layout on disk: the arrays ``time``, ``quality``, ``flux`` and, where known, ``flux_err``, ``background``,
``observer``, ``direction``, in chunks of all times x 256 stars, and a group ``stars`` with one array per column.
Refuses pickle, object dtypes, and stores that others made. No date, host or version is written: the same light curves
give the same bytes.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from starskope.curves.columns import column_specs, encode_column, table_from_specs
from starskope.curves.landing import replacing_folder
from starskope.errors import FrameError

if TYPE_CHECKING:
    from starskope.curves.container import LightCurves

__all__ = ["FORMAT", "FORMAT_VERSION", "read_zarr", "write_zarr"]

FORMAT = "starskope.light_curves"
FORMAT_VERSION = 1
STARS_PER_CHUNK = 256

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
    import zarr

    with replacing_folder(path, _is_store) as part:
        specs = column_specs(curves.stars)
        group = zarr.create_group(
            part,
            zarr_format=3,
            attributes={
                "format": FORMAT,
                "format_version": FORMAT_VERSION,
                "arrays": [name for name in _ARRAYS if getattr(curves, name) is not None],
                "time_unit": "d",
                "time_scale": "TDB",
                "time_reference": "mid-exposure at the spacecraft",
                "time_zero": curves.time_zero,
                "exposure_s": None if math.isnan(curves.exposure_s) else curves.exposure_s,
                "mission": curves.mission,
                "meta": curves.meta,
            },
        )
        for name, (axes, unit) in _ARRAYS.items():
            values = getattr(curves, name)
            if values is not None:
                _put(group, name, values, axes, {"unit": curves.flux_unit if unit is None else unit})
        table = group.create_group("stars", attributes={"columns": specs})
        for spec in specs:
            values = encode_column(curves.stars[spec["name"]])
            if spec["kind"] == "text":
                # Bytes as a matrix: Zarr's own text dtypes are not part of the v3 specification.
                values = values.view(np.uint8).reshape(values.size, values.dtype.itemsize)
            axes = ("star", *[f"axis_{i}" for i in range(1, values.ndim)])
            _put(table, spec["key"], values, axes, {"unit": spec["unit"] or ""})


def _put(group: Any, name: str, values: NDArray[Any], axes: tuple[str, ...], attributes: dict[str, Any]) -> None:
    from zarr.codecs import BloscCodec, Crc32cCodec

    chunks = tuple(
        max(1, min(STARS_PER_CHUNK, n) if axis == "star" else n) for axis, n in zip(axes, values.shape, strict=True)
    )
    array = group.create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=chunks,
        # Sorting bytes by significance first makes fluxes a third smaller; Zstandard alone takes off a seventh, in
        # twice the time. The sum outside tells a flipped bit on reading.
        compressors=[BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"), Crc32cCodec()],
        fill_value=np.nan if values.dtype.kind == "f" else 0,
        dimension_names=axes,
        attributes=attributes,
        # Every chunk is written, also one of NaN alone: a chunk that is absent was lost.
        config={"write_empty_chunks": True},
    )
    # One chunk at a time: of several, zarr would go on writing some after another has failed, into a folder that is
    # being removed.
    along = axes.index("star") if "star" in axes else 0
    for start in range(0, values.shape[along] if values.size else 0, chunks[along]):
        chunk = (*[slice(None)] * along, slice(start, start + chunks[along]))
        array[chunk] = values[chunk]


def _is_store(path: Path) -> bool:
    try:
        return bool(_open(path).attrs.get("format") == FORMAT)
    except FrameError:
        return False


def _open(path: Path) -> Any:
    import zarr

    if not (path / "zarr.json").is_file():
        raise FrameError(f"{path} is a folder without zarr.json, no Zarr v3 store: write the light curves again")
    try:
        return zarr.open_group(path, mode="r", zarr_format=3)
    except Exception as error:  # zarr raises KeyError, TypeError, ValueError and its own classes on damaged metadata
        raise FrameError(
            f"{path}: zarr.json describes no readable group ({error}): write the light curves again"
        ) from error


def read_zarr(path: Path, stars: slice | None = None) -> LightCurves:
    """Read a store, or some of its stars; only the chunks that hold them are read.

    Raises
    ------
    FrameError
        The folder holds something else, a newer format, or damaged or missing pieces.
    """
    from starskope.curves.container import LightCurves

    group = _open(path)
    attributes = dict(group.attrs)
    if attributes.get("format") != FORMAT:
        raise FrameError(f"{path} is a Zarr group, but not of light curves (format {attributes.get('format')!r})")
    version = attributes.get("format_version")
    if version != FORMAT_VERSION:
        raise FrameError(f"{path} has format version {version}, this program reads {FORMAT_VERSION}: update starskope")
    chosen = stars or slice(None)
    try:
        arrays: dict[str, Any] = {
            name: _get(path, group, name, axes, chosen)
            for name, (axes, _) in _ARRAYS.items()
            if name in attributes["arrays"]
        }
        table = group["stars"]
        specs = list(table.attrs["columns"])
        columns = {spec["key"]: _get_column(path, table, spec, chosen) for spec in specs}
        exposure_s = attributes["exposure_s"]
        return LightCurves(
            **arrays,
            stars=table_from_specs(specs, columns),
            time_zero=attributes["time_zero"],
            exposure_s=math.nan if exposure_s is None else exposure_s,
            mission=attributes["mission"],
            meta=attributes["meta"],
        )
    except FrameError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise FrameError(f"{path} is damaged ({error}): write the light curves again") from error


def _get_column(path: Path, table: Any, spec: dict[str, Any], stars: slice) -> NDArray[Any]:
    values = _get(path, table, spec["key"], ("star",), stars)
    if spec["kind"] == "text":
        values = np.ascontiguousarray(values).view(f"S{values.shape[1]}").reshape(values.shape[0])
    return values


def _get(path: Path, group: Any, name: str, axes: tuple[str, ...], stars: slice) -> NDArray[Any]:
    try:
        if name not in group:
            raise ValueError("it is missing")
        array = group[name]
        if "object" in str(array.dtype) or array.dtype.kind not in "iufb":
            raise TypeError(f"dtype {array.dtype} is not a number")
        expected = _DTYPES.get(name)
        if expected is not None and str(array.dtype) != expected:
            raise TypeError(f"dtype {array.dtype} instead of {expected}")
        if array.size and array.nchunks_initialized != array.nchunks:
            raise ValueError(f"{array.nchunks - array.nchunks_initialized} of {array.nchunks} chunks are missing")
        window = tuple(stars if axis == "star" else slice(None) for axis in axes)
        return np.asarray(array[window] if array.size else np.empty(array.shape, array.dtype)[window])
    except Exception as error:  # codecs raise RuntimeError and others on damaged bytes
        raise FrameError(f"{path}: array {name!r} is damaged ({error}): write the light curves again") from error
