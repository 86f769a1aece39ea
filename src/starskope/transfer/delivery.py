"""The delivery of files to a bucket: each sent once, and held against what the server stored.

Owns the run over many files: what is there already, who is next, what failed and why. It refuses to call a file sent
before the server's sum of it, or its bytes read back, are those of the file, and to let one failed file stop
the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from starskope.errors import TransferError
from starskope.transfer.faults import NETWORK_ERRORS
from starskope.transfer.outgoing import Outgoing
from starskope.transfer.pacing import backoff_s
from starskope.transfer.partfile import outlast
from starskope.transfer.sender import Sender
from starskope.transfer.stored import FileSums, compare, sum_file

__all__ = ["Delivery", "ProgressCallback", "UploadProgress", "UploadRow"]


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


class Delivery:
    """One call of `upload_async`; `rows` hold what became of each file, in order, once `all` has ended."""

    def __init__(self, outgoing: list[Outgoing], sender: Sender, progress: ProgressCallback | None) -> None:
        self.outgoing = outgoing
        self.rows: list[UploadRow] = []
        self._sender = sender
        self._progress = progress
        self._bytes_done = 0
        self._n_failed = 0
        self._n_lost_in_a_row = 0

    async def all(self) -> None:
        """Deliver every file that can be."""
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
