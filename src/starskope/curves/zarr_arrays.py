"""Arrays and star tables inside a Zarr v3 group, written and read the same way by every store.

Owns chunks (all of every other axis x 256 stars; columns of the star table nearly whole), codecs, checksums, and what
counts as a damaged piece. Refuses to know what a store holds: its format, names and units are told by the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from starskope.curves.columns import column_specs, encode_column, table_from_specs
from starskope.errors import FrameError

__all__ = [
    "STARS_PER_CHUNK",
    "chunk_shape",
    "create_array",
    "fill_array",
    "get_array",
    "get_stars",
    "open_store",
    "put_array",
    "put_stars",
]

STARS_PER_CHUNK = 256
ROWS_PER_CHUNK = 1 << 16
"""Of the columns of a star table: files of 2 KB would cost more than reading of a column what was not asked for."""


def open_store(path: Path, what: str) -> Any:
    """Open a group to read.

    Raises
    ------
    FrameError
        ``path`` holds no Zarr v3 group that can be read; the remedy is to write ``what`` again.
    """
    import zarr

    if not (path / "zarr.json").is_file():
        raise FrameError(f"{path} is a folder without zarr.json, no Zarr v3 store: write the {what} again")
    try:
        return zarr.open_group(path, mode="r", zarr_format=3)
    except Exception as error:  # zarr raises KeyError, TypeError, ValueError and its own classes on damaged metadata
        raise FrameError(f"{path}: zarr.json describes no readable group ({error}): write the {what} again") from error


def chunk_shape(axes: Sequence[str], shape: Sequence[int], n_star: int = STARS_PER_CHUNK) -> tuple[int, ...]:
    """Return the chunks of an array: at most `n_star` along the axis ``star``, everything along the others."""
    return tuple(max(1, min(n_star, n) if axis == "star" else n) for axis, n in zip(axes, shape, strict=True))


def create_array(
    group: Any,
    name: str,
    shape: Sequence[int],
    dtype: Any,
    axes: Sequence[str],
    attributes: dict[str, Any],
    n_star: int = STARS_PER_CHUNK,
) -> Any:
    """Create an array without any chunk yet."""
    from zarr.codecs import BloscCodec, Crc32cCodec

    return group.create_array(
        name,
        shape=tuple(shape),
        dtype=dtype,
        chunks=chunk_shape(axes, shape, n_star),
        # Sorting bytes by significance first makes fluxes a third smaller; Zstandard alone takes off a seventh, in
        # twice the time. The sum outside tells a flipped bit on reading.
        compressors=[BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"), Crc32cCodec()],
        fill_value=np.nan if np.dtype(dtype).kind == "f" else 0,
        dimension_names=tuple(axes),
        attributes=attributes,
        # Every chunk is written, also one of NaN alone: a chunk that is absent was lost.
        config={"write_empty_chunks": True},
    )


def put_array(
    group: Any,
    name: str,
    values: NDArray[Any],
    axes: tuple[str, ...],
    attributes: dict[str, Any],
    n_star: int = STARS_PER_CHUNK,
) -> None:
    """Create an array and write all of it."""
    fill_array(create_array(group, name, values.shape, values.dtype, axes, attributes, n_star), values, axes)


def fill_array(array: Any, values: NDArray[Any], axes: tuple[str, ...], first_star: int = 0) -> None:
    """Write an array that was created, or its columns from one star on, which begins a chunk."""
    # One chunk at a time: of several, zarr would go on writing some after another has failed, into a folder that is
    # being removed.
    along = axes.index("star") if "star" in axes else 0
    step = array.chunks[along] if axes else 1
    for start in range(0, values.shape[along] if values.size else 0, step):
        stop = min(start + step, values.shape[along])
        chunk, whole = slice(start, stop), (slice(None),) * along
        array[(*whole, slice(first_star + start, first_star + stop))] = values[(*whole, chunk)]


def put_stars(group: Any, stars: Table) -> None:
    """Write a plain star table (see `columns.star_table`) as the group ``stars``, one array per column."""
    specs = column_specs(stars)
    table = group.create_group("stars", attributes={"columns": specs})
    for spec in specs:
        values = encode_column(stars[spec["name"]])
        if spec["kind"] == "text":
            # Bytes as a matrix: Zarr's own text dtypes are not part of the v3 specification.
            values = values.view(np.uint8).reshape(values.size, values.dtype.itemsize)
        axes = ("star", *[f"axis_{i}" for i in range(1, values.ndim)])
        put_array(table, spec["key"], values, axes, {"unit": spec["unit"] or ""}, ROWS_PER_CHUNK)


def get_stars(path: Path, group: Any, what: str, stars: slice = slice(None)) -> Table:
    """Read the group ``stars``, or some of its rows.

    Raises
    ------
    FrameError
        A column is damaged or missing.
    KeyError, TypeError, ValueError
        The description of the columns is damaged; the store tells of which file.
    """
    table = group["stars"]
    specs = list(table.attrs["columns"])
    columns = {}
    for spec in specs:
        values = get_array(path, table, spec["key"], ("star",), what, stars=stars)
        if spec["kind"] == "text":
            values = np.ascontiguousarray(values).view(f"S{values.shape[1]}").reshape(values.shape[0])
        columns[spec["key"]] = values
    return table_from_specs(specs, columns)


def get_array(
    path: Path,
    group: Any,
    name: str,
    axes: tuple[str, ...],
    what: str,
    *,
    dtype: str | None = None,
    stars: slice = slice(None),
) -> NDArray[Any]:
    """Read an array, or some stars of it: only the chunks that hold them.

    Raises
    ------
    FrameError
        It is missing, incomplete, damaged, or of another dtype than ``dtype``.
    """
    try:
        if name not in group:
            raise ValueError("it is missing")
        array = group[name]
        if "object" in str(array.dtype) or array.dtype.kind not in "iufb":
            raise TypeError(f"dtype {array.dtype} is not a number")
        if dtype is not None and str(array.dtype) != dtype:
            raise TypeError(f"dtype {array.dtype} instead of {dtype}")
        if array.size and array.nchunks_initialized != array.nchunks:
            raise ValueError(f"{array.nchunks - array.nchunks_initialized} of {array.nchunks} chunks are missing")
        window = tuple(stars if axis == "star" else slice(None) for axis in axes)
        return np.asarray(array[window] if array.size else np.empty(array.shape, array.dtype)[window])
    except Exception as error:  # codecs raise RuntimeError and others on damaged bytes
        raise FrameError(f"{path}: array {name!r} is damaged ({error}): write the {what} again") from error
