"""Ranges of one large file, wherever it lies: in S3, on a web server, on disk.

Owns the one way in which a cube is read, and that all its ranges are of one and the same file. Refuses to give fewer
bytes than asked for and to know what they mean (``archive.cubes``).
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from starskope import parallel
from starskope.errors import FrameError, TransferError
from starskope.transfer.client import Client
from starskope.transfer.ranged import read_range
from starskope.transfer.ranges import RangeRequest, read_ranges
from starskope.transfer.uris import S3Uri

__all__ = ["FileRanges", "ObjectRanges", "Ranges"]

_N_FILE_READS = 8


class Ranges(Protocol):
    """Ranges of one file, wherever it lies."""

    async def read(self, start: int, stop: int) -> bytes:
        """Read exactly bytes ``start`` to ``stop - 1``."""

    def read_many(
        self, reads: NDArray[np.int64], bytes_in_flight: int
    ) -> AsyncGenerator[tuple[int, bytes | TransferError], None]:
        """Read many ranges (n_read, 2) as they come; see `starskope.archive.cubes.Cube.read_many`."""


class ObjectRanges:
    """An object of S3 or a web server; every range must have the ETag that the first answer had."""

    def __init__(self, client: Client, uri: S3Uri, etag: str, name: str) -> None:
        self._client, self._uri, self._etag, self._name = client, uri, etag, name

    async def read(self, start: int, stop: int) -> bytes:
        """Read one range."""
        got = await read_range(self._client, self._uri, start, stop, etag=self._etag)
        return self._whole(got.data, start, stop)

    async def read_many(
        self, reads: NDArray[np.int64], bytes_in_flight: int
    ) -> AsyncGenerator[tuple[int, bytes | TransferError], None]:
        """Read many ranges at the pace of the server."""
        limits = reads.tolist()
        requests = (RangeRequest(self._uri, start, stop, self._etag) for start, stop in limits)
        async with aclosing(read_ranges(self._client, requests, bytes_in_flight=bytes_in_flight)) as coming:
            async for index, got in coming:
                yield index, got if isinstance(got, TransferError) else self._whole(got.data, *limits[index])

    def _whole(self, data: bytes, start: int, stop: int) -> bytes:
        if len(data) < stop - start:
            raise FrameError(f"{self._name} ends within bytes {start} to {stop - 1}: it is truncated")
        return data


class FileRanges:
    """A file that stays open: replaced under its name, it is still the one whose headers were read."""

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor, self._name = descriptor, name

    async def read(self, start: int, stop: int) -> bytes:
        """Read one range in a thread."""
        data = await asyncio.wrap_future(parallel.submit(os.pread, self._descriptor, stop - start, start))
        if len(data) < stop - start:
            raise FrameError(f"{self._name} became shorter while it was read: is it still being written?")
        return data

    async def read_many(
        self, reads: NDArray[np.int64], bytes_in_flight: int
    ) -> AsyncGenerator[tuple[int, bytes | TransferError], None]:
        """Read many ranges, a few at a time, in their order."""
        running: deque[tuple[int, asyncio.Task[bytes]]] = deque()
        held = following = 0
        limits = reads.tolist()
        try:
            while running or following < len(limits):
                while following < len(limits) and len(running) < _N_FILE_READS:
                    start, stop = limits[following]
                    if running and held + stop - start > bytes_in_flight:
                        break
                    running.append((following, asyncio.create_task(self.read(start, stop))))
                    held += stop - start
                    following += 1
                index, task = running[0]
                data = await task
                running.popleft()
                yield index, data
                held -= len(data)
        finally:
            for _, task in running:
                task.cancel()
            await asyncio.gather(*(task for _, task in running), return_exceptions=True)
