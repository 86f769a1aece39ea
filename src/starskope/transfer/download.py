"""Whole objects to files, each byte checked as far as the server allows.

Owns the call of a user: what is asked for, and the table that tells what became of it. It refuses to let one failed key
stop the others, and to show a file under its final name before it is whole.
"""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starskope.transfer.destination import hold_directory, make_room
from starskope.transfer.facade import run_sync
from starskope.transfer.manifest import MANIFEST_NAME, ManifestRow, read_manifest
from starskope.transfer.options import TransferOptions
from starskope.transfer.run import Progress, ProgressCallback, Run
from starskope.transfer.verify import verify_rows
from starskope.transfer.wanted import Wanted, from_manifest, read_source

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["Progress", "download", "download_async", "download_rows", "download_rows_async"]


def download(
    source: Any,
    dest: str | os.PathLike[str],
    *,
    options: TransferOptions | None = None,
    progress: ProgressCallback | None = None,
    overwrite: bool = False,
    verify: bool = False,
    repair: bool = False,
    processes: int | None = None,
) -> Table:
    """Fetch objects into a directory, resumably.

    Parameters
    ----------
    source : astropy.table.Table, iterable of str or None
        A table with a column ``uri`` and, where known, ``size`` and ``etag`` (as `starskope.find_ffis` gives), or
        addresses ``s3://bucket/key``. Each object is stored under the last part of its key. None, with `verify` or
        `repair`: all that the manifest of `dest` lists.
    dest : path
        Directory, made when missing.
    options : TransferOptions, optional
        Endpoint, signing, concurrency, patience.
    progress : callable, optional
        Called with a `Progress` from another thread, at most ten times per second and at the end; by `verify` after
        each file.
    overwrite : bool, optional
        Fetch also what an earlier run completed.
    verify : bool, optional
        Fetch nothing and write nothing: read the files and hold them against the sums in the manifest.
    repair : bool, optional
        Verify, and fetch again only what is missing or wrong.
    processes : int, optional
        Processes that share the objects; -1 for one per CPU. Default: this one, joined by one per further CPU when it
        alone cannot keep up with the line and enough is left to do.

    Returns
    -------
    astropy.table.Table
        One row per object in the order of the source: ``uri``, ``path``, ``size`` (bytes), ``etag``, ``check``
        (what the bytes were held against: ``crc64nvme``, ``crc32c``, ``crc32``, ``sha256``, ``sha1``, ``md5``, or
        ``size`` where the server offers no sum), ``status`` (``downloaded``, ``present``, ``verified``, ``failed``),
        ``error``, ``crc64nvme`` (of the file, whatever it was held against). The same stands in
        ``dest/manifest.parquet``.

    Raises
    ------
    ValueError, TypeError
        For a source that cannot be stored: see `starskope.transfer.wanted.read_source`; for `verify` and `repair`
        without a manifest; for arguments that contradict each other.
    TransferError
        When the destination cannot be used at all. A failed object does not raise: look at ``status``.

    Notes
    -----
    An object is complete when the manifest knows its URI, and its ETag and size are those of the source. A source
    without ETags costs one conditional request per complete object, which moves no body. An object that was begun goes
    on where it stopped, after Ctrl-C, a full disk or a kill, if it is still the same one.

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
    ...     again = download(None, folder, verify=True)
    >>> print(report["status"][0], report["check"][0], again["status"][0])
    downloaded crc32 verified
    """
    settings = {"overwrite": overwrite, "verify": verify, "repair": repair, "processes": processes}
    return run_sync(download_async(source, dest, options=options, progress=progress, **settings))  # type: ignore[arg-type]


async def download_async(
    source: Any,
    dest: str | os.PathLike[str],
    *,
    options: TransferOptions | None = None,
    progress: ProgressCallback | None = None,
    overwrite: bool = False,
    verify: bool = False,
    repair: bool = False,
    processes: int | None = None,
) -> Table:
    """Fetch objects into a directory, resumably; the awaitable twin of `download`.

    Cancelled, it records the finished files, leaves the begun ones to the next run and closes its connections.
    """
    rows = await download_rows_async(
        source,
        dest,
        options=options,
        progress=progress,
        overwrite=overwrite,
        verify=verify,
        repair=repair,
        processes=processes,
    )
    return _table(rows, Path(dest))


def download_rows(source: Any, dest: str | os.PathLike[str], **settings: Any) -> list[ManifestRow]:
    """Do as `download` and return plain rows: the command line so spares the time that tables take to load."""
    return run_sync(download_rows_async(source, dest, **settings))


async def download_rows_async(
    source: Any,
    dest: str | os.PathLike[str],
    *,
    options: TransferOptions | None = None,
    progress: ProgressCallback | None = None,
    overwrite: bool = False,
    verify: bool = False,
    repair: bool = False,
    processes: int | None = None,
) -> list[ManifestRow]:
    """Do as `download_async` and return plain rows."""
    if overwrite and (verify or repair):
        raise ValueError("overwrite fetches everything again, verify and repair only look or mend: choose one")
    if source is None and not (verify or repair):
        raise ValueError("source is None: only verify=True and repair=True can take it from the manifest")
    n_processes = _check_processes(processes)
    directory = Path(dest)
    wanted = None if source is None else await asyncio.to_thread(read_source, source)
    if verify and not repair:
        stop = threading.Event()
        try:
            return await asyncio.to_thread(_verify, wanted, directory, progress, stop)
        finally:
            stop.set()  # a thread outlives its task otherwise, and reads on for minutes
    if wanted is None:
        wanted = from_manifest(_read_existing(directory))
    async with hold_directory(directory, wanted) as lock:
        known = await asyncio.to_thread(read_manifest, directory / MANIFEST_NAME)
        make_room(known, wanted, directory, overwrite=overwrite)
        run = Run(
            wanted,
            directory,
            options or TransferOptions(),
            known,
            progress,
            overwrite=overwrite,
            verify=repair,
            processes=n_processes,
            lock=lock,
        )
        return await run.all()


def _check_processes(processes: int | None) -> int | None:
    from starskope.parallel import resolve_workers

    if processes is None:
        return None
    try:
        return resolve_workers(processes)
    except (TypeError, ValueError) as error:
        raise type(error)(str(error).replace("workers=", "processes=")) from None


def _read_existing(directory: Path) -> dict[str, ManifestRow]:
    known = read_manifest(directory / MANIFEST_NAME)
    if not known:
        raise ValueError(f"{directory / MANIFEST_NAME} lists nothing: name what to download, or the right directory")
    return known


def _verify(
    wanted: list[Wanted] | None, directory: Path, progress: ProgressCallback | None, stop: threading.Event
) -> list[ManifestRow]:
    known = _read_existing(directory)
    rows = list(known.values())
    if wanted is not None:
        rows = [known.get(str(one.uri), ManifestRow(str(one.uri), one.name)) for one in wanted]
    n_verified = n_failed = 0

    def note(row: ManifestRow) -> None:
        nonlocal n_verified, n_failed
        n_verified += row.status == "verified"
        n_failed += row.status == "failed"
        if progress is not None:
            progress(Progress(n_verified, n_failed, len(rows), 0, 0))

    return verify_rows(directory, rows, note, stop)


def _table(rows: list[ManifestRow], directory: Path) -> Table:
    from astropy import units
    from astropy.table import Table

    names = [field.name for field in fields(ManifestRow)]
    placed = [replace(row, path=str(directory / row.path)) for row in rows]
    columns = {name: [getattr(row, name) for row in placed] for name in names}
    table = Table(columns, dtype=[int if name == "size" else str for name in names])
    table["size"].unit = units.byte
    return table
