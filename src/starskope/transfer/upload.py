"""Products to the user's bucket, each held against what the server stored.

Owns the run over many files: what is there already, who is next, what failed and why. It refuses to call a file sent
before the server's sum of it, or its bytes read back, are those of the file; to let one failed file stop the others;
and to mix a folder with what another one left under the same prefix. How a request is made stands in ``sender``.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from starskope.errors import TransferError
from starskope.transfer.facade import run_sync
from starskope.transfer.faults import NETWORK_ERRORS
from starskope.transfer.options import TransferOptions
from starskope.transfer.outgoing import Destination, Outgoing, find_outgoing
from starskope.transfer.pacing import backoff_s
from starskope.transfer.partfile import outlast
from starskope.transfer.sender import Sender
from starskope.transfer.stored import FileSums, compare, sum_file

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["UploadProgress", "UploadRow", "check_destination", "upload", "upload_async"]


@dataclass(frozen=True)
class UploadProgress:
    """How far an upload has come.

    Parameters
    ----------
    n_done, n_failed, n_total : int
        Files that lie in the bucket, that failed, and all.
    bytes_done : int
        Bytes sent in this run.
    bytes_total : int
        Bytes of all files.
    """

    n_done: int
    n_failed: int
    n_total: int
    bytes_done: int
    bytes_total: int


ProgressCallback = Callable[[UploadProgress], None]


@dataclass(frozen=True)
class UploadRow:
    """What became of one file.

    Parameters
    ----------
    uri : str
        ``s3://bucket/key``.
    path : str
        The local file.
    size : int
        Bytes.
    etag : str
        Of the object; empty when it failed.
    check : str
        What the object was held against: ``crc64nvme`` or ``md5`` as the server stores them, or ``read``
        when it stores none that can be compared and the bytes were read back. Empty for a failed file.
    status : str
        ``uploaded``, ``present`` (the same bytes lay there) or ``failed``.
    error : str
        Why it failed; empty otherwise.
    """

    uri: str
    path: str
    size: int
    etag: str = ""
    check: str = ""
    status: str = "failed"
    error: str = ""


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
        run = _Run(outgoing, sender, progress)
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


class _Run:
    """One call of `upload_async`."""

    def __init__(self, outgoing: list[Outgoing], sender: Sender, progress: ProgressCallback | None) -> None:
        self.outgoing = outgoing
        self.rows: list[UploadRow] = []
        self._sender = sender
        self._progress = progress
        self._bytes_done = 0
        self._n_failed = 0
        self._n_lost_in_a_row = 0

    async def all(self) -> None:
        rows: dict[int, UploadRow] = {}
        queue = iter(enumerate(self.outgoing))

        async def work() -> None:
            for index, outgoing in queue:
                rows[index] = row = await self._one(outgoing)
                self._n_failed += row.status == "failed"
                if self._progress is not None:
                    n_total, n_bytes = len(self.outgoing), sum(one.size for one in self.outgoing)
                    done = len(rows) - self._n_failed
                    self._progress(UploadProgress(done, self._n_failed, n_total, self._bytes_done, n_bytes))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._sender.options.max_objects, len(self.outgoing))):
                    group.create_task(work())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        self.rows = [rows[index] for index in range(len(rows))]

    async def _one(self, outgoing: Outgoing) -> UploadRow:
        row = UploadRow(str(outgoing.uri), str(outgoing.path), outgoing.size)
        if self._n_lost_in_a_row >= self._sender.options.max_lost:
            return replace(row, error=f"not tried: {self._n_lost_in_a_row} files failed in a row")
        try:
            done = await self._deliver(outgoing, row)
        except NETWORK_ERRORS as error:
            fault = self._sender.explain(error, outgoing.uri.bucket)
            self._n_lost_in_a_row += 1
            return replace(row, error=fault.text)
        except OSError as error:
            return replace(row, error=f"cannot read {outgoing.path}: {error.strerror}")
        except TransferError as error:
            return replace(row, error=str(error))
        self._n_lost_in_a_row = 0
        return done

    async def _deliver(self, outgoing: Outgoing, row: UploadRow) -> UploadRow:
        """Send one file unless it lies there; again when what arrived is something else."""
        sender, options = self._sender, self._sender.options
        n_tries = max(2, options.max_attempts)
        for n_failed in range(n_tries):
            if n_failed:
                await asyncio.sleep(backoff_s(n_failed, options.backoff_base_s, options.backoff_max_s, sender.rng))
            # Summed again each time: the file itself may have been replaced.
            sums = await asyncio.to_thread(sum_file, outgoing.path, sender.part_bytes)
            head = await asyncio.to_thread(sender.head, outgoing.uri)
            if not n_failed and head is not None and (check := compare(sums, head)):
                return replace(row, size=sums.size, etag=_etag(head), check=check, status="present")
            await self._send(outgoing, sums)
            head = await asyncio.to_thread(sender.head, outgoing.uri)
            if head is None:
                raise TransferError("it was sent, but may not be read and so not checked: allow s3:GetObject")
            check = compare(sums, head)
            if check is None:
                check = "read" if await asyncio.to_thread(sender.read_back, outgoing.uri, sums) else ""
            if check:
                return replace(row, size=sums.size, etag=_etag(head), check=check, status="uploaded")
        raise TransferError(
            f"what was stored is not what the file holds, {n_tries} times: does something change the file?"
        )

    async def _send(self, outgoing: Outgoing, sums: FileSums) -> None:
        if sums.n_parts:
            await asyncio.to_thread(self._sender.drop_unfinished, outgoing.uri)
        future = self._sender.send(outgoing, sums, self._take_note)
        waiting = asyncio.ensure_future(asyncio.to_thread(future.result))
        try:
            await asyncio.shield(waiting)
        except asyncio.CancelledError:
            future.cancel()
            raise
        finally:
            await outlast(waiting)

    def _take_note(self, n_bytes: int) -> None:
        self._bytes_done += n_bytes


def _etag(head: Any) -> str:
    return str(head.get("ETag", "")).strip('"')


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
