"""The record of what lies in a directory and how it was checked: ``manifest.parquet``.

Owns the columns and the safe replacement of the file. It refuses to guess: a manifest that cannot be read is named,
not silently begun anew, since all files it vouched for would be fetched again.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import accumulate
from pathlib import Path
from typing import Any

from starskope.durable import flush
from starskope.errors import FrameError

__all__ = ["MANIFEST_NAME", "ManifestRow", "read_manifest", "replace_file", "write_manifest"]

MANIFEST_NAME = "manifest.parquet"


@dataclass(frozen=True)
class ManifestRow:
    """One object of a transfer.

    Parameters
    ----------
    uri : str
        ``s3://bucket/key``.
    path : str
        Name of the file within the directory of the manifest.
    size : int
        Bytes; -1 when unknown.
    etag : str
        Of the object whose bytes the file holds; empty when there are none.
    check : str
        What the server stores that the bytes were held against: ``crc64nvme``, ``crc32c``, ``crc32``, ``sha256``,
        ``sha1``, ``md5``, or ``size`` when it offered no sum. Empty for a failed object.
    status : str
        ``downloaded``, ``present`` (complete from an earlier run), ``verified`` (its bytes on the disk still sum to
        `crc64nvme`) or ``failed``.
    error : str
        Why it failed; empty otherwise.
    crc64nvme : str
        Sum of the bytes that came, taken of every file whatever it was held against, in base 64; so the file can be
        verified without the server. Empty for a failed object.
    """

    uri: str
    path: str
    size: int = -1
    etag: str = ""
    check: str = ""
    status: str = "failed"
    error: str = ""
    crc64nvme: str = ""


# Columns that came later: a manifest of an older version lacks them.
_LATER = {"crc64nvme"}


def _schema() -> Any:
    import pyarrow as pa

    return pa.schema(
        [(field.name, pa.int64() if field.name == "size" else pa.string()) for field in fields(ManifestRow)]
    )


def read_manifest(path: Path) -> dict[str, ManifestRow]:
    """Read a manifest.

    Parameters
    ----------
    path : pathlib.Path
        The Parquet file; may be missing.

    Returns
    -------
    dict of str to ManifestRow
        By URI, in the order of the file; empty when there is no file.

    Raises
    ------
    FrameError
        When the file is no manifest.
    """
    if not path.exists():
        return {}
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # A plain file object: pyarrow's own dataset reader would start its threads for some kilobytes.
        with path.open("rb") as file:
            parquet = pq.ParquetFile(file)
            names = [name for name in _schema().names if name not in _LATER - set(parquet.schema_arrow.names)]
            table = parquet.read(columns=names, use_threads=False)
        wanted = pa.schema([_schema().field(name) for name in names])
        rows = [ManifestRow(**row) for row in table.cast(wanted).to_pylist()]
    except (pa.ArrowException, ValueError, KeyError, TypeError) as error:
        raise FrameError(
            f"{path} is not a manifest of starskope ({type(error).__name__}): move it away and run again"
        ) from error
    return {row.uri: row for row in rows}


def write_manifest(path: Path, rows: Sequence[ManifestRow]) -> None:
    """Replace a manifest in one step.

    Parameters
    ----------
    path : pathlib.Path
        Where it goes; its directory must exist.
    rows : sequence of ManifestRow
        All rows.

    Raises
    ------
    OSError
        When the directory cannot be written; the old manifest then stands unchanged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [
        _integers([row.size for row in rows]) if name == "size" else _strings([getattr(row, name) for row in rows])
        for name in _schema().names
    ]
    table = pa.Table.from_arrays(columns, schema=_schema())
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd")
    replace_file(path, buffer.getvalue())


# pyarrow asks pandas what any Python list is, and so loads it: half a second for a few names. Buffers need no judge.


def _integers(values: list[int]) -> Any:
    import pyarrow as pa

    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(array("q", values))])


def _strings(values: list[str]) -> Any:
    import pyarrow as pa

    pieces = [value.encode("utf-8", "replace") for value in values]
    offsets = array("i", [0, *accumulate(map(len, pieces))])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(pieces))]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)


def replace_file(path: Path, data: Any) -> None:
    """Write a file such that its name always holds the old content or the new one.

    Parameters
    ----------
    path : pathlib.Path
        Where it goes.
    data : bytes-like
        The new content.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(memoryview(data))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    flush(path.parent)
