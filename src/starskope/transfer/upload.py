"""Products to the user's bucket, each held against what the server stored.

Owns the call: what goes where, whether the bucket can take it, and the table of what became of it. It refuses to mix a
folder with what another one left under the same prefix. How files are delivered stands in ``delivery``, how a request
is made in ``sender``.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from starskope.transfer.delivery import Delivery, ProgressCallback, UploadProgress, UploadRow
from starskope.transfer.facade import run_sync
from starskope.transfer.options import TransferOptions
from starskope.transfer.outgoing import Destination, Outgoing, find_outgoing
from starskope.transfer.partfile import outlast
from starskope.transfer.sender import Sender

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["UploadProgress", "UploadRow", "check_destination", "upload", "upload_async"]


def upload(
    paths: Iterable[str | os.PathLike[str]],
    destination: str,
    *,
    options: TransferOptions | None = None,
    progress: ProgressCallback | None = None,
) -> Table:
    """Send files and folders to a bucket, resumably, and make sure that they arrived.

    Parameters
    ----------
    paths : iterable of path
        A file goes to ``prefix/name``, a folder (a Zarr store) with all that it holds to ``prefix/name/...``.
    destination : str
        ``s3://bucket/prefix``; the bucket must exist.
    options : TransferOptions, optional
        Endpoint, profile, concurrency, patience. Requests are signed unless ``signed=False``, with the credentials
        that botocore finds: the profile, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the configuration, the machine.
    progress : callable, optional
        Called with an `UploadProgress` after every file.

    Returns
    -------
    astropy.table.Table
        One row per file: the fields of `UploadRow`. A failed file does not raise: look at ``status``.

    Raises
    ------
    ValueError, TypeError, FileNotFoundError
        For a destination or paths that cannot be sent: see `starskope.transfer.outgoing`. Also when objects lie below
        the name of a folder that the folder does not hold: readers of a Zarr store would mix the two.
    TransferError
        When the bucket does not exist, may not be written or cannot be reached.

    Notes
    -----
    A file whose size and sums are those of the object is not sent again, so a run that was stopped goes on with the
    file that it was at. Costs 1.4 CPU s/GB for sums, one pass over each file before it is sent, and two small requests
    per file.

    Examples
    --------
    >>> from starskope.synth.endpoint import Endpoint
    >>> import os, pathlib, tempfile
    >>> with Endpoint() as server, tempfile.TemporaryDirectory() as folder:
    ...     _ = server.put("made", b"the bucket", bucket="mine")
    ...     os.environ.update(AWS_ACCESS_KEY_ID="any", AWS_SECRET_ACCESS_KEY="thing")
    ...     file = pathlib.Path(folder, "stack.fits")
    ...     _ = file.write_bytes(bytes(2880))
    ...     report = upload([file], "s3://mine/run1", options=TransferOptions(endpoint_url=server.url))
    >>> report["uri"][0], report["status"][0]
    ('s3://mine/run1/stack.fits', 'uploaded')
    """
    return run_sync(upload_async(paths, destination, options=options, progress=progress))


async def upload_async(
    paths: Iterable[str | os.PathLike[str]],
    destination: str,
    *,
    options: TransferOptions | None = None,
    progress: ProgressCallback | None = None,
) -> Table:
    """Send files and folders to a bucket; the awaitable twin of `upload`.

    Cancelled, it gives up what is under way, unfinished parts on the server included.
    """
    goal = Destination.parse(destination)
    paths = [paths] if isinstance(paths, str | bytes | os.PathLike) else list(paths)
    outgoing = await asyncio.to_thread(find_outgoing, paths, goal)
    async with _open_sender(options or TransferOptions()) as sender:
        await asyncio.to_thread(sender.check_writable, goal)
        await asyncio.to_thread(_refuse_mixture, sender, goal, outgoing)
        run = Delivery(outgoing, sender, progress)
        await run.all()
    return _table(run.rows)


def check_destination(destination: str, options: TransferOptions | None = None) -> None:
    """Make sure that a bucket can be written, before the work whose products it shall take.

    Raises
    ------
    ValueError
        The destination is no address.
    TransferError
        As `upload`.
    """

    async def check() -> None:
        goal = Destination.parse(destination)
        async with _open_sender(options or TransferOptions()) as sender:
            await asyncio.to_thread(sender.check_writable, goal)

    run_sync(check())


@asynccontextmanager
async def _open_sender(options: TransferOptions) -> AsyncIterator[Sender]:
    sender = await asyncio.to_thread(Sender, options)
    try:
        yield sender
    finally:
        await outlast(asyncio.ensure_future(asyncio.to_thread(sender.close)))


def _refuse_mixture(sender: Sender, goal: Destination, outgoing: list[Outgoing]) -> None:
    """Refuse a folder under whose name the bucket holds objects that are not the folder's."""
    known = frozenset(one.uri.key for one in outgoing)
    folders = {key.removeprefix(goal.prefix).partition("/")[0] for key in known if "/" in key[len(goal.prefix) :]}
    for folder in sorted(folders):
        prefix = f"{goal.prefix}{folder}/"
        if key := sender.foreign_key(goal.bucket, prefix, known):
            raise ValueError(
                f"s3://{goal.bucket}/{key} is not part of what is sent to {prefix!r}: readers would mix the two; "
                "remove what lies there or choose another prefix"
            )


def _table(rows: list[UploadRow]) -> Table:
    from astropy import units
    from astropy.table import Table

    columns: dict[str, list[Any]] = {name: [] for name in UploadRow.__dataclass_fields__}
    for row in rows:
        for name, value in asdict(row).items():
            columns[name].append(value)
    table = Table(columns, dtype=[int if name == "size" else str for name in columns])
    table["size"].unit = units.byte
    return table
