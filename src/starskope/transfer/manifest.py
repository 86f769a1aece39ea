"""The record of what lies in a directory and how it was checked: ``manifest.parquet``.

Owns the columns and the safe replacement of the file. It refuses to guess: a manifest that cannot be read is named,
not silently begun anew, since all files it vouched for would be fetched again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

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
        What the bytes were held against: ``crc32``, ``sha256``, ``sha1``, ``md5``, or ``size`` when the server
        offered no sum. Empty for a failed object.
    status : str
        ``downloaded``, ``present`` (complete from an earlier run) or ``failed``.
    error : str
        Why it failed; empty otherwise.
    """

    uri: str
    path: str
    size: int = -1
    etag: str = ""
    check: str = ""
    status: str = "failed"
    error: str = ""


_SCHEMA = pa.schema(
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
    try:
        # A plain file object: pyarrow's own dataset reader would start its threads for some kilobytes.
        with path.open("rb") as file:
            table = pq.ParquetFile(file).read(columns=_SCHEMA.names, use_threads=False)
        rows = [ManifestRow(**row) for row in table.cast(_SCHEMA).to_pylist()]
    except (pa.ArrowException, ValueError, KeyError, TypeError) as error:
        raise FrameError(
            f"{path} is not a manifest of starskope ({type(error).__name__}): move it away and run again"
        ) from error
    return {row.uri: row for row in rows}


def write_manifest(path: Path, rows: Iterable[ManifestRow]) -> None:
    """Replace a manifest in one step.

    Parameters
    ----------
    path : pathlib.Path
        Where it goes; its directory must exist.
    rows : iterable of ManifestRow
        All rows.

    Raises
    ------
    OSError
        When the directory cannot be written; the old manifest then stands unchanged.
    """
    table = pa.Table.from_pylist([asdict(row) for row in rows], schema=_SCHEMA)
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd")
    replace_file(path, buffer.getvalue())


def replace_file(path: Path, data: bytes | pa.Buffer) -> None:
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
