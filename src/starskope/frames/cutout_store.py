"""Cutouts as a Zarr v3 group.

Owns the layout on disk, format ``starskope.cutouts`` version 1: ``flux`` and ``flux_err`` (target, time, row, column),
``time`` (target, time), ``time_spacecraft``, ``quality`` and ``ffi`` (time), ``row0``, ``col0`` and, of moving targets,
``path_ra``, ``path_dec``; groups ``targets`` and ``failed`` with one array per column; attributes for the rest. Sets of
the same frames are added one after another, so that more targets than memory holds fit in one store. Refuses pickle,
object dtypes, and stores that others made. No date or host is written: the same cutouts give the same bytes.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from starskope.errors import FrameError
from starskope.frames.cutout_set import Cutouts, empty_failures
from starskope.frames.wcs import TanSip
from starskope.landing import replacing_folder

__all__ = ["FORMAT", "FORMAT_VERSION", "StoreWriter", "open_writer", "read_store", "write_store"]

FORMAT = "starskope.cutouts"
FORMAT_VERSION = 1
_CHUNK_BYTES = 1 << 21
_MOST_TARGETS_PER_CHUNK = 256

# name -> (axes, dtype, unit)
_ARRAYS: dict[str, tuple[tuple[str, ...], str, str]] = {
    "flux": (("target", "time", "row", "column"), "float32", "electron / s"),
    "flux_err": (("target", "time", "row", "column"), "float32", "electron / s"),
    "time": (("target", "time"), "float64", "d"),
    "row0": (("target", "time"), "int32", ""),
    "col0": (("target", "time"), "int32", ""),
    "path_ra": (("target", "time"), "float64", "deg"),
    "path_dec": (("target", "time"), "float64", "deg"),
    "time_spacecraft": (("time",), "float64", "d"),
    "quality": (("time",), "int32", ""),
}
_REFERENCE = {"time": "mid-exposure at the barycentre", "time_spacecraft": "mid-exposure at the spacecraft"}
_SCALARS = ("reference", "sector", "camera", "ccd")


def write_store(parts: Iterable[Cutouts], path: Path, *, overwrite: bool = False) -> Path:
    """Write sets of the same frames, one after another, as one store; see `Cutouts.write`.

    Raises
    ------
    FileExistsError
        Something stands there and `overwrite` is False, or is no store of cutouts.
    ValueError
        No set at all, or sets of different frames or sizes.
    """
    with open_writer(path, overwrite=overwrite) as writer:
        for part in parts:
            writer.add(part)
        if writer.n_target is None:
            raise ValueError("no cutouts to write: expected at least one set")
    return path


@contextmanager
def open_writer(path: Path, *, overwrite: bool = False) -> Iterator[StoreWriter]:
    """Yield a writer of a store that appears at ``path`` when the block ends well, and not at all otherwise."""
    if path.exists() and (not overwrite or not _is_store(path)):
        what = "exists: say overwrite, or choose another name" if not overwrite else "holds no cutouts: left alone"
        raise FileExistsError(errno.EEXIST, what, str(path))
    with replacing_folder(path, _is_store, "cutouts") as part:
        writer = StoreWriter(part)
        yield writer
        writer.close()


class StoreWriter:
    """Adds sets of cutouts to a new group; use `open_writer`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._group: Any = None
        self._first: Cutouts | None = None
        self._tables: dict[str, list[Table]] = {"targets": [], "failed": []}
        self._lost: dict[str, str] = {}
        self.n_target: int | None = None

    def add(self, cutouts: Cutouts) -> None:
        """Write one set behind those before it."""
        if self._first is None:
            self._begin(cutouts)
        elif cutouts.shape != self._first.shape or not np.array_equal(cutouts.ffi, self._first.ffi):
            raise ValueError("sets of other frames or another size do not fit into one store: write one per CCD")
        self.n_target = (self.n_target or 0) + cutouts.n_target
        for name, (axes, _, _) in _ARRAYS.items():
            values = getattr(cutouts, name)
            if axes[0] == "target" and values is not None:
                _append(self._group[name], values)
        self._lost |= cutouts.meta.get("lost_frames", {})
        self._tables["targets"].append(cutouts.targets)
        self._tables["failed"].append(cutouts.failed)

    def add_failed(self, failed: Table) -> None:
        """Note targets that gave no cutout."""
        self._tables["failed"].append(failed)

    def _begin(self, cutouts: Cutouts) -> None:
        import zarr

        # Views of the first set would keep its pixels alive.
        self._first = cutouts.select(slice(0, 0))
        self._group = zarr.create_group(self._folder, zarr_format=3, attributes=_attributes(cutouts))
        per_target = cutouts.n_time * cutouts.shape[0] * cutouts.shape[1] * 4
        step = max(1, min(_MOST_TARGETS_PER_CHUNK, _CHUNK_BYTES // max(1, per_target)))
        for name, (axes, dtype, unit) in _ARRAYS.items():
            values = getattr(cutouts, name)
            if values is None:
                continue
            shape = values.shape
            if axes[0] == "target":
                _create(self._group, name, (0, *shape[1:]), dtype, axes[: len(shape)], unit, step)
            else:
                _create(self._group, name, shape, dtype, axes, unit, None)[...] = values
        _put_text(self._group, "ffi", cutouts.ffi, "time")

    def close(self) -> None:
        """Write the tables; what was added is whole after this."""
        if self._group is None:
            return
        from astropy.table import vstack

        if self._lost:
            self._group.attrs["meta"] = {**self._group.attrs["meta"], "lost_frames": _plain(self._lost)}
        for name, tables in self._tables.items():
            filled = [table for table in tables if len(table)] or tables[:1]
            _put_table(self._group, name, vstack(filled, metadata_conflicts="silent") if filled else empty_failures())


def _attributes(cutouts: Cutouts) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "time_unit": "d",
        "time_scale": "TDB",
        "time_zero": 2457000.0,
        "time_reference": {
            "time": "mid-exposure at the barycentre",
            "time_spacecraft": "mid-exposure at the spacecraft",
        },
        "frame_shape": [int(length) for length in cutouts.frame_shape],
        "wcs": None if cutouts.wcs is None else _plain(cutouts.wcs.to_header()),
        "header": _plain(cutouts.header),
        "primary": _plain(cutouts.primary),
        "meta": _plain(cutouts.meta),
        **{name: int(getattr(cutouts, name)) for name in _SCALARS},
    }


def _plain(values: Any) -> Any:
    """Return what JSON holds of cards and notes: plain Python values, without NaN and what is undefined."""
    if hasattr(values, "items"):
        kept = {str(key): _plain(value) for key, value in values.items()}
        return {key: value for key, value in kept.items() if value is not None}
    if isinstance(values, list | tuple):
        return [_plain(value) for value in values]
    value = values.item() if hasattr(values, "item") else values
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _create(
    group: Any, name: str, shape: tuple[int, ...], dtype: Any, axes: tuple[str, ...], unit: str, step: int | None
) -> Any:
    from zarr.codecs import BloscCodec, Crc32cCodec

    chunks = (step if step is not None else max(1, shape[0]), *(max(1, n) for n in shape[1:]))
    return group.create_array(
        name,
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        compressors=[BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"), Crc32cCodec()],
        fill_value=np.nan if np.dtype(dtype).kind == "f" else 0,
        dimension_names=axes,
        attributes={"unit": unit},
        # Every chunk is written, also one of NaN alone: a chunk that is absent was lost.
        config={"write_empty_chunks": True},
    )


def _append(array: Any, values: NDArray[Any]) -> None:
    start, step = array.shape[0], array.chunks[0]
    stop = start + len(values)
    array.resize((stop, *array.shape[1:]))
    # One chunk at a time: of several, zarr would go on writing some after another has failed.
    while start < stop:
        end = min(stop, (start // step + 1) * step)
        array[start:end] = values[len(values) - (stop - start) : len(values) - (stop - end)]
        start = end


def _put_text(group: Any, name: str, values: NDArray[np.str_], axis: str) -> None:
    """Write text as a matrix of UTF-8 bytes: Zarr's own text dtypes are not part of the v3 specification."""
    encoded = np.char.encode(np.asarray(values, np.str_), "utf-8") if len(values) else np.empty(0, "S1")
    encoded = encoded.astype(f"S{max(1, encoded.dtype.itemsize)}")
    matrix = np.frombuffer(encoded.tobytes(), np.uint8).reshape(len(encoded), encoded.dtype.itemsize)
    array = _create(group, name, matrix.shape, "uint8", (axis, "byte"), "", None)
    array.attrs["kind"] = "text"
    if matrix.size:
        array[...] = matrix


def _put_table(group: Any, name: str, table: Table) -> None:
    inner = group.create_group(name, attributes={"columns": list(table.colnames), "n_row": len(table)})
    for number, column in enumerate(table.colnames):
        key, values = f"c{number}", table[column]
        unit = str(values.unit) if getattr(values, "unit", None) is not None else ""
        masked = np.ma.asarray(getattr(values, "value", values))
        if masked.dtype.kind not in "fiub":
            text = masked.filled("") if masked.dtype.kind in "US" else masked.data
            _put_text(inner, key, text.astype(np.str_), "row")
            continue
        filled = masked.filled(np.nan if masked.dtype.kind == "f" else 0)
        plain: NDArray[Any] = filled.astype(masked.dtype.newbyteorder("="))
        axes = ("row", *(f"axis_{i}" for i in range(1, plain.ndim)))
        array = _create(inner, key, plain.shape, plain.dtype, axes, unit, None)
        if plain.size:
            array[...] = plain


def _is_store(path: Path) -> bool:
    try:
        return bool(_open(path).attrs.get("format") == FORMAT)
    except FrameError:
        return False


def _open(path: Path) -> Any:
    import zarr

    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, "no such store of cutouts", str(path))
    if not (path / "zarr.json").is_file():
        raise FrameError(f"{path} is no Zarr v3 store (no zarr.json): write the cutouts again")
    try:
        return zarr.open_group(path, mode="r", zarr_format=3)
    except Exception as error:  # zarr raises KeyError, TypeError, ValueError and its own classes on damaged metadata
        raise FrameError(f"{path}: zarr.json describes no readable group ({error}): write the cutouts again") from error


def read_store(path: Path, targets: slice | None = None) -> Cutouts:
    """Read a store, or some of its targets; only the chunks that hold them are read.

    Raises
    ------
    FrameError
        The folder holds something else, a newer format, or damaged or missing pieces.
    FileNotFoundError
        Nothing stands there.
    """
    group = _open(path)
    attributes = dict(group.attrs)
    if attributes.get("format") != FORMAT:
        raise FrameError(f"{path} is a Zarr group, but not of cutouts (format {attributes.get('format')!r})")
    if attributes.get("format_version") != FORMAT_VERSION:
        raise FrameError(
            f"{path} has format version {attributes.get('format_version')}, this program reads {FORMAT_VERSION}: "
            "update starskope"
        )
    chosen = targets or slice(None)
    try:
        arrays: dict[str, Any] = {
            name: _get(path, group, name, chosen if axes[0] == "target" else slice(None), dtype)
            for name, (axes, dtype, _) in _ARRAYS.items()
            if not name.startswith("path_") or name in group
        }
        wcs = attributes["wcs"]
        scalars: dict[str, Any] = {name: int(attributes[name]) for name in _SCALARS}
        return Cutouts(
            **arrays,
            ffi=_text(_get(path, group, "ffi", slice(None), "uint8")),
            targets=_get_table(path, group["targets"])[chosen],
            failed=_get_table(path, group["failed"]),
            wcs=None if wcs is None else TanSip.from_header(wcs),
            header=attributes["header"],
            primary=attributes["primary"],
            frame_shape=(int(attributes["frame_shape"][0]), int(attributes["frame_shape"][1])),
            meta=attributes["meta"],
            **scalars,
        )
    except FrameError:
        raise
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise FrameError(f"{path} is damaged ({error}): write the cutouts again") from error


def _get(path: Path, group: Any, name: str, chosen: slice, dtype: str | None) -> NDArray[Any]:
    try:
        if name not in group:
            raise ValueError("it is missing")
        array = group[name]
        if array.dtype.kind not in "iufb" or (dtype is not None and str(array.dtype) != dtype):
            raise TypeError(f"dtype {array.dtype} instead of {dtype or 'a number'}")
        if array.size and array.nchunks_initialized != array.nchunks:
            raise ValueError(f"{array.nchunks - array.nchunks_initialized} of {array.nchunks} chunks are missing")
        return np.asarray(array[chosen] if array.size else np.empty(array.shape, array.dtype)[chosen])
    except Exception as error:  # codecs raise RuntimeError and others on damaged bytes
        raise FrameError(f"{path}: array {name!r} is damaged ({error}): write the cutouts again") from error


def _text(matrix: NDArray[np.uint8]) -> NDArray[np.str_]:
    packed = np.frombuffer(np.ascontiguousarray(matrix).tobytes(), f"S{matrix.shape[1]}")
    return np.char.decode(packed, "utf-8") if len(packed) else np.empty(0, np.str_)


def _get_table(path: Path, group: Any) -> Table:
    table = Table()
    for number, name in enumerate(group.attrs["columns"]):
        values = _get(path, group, f"c{number}", slice(None), None)
        attributes = group[f"c{number}"].attrs
        table[name] = _text(values) if attributes.get("kind") == "text" else values
        if attributes.get("unit"):
            table[name].unit = attributes["unit"]
    return table
