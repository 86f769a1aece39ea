"""A file that appears under its name only when it is whole, checked and on the disk.

Owns the hidden temporary file of one object: preallocation, writes and sums in threads beside the event loop, fsync,
rename. It refuses to leave anything behind: whatever ends a transfer early also removes the file.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from errno import EINVAL, ENOTSUP, EOPNOTSUPP
from pathlib import Path
from typing import Any

from starskope.transfer.checks import AnswerError, Extent, Hasher, choose_hasher

__all__ = ["PART_PATTERN", "PartFile", "SumError", "outlast"]

PART_PATTERN = ".starskope-*.part"
_MAX_VECTOR = 1024  # IOV_MAX of Linux and macOS


class SumError(AnswerError):
    """The bytes are not those that the server stored."""


async def outlast(future: asyncio.Future[Any]) -> None:
    """Wait until a future has ended, however often this task is cancelled meanwhile; its own error is dropped.

    Raises
    ------
    asyncio.CancelledError
        At the end, when this task was cancelled while it waited.
    """
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait({future})
        except asyncio.CancelledError as error:
            cancelled = error
    if not future.cancelled():
        future.exception()  # looked at, so that the loop does not complain of an error that nobody saw
    if cancelled is not None:
        raise cancelled


class PartFile:
    """The `Sink` of one whole object.

    Parameters
    ----------
    path : pathlib.Path
        Final name.
    label : str
        Distinguishes the temporary files of one directory; letters and digits.
    write_bytes : int
        Bytes gathered before they go to the disk.
    note : callable, optional
        Called with the number of bytes of each step.

    Notes
    -----
    One write is under way while the network fills the next; a file so holds at most ``2 * write_bytes`` in memory.
    Writing and summing run in a thread, one after the other, so that the sum sees the bytes in order and a slow disk
    does not stop the other connections.
    """

    def __init__(self, path: Path, label: str, write_bytes: int, note: Callable[[int], None] | None = None) -> None:
        self.path = path
        self.part = path.with_name(PART_PATTERN.replace("*", label))
        self._write_bytes = write_bytes
        self._note = note or (lambda n_bytes: None)
        self._descriptor = -1
        self._hasher: Hasher | None = None
        self._chunks: list[bytes] = []
        self._n_gathered = 0
        self._n_handed_over = 0
        self._size = 0
        self._writing: asyncio.Future[None] | None = None

    async def begin(self, extent: Extent) -> None:
        """Open the file and give it its size at once, so that a full disk shows before the bytes come."""
        self._hasher = choose_hasher(extent.headers, extent.etag)
        self._size = extent.object_size
        await self._in_thread(self._open)

    async def write(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._chunks.append(chunk)
        self._n_gathered += len(chunk)
        self._note(len(chunk))
        if self._n_gathered >= self._write_bytes:
            await self._hand_over()

    async def restart(self) -> None:
        """Forget what came: the object was replaced or its sum is wrong."""
        await self._settle()
        self._chunks, self._n_gathered, self._n_handed_over = [], 0, 0
        self._hasher = None

    async def commit(self) -> str:
        """Check the sum, bring the file to the disk and give it its name.

        Returns
        -------
        str
            What the bytes were held against: name of the sum, or ``size``.

        Raises
        ------
        SumError
            When the sum differs; the file keeps its temporary name.
        OSError
            When the disk refuses.
        """
        await self._hand_over()
        await self._settle()
        if self._hasher is not None and (found := self._hasher.result()) != self._hasher.expected:
            name, expected = self._hasher.name, self._hasher.expected
            raise SumError(f"damaged on the way: its {name} is {found}, the server stored {expected}")
        await self._in_thread(self._finish)
        return "size" if self._hasher is None else self._hasher.name

    async def discard(self) -> None:
        """Remove the temporary file; after `commit` there is none."""
        writing, self._writing = self._writing, None
        try:
            if writing is not None:
                # Even under cancellation the writer must end first: its descriptor may not be closed under it.
                await outlast(writing)
        finally:
            self._close()
            self.part.unlink(missing_ok=True)

    async def _hand_over(self) -> None:
        """Start writing what was gathered, once the write before has ended."""
        await self._settle()
        chunks, offset = self._chunks, self._n_handed_over
        self._n_handed_over += self._n_gathered
        self._chunks, self._n_gathered = [], 0
        self._writing = asyncio.get_running_loop().run_in_executor(None, self._put, chunks, offset)

    async def _settle(self) -> None:
        """Wait for the write that is under way and raise its error."""
        if self._writing is not None:
            await asyncio.wait({self._writing})
            writing, self._writing = self._writing, None
            writing.result()

    async def _in_thread(self, function: Callable[[], Any]) -> None:
        await self._settle()
        self._writing = asyncio.get_running_loop().run_in_executor(None, function)
        await self._settle()

    def _open(self) -> None:
        if self._descriptor < 0:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(self.part, flags, 0o666)
        os.ftruncate(self._descriptor, 0)
        if self._size and hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(self._descriptor, 0, self._size)
            except OSError as error:
                if error.errno not in (EINVAL, ENOTSUP, EOPNOTSUPP):
                    raise
                os.ftruncate(self._descriptor, self._size)

    def _put(self, chunks: list[bytes], offset: int) -> None:
        if self._hasher is not None:
            for chunk in chunks:
                self._hasher.update(chunk)
        views = [memoryview(chunk) for chunk in chunks]
        while views:
            n_written = os.pwritev(self._descriptor, views[:_MAX_VECTOR], offset)
            offset += n_written
            while views and n_written >= len(views[0]):
                n_written -= len(views.pop(0))
            if n_written:
                views[0] = views[0][n_written:]

    def _finish(self) -> None:
        size = os.fstat(self._descriptor).st_size
        if self._n_handed_over != self._size or size != self._size:
            raise SumError(f"{self._n_handed_over} bytes came and {size} were stored, expected {self._size}")
        os.fsync(self._descriptor)
        self._close()
        self.part.replace(self.path)

    def _close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            with contextlib.suppress(OSError):
                os.close(descriptor)
