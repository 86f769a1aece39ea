"""The index of FFIs on disk: what was listed, so that later runs list only what is new, or nothing at all.

One Parquet file of one row per FFI and one per folder that was listed (a day of a CCD; its key ends in a slash), of any
number of sectors, buckets and endpoints. Owns its columns, the proof that a file is such an index and whole, and how it
grows: under a lock, beside the old one, renamed when it is on the disk. Refuses to list, and to begin anew where a
file is damaged: it names the file, since what it held may be all that the user has offline.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from errno import EACCES, EAGAIN, ENOLCK, ENOTSUP
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from starskope.archive.ffi_listing import Folder, accept, is_of_ccd, sector_of_folder
from starskope.errors import FrameError, TransferError
from starskope.landing import replacing_file
from starskope.layout.keys import FfiKey, ffi_prefix
from starskope.transfer.listing import ObjectInfo

__all__ = ["FfiIndex", "Scope"]

_VERSION = b"1"
_MARK = b"starskope ffi index"
_TIME = pa.timestamp("us", tz="UTC")
_SCHEMA = pa.schema(
    [
        ("endpoint", pa.string()),
        ("bucket", pa.string()),
        ("key", pa.string()),
        ("size", pa.int64()),  # bytes; of a folder: how many calibrated FFIs it holds
        ("etag", pa.string()),
        ("modified", _TIME),  # of a folder: the newest object in it
        ("listed", _TIME),
        ("n_raw", pa.int32()),
        ("n_other", pa.int32()),
    ],
    metadata={_MARK: _VERSION},
)
_BATCH = 1 << 16
_LOCK_WAIT_S = 60.0


class Scope(NamedTuple):
    """Where keys lie: the same bucket of two servers is two scopes."""

    endpoint: str
    bucket: str


class FfiIndex:
    """An index of FFIs.

    Parameters
    ----------
    path : path
        The Parquet file; made by the first `extend`. Its folder must exist.
    settle_days : float
        A folder that the archive had left alone for so long when it was listed is not listed again.
    """

    def __init__(self, path: str | os.PathLike[str], *, settle_days: float = 7.0) -> None:
        self.path = Path(path)
        self.settle_days = settle_days
        if self.path.is_dir():
            raise ValueError(f"index is {self.path}, a folder: name a file in it, such as {self.path / 'ffis.parquet'}")
        if not self.path.parent.is_dir():
            raise ValueError(f"index is {self.path}, whose folder does not exist: make it first")

    async def read(
        self, scope: Scope, sector: int, camera: int | None = None, ccd: int | None = None
    ) -> dict[str, Folder]:
        """Return the folders that the index knows of some CCDs, by prefix and in order; empty without a file.

        Raises
        ------
        FrameError
            When the file is damaged or no index.
        """
        return await asyncio.to_thread(self._read, scope, sector, camera, ccd)

    async def known(self) -> dict[Scope, dict[int, set[tuple[int, int]]]]:
        """Return scope, sector and the (camera, CCD) pairs that the index knows; FrameError as `read`."""
        return await asyncio.to_thread(self._known)

    async def extend(self, scope: Scope, folders: Iterable[Folder], *, without: Iterable[str] = ()) -> None:
        """Add folders, each in place of what was known of it, and take others out.

        Raises
        ------
        FrameError
            When the file that is there is damaged or no index: it stays as it is.
        TransferError
            When another process extends it for a minute.
        OSError
            When the disk refuses: the old file stays.
        """
        await asyncio.to_thread(self._extend, scope, list(folders), list(without))

    def _read(self, scope: Scope, sector: int, camera: int | None, ccd: int | None) -> dict[str, Folder]:
        prefix = ffi_prefix(sector)
        heads: list[dict[str, Any]] = []
        files: dict[str, list[tuple[FfiKey, ObjectInfo]]] = defaultdict(list)
        for batch in self._batches():
            here = pc.and_(
                pc.and_(pc.equal(batch["endpoint"], scope.endpoint), pc.equal(batch["bucket"], scope.bucket)),
                pc.starts_with(batch["key"], prefix),
            )
            for row in batch.filter(here).to_pylist():
                folder = row["key"][: row["key"].rfind("/") + 1]
                if sector_of_folder(folder) != sector:
                    raise self._damaged(f"it holds {row['key'][:200]!r}, which is no FFI and no folder of them")
                if not is_of_ccd(folder, camera, ccd):
                    continue
                if row["key"] == folder:
                    heads.append(row)
                    continue
                key = accept(row["key"], folder, sector)
                if key is None or key.kind != "ffic" or row["size"] is None or row["size"] < 0:
                    raise self._damaged(f"it holds {row['key'][:200]!r}, which is no calibrated FFI of that folder")
                info = ObjectInfo(row["key"], row["size"], row["etag"] or "", row["modified"])
                files[folder].append((key, info))
        folders = {}
        for row in sorted(heads, key=lambda row: str(row["key"])):
            prefix = row["key"]
            here = tuple(sorted(files.pop(prefix, ()), key=lambda entry: entry[0]))
            if prefix in folders or len(here) != row["size"] or row["listed"] is None:
                raise self._damaged(f"of {row['size']} FFIs in {prefix} it holds {len(here)}")
            counts = (row["n_raw"] or 0, row["n_other"] or 0)
            folders[prefix] = Folder(prefix, row["listed"].astimezone(UTC), here, *counts, row["modified"])
        if files:
            raise self._damaged(f"it holds FFIs in {min(files)} but not that folder")
        return folders

    def _known(self) -> dict[Scope, dict[int, set[tuple[int, int]]]]:
        known: dict[Scope, dict[int, set[tuple[int, int]]]] = {}
        for batch in self._batches():
            for row in batch.filter(pc.ends_with(batch["key"], "/")).to_pylist():
                sector = sector_of_folder(row["key"])
                if sector is not None:
                    sectors = known.setdefault(Scope(row["endpoint"], row["bucket"]), {})
                    sectors.setdefault(sector, set()).add((int(row["key"][-4]), int(row["key"][-2])))
        return known

    def _extend(self, scope: Scope, folders: list[Folder], without: list[str]) -> None:
        rows = [row for folder in folders for row in _rows(scope, folder)]
        fresh = pa.Table.from_pylist(rows, schema=_SCHEMA)
        names = pa.array(sorted({*(folder.prefix for folder in folders), *without}), pa.string())
        with self._lock():
            kept = []
            for batch in self._batches():
                folder = pc.replace_substring_regex(batch["key"], r"[^/]*$", "")
                same = pc.and_(pc.equal(batch["endpoint"], scope.endpoint), pc.equal(batch["bucket"], scope.bucket))
                kept.append(batch.filter(pc.invert(pc.and_(same, pc.is_in(folder, value_set=names)))))
            table = pa.concat_tables([pa.Table.from_batches(kept, schema=_SCHEMA), fresh])
            table = table.sort_by([("endpoint", "ascending"), ("bucket", "ascending"), ("key", "ascending")])
            with replacing_file(self.path, "the index of FFIs") as part:
                pq.write_table(table, part, compression="zstd", row_group_size=_BATCH, write_page_checksum=True)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows, each page held against its checksum; nothing where there is no file."""
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return
        with file:
            try:
                parquet = pq.ParquetFile(file, page_checksum_verification=True)
                version = (parquet.schema_arrow.metadata or {}).get(_MARK)
                if version is None:
                    raise self._damaged("it is another Parquet file")
                if version != _VERSION:
                    raise self._damaged(f"it is of version {version[:20]!r}, this program knows {_VERSION!r}")
                n_row = 0
                for batch in parquet.iter_batches(_BATCH, columns=_SCHEMA.names, use_threads=False):
                    n_row += batch.num_rows
                    yield pa.RecordBatch.from_arrays(
                        [batch[name].cast(_SCHEMA.field(name).type) for name in _SCHEMA.names], schema=_SCHEMA
                    )
                if n_row != parquet.metadata.num_rows:
                    raise self._damaged(f"of {parquet.metadata.num_rows} rows it holds {n_row}")
            except (pa.ArrowException, ValueError, KeyError, TypeError, OSError) as error:
                # What the disk says has a number, what pyarrow says of a damaged page has none.
                if isinstance(error, FrameError) or (isinstance(error, OSError) and error.errno is not None):
                    raise
                text = (str(error).splitlines() or [type(error).__name__])[0][:200]
                raise self._damaged(text) from error

    def _damaged(self, text: str) -> FrameError:
        return FrameError(
            f"{self.path} is not an index of starskope, or damaged ({text}): "
            "move it away, and the next run with --index lists again"
        )

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Keep other processes from extending; the file of the lock stays, since removing it would let two in."""
        descriptor = os.open(
            self.path.with_name(f".{self.path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666
        )
        try:
            deadline_s = time.monotonic() + _LOCK_WAIT_S
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError as error:
                    if error.errno in (ENOLCK, ENOTSUP):
                        break  # a file system without locks: two writers at once are the user's affair
                    if error.errno not in (EACCES, EAGAIN):
                        raise
                if time.monotonic() > deadline_s:
                    raise TransferError(f"another process extends {self.path} for {_LOCK_WAIT_S:g} s: try again later")
                time.sleep(0.02)
            yield
        finally:
            os.close(descriptor)


def _rows(scope: Scope, folder: Folder) -> Iterator[Mapping[str, Any]]:
    place = {"endpoint": scope.endpoint, "bucket": scope.bucket, "listed": _micro(folder.listed)}
    counts = {"n_raw": folder.n_raw, "n_other": min(folder.n_other, 2**31 - 1)}
    yield {**place, "key": folder.prefix, "size": len(folder.files), "modified": folder.newest, **counts}
    for key, info in folder.files:
        yield {**place, "key": key.key, "size": info.size, "etag": info.etag, "modified": info.last_modified}


def _micro(time_utc: datetime) -> datetime:
    return time_utc.astimezone(UTC)
