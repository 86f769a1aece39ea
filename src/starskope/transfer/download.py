"""Whole objects to files, each byte checked as far as the server allows.

Owns the run over many keys: what is complete already, who is next, what failed and why, the record of it all. It
refuses to let one failed key stop the others, and to show a file under its final name before it is whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starskope.errors import TransferError
from starskope.transfer.checks import plain_etag
from starskope.transfer.client import Client, open_client
from starskope.transfer.destination import explain_disk, hold_directory, make_room, record
from starskope.transfer.facade import run_sync
from starskope.transfer.faults import NETWORK_ERRORS
from starskope.transfer.manifest import MANIFEST_NAME, ManifestRow, read_manifest
from starskope.transfer.options import TransferOptions
from starskope.transfer.pacing import backoff_s
from starskope.transfer.partfile import PartFile, SumError, outlast
from starskope.transfer.ranged import TriesExhaustedError, fetch
from starskope.transfer.wanted import Wanted, read_source

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["Progress", "download", "download_async"]

_RECORD_EVERY_S = 2.0
_REPORT_EVERY_S = 0.1


@dataclass(frozen=True)
class Progress:
    """How far a download has come.

    Parameters
    ----------
    n_done, n_failed, n_total : int
        Objects that are complete, that failed, and all.
    bytes_done : int
        Bytes fetched in this run.
    bytes_total : int or None
        Bytes of all objects, None when the source did not tell their sizes.
    """

    n_done: int
    n_failed: int
    n_total: int
    bytes_done: int
    bytes_total: int | None


ProgressCallback = Callable[[Progress], None]


def download(
    source: Any,
    dest: str | os.PathLike[str],
    *,
    options: TransferOptions | None = None,
    progress: ProgressCallback | None = None,
    overwrite: bool = False,
) -> Table:
    """Fetch objects into a directory, resumably.

    Parameters
    ----------
    source : astropy.table.Table or iterable of str
        A table with a column ``uri`` and, where known, ``size`` and ``etag`` (as `starskope.find_ffis` gives), or
        addresses ``s3://bucket/key``. Each object is stored under the last part of its key.
    dest : path
        Directory, made when missing.
    options : TransferOptions, optional
        Endpoint, signing, concurrency, patience.
    progress : callable, optional
        Called with a `Progress` from the transfer's thread, at most ten times per second and at the end.
    overwrite : bool, optional
        Fetch also what an earlier run completed.

    Returns
    -------
    astropy.table.Table
        One row per object in the order of the source: ``uri``, ``path``, ``size`` (bytes), ``etag``, ``check``
        (what the bytes were held against: ``crc32``, ``sha256``, ``sha1``, ``md5``, or ``size`` where the server
        offers no sum), ``status`` (``downloaded``, ``present``, ``failed``), ``error``. The same stands in
        ``dest/manifest.parquet``.

    Raises
    ------
    ValueError, TypeError
        For a source that cannot be stored: see `starskope.transfer.wanted.read_source`.
    TransferError
        When the destination cannot be used at all. A failed object does not raise: look at ``status``.

    Notes
    -----
    An object is complete when the manifest knows its URI, and its ETag and size are those of the source. A source
    without ETags costs one conditional request per complete object, which moves no body.

    Examples
    --------
    >>> from starskope.synth.endpoint import Endpoint
    >>> from starskope.transfer.download import download
    >>> from starskope.transfer.options import TransferOptions
    >>> import tempfile
    >>> with Endpoint() as endpoint, tempfile.TemporaryDirectory() as folder:
    ...     _ = endpoint.put("tess/hello.txt", b"hello")
    ...     options = TransferOptions(endpoint_url=endpoint.url)
    ...     report = download(["s3://stpubdata/tess/hello.txt"], folder, options=options)
    >>> print(report["status"][0], report["check"][0])
    downloaded crc32
    """
    return run_sync(download_async(source, dest, options=options, progress=progress, overwrite=overwrite))


async def download_async(
    source: Any,
    dest: str | os.PathLike[str],
    *,
    options: TransferOptions | None = None,
    progress: ProgressCallback | None = None,
    overwrite: bool = False,
) -> Table:
    """Fetch objects into a directory, resumably; the awaitable twin of `download`.

    Cancelled, it removes unfinished files, records the finished ones and closes its connections.
    """
    wanted = await asyncio.to_thread(read_source, source)
    options = options or TransferOptions()
    directory = Path(dest)
    with hold_directory(directory):
        known = read_manifest(directory / MANIFEST_NAME)
        make_room(known, wanted, directory, overwrite=overwrite)
        run = _Run(wanted, directory, options, known, progress, overwrite)
        async with open_client(options) as client:
            await run.all(client)
    return _table(run.rows, directory)


class _Run:
    """One call of `download_async`."""

    def __init__(
        self,
        wanted: list[Wanted],
        directory: Path,
        options: TransferOptions,
        known: dict[str, ManifestRow],
        progress: ProgressCallback | None,
        overwrite: bool,
    ) -> None:
        self.wanted = wanted
        self.directory = directory
        self.options = options
        self.known = known
        self.overwrite = overwrite
        self.rows: list[ManifestRow | None] = [None] * len(wanted)
        self._recording = asyncio.Lock()
        self._progress = progress
        sizes = [one.size for one in wanted if one.size is not None]
        self._bytes_total = sum(sizes) if len(sizes) == len(wanted) else None
        self._bytes_done = 0
        self._n_done = 0
        self._n_failed = 0
        self._n_lost_in_a_row = 0

    async def all(self, client: Client) -> None:
        queue = iter(enumerate(self.wanted))

        async def work() -> None:
            for index, wanted in queue:
                self._keep(index, await self._one(client, wanted, index))

        async def fetch_all() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self.options.max_objects, len(self.wanted))):
                    group.create_task(work())

        try:
            async with asyncio.TaskGroup() as group:
                beside = [group.create_task(self._record_often()), group.create_task(self._report_often())]
                await fetch_all()
                for task in beside:
                    task.cancel()
        except ExceptionGroup as errors:
            raise _first(errors) from None
        finally:
            # Also when cancelled: what is finished must be known to the next run.
            last = asyncio.ensure_future(self._record())
            await outlast(last)
            if sys.exc_info()[0] is None:
                last.result()
        self._report()

    def _keep(self, index: int, row: ManifestRow) -> None:
        self.rows[index] = row
        earlier = self.known.get(row.uri)
        if row.status == "failed":
            self._n_failed += 1
            # An older version of the object still lies there whole: its record stands.
            if earlier is not None and earlier.status != "failed":
                return
        else:
            self._n_done += 1
        self.known[row.uri] = row

    async def _one(self, client: Client, wanted: Wanted, index: int) -> ManifestRow:
        row = ManifestRow(uri=str(wanted.uri), path=wanted.name, size=-1 if wanted.size is None else wanted.size)
        if self._n_lost_in_a_row >= self.options.max_objects:
            lost = self._n_lost_in_a_row
            return replace(row, error=f"not tried: {client.endpoint} failed {lost} objects in a row")
        complete = None if self.overwrite else await self._complete(client, wanted)
        if complete is not None:
            self._n_lost_in_a_row = 0
            return replace(complete, path=wanted.name, status="present", error="")
        part = PartFile(self.directory / wanted.name, f"{index:06d}", self.options.write_bytes, self._take_note)
        try:
            done = await self._fetch(client, wanted, part)
        except TransferError as error:
            self._n_lost_in_a_row += isinstance(error, TriesExhaustedError)
            return replace(row, error=next(iter(error.causes.values()), str(error)))
        except OSError as error:
            return replace(row, error=explain_disk(error, self.directory))
        finally:
            await part.discard()
        self._n_lost_in_a_row = 0
        return done

    async def _fetch(self, client: Client, wanted: Wanted, part: PartFile) -> ManifestRow:
        """Fetch one object; again from its start when its sum is wrong."""
        options = self.options
        for n_failed in range(1, options.max_attempts + 1):
            extent = await fetch(client, wanted.uri, 0, None, part, etag=wanted.etag, size=wanted.size)
            try:
                check = await part.commit()
            except SumError as error:
                text = str(error)
                await part.restart()
            else:
                return ManifestRow(str(wanted.uri), wanted.name, extent.object_size, extent.etag, check, "downloaded")
            if n_failed < options.max_attempts:
                await asyncio.sleep(backoff_s(n_failed, options.backoff_base_s, options.backoff_max_s, client.rng))
        text = f"{text} (after {options.max_attempts} tries)"
        raise TriesExhaustedError(f"cannot read {wanted.uri}: {text}", {str(wanted.uri): text})

    async def _complete(self, client: Client, wanted: Wanted) -> ManifestRow | None:
        """Return the row of an earlier run that still holds, or None."""
        row = self.known.get(str(wanted.uri))
        if row is None or row.status == "failed" or row.path != wanted.name:
            return None
        path = self.directory / wanted.name
        if not path.is_file() or path.stat().st_size != row.size or wanted.size not in (None, row.size):
            return None
        if wanted.etag is not None:
            return row if wanted.etag == row.etag else None
        return row if await _is_unchanged(client, wanted, row.etag) else None

    def _take_note(self, n_bytes: int) -> None:
        self._bytes_done += n_bytes

    async def _report_often(self) -> None:
        while self._progress is not None:
            self._report()
            await asyncio.sleep(_REPORT_EVERY_S)

    def _report(self) -> None:
        if self._progress is not None:
            n_total = len(self.wanted)
            self._progress(Progress(self._n_done, self._n_failed, n_total, self._bytes_done, self._bytes_total))

    async def _record_often(self) -> None:
        while True:
            await asyncio.sleep(_RECORD_EVERY_S)
            await self._record()

    async def _record(self) -> None:
        async with self._recording:
            writing = asyncio.ensure_future(asyncio.to_thread(record, self.directory, list(self.known.values())))
            try:
                await asyncio.shield(writing)
            finally:
                await outlast(writing)


async def _is_unchanged(client: Client, wanted: Wanted, etag: str) -> bool:
    """Ask whether the object still has this ETag; any doubt is a no, and the fetch that follows tells why."""
    arguments = {"Bucket": wanted.uri.bucket, "Key": wanted.uri.key, **client.request_arguments}
    try:
        answer = await client.s3.get_object(**arguments, IfNoneMatch=f'"{etag}"')
    except NETWORK_ERRORS as error:
        response = getattr(error, "response", {})
        return bool(response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 304)
    with contextlib.closing(answer["Body"]):
        return plain_etag(str(answer.get("ETag", ""))) == etag


def _first(errors: ExceptionGroup[Exception]) -> Exception:
    error: Exception = errors
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _table(rows: list[ManifestRow | None], directory: Path) -> Table:
    from astropy import units
    from astropy.table import Table

    columns: dict[str, list[Any]] = {name: [] for name in ManifestRow.__dataclass_fields__}
    for row in rows:
        if row is not None:
            for name, value in asdict(replace(row, path=str(directory / row.path))).items():
                columns[name].append(value)
    dtypes = [int if name == "size" else str for name in columns]
    table = Table(columns, dtype=dtypes)
    table["size"].unit = units.byte
    return table
