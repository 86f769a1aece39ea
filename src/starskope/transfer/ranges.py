"""Many ranges of many objects, as they come.

Owns the bound on bytes asked for and not yet taken, and the tasks that keep the gate busy. Each range is read by
`ranged.read_range`, with its checks and tries. It refuses to order the results and to stop at a range that failed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass

from starskope.errors import TransferError
from starskope.transfer.client import Client
from starskope.transfer.ranged import RangeRead, read_range
from starskope.transfer.uris import S3Uri

__all__ = ["RangeRequest", "read_ranges"]


@dataclass(frozen=True, slots=True)
class RangeRequest:
    """One range to read.

    Parameters
    ----------
    uri : S3Uri
        The object.
    start, stop : int
        Half-open range of bytes.
    etag : str, optional
        ETag that the object must have.
    """

    uri: S3Uri
    start: int
    stop: int
    etag: str | None = None


async def read_ranges(
    client: Client, requests: Iterable[RangeRequest], *, bytes_in_flight: int | None = None
) -> AsyncGenerator[tuple[int, RangeRead | TransferError], None]:
    """Read ranges at the pace of the server and hand each over when it is there.

    Parameters
    ----------
    client : Client
        From `open_client`.
    requests : iterable of RangeRequest
        Taken one by one as there is room, so it may be long and made on the way.
    bytes_in_flight : int, optional
        Bound on the bytes asked for and not yet taken; one range is always allowed. Default: that of the options.

    Yields
    ------
    index : int
        Which of the requests.
    result : RangeRead or TransferError
        The bytes, or why they could not be had.

    Raises
    ------
    ValueError
        For an empty or negative range.

    Notes
    -----
    Use ``contextlib.aclosing`` when leaving early: closing cancels the requests under way and waits for their end.
    """
    limit = client.options.bytes_in_flight if bytes_in_flight is None else bytes_in_flight
    if limit < 1:
        raise ValueError(f"bytes_in_flight = {limit}: expected at least 1")
    batch = _Batch(client, requests, limit)
    try:
        while (item := await batch.next()) is not None:
            index, cost, result = item
            del item
            yield index, result
            del result
            batch.n_held -= cost
    finally:
        await batch.close()


class _Batch:
    """The ranges of one call: which comes next, what is under way, what waits for its taker."""

    def __init__(self, client: Client, requests: Iterable[RangeRequest], limit: int) -> None:
        self._client = client
        self._coming = enumerate(requests)
        self._limit = limit
        self._most = client.pace.gate().limit
        self._following: tuple[int, RangeRequest] | None = None
        self._is_over = False
        self._done: deque[tuple[int, int, RangeRead | TransferError]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._error: BaseException | None = None
        self._wake: asyncio.Future[None] | None = None
        self.n_held = 0

    async def next(self) -> tuple[int, int, RangeRead | TransferError] | None:
        """Return the next result, or None when there is none to come."""
        while True:
            while len(self._tasks) < self._most and (first := self._take()) is not None:
                task = asyncio.create_task(self._work(*first))
                self._tasks.add(task)
                task.add_done_callback(self._ended)
            if self._error is not None:
                raise self._error
            if self._done:
                return self._done.popleft()
            if not self._tasks:
                return None
            self._wake = asyncio.get_running_loop().create_future()
            try:
                await self._wake
            finally:
                self._wake = None

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _take(self) -> tuple[int, RangeRequest] | None:
        """Take the next request if there is one and room for it."""
        if self._following is None and not self._is_over:
            self._following = next(self._coming, None)
            self._is_over = self._following is None
        if self._following is None:
            return None
        taken = self._following
        cost = taken[1].stop - taken[1].start
        if self.n_held and self.n_held + cost > self._limit:
            return None
        self.n_held += cost
        self._following = None
        return taken

    async def _work(self, index: int, request: RangeRequest) -> None:
        """Read one range after the other while there is room: a task per range would cost more than the range."""
        following: tuple[int, RangeRequest] | None = (index, request)
        while following is not None:
            index, request = following
            result: RangeRead | TransferError
            try:
                result = await read_range(self._client, request.uri, request.start, request.stop, etag=request.etag)
            except TransferError as error:
                result = error
                await asyncio.sleep(0)  # a server that was given up is refused without waiting for anything
            self._done.append((index, request.stop - request.start, result))
            del result
            self._rouse()
            following = self._take()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._error = self._error or error
        self._rouse()

    def _rouse(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
